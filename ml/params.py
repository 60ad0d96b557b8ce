"""What all tools' parameters share: the base class and the value types of form fields.

A tool's `Params` is the one source of its form fields, its OpenAPI schema, `GET /api/tools`, the README table
and the editor's controls. Everything arrives as text from a form, so every type here reads text.
"""

import re
from typing import Annotated, Any, Literal

from PIL import ImageColor
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

OutputFormat = Literal["auto", "png", "jpg", "webp", "avif"]

_LENGTH = re.compile(r"(-?\d{1,9}(?:\.\d{1,6})?)(%|px)?")


class Params(BaseModel):
    """Base of every tool's parameters. Unknown names are refused, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: OutputFormat = Field(
        "auto",
        description="Type of the answered picture. auto: png where it has transparency or is a mask, else the"
        " source's own (HEIC becomes jpg).",
    )
    quality: int = Field(90, ge=1, le=100, description="Quality of jpg, webp and avif.")


def parameter_error(name: str, message: str) -> PydanticCustomError:
    """A validation error over several fields, to raise in a model validator; `name` is reported."""
    return PydanticCustomError("parameter", "{message}", {"param": name, "message": message})


class Length(BaseModel):
    """A length in pixels or in percent of the picture's side."""

    model_config = ConfigDict(frozen=True)

    value: float
    percent: bool = False

    def pixels(self, side_pixels: int) -> int:
        """This length in whole pixels of a side that is `side_pixels` long."""
        return round(self.value * side_pixels / 100) if self.percent else round(self.value)


def read_length(value: Any) -> Any:
    """A `Length` from text; for validators of fields that hold several."""
    if isinstance(value, Length | dict):
        return value
    match = _LENGTH.fullmatch(str(value).strip())
    if match is None:
        raise PydanticCustomError("length", 'must be pixels like "120" or a percentage like "10%"')
    return Length(value=float(match[1]), percent=match[2] == "%")


LengthField = Annotated[
    Length,
    BeforeValidator(read_length, json_schema_input_type=str),
]


def _read_color(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(value)
    text = str(value).strip().lower()
    if not re.fullmatch(r"#(?:[0-9a-f]{3}|[0-9a-f]{6}|[0-9a-f]{8})|[a-z]{3,30}", text):
        raise PydanticCustomError("color", "must be #rgb, #rrggbb, #rrggbbaa or a CSS colour name")
    if text == "transparent":
        return (0, 0, 0, 0)
    try:
        rgba = ImageColor.getcolor(text, "RGBA")
    except ValueError:
        raise PydanticCustomError("color", "is no CSS colour name") from None
    return rgba


#: An 8-bit sRGB colour with alpha, 0..255 each.
ColorField = Annotated[
    tuple[int, int, int, int],
    BeforeValidator(_read_color, json_schema_input_type=str),
]
