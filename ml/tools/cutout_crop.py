"""Crops, turns, mirrors and resizes the layers of a cut-out alike, as `crop` does with a picture.

A call makes one layer: the cut-out, the photo that it is restored from, or the picture behind it. The call
for the cut-out also answers the box that the others need, and the look that is drawn from the new layers.
Cut-out and photo never show anything but the old ones, and no network runs.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ml.imaging import codecs, fitting, geometry, resampling, subjects, trimming
from ml.imaging.framing import object_box
from ml.imaging.geometry import Box
from ml.imaging.placement import Placement
from ml.imaging.subjects import SubjectMove
from ml.params import Params
from ml.pixels import Mask, Picture, Pixels
from ml.tool import Context, FileField, Tool, ToolResult
from ml.tools import crop, cutout_look
from ml.tools.bg_removal_params import BgRemovalParams
from ml.tools.crop import CropParams
from ml.tools.cropped_looks import FrameChange, cropped_look

_TRANSPARENT = (0, 0, 0, 0)
_SMALLEST_REGION = geometry.MIN_BOX_SIDE

Layer = Literal["cutout", "photo", "background"]


class CutoutCropParams(Params):
    crop: CropParams
    #: Form fields of the look in whose frame the layers are cropped.
    look: dict[str, str]
    #: Whether the look has a picture of the user's behind the subject, the file `bg_image`.
    has_picture: bool = False
    layer: Layer = "cutout"
    #: What the cut-out's call has kept: left, top, right, bottom.
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class _Shown:
    """The layers, and how the look shows them."""

    photo: Picture
    colors: Pixels  # of the cut-out
    alpha: Mask
    edge: Mask  # finished
    look: BgRemovalParams
    placement: Placement
    move: SubjectMove

    @property
    def keeps_place(self) -> bool:
        """Whether the look shows the subject where it is in the photo, at the photo's size."""
        whole = Box(0, 0, self.photo.width, self.photo.height)
        return self.move == SubjectMove() and self.placement.keeps_pixels and self.placement.frame() == whole

    def placed(self, colors: Pixels, alpha: Mask) -> tuple[Pixels, Mask]:
        """Colours and alpha of the photo's size where the look shows them."""
        if self.keeps_place:
            return colors, alpha
        colors, alpha = self.placement.cutout(colors, alpha)
        if self.move == SubjectMove():
            return colors, alpha
        box = object_box(self.edge)
        middle = None if box is None else self.placement.middle_of(box)
        return subjects.move_subject(colors, alpha, self.move, middle)

    def placed_mask(self, mask: Mask) -> Mask:
        return mask if self.keeps_place else self.placed(np.zeros((*mask.shape, 3), np.uint8), mask)[1]


def run(photo: Picture, params: CutoutCropParams, context: Context) -> ToolResult:
    """Raises `BadParameter`, and `NothingFound` for a border that cannot be trimmed."""
    context.step("reading", 0.0)
    shown = _read(photo, BgRemovalParams.model_validate(params.look), context)
    context.step("cropping", 0.3)
    box = Box(*params.box) if params.box is not None else _box(shown, params.crop, context)
    if params.layer == "background":
        return ToolResult(_background(shown, box, params.crop, context))
    if params.layer == "photo":
        opaque = np.full(photo.pixels.shape[:2], 255, np.uint8)
        alpha = photo.pixels[..., 3] if photo.has_alpha else opaque
        colors, alpha = shown.placed(photo.rgb, alpha)
        return ToolResult(_without_full_alpha(_cropped(colors, alpha, box, params.crop)))
    pixels = _cropped(*shown.placed(shown.colors, shown.alpha), box, params.crop)
    has_own_background = _has_own_background(shown, params)
    context.step("finishing", 0.7)
    fields = {
        "bbox": [box.left, box.top, box.right, box.bottom],
        "look": {
            **cropped_look(
                params.look,
                shown.look,
                _change(shown, box, params.crop, pixels),
                has_own_background=has_own_background,
            ),
            **_region(shown, box, params.crop),
        },
        "has_own_background": has_own_background,
    }
    return ToolResult(pixels, fields=fields)


def _read(photo: Picture, look: BgRemovalParams, context: Context) -> _Shown:
    colors, alpha = cutout_look.read_cutout(photo, context)
    edge = cutout_look.finish_region(photo, alpha, look)
    placement = cutout_look.placement_of(edge, look)
    move = cutout_look.move_of(look, placement.canvas)
    return _Shown(photo, colors, alpha, edge, look, placement, move)


def _box(shown: _Shown, params: CropParams, context: Context) -> Box:
    """The part that is kept of what the look shows."""
    if params.mode == "trim":
        background = cutout_look.background_image(shown.look, context)
        drawn = cutout_look.finish(shown.photo, shown.colors, shown.alpha, shown.edge, shown.look, background)
        return trimming.content_box(drawn, params.tolerance)
    box = crop.box_of(params, shown.placement.canvas)
    if params.gravity != "subject":
        return box
    subject = object_box(shown.placed_mask(shown.edge))
    return box if subject is None else geometry.over_subject(box, subject, shown.placement.canvas)


