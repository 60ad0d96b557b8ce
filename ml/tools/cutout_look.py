"""The look of a cut-out: its edge, background, shadow, outline and placement, without finding the foreground.

As a tool of its own it draws the editor's looks from a stored cut-out, so that no network runs and the
foreground that was paid for, and retouched since, is kept.
"""

import math
from collections.abc import Container

import numpy as np

from ml.errors import BadParameter, PictureTooLarge, UnreadablePicture, UnsupportedFormat
from ml.imaging import codecs, fitting, gradients, scenes, subjects
from ml.imaging.framing import crop_or_pad, object_box
from ml.imaging.geometry import Box, box_of_corners
from ml.imaging.placement import Placement, Position, place_object
from ml.imaging.subjects import SubjectMove
from ml.pixels import Mask, Picture, Pixels
from ml.tool import Context, FileField, Tool, ToolResult
from ml.tools.bg_removal_params import BgRemovalParams
from ml.tools.cutout_presets import PRESETS

#: The name of the cut-out's file.
CUTOUT = "cutout"
Color = tuple[int, int, int, int]

_BLACK = (0, 0, 0, 255)
_WHITE = (255, 255, 255, 255)
# Pixels beyond the canvas in which a moved subject is drawn for the sake of its outline.
_MOST_ROOM = 256


def check_background(params: BgRemovalParams, names: Container[str]) -> None:
    """Raise `BadParameter` if `bg_image` is one of the files' names and the parameters exclude it."""
    if "bg_image" not in names:
        return
    if params.channels == "alpha":
        raise BadParameter("bg_image", "bg_image has no effect with channels=alpha")
    others = ("bg_blur", "bg_color", "bg_gradient", "bg_scene")
    other = next((name for name in others if getattr(params, name)), None)
    if other is not None:
        raise BadParameter("bg_image", f"bg_image cannot be combined with {other}")


def background_image(params: BgRemovalParams, context: Context) -> Pixels | None:
    """The uploaded background, or the scene. Raises `BadParameter` for `bg_image`."""
    check_background(params, context.files)
    content = context.files.get("bg_image")
    if content is None:
        return None if params.bg_scene is None else scenes.read(params.bg_scene)
    try:
        return codecs.decode(content).pixels
    except (UnreadablePicture, PictureTooLarge, UnsupportedFormat) as error:
        raise BadParameter("bg_image", f"bg_image cannot be used. {error}") from error


def region_of(source: Picture, params: BgRemovalParams) -> Box:
    size = (source.width, source.height)
    return Box(0, 0, *size) if params.roi is None else box_of_corners("roi", params.roi, size)


def finish_edge(alpha: Mask, params: BgRemovalParams) -> Mask:
    from ml.imaging import compositing

    edge = alpha
    if params.shift_edge:
        edge = compositing.shift_edge(alpha, params.shift_edge)
        if object_box(edge) is None:
            raise BadParameter("shift_edge", "shift_edge removes the whole object from this image")
    return compositing.feather(edge, params.feather)


def finish(
    source: Picture,
    colors: Pixels,
    alpha: Mask,
    edge: Mask,
    params: BgRemovalParams,
    background: Pixels | None,
) -> Pixels:
    """The cut-out's `colors` (H x W x 3) with the alpha `edge`, placed, and on its background.

    `alpha` is the opacity before the edge was finished; the original background is where it is low.
    """
    from ml.imaging import compositing, shadows

    placement = placement_of(edge, params)
    colors, edge = shown_subject(colors, edge, placement, params)
    behind = background_of(source, alpha, placement, params, background)
    if params.shadow != "none":
        shadow = _shadow(edge, params)
        behind = shadows.add_shadow(behind, shadow, params.shadow_color or _BLACK)
    return compositing.composite(colors, edge, behind)


