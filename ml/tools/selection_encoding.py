"""Encodes an image for selections, so that the first click does not have to wait for it.

The editor requests this when its selection tools open. The result is the artefact; the mask is empty.
"""

import numpy as np

from ml.engines.network_facts import ARTEFACTS, CHECKPOINT
from ml.params import Params
from ml.pixels import Picture
from ml.tool import Context, Tool, ToolResult


class SelectionEncodingParams(Params):
    pass


def run(
    source: Picture,
    params: SelectionEncodingParams,  # noqa: ARG001 - a tool's signature
    context: Context,
) -> ToolResult:
    """Raises `ModelUnavailable`."""
    from ml.editing import selecting

    return ToolResult(
        np.zeros((1, 1), np.uint8), is_mask=True, artefacts=selecting.encode(source, context, CHECKPOINT)
    )


TOOL = Tool(
    name="selection-encoding",
    title="Selection encoding",
    summary="What magic-select computes once for an image.",
    params=SelectionEncodingParams,
    run=run,
    checkpoints=(CHECKPOINT,),
    artefacts=ARTEFACTS,
    answer_size=lambda _params, _source: (1, 1),
)
