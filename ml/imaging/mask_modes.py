"""How a mask file is read, as a form field of every tool that takes one."""

from typing import Any, Literal

from pydantic import Field

from ml.errors import BadParameter

MaskMode = Literal["auto", "luminance", "alpha", "inverted_alpha"]
MASK_MODE: Any = Field(
    "auto",
    description="How the mask file is read. auto: luminance times alpha where its colours vary, else alpha."
    " luminance; alpha: opaque = act; inverted_alpha: transparent = act.",
)


def reject_mask_mode(mode: MaskMode) -> None:
    """For a call without a mask file. Raises `BadParameter`: a setting without effect is a mistake."""
    if mode != "auto":
        raise BadParameter("mask_mode", "mask_mode has an effect only with a mask")