def shown_subject(
    colors: Pixels, edge: Mask, placement: Placement, params: BgRemovalParams
) -> tuple[Pixels, Mask]:
    """The cut-out as it is shown on the canvas: its colours (H x W x 3) and its alpha (H x W)."""
    from ml.imaging import stickers

    move, box = move_of(params, placement.canvas), object_box(edge)
    placed = placement.cutout(colors, edge)
    if box is None:  # almost nothing is left after feathering
        return placed
    x, y = placement.middle_of(box)
    if params.outline_width is None:
        return subjects.move_subject(*placed, move, (x, y))
    width = stickers.width_pixels(edge, params.outline_width)
    color, zoom = params.outline_color or _WHITE, placement.zoom * move.scale
    if move == SubjectMove():
        return stickers.add_outline(*placed, width, color, zoom)
    # Around what is moved beyond the canvas, too.
    room = min(math.ceil(stickers.reach_pixels(width, zoom)), _MOST_ROOM)
    roomy_colors = np.pad(placed[0], ((room, room), (room, room), (0, 0)))
    roomy = subjects.move_subject(roomy_colors, np.pad(placed[1], room), move, (x + room, y + room))
    across, down = placement.canvas
    shown_colors, shown = stickers.add_outline(*roomy, width, color, zoom)
    rows, columns = slice(room, room + down), slice(room, room + across)
    return shown_colors[rows, columns], np.ascontiguousarray(shown[rows, columns])


def matte(edge: Mask, params: BgRemovalParams) -> Mask:
    """The alpha (H x W) of the placed cut-out by itself."""
    placement, box = placement_of(edge, params), object_box(edge)
    placed = placement.mask(edge)
    colors = np.zeros((*placed.shape, 3), np.uint8)
    middle = None if box is None else placement.middle_of(box)
    return subjects.move_subject(colors, placed, move_of(params, placement.canvas), middle)[1]


def move_of(params: BgRemovalParams, canvas: tuple[int, int]) -> SubjectMove:
    x, y = (
        0 if length is None else length.pixels(side)
        for length, side in zip((params.subject_x, params.subject_y), canvas, strict=True)
    )
    return SubjectMove(x, y, params.subject_scale / 100, params.subject_rotate)


def _shadow(edge: Mask, params: BgRemovalParams) -> Mask:
    from ml.imaging import shadows

    if params.shadow == "contact":
        return shadows.contact_shadow(edge, params.shadow_opacity, params.shadow_blur)
    return shadows.drop_shadow(
        edge, params.shadow_opacity, params.shadow_x, params.shadow_y, params.shadow_blur
    )


def placement_of(edge: Mask, params: BgRemovalParams) -> Placement:
    """Where the source is on the canvas of the result, by the box of the subject with its outline."""
    from ml.imaging import stickers

    height, width = edge.shape
    box = object_box(edge)
    if params.outline_width is not None:
        box = stickers.outlined_box(edge, stickers.width_pixels(edge, params.outline_width))
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


def background_of(
    source: Picture,
    alpha: Mask,
    placement: Placement,
    params: BgRemovalParams,
    background_image: Pixels | None,
) -> Pixels | None:
    """The background on the canvas, H x W x 3|4; None if transparent.

    That of a cut-out without a background of its own, of which nothing can be blurred, is transparent.
    """
    from ml.imaging import compositing

    width, height = placement.canvas
    if background_image is not None:
        return fitting.cover(background_image, placement.canvas, "center")
    hidden = hidden_background(source, alpha) if params.bg_blur else None
    if hidden is not None and has_background(hidden):
        blurred = compositing.blur_background(source.rgb, hidden, params.bg_blur)
        if placement.keeps_pixels:
            return crop_or_pad(blurred, placement.frame(), repeat_edge=True)
        return fitting.cover(blurred, placement.canvas, "center")
    if params.bg_gradient is not None:
        return gradients.linear(params.bg_gradient, placement.canvas)
    color = color_behind(params)
    if color is None:
        return None
    channels = 3 if color[3] == 255 else 4
    return np.broadcast_to(np.array(color[:channels], np.uint8), (height, width, channels))


