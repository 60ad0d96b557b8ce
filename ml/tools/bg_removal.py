"""Background removal: the foreground of a photo, alone or on another background."""

from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from ml.editing import cutting, foreground
from ml.errors import BadParameter, NothingFound, PictureTooLarge, UnreadablePicture, UnsupportedFormat
from ml.imaging import codecs, fitting
from ml.imaging.framing import MarginsField, crop_or_pad, object_box
from ml.imaging.geometry import Box, CornersField, SizeField, box_of_corners
from ml.imaging.placement import Placement, Position, PositionField, ScaleField, place_object
from ml.params import ColorField, Length, LengthField, Params, parameter_error
from ml.pixels import Mask, Picture, Pixels
from ml.tool import Context, FileField, Tool, ToolResult

_STYLE_LENGTHS = ("outline_width", "shadow_blur", "shadow_x", "shadow_y")
_SHADOW_FIELDS = ("shadow_opacity", "shadow_color", "shadow_blur")
_LONGEST, _LARGEST_PERCENT = 500, 50
_BLACK = (0, 0, 0, 255)
_WHITE = (255, 255, 255, 255)
_KEPT = "The image is a cut-out already: its transparency was kept."
# Without its white background, which other backgrounds replace.
_MARKETPLACE = {"output_size": "2000x2000", "scale": "85%", "position": "center"}


