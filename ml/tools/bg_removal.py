"""Background removal: the foreground of a photo, alone or on another background."""

import numpy as np

from ml.editing import foreground
from ml.errors import BadParameter, NothingFound, PictureTooLarge, UnreadablePicture, UnsupportedFormat
from ml.imaging import codecs, fitting
from ml.imaging.framing import framed, object_box
from ml.imaging.geometry import Box, box_of_corners
from ml.imaging.placement import Placement, Position, place_object
from ml.pixels import Mask, Matte, Picture, Pixels
from ml.tool import Context, FileField, Tool, ToolResult
from ml.tools.bg_removal_params import BgRemovalParams

_WHITE = (255, 255, 255, 255)


def run(source: Picture, params: BgRemovalParams, context: Context) -> ToolResult:
    """Raises NothingFound where there is no foreground, ModelUnavailable, BadParameter."""
    context.step("loading", 0.0)
    image_behind = _image_behind(params, context)
    region = _region(source, params)
    engine, warnings = foreground.choose_engine(params.model, context)
    context.step("finding the foreground", 0.1)
    inside = Picture(source.pixels[region.top : region.bottom, region.left : region.right], source.format)
    seen = foreground.visible(inside)
    matte = foreground.find(engine, seen)
    context.step("refining edges", 0.5)
    alpha = _refined(inside, seen, matte)
    box = object_box(alpha)
    if box is None:
        raise NothingFound("No foreground was found in this picture.")
    context.step("finishing", 0.7)
    # The edge is finished within the region, so that nothing outside of it becomes visible.
    edge = _finished_edge(alpha, params)
    whole = Box(-region.left, -region.top, source.width - region.left, source.height - region.top)
    return ToolResult(
        _finish(source, framed(alpha, whole), framed(edge, whole), params, image_behind),
        model=engine.checkpoint,
        device=engine.device,
        fields={
            "foreground": {
                "top": box.top + region.top,
                "left": box.left + region.left,
                "width": box.width,
                "height": box.height,
            },
        },
        warnings=warnings,
    )


def _image_behind(params: BgRemovalParams, context: Context) -> Pixels | None:
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


def _refined(inside: Picture, seen: Pixels, matte: Matte) -> Mask:
    from ml.imaging.matting import refinement

    alpha = refinement.refine(seen, matte)
    # What was transparent before stays so. Not the product: it would thin the edges of a cut-out.
    return np.minimum(alpha, inside.pixels[..., 3]) if inside.has_alpha else alpha


def _finished_edge(alpha: Mask, params: BgRemovalParams) -> Mask:
    from ml.imaging import compositing

    edge = alpha
    if params.shift_edge:
        edge = compositing.shifted_edge(alpha, params.shift_edge)
        if object_box(edge) is None:
            raise BadParameter("shift_edge", "shift_edge leaves nothing of the object in this picture")
    return compositing.feathered(edge, params.feather)


def _finish(
    source: Picture, alpha: Mask, edge: Mask, params: BgRemovalParams, image_behind: Pixels | None
) -> Pixels | Mask:
    """The answer: what is seen through `edge` of the source, whose own mix is told by `alpha`."""
    from ml.imaging import compositing, shadows
    from ml.imaging.matting import decontamination

    placement = _placement(edge, params)
    if params.channels == "alpha":
        return placement.mask(edge)
    colors = source.rgb
    if params.decontaminate:
        colors = decontamination.decontaminate(colors, alpha, shown=edge)
    colors, edge = placement.cutout(colors, edge)
    behind = _behind(source, alpha, placement, params, image_behind)
    if params.shadow == "drop":
        behind = shadows.shaded(behind, shadows.drop_shadow(edge, params.shadow_opacity))
    return compositing.laid_on(colors, edge, behind)


def _placement(edge: Mask, params: BgRemovalParams) -> Placement:
    height, width = edge.shape
    box = object_box(edge)
    if box is None:  # feathered away to almost nothing
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


def _behind(
    source: Picture, alpha: Mask, placement: Placement, params: BgRemovalParams, image_behind: Pixels | None
) -> Pixels | None:
    """What lies behind the object on the canvas, H x W x 3|4; None for nothing."""
    from ml.imaging import compositing

    width, height = placement.canvas
    if image_behind is not None:
        return fitting.cover(image_behind, placement.canvas, "center")
    if params.bg_blur:
        blurred = compositing.blurred_background(source.rgb, alpha, params.bg_blur)
        if placement.keeps_pixels:
            return framed(blurred, placement.frame(), repeat_edge=True)
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
    return None if params.crop else source  # a cropped answer is as large as what is found


TOOL = Tool(
    name="bg-removal",
    title="Remove background",
    summary="Cut out the foreground of a photo, hair included, alone or on another background.",
    params=BgRemovalParams,
    run=run,
    answer_size=_answer_size,
    files=(
        FileField(
            "bg_image",
            "A picture behind the foreground, cut to fill the answer. At most one of bg_image, bg_color and"
            " bg_blur.",
        ),
    ),
    checkpoints=foreground.MATTING_CHECKPOINTS,
)
