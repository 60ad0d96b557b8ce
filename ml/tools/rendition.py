"""Renditions: the same picture in another size or file type, for screens and downloads.

Not in the public catalogue, because it neither edits the picture nor costs a credit. It runs in a worker,
because only workers decode pictures.
"""

import numpy as np
from pydantic import Field

from ml.imaging import framing
from ml.params import ColorField, Params
from ml.pixels import Picture, Pixels
from ml.tool import Context, Tool, ToolResult

#: libwebp's limit, and so the longest side of a preview.
MAX_PIXELS_A_SIDE = 16_383


class RenditionParams(Params):
    width: int | None = Field(
        None,
        ge=1,
        le=MAX_PIXELS_A_SIDE,
        description="Width in pixels; the aspect ratio is kept. Narrower images are not enlarged.",
    )
    bg_color: ColorField | None = Field(None, description="Colour behind transparent parts.")
    finds_object: bool = Field(
        False, description="Add `box` to the answer: left, top, right, bottom of what is visible."
    )


def run(source: Picture, params: RenditionParams, context: Context) -> ToolResult:
    """Raises `PictureTooLarge`."""
    context.step("resizing", 0.2)
    size = fitting_size(source.width, source.height, params.width)
    pixels = source.pixels
    if size != (source.width, source.height):
        from ml.imaging import resampling

        pixels = resampling.resize(pixels, size)
    fields = {"box": _object_corners(source.pixels)} if params.finds_object else {}
    return ToolResult(_on_color(pixels, params), fields=fields)


def _object_corners(pixels: Pixels) -> list[int] | None:
    """Of the picture before it is reduced; None if nothing is visible."""
    height, width = pixels.shape[:2]
    if pixels.shape[2] < 4:
        return [0, 0, width, height]
    box = framing.object_box(np.ascontiguousarray(pixels[..., 3]))
    return None if box is None else [box.left, box.top, box.right, box.bottom]


def _on_color(pixels: Pixels, params: RenditionParams) -> Pixels:
    if params.bg_color is None or pixels.shape[2] < 4:
        return pixels
    from ml.imaging import compositing

    return compositing.composite_on_color(pixels[..., :3], pixels[..., 3], params.bg_color)


def fitting_size(width: int, height: int, wanted_width: int | None) -> tuple[int, int]:
    """The rendition's size for a picture of `width` x `height`, never larger than that."""
    if wanted_width is None:
        return width, height
    scale = min(1.0, wanted_width / width, MAX_PIXELS_A_SIDE / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


TOOL = Tool(
    name="rendition",
    title="Rendition",
    summary="The same image in another size or format.",
    params=RenditionParams,
    run=run,
    answer_size=lambda params, source: fitting_size(*source, params.width),
)
