"""The form field for how a mask file is read. Light, unlike `masks`, because the catalogue imports it."""

from typing import Any, Literal

from pydantic import Field

from ml.errors import BadParameter

MaskMode = Literal["auto", "luminance", "alpha", "inverted_alpha"]
MASK_MODE: Any = Field(
    "auto",
    description="How the mask file is interpreted. luminance: white selects; alpha: opaque pixels select;"
    " inverted_alpha: transparent pixels select; auto: luminance times alpha if the mask's colours vary,"
    " otherwise alpha.",
)


def reject_mask_mode(mode: MaskMode) -> None:
    """Raise `BadParameter` if `mode` is set in a call without a mask file, where it has no effect."""
    if mode != "auto":
        raise BadParameter("mask_mode", "mask_mode has an effect only with a mask")