class BgRemovalParams(Params):
    model: str = Field(
        "auto",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="auto, fast, quality, or the name of an installed checkpoint. auto selects quality if"
        " it is installed, otherwise fast.",
    )
    channels: Literal["rgba", "alpha"] = Field(
        "rgba",
        description="rgba returns the cut-out, alpha its matte as a grayscale image (white = foreground).",
    )
    bg_color: ColorField | None = Field(
        None,
        description="Background colour: #rgb, #rrggbb, #rrggbbaa or a CSS colour name. Default: transparent.",
    )
    bg_blur: int = Field(
        0,
        ge=0,
        le=100,
        description="Keep the original background and blur it by this amount. 0 removes the background.",
    )
    preset: Literal["marketplace"] | None = Field(
        None,
        description="marketplace: 2000x2000 on white, with the object centered at 85% of the size. Other"
        " parameters override the preset's values.",
    )
    crop: bool = Field(False, description="Crop the result to the foreground.")
    crop_margin: MarginsField | None = Field(
        None,
        description='Margin around the foreground, in pixels or % of its size: "10%", "20 40" (vertical,'
        ' horizontal) or "1 2 3 4" (top, right, bottom, left). May extend beyond the image. Requires crop.',
    )
    scale: ScaleField = Field(
        "original",
        description='Size of the object relative to the result, "10%" to "100%", in the tighter'
        " direction. With crop, the canvas is sized accordingly. original: as in the source, or as the"
        " source fits output_size.",
    )
    position: PositionField | None = Field(
        None,
        description='Position of the object: original, center or "x% y%", the shares of the free space to its'
        " left and above it. Default: center with scale, otherwise original.",
    )
    output_size: SizeField | None = Field(
        None,
        description='Size of the result in pixels, e.g. "1000x800". The image, cropped if requested, is'
        " fitted inside; bg_image and bg_blur fill the whole canvas.",
    )
    roi: CornersField | None = Field(
        None,
        description='Region of interest: "x1 y1 x2 y2", two corners in pixels or %. Everything outside is'
        " background.",
    )
    decontaminate: bool = Field(
        True, description="Remove the original background's colour from soft edges such as hair."
    )
    shift_edge: float = Field(
        0,
        ge=-20,
        le=20,
        description="Move the edge by this many pixels; negative values move it inwards.",
    )
    feather: float = Field(0, ge=0, le=50, description="Soften the edge over this many pixels.")
    outline_width: LengthField | None = Field(
        None,
        description="Draw an outline around the object, as around a sticker, of this width: in pixels of the"
        " image or % of the object's size.",
    )
    outline_color: ColorField | None = Field(
        None, description="Colour of the outline. Default: white. Requires outline_width."
    )
    shadow: Literal["none", "drop", "contact"] = Field(
        "none",
        description="drop: a soft shadow of the object; contact: a flat one where it stands. Neither"
        " enlarges the result.",
    )
    shadow_opacity: int = Field(
        50, ge=0, le=100, description="Opacity of the shadow in percent. Requires shadow."
    )
    shadow_color: ColorField | None = Field(
        None, description="Colour of the shadow. Default: black. Requires shadow."
    )
    shadow_blur: LengthField | None = Field(
        None,
        description="Softness of the shadow's edge, in pixels of the result or % of the object's size."
        " Default: 5%, for contact 3%. Requires shadow.",
    )
    shadow_x: LengthField | None = Field(
        None,
        description="Offset of the shadow to the right, in pixels of the result or % of the object's size;"
        " may be negative. Default: 1.5%. Requires shadow=drop.",
    )
    shadow_y: LengthField | None = Field(
        None, description="Offset of the shadow downwards, as shadow_x. Default: 3.5%. Requires shadow=drop."
    )

    def for_reduced(self, source: tuple[int, int], reduced: tuple[int, int]) -> "BgRemovalParams":
        scaled = {
            name: _scaled(length, reduced[0] / source[0])
            for name in _STYLE_LENGTHS
            if (length := getattr(self, name)) is not None
        }
        if self.roi is None:
            return self.model_copy(update=scaled) if scaled else self
        # Check it against the size that the caller knows.
        box_of_corners("roi", self.roi, source)
        factors = [after / before for before, after in zip(source, reduced, strict=True)] * 2
        corners = [_scaled(length, factor) for length, factor in zip(self.roi, factors, strict=True)]
        return self.model_copy(update={**scaled, "roi": tuple(corners)})

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("preset") == "marketplace":
            return {**_MARKETPLACE, **values}
        return values

    @model_validator(mode="after")
    def _check_one_background(self) -> "BgRemovalParams":
        if self.bg_blur and self.bg_color is not None:
            raise parameter_error("bg_blur", "cannot be combined with bg_color")
        return self

    @model_validator(mode="after")
    def _reject_without_effect(self) -> "BgRemovalParams":
        """Reject parameters that have no effect instead of ignoring them."""
        if self.crop_margin is not None and not self.crop:
            raise parameter_error("crop_margin", "has an effect only with crop=true")
        if self.channels == "alpha" and self.bg_color is not None:
            raise parameter_error("bg_color", "has no effect with channels=alpha")
        if self.channels == "alpha" and self.bg_blur:
            raise parameter_error("bg_blur", "has no effect with channels=alpha")
        if self.channels == "alpha" and self.shadow != "none":
            raise parameter_error("shadow", "has no effect with channels=alpha")
        if self.channels == "alpha" and self.outline_width is not None:
            raise parameter_error("outline_width", "has no effect with channels=alpha")
        if self.outline_color is not None and self.outline_width is None:
            raise parameter_error("outline_color", "has an effect only with outline_width")
        for name in _SHADOW_FIELDS:
            if self.shadow == "none" and getattr(self, name) != type(self).model_fields[name].default:
                raise parameter_error(name, "has an effect only with shadow=drop or contact")
        for name in ("shadow_x", "shadow_y"):
            if self.shadow != "drop" and getattr(self, name) is not None:
                raise parameter_error(name, "has an effect only with shadow=drop")
        return self

    @model_validator(mode="after")
    def _check_style_lengths(self) -> "BgRemovalParams":
        for name in _STYLE_LENGTHS:
            length: Length | None = getattr(self, name)
            if length is None:
                continue
            most = _LARGEST_PERCENT if length.percent else _LONGEST
            least = {"outline_width": 0.1, "shadow_blur": 0}.get(name, -most)
            if not least <= length.value <= most:
                unit = "%" if length.percent else " pixels"
                raise parameter_error(name, f"must be from {least} to {most}{unit}")
        return self

    @model_validator(mode="after")
    def _check_framing(self) -> "BgRemovalParams":
        is_scaled, is_sized = self.scale != "original", self.output_size is not None
        is_placed = self.position not in (None, "original")
        if self.crop_margin is not None and is_scaled:
            raise parameter_error(
                "crop_margin", "cannot be combined with scale, because both determine the margin"
            )
        if self.crop and is_scaled and is_sized:
            raise parameter_error("crop", "has no effect with scale and output_size")
        if self.crop and is_placed and not (is_scaled or is_sized):
            raise parameter_error(
                "position", "has an effect with crop=true only if scale or output_size is set"
            )
        return self


