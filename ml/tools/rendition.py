"""Renditions: the same picture in another size or file type, for screens and downloads.

Not in the public catalogue, because it neither edits the picture nor costs a credit. It runs in a worker,
because only workers decode pictures.
"""

from pydantic import Field

from ml.params import Params
from ml.pixels import Picture
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


def run(source: Picture, params: RenditionParams, context: Context) -> ToolResult:
    """Raises `PictureTooLarge`."""
    context.step("resizing", 0.2)
    size = fitting_size(source.width, source.height, params.width)
    if size == (source.width, source.height):
        return ToolResult(source.pixels)
    from ml.imaging import resampling

    return ToolResult(resampling.resize(source.pixels, size))


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
