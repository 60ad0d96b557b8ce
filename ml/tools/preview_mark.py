"""Previews for guests: a result at a reduced size, with a visible mark.

Not in the public catalogue, because it neither edits the picture nor costs a credit.
"""

from pydantic import Field

from ml.params import Params
from ml.pixels import Picture
from ml.tool import Context, Tool, ToolResult


class PreviewMarkParams(Params):
    side: int = Field(1024, ge=16, le=4096, description="Longest side of the preview in pixels.")
    text: str = Field("Preview", min_length=1, max_length=40, description="The mark.")


def run(source: Picture, params: PreviewMarkParams, context: Context) -> ToolResult:
    from ml.imaging import resampling, watermark

    context.step("marking the preview", 0.5)
    size = reduced_size((source.width, source.height), params.side)
    pixels = source.pixels
    if size != (source.width, source.height):
        pixels = resampling.resize(pixels, size)
    marked, box = watermark.mark(pixels, params.text)
    return ToolResult(marked, fields={"mark_box": box})


def reduced_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(width, height) reduced to at most `side` pixels in both directions."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


TOOL = Tool(
    name="preview-mark",
    title="Preview",
    summary="A result at a reduced size, with a visible mark.",
    params=PreviewMarkParams,
    run=run,
    answer_size=lambda params, source: reduced_size(source, params.side),
)