def run(source: Picture, params: BgRemovalParams, context: Context) -> ToolResult:
    """Raises NothingFound if there is no foreground, ModelUnavailable, BadParameter."""
    context.step("loading", 0.0)
    background_image = _background_image(params, context)
    region = _region(source, params)
    engine, warnings = foreground.choose_engine(params.model, context)
    context.step("finding the foreground", 0.1)
    cut = cutting.cut_out(engine, source, lambda: context.step("refining edges", 0.5), region)
    alpha = cut.alpha
    box = object_box(alpha)
    if box is None:
        raise NothingFound("No foreground was found in this image.")
    context.step("finishing", 0.7)
    # Edge operations are limited to the region, so that nothing outside of it becomes visible.
    edge = _finish_edge(alpha, params)
    whole = Box(-region.left, -region.top, source.width - region.left, source.height - region.top)
    return ToolResult(
        _finish(
            source,
            crop_or_pad(alpha, whole),
            crop_or_pad(edge, whole),
            params,
            background_image,
            mixed=not cut.is_kept,
        ),
        model=None if cut.is_kept else engine.checkpoint,
        device=engine.device,
        fields={
            "foreground": {
                "top": box.top + region.top,
                "left": box.left + region.left,
                "width": box.width,
                "height": box.height,
            },
            "confidence": round(cut.confidence, 3),
        },
        warnings=[*warnings, *([_KEPT] if cut.is_kept else [])],
    )


def _background_image(params: BgRemovalParams, context: Context) -> Pixels | None:
    """The uploaded background. Raises `BadParameter` for `bg_image`."""
    content = context.files.get("bg_image")
    if content is None:
        return None
    if params.channels == "alpha":
        raise BadParameter("bg_image", "bg_image has no effect with channels=alpha")
    if params.bg_color is not None or params.bg_blur:
        other = "bg_blur" if params.bg_blur else "bg_color"
        raise BadParameter("bg_image", f"bg_image cannot be combined with {other}")
    try:
        return codecs.decode(content).pixels
    except (UnreadablePicture, PictureTooLarge, UnsupportedFormat) as error:
        raise BadParameter("bg_image", f"bg_image cannot be used. {error}") from error


def _region(source: Picture, params: BgRemovalParams) -> Box:
    size = (source.width, source.height)
    return Box(0, 0, *size) if params.roi is None else box_of_corners("roi", params.roi, size)


def _scaled(length: Length, factor: float) -> Length:
    return length if length.percent else Length(value=length.value * factor)


def _finish_edge(alpha: Mask, params: BgRemovalParams) -> Mask:
    from ml.imaging import compositing

    edge = alpha
    if params.shift_edge:
        edge = compositing.shift_edge(alpha, params.shift_edge)
        if object_box(edge) is None:
            raise BadParameter("shift_edge", "shift_edge removes the whole object from this image")
    return compositing.feather(edge, params.feather)


