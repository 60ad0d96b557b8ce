"""The base class of tool parameters and the value types of form fields.

A tool's `Params` is the single source of its form fields, its OpenAPI schema, `GET /api/tools`, the README
table and the editor's controls. Forms send text, so every type here parses text.
"""

import math
import re
from typing import Annotated, Any, Literal, Self

from PIL import ImageColor
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError, from_json

OutputFormat = Literal["auto", "png", "jpg", "webp", "avif"]

#: Longest value in characters, so that parsing takes no noticeable time.
VALUE_LENGTH_MAX = 64 * 1024
#: Longer fields, which have a limit of their own.
_LONG_FIELDS = frozenset({"strokes"})

_LENGTH = re.compile(r"(-?\d{1,9}(?:\.\d{1,6})?)(%|px)?")


def _read_format(value: Any) -> Any:
    """Accept formats in any case, and `jpeg` for `jpg`."""
    if not isinstance(value, str):
        return value
    name = value.strip().lower()
    return "jpg" if name == "jpeg" else name


FormatField = Annotated[OutputFormat, BeforeValidator(_read_format, json_schema_input_type=OutputFormat)]


class Params(BaseModel):
    """Base of every tool's parameters. Unknown names are refused, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: FormatField = Field(
        "auto",
        description="Output format. auto: png for transparent results and masks, otherwise the source's"
        " format (jpg for HEIC, BMP and TIFF, png for GIF).",
    )
    quality: int = Field(90, ge=1, le=100, description="Encoding quality for jpg, webp and avif.")
    dpi: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Density that the result states, in pixels an inch. Default: the source's.",
    )
    keep_metadata: bool = Field(
        False,
        description="Keep what the source says of its making: date, camera, exposure, description, artist,"
        " copyright. Never its position. Uploaded images were stored without it.",
    )

    def stored(self) -> bytes:
        """JSON that validates to the same parameters again.

        It has only those that were given: some rules ask whether a parameter was, whatever its value is.
        """
        return self.model_dump_json(exclude_unset=True).encode()

    def for_reduced(self, source: tuple[int, int], reduced: tuple[int, int]) -> Self:
        """The same parameters for a source of (width, height) that was reduced to another size.

        Tools whose parameters name pixels of the source override this. Raises `BadParameter`.
        """
        del source, reduced
        return self

    @model_validator(mode="before")
    @classmethod
    def _check_texts(cls, values: Any) -> Any:
        """Reject text that is invalid in every field before any field parses it."""
        for name, value in values.items() if isinstance(values, dict) else ():
            if not isinstance(value, str):
                continue
            if len(value) > VALUE_LENGTH_MAX and name not in _LONG_FIELDS:
                raise parameter_error(name, f"is too long: at most {VALUE_LENGTH_MAX:,} characters")
            if "\0" in value:
                raise parameter_error(name, "contains a NUL character")
        return values


def parameter_error(name: str, message: str) -> PydanticCustomError:
    """A validation error to raise in a model validator; `name` is the parameter that is reported."""
    return PydanticCustomError("parameter", "{message}", {"param": name, "message": message})


def first_problem(error: ValidationError) -> tuple[str, str]:
    """The parameter that the first problem of a validation is about, or "", and what is wrong with it."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "parameter":
        return str(first["ctx"]["param"]), first["msg"]
    return (str(first["loc"][0]) if first["loc"] else ""), first["msg"]


class Length(BaseModel):
    """A length in pixels or in percent of the picture's side."""

    model_config = ConfigDict(frozen=True)

    value: float
    percent: bool = False

    def pixels(self, side_pixels: int) -> int:
        """This length in whole pixels of a side that is `side_pixels` long."""
        return round(self.value * side_pixels / 100) if self.percent else round(self.value)


def read_length(value: Any) -> Any:
    """Parse a `Length`; for validators of fields that hold several."""
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


_HEX_COLOR = re.compile(r"#?(?:[0-9a-f]{3}|[0-9a-f]{6}|[0-9a-f]{8})")
_COLOR_NAME = re.compile(r"[a-z]{3,30}")


def _read_color(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(value)
    text = str(value).strip().lower()
    if _HEX_COLOR.fullmatch(text):  # No CSS colour name matches this pattern.
        text = f"#{text.removeprefix('#')}"
    elif not _COLOR_NAME.fullmatch(text):
        raise PydanticCustomError(
            "color", "must be #rgb, #rrggbb, #rrggbbaa, with or without #, or a CSS colour name"
        )
    if text == "transparent":
        return (0, 0, 0, 0)
    try:
        rgba = ImageColor.getcolor(text, "RGBA")
    except ValueError:
        raise PydanticCustomError("color", "is not a CSS colour name") from None
    return rgba


#: An 8-bit sRGB colour with alpha, 0..255 each.
ColorField = Annotated[
    tuple[int, int, int, int],
    BeforeValidator(_read_color, json_schema_input_type=str),
]


def read_json(text: str) -> Any:
    """Parse JSON text.

    Raises ValueError for invalid JSON (including NaN and Infinity), lone surrogates, nesting beyond 200
    levels and integers of thousands of digits.
    """
    return from_json(text, allow_inf_nan=False, cache_strings="none")


def is_finite_number(value: Any) -> bool:
    """Whether `value` is a number that fits a finite float: JSON's 1e999 parses as infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