def _cropped(colors: Pixels, alpha: Mask, box: Box, params: CropParams) -> Pixels:
    """A layer in the new frame, H x W x 4; transparent where it does not reach."""
    from ml.imaging import compositing

    rows, columns = slice(box.top, box.bottom), slice(box.left, box.right)
    part = compositing.with_alpha(np.ascontiguousarray(colors[rows, columns]), alpha[rows, columns])
    pixels = crop.turned(part, params.rotate, params.flip)
    if params.resize is None:
        return pixels
    padded = params.model_copy(update={"pad_color": _TRANSPARENT}) if params.fit == "pad" else params
    return crop.fit(pixels, params.resize, padded)


def _without_full_alpha(pixels: Pixels) -> Pixels:
    return pixels[..., :3] if (pixels[..., 3] == 255).all() else pixels


def _quarter_turns(degrees: float) -> int:
    """The quarter turns of a rotation. The rest straightens the subject, at most by 45 degrees."""
    return math.floor((degrees + 45) / 90)


def _has_own_background(shown: _Shown, params: CutoutCropParams) -> bool:
    """Whether what is behind the subject cannot be drawn from the look's fields any more."""
    look = shown.look
    is_picture = look.bg_scene is not None or params.has_picture
    is_elsewhere = bool(look.bg_blur) and not shown.keeps_place
    return is_picture or is_elsewhere or params.crop.pad_color is not None


def _background(shown: _Shown, box: Box, params: CropParams, context: Context) -> Pixels:
    """What is behind the subject in the new frame. It is not straightened, so that it fills the frame."""
    picture = cutout_look.background_image(shown.look, context)
    drawn = cutout_look.background_of(shown.photo, shown.alpha, shown.placement, shown.look, picture)
    if drawn is None:
        width, height = shown.placement.canvas
        drawn = np.zeros((height, width, 4), np.uint8)
    part = drawn[box.top : box.bottom, box.left : box.right]
    pixels = crop.turned(part, 90 * _quarter_turns(params.rotate), params.flip)
    frame = resampling.rotated_size(box.width, box.height, params.rotate)
    codecs.check_output_size(*frame)
    pixels = fitting.cover(pixels, frame, "center")
    if params.resize is None:
        return pixels
    if params.fit == "pad" and params.pad_color is None:
        return fitting.cover(pixels, params.resize, "center")
    return crop.fit(pixels, params.resize, params)


def _change(shown: _Shown, box: Box, params: CropParams, pixels: Pixels) -> FrameChange:
    """`pixels`: the new cut-out."""
    placed = shown.placement
    layers = placed.zoom * shown.move.scale
    scale = _scale(box, params)
    edge = shown.placed_mask(shown.edge)
    outlined = cutout_look.shown_subject(shown.colors, shown.edge, placed, shown.look)[1]
    return FrameChange(
        quarter_turns=_quarter_turns(params.rotate),
        flip=params.flip,
        zoom=layers * scale,
        scale=scale,
        edge_before=_object_size(shown.edge),
        edge_after=_object_size(_cropped_mask(edge, box, params)),
        shown_before=_object_size(outlined),
        shown_after=_object_size(_cropped_mask(outlined, box, params)),
        longer_side_before=max(placed.canvas),
        longer_side_after=max(pixels.shape[:2]),
    )


def _scale(box: Box, params: CropParams) -> float:
    if params.resize is None:
        return 1.0
    width, height = resampling.rotated_size(box.width, box.height, params.rotate)
    factors = params.resize[0] / width, params.resize[1] / height
    return max(factors) if params.fit == "cover" else min(factors)


def _cropped_mask(mask: Mask, box: Box, params: CropParams) -> Mask:
    return np.ascontiguousarray(_cropped(np.zeros((*mask.shape, 3), np.uint8), mask, box, params)[..., 3])


def _object_size(mask: Mask) -> float:
    box = object_box(mask)
    return 0.0 if box is None else math.sqrt(box.width * box.height)


def _region(shown: _Shown, box: Box, params: CropParams) -> dict[str, str]:
    """The region of interest in the new frame, if the look has one and it is seen there."""
    if shown.look.roi is None:
        return {}
    region = cutout_look.region_of(shown.photo, shown.look)
    mask = np.zeros_like(shown.alpha)
    mask[region.top : region.bottom, region.left : region.right] = 255
    seen = object_box(_cropped_mask(shown.placed_mask(mask), box, params))
    if seen is None or min(seen.width, seen.height) < _SMALLEST_REGION:
        return {}
    return {"roi": f"{seen.left} {seen.top} {seen.right} {seen.bottom}"}


def _answer_size(params: CutoutCropParams, source: tuple[int, int]) -> tuple[int, int] | None:
    frame = cutout_look.answer_size(BgRemovalParams.model_validate(params.look), source)
    if frame is None:  # it depends on the subject, so the result is checked while it is made
        return params.crop.resize if params.crop.fit != "contain" else None
    return crop.TOOL.answer_size(params.crop, frame)


TOOL = Tool(
    name="cutout-crop",
    title="Crop of a cut-out",
    summary="A layer of a cut-out, cropped, rotated, mirrored or resized.",
    params=CutoutCropParams,
    run=run,
    answer_size=_answer_size,
    files=(
        FileField(cutout_look.CUTOUT, "The cut-out of the image, of the same size."),
        FileField("bg_image", "The background image of the look."),
    ),
)
