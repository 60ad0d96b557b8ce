"""Crop: cut a picture to a box, a shape or its content; turn, mirror and resize it.

The steps always run in this order: cut, rotate, flip, resize. So lengths refer to the upright source picture,
and `resize` is the size of the result. Pixels are exact unless resized or rotated by angles other than
multiples of 90 degrees.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from ml.editing import foreground
from ml.errors import NothingFound
from ml.imaging import codecs, fitting, geometry, resampling, trimming
from ml.imaging.geometry import AspectRatioField, Box, Gravity, SizeField
from ml.params import ColorField, Length, LengthField, Params, parameter_error
from ml.pixels import Picture, Pixels
from ml.tool import Context, Tool, ToolResult

if TYPE_CHECKING:
    from ml.engines.installed import InstalledEngines

#: Mirror: h swaps left and right, v swaps top and bottom.
Flip = Literal["h", "v"]

_BOX_FIELDS = ("x", "y", "width", "height")


class CropParams(Params):
    x: LengthField | None = Field(None, description="Left edge of the box, in pixels or %. Default: 0.")
    y: LengthField | None = Field(None, description="Top edge of the box, in pixels or %. Default: 0.")
    width: LengthField | None = Field(
        None, description="Width of the box, in pixels or %. Default: up to the right edge."
    )
    height: LengthField | None = Field(
        None, description="Height of the box, in pixels or %. Default: up to the bottom edge."
    )
    aspect_ratio: AspectRatioField | None = Field(
        None, description='Instead of a box: the largest area of this aspect ratio, e.g. "16:9".'
    )
    gravity: Literal[Gravity, "subject"] = Field(
        "center",
        description="Which part is kept (aspect_ratio, fit=cover), or the position of the image on its"
        " canvas (fit=pad). subject, with aspect_ratio: around the most salient object.",
    )
    mode: Literal["trim"] | None = Field(
        None, description="Instead of a box: trim removes a uniform or transparent border."
    )
    tolerance: int = Field(
        10,
        ge=0,
        le=255,
        description="Largest difference from the border's colour that is trimmed. Requires mode=trim.",
    )
    rotate: float = Field(
        0,
        ge=-180,
        le=180,
        description="Degrees clockwise. Angles other than multiples of 90 leave transparent corners.",
    )
    flip: Flip | None = Field(None, description="Mirror: h swaps left and right, v swaps top and bottom.")
    resize: SizeField | None = Field(None, description='Size of the result in pixels, e.g. "800x600".')
    fit: fitting.Fit = Field(
        "contain",
        description="How an image of another aspect ratio is resized: contain fits inside, so that one"
        " side may be smaller; cover fills the size and crops the rest; pad fits inside and fills the"
        " rest.",
    )
    pad_color: ColorField | None = Field(
        None,
        description="Fill colour for fit=pad. Default: transparent if the image has transparency,"
        " otherwise white.",
    )

    @model_validator(mode="after")
    def _check_one_way_to_cut(self) -> "CropParams":
        lengths = [name for name in _BOX_FIELDS if getattr(self, name) is not None]
        if lengths and self.aspect_ratio is not None:
            raise parameter_error("aspect_ratio", f"cannot be combined with {lengths[0]}")
        if self.mode == "trim" and (lengths or self.aspect_ratio is not None):
            other = lengths[0] if lengths else "aspect_ratio"
            raise parameter_error("mode", f"trim cannot be combined with {other}")
        for name in lengths:
            _check_length(name, getattr(self, name))
        if self.width is not None and self.height is not None:
            given = [getattr(self, name) for name in lengths]
            if geometry.are_shares(length.value for length in given) and not any(
                length.percent for length in given
            ):
                raise parameter_error("width", f'{geometry.SHARES}; percentages are written "50%"')
        return self

    @model_validator(mode="after")
    def _reject_without_effect(self) -> "CropParams":
        """Reject parameters that have no effect instead of ignoring them."""
        is_padded = self.resize is not None and self.fit == "pad"
        is_placed = self.aspect_ratio is not None or is_padded or (self.resize and self.fit == "cover")
        if self.tolerance != _default("tolerance") and self.mode != "trim":
            raise parameter_error("tolerance", "has an effect only with mode=trim")
        if self.fit != _default("fit") and self.resize is None:
            raise parameter_error("fit", "has an effect only with resize")
        if self.pad_color is not None and not is_padded:
            raise parameter_error("pad_color", "has an effect only with resize and fit=pad")
        if self.gravity != _default("gravity") and not is_placed:
            raise parameter_error("gravity", "has an effect only with aspect_ratio, fit=cover or fit=pad")
        if self.gravity == "subject" and self.aspect_ratio is None:
            raise parameter_error("gravity", "subject has an effect only with aspect_ratio")
        return self

    def for_reduced(self, source: tuple[int, int], reduced: tuple[int, int]) -> "CropParams":
        """`resize` is a size of the result, which stays as it is."""
        scaled: dict[str, Length] = {}
        for side, (start, extent) in enumerate((("x", "width"), ("y", "height"))):
            before, after = source[side], reduced[side]
            begin: Length | None = getattr(self, start)
            length: Length | None = getattr(self, extent)
            left = 0 if begin is None else begin.pixels(before)
            right = before if length is None else left + length.pixels(before)
            least = min(after, geometry.MIN_BOX_SIDE)
            new_left = min(round(left * after / before), after - least)
            new_right = min(after, max(new_left + least, round(right * after / before)))
            if begin is not None:
                scaled[start] = Length(value=new_left)
            if length is not None:
                scaled[extent] = Length(value=new_right - new_left)
        return self.model_copy(update=scaled) if scaled else self


def _default(name: str) -> object:
    return CropParams.model_fields[name].default


def _check_length(name: str, length: Length) -> None:
    """Check what does not depend on the picture."""
    if geometry.is_share(length):
        raise parameter_error(name, f'is less than one pixel; percentages are written "{_percent(length)}"')
    if name in ("x", "y") and length.value < 0:
        raise parameter_error(name, "must not be negative")
    if name in ("width", "height") and length.value <= 0:
        raise parameter_error(name, "must be more than 0")
    if length.percent and length.value > 100:
        raise parameter_error(name, "must be at most 100%")


def _percent(length: Length) -> str:
    return f"{100 * length.value:g}%"


@dataclass
class _Cut:
    """The box that is kept, and the engine that determined it."""

    box: Box
    model: str | None = None
    device: str = "cpu"
    warnings: list[str] = field(default_factory=list)


def run(source: Picture, params: CropParams, context: Context) -> ToolResult:
    """Raises BadParameter and NothingFound (trim); for gravity=subject ModelUnavailable."""
    cut = _cut(source, params, context)
    context.step("cropping", 0.3)
    box = cut.box
    pixels = turned(source.pixels[box.top : box.bottom, box.left : box.right], params.rotate, params.flip)
    if params.resize is not None:
        context.step("resizing", 0.5)
        pixels = fit(pixels, params.resize, params)
    return ToolResult(
        pixels,
        model=cut.model,
        device=cut.device,
        fields={"bbox": [box.left, box.top, box.right, box.bottom]},
        warnings=cut.warnings,
    )


def turned(pixels: Pixels, degrees: float, flip: Flip | None) -> Pixels:
    """Rotated clockwise, then mirrored. Raises `PictureTooLarge`."""
    pixels = resampling.rotate(pixels, degrees)
    if flip is None:
        return pixels
    return pixels[:, ::-1] if flip == "h" else pixels[::-1]


def _cut(source: Picture, params: CropParams, context: Context) -> _Cut:
    if params.mode == "trim":
        return _Cut(trimming.content_box(source.pixels, params.tolerance))
    box = box_of(params, (source.width, source.height))
    return _over_subject(box, source, context) if params.gravity == "subject" else _Cut(box)


def box_of(params: CropParams, size: tuple[int, int]) -> Box:
    """The part kept of a picture of this size, before it is moved to the subject. Raises `BadParameter`."""
    if params.aspect_ratio is None:
        return geometry.box_of_lengths(params.x, params.y, params.width, params.height, size)
    return geometry.box_of_ratio(params.aspect_ratio, _compass(params), size)


def _answer_size(params: CropParams, source: tuple[int, int]) -> tuple[int, int] | None:
    if params.mode == "trim":  # with fit=contain, the size depends on the trimmed picture's shape
        return params.resize if params.resize is not None and params.fit != "contain" else None
    box = box_of(params, source)
    size = resampling.rotated_size(box.width, box.height, params.rotate)
    if params.resize is None:
        return size
    codecs.check_output_size(*size)  # the rotated picture is resized afterwards
    return params.resize if params.fit != "contain" else fitting.contained_size(size, params.resize)


def _over_subject(box: Box, source: Picture, context: Context) -> _Cut:
    """`box` moved over the subject; unchanged if there is none."""
    context.step("finding the subject", 0.0)
    engine, warnings = foreground.best_engine(context)
    cut = _Cut(box, engine.checkpoint, engine.device, warnings)
    try:
        matte = foreground.find_matte(engine, foreground.flatten_on_white(source))
    except NothingFound:
        cut.warnings.append("No subject was found in this image: it was cropped at its center.")
        return cut
    size = (source.width, source.height)
    cut.box = geometry.over_subject(box, foreground.matte_box(matte, size), size)
    return cut


def _compass(params: CropParams) -> Gravity:
    return "center" if params.gravity == "subject" else params.gravity


def fit(pixels: Pixels, size: tuple[int, int], params: CropParams) -> Pixels:
    """Resized as `params` ask for. Raises `PictureTooLarge`."""
    if params.fit == "cover":
        return fitting.cover(pixels, size, _compass(params))
    if params.fit == "pad":
        return fitting.pad(pixels, size, _compass(params), params.pad_color)
    return fitting.contain(pixels, size)


def _check_installed(params: CropParams, engines: "InstalledEngines") -> None:
    if params.gravity == "subject":
        foreground.check_available(foreground.AUTO, engines)


TOOL = Tool(
    name="crop",
    title="Crop",
    summary="Crop an image to a box, an aspect ratio or its content; rotate, mirror and resize it.",
    params=CropParams,
    run=run,
    answer_size=_answer_size,
    check_installed=_check_installed,
)
