"""The overlay that the editor shows while the user clicks.

Selects like magic-select, at screen size. It is free, so it has at most 1024 pixels a side. It also makes
guests' previews of selections and their cut-outs.
"""

from ml.engines.network_facts import ARTEFACTS, CHECKPOINT
from ml.pixels import Mask, Picture
from ml.tool import Context, Tool, ToolResult
from ml.tools import magic_select
from ml.tools.magic_select import MagicSelectParams

#: Longest side of an overlay.
OVERLAY_PIXELS = 1024


def run(source: Picture, params: MagicSelectParams, context: Context) -> ToolResult:
    """A mask or cut-out of at most `OVERLAY_PIXELS` a side. Raises as magic-select does."""
    selected = magic_select.run(source, params, context)
    if selected.pixels.ndim == 2:
        selected.pixels = _reduce(selected.pixels)
    else:
        from ml.imaging import resampling

        height, width = selected.pixels.shape[:2]
        selected.pixels = resampling.resize(selected.pixels, _fitting_size(width, height))
    return selected


def _reduce(mask: Mask) -> Mask:
    import cv2

    if max(mask.shape) <= OVERLAY_PIXELS:
        return mask
    width, height = _fitting_size(mask.shape[1], mask.shape[0])
    answer: Mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
    return answer


def _fitting_size(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, OVERLAY_PIXELS / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


TOOL = Tool(
    name="selection-overlay",
    title="Selection overlay",
    summary="The selection of magic-select at screen size.",
    params=MagicSelectParams,
    run=run,
    checkpoints=(CHECKPOINT,),
    artefacts=ARTEFACTS,
    answer_size=lambda _params, source: _fitting_size(*source),
)