def _finish(
    source: Picture,
    alpha: Mask,
    edge: Mask,
    params: BgRemovalParams,
    background_image: Pixels | None,
    *,
    mixed: bool,
) -> Pixels | Mask:
    """The result: the source with the alpha `edge`; `alpha` is the estimated opacity of its pixels.

    `mixed` is whether soft pixels show the background too, which those of a finished cut-out do not.
    """
    from ml.imaging import compositing, shadows, stickers
    from ml.imaging.matting import decontamination

    placement = _placement(edge, params)
    if params.channels == "alpha":
        return placement.mask(edge)
    colors = source.rgb
    if params.decontaminate and mixed:
        colors = decontamination.decontaminate(colors, alpha, shown=edge)
    if params.outline_width is not None:
        colors, edge = stickers.add_outline(
            colors, edge, params.outline_width, params.outline_color or _WHITE
        )
        placement = _placement(edge, params)
    colors, edge = placement.cutout(colors, edge)
    background = _background(source, alpha, placement, params, background_image)
    if params.shadow != "none":
        shadow = _shadow(edge, params)
        background = shadows.add_shadow(background, shadow, params.shadow_color or _BLACK)
    return compositing.composite(colors, edge, background)


def _shadow(edge: Mask, params: BgRemovalParams) -> Mask:
    from ml.imaging import shadows

    if params.shadow == "contact":
        return shadows.contact_shadow(edge, params.shadow_opacity, params.shadow_blur)
    return shadows.drop_shadow(
        edge, params.shadow_opacity, params.shadow_x, params.shadow_y, params.shadow_blur
    )


def _placement(edge: Mask, params: BgRemovalParams) -> Placement:
    height, width = edge.shape
    box = object_box(edge)
    if box is None:  # almost nothing is left after feathering
        box = Box(0, 0, width, height)
    default_position: Position = "original" if params.scale == "original" else (50.0, 50.0)
    return place_object(
        box,
        (width, height),
        crop=params.crop,
        margins=params.crop_margin,
        scale=params.scale,
        position=params.position or default_position,
        output_size=params.output_size,
    )


def _background(
    source: Picture,
    alpha: Mask,
    placement: Placement,
    params: BgRemovalParams,
    background_image: Pixels | None,
) -> Pixels | None:
    """The background on the canvas, H x W x 3|4; None if transparent."""
    from ml.imaging import compositing

    width, height = placement.canvas
    if background_image is not None:
        return fitting.cover(background_image, placement.canvas, "center")
    if params.bg_blur:
        blurred = compositing.blur_background(source.rgb, alpha, params.bg_blur)
        if placement.keeps_pixels:
            return crop_or_pad(blurred, placement.frame(), repeat_edge=True)
        return fitting.cover(blurred, placement.canvas, "center")
    color = params.bg_color
    if color is None and params.preset == "marketplace":
        color = _WHITE
    if color is None:
        return None
    channels = 3 if color[3] == 255 else 4
    return np.broadcast_to(np.array(color[:channels], np.uint8), (height, width, channels))


def _answer_size(params: BgRemovalParams, source: tuple[int, int]) -> tuple[int, int] | None:
    if params.output_size is not None:
        return params.output_size
    if not params.crop:
        return source
    if params.crop_margin is not None:
        # The size of a cropped result depends on the foreground, but it is at least as large as its margins.
        top, right, bottom, left = [0 if side.percent else side.pixels(0) for side in params.crop_margin]
        codecs.check_output_size(max(1, left + right), max(1, top + bottom))
    return None


TOOL = Tool(
    name="bg-removal",
    title="Remove background",
    summary="Cut out the foreground of a photo, including hair, on a transparent or another background.",
    params=BgRemovalParams,
    run=run,
    answer_size=_answer_size,
    files=(
        FileField(
            "bg_image",
            "Background image, cropped to fill the result. At most one of bg_image, bg_color and bg_blur.",
        ),
    ),
    checkpoints=foreground.MATTING_CHECKPOINTS,
)