def hidden_background(source: Picture, alpha: Mask) -> Mask:
    """How far each pixel (H x W) shows something else than the background of `source`.

    Where the source is transparent, there is nothing of the background either.
    """
    return np.maximum(alpha, 255 - source.pixels[..., 3]) if source.has_alpha else alpha


def has_background(hidden: Mask) -> bool:
    """Whether any pixel shows mostly background; `hidden` as of `hidden_background`."""
    return bool((hidden <= 127).any())


def color_behind(params: BgRemovalParams) -> Color | None:
    """The background's colour, which may be that of the preset."""
    if params.bg_color is not None or params.preset is None:
        return params.bg_color
    return PRESETS[params.preset].background


def answer_size(params: BgRemovalParams, source: tuple[int, int]) -> tuple[int, int] | None:
    if params.output_size is not None:
        return params.output_size
    if not params.crop:
        return source
    if params.crop_margin is not None:
        # The size of a cropped result depends on the foreground, but it is at least as large as its margins.
        top, right, bottom, left = [0 if side.percent else side.pixels(0) for side in params.crop_margin]
        codecs.check_output_size(max(1, left + right), max(1, top + bottom))
    return None


def run(photo: Picture, params: BgRemovalParams, context: Context) -> ToolResult:
    """Draw the look of the stored cut-out of `photo`. Raises `BadParameter`."""
    context.step("reading", 0.0)
    background = background_image(params, context)
    cutout, alpha = read_cutout(photo, context)
    context.step("finishing", 0.2)
    edge = finish_region(photo, alpha, params)
    colors = colors_of(photo, cutout, alpha, edge, params)
    context.step("compositing", 0.5)
    return ToolResult(finish(photo, colors, alpha, edge, params, background))


def read_cutout(photo: Picture, context: Context) -> tuple[Pixels, Mask]:
    """The stored cut-out's colours (H x W x 3) and alpha (H x W). Raises `BadParameter`."""
    cutout = codecs.decode(context.files[CUTOUT]).pixels
    if cutout.shape[:2] != photo.pixels.shape[:2]:
        raise BadParameter(CUTOUT, "the cut-out does not have the photo's size")
    # A restored cut-out may have become opaque.
    alpha = cutout[..., 3].copy() if cutout.shape[2] == 4 else np.full(cutout.shape[:2], 255, np.uint8)
    return cutout[..., :3], alpha


def finish_region(photo: Picture, alpha: Mask, params: BgRemovalParams) -> Mask:
    """`alpha` with its edge finished in the region of interest."""
    region = region_of(photo, params)
    part = slice(region.top, region.bottom), slice(region.left, region.right)
    edge = alpha.copy()
    edge[part] = finish_edge(np.ascontiguousarray(alpha[part]), params)
    return edge


def colors_of(photo: Picture, cutout: Pixels, alpha: Mask, edge: Mask, params: BgRemovalParams) -> Pixels:
    """The cut-out's colours beyond its edge too, or the photo's where the background's tint is kept."""
    soft = (alpha > 0) & (alpha < 255)
    if not params.decontaminate:
        return np.where(((alpha == 0) | soft)[..., None], photo.rgb, cutout)
    if not (edge > alpha).any():
        return cutout
    from ml.imaging import spreading

    return spreading.colors_beyond_edge(cutout, alpha, edge)


TOOL = Tool(
    name="cutout-look",
    title="Look of a cut-out",
    summary="A stored cut-out with another edge, background, shadow, outline or placement.",
    params=BgRemovalParams,
    run=run,
    answer_size=answer_size,
    files=(
        FileField(CUTOUT, "The cut-out of the image, of the same size."),
        FileField("bg_image", "Background image, cropped to fill the result."),
    ),
)
