"""Generative fill: replace what a mask marks.

Without a prompt an object is removed and its surroundings are continued. With a prompt a diffusion checkpoint
paints. Transparency does not change, and transparent pixels are not copied. (The brush erases to
transparency.)
"""

import math
from collections.abc import Container
from typing import TYPE_CHECKING

from pydantic import Field

from ml.editing import erasing_models, text_prompts
from ml.editing.text_prompts import PromptParams
from ml.engines.network_facts import ARTEFACTS, CHECKPOINT
from ml.errors import BadParameter
from ml.imaging import selection_prompts
from ml.imaging.mask_modes import MASK_MODE, MaskMode, reject_mask_mode
from ml.imaging.selection_prompts import BoxesField, ClicksField
from ml.imaging.strokes import StrokesField
from ml.pixels import Mask, Picture
from ml.tool import Context, FileField, Tool, ToolResult

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ml.engines.installed import InstalledEngines

_MASK = "mask"


class GenerativeFillParams(PromptParams):
    strokes: StrokesField | None = Field(
        None,
        description='Instead of a mask: brush strokes as JSON, [{"points":[[x,y],…],"size":24,"hardness":0.8,'
        '"opacity":1}]; at most 1,000 strokes and 100,000 points. With points or box: in addition to what'
        " these select.",
    )
    points: ClicksField | None = Field(
        None,
        description="Instead of a mask: points as JSON, [[x,y,1],…]; 1 is on the object, 0 is not. For"
        " several objects groups of points: [[[x,y,1],…],[[x,y,1],…]].",
    )
    box: BoxesField | None = Field(
        None,
        description="Instead of a mask, or with points: a box around the object, [left,top,right,bottom], or"
        " a list of boxes, one for each object.",
    )
    mask_mode: MaskMode = MASK_MODE
    strength: float | None = Field(
        None, gt=0, le=1, description="How much the existing content may change. Requires a prompt."
    )
    grow_mask: int = Field(5, ge=0, le=100, description="Grow the mask by this many pixels.")
    feather: int = Field(
        8,
        ge=0,
        le=64,
        description="Blend over this many pixels beyond the mask. Pixels farther away do not change.",
    )

    def for_reduced(self, source: tuple[int, int], reduced: tuple[int, int]) -> "GenerativeFillParams":
        factors = (reduced[0] / source[0], reduced[1] / source[1])
        names = {"grow_mask", "feather"} & self.model_fields_set
        scaled: dict[str, object] = {name: round(getattr(self, name) * factors[0]) for name in names}
        scaled |= selection_prompts.scaled_fields(self.strokes, self.points, self.box, factors)
        return self.model_copy(update=scaled) if scaled else self


def _check_files(params: GenerativeFillParams, names: Container[str]) -> None:
    is_drawn = any(each is not None for each in (params.strokes, params.points, params.box))
    if _MASK in names and is_drawn:
        raise BadParameter(_MASK, "send either mask or mask_id, or strokes, points and box")
    if _MASK not in names:
        reject_mask_mode(params.mask_mode)
        if not is_drawn:
            raise BadParameter(_MASK, "send mask, mask_id, strokes, points or box")


def _check_installed(params: GenerativeFillParams, engines: "InstalledEngines") -> None:
    text_prompts.check_available(params, engines)
    erasing_models.check_available(params.model, engines)
    if params.points is not None or params.box is not None:
        engines.check_segmenting(CHECKPOINT)


def run(source: Picture, params: GenerativeFillParams, context: Context) -> ToolResult:
    """Raises `ModelUnavailable` for a prompt, `BadParameter` and `EmptyMask` for the mask or prompt."""
    text_prompts.check_available(params, context.engines)
    erasing_models.check_available(params.model, context.engines)
    from ml.imaging import masks

    _check_files(params, context.files)
    context.step("reading the mask", 0.0)
    mask, artefacts = _read_mask(source, params, context)
    grow, feather = _margins(mask, params)
    hole = masks.grow_and_feather(mask, grow, 0) > 0
    size_warnings = _check_size(source, mask, hole, params)
    blend = masks.grow_and_feather(mask, grow, feather)
    if params.has_prompt:
        return _inpaint(source, blend, params, context, artefacts)
    seed = params.seed or 0
    context.step("filling", 0.1)
    erased = erasing_models.fill_and_blend(
        params.model,
        context,
        source.pixels,
        hole,
        blend,
        seed=seed,
        step=lambda fraction: context.step("filling", 0.1 + 0.8 * fraction),
    )
    return ToolResult(
        erased.pixels,
        model=erased.model,
        device=erased.device,
        fields={"seed": seed},
        warnings=[*size_warnings, *erased.warnings],
        artefacts=artefacts,
    )


def _check_size(
    source: Picture, mask: Mask, hole: "NDArray[np.bool_]", params: GenerativeFillParams
) -> list[str]:
    """Warnings about how much is to be replaced. Raises `BadParameter` if too little is left."""
    from ml.editing import replacing

    if not params.has_prompt:
        is_grown = replacing.replaced_share(source.pixels, mask > 0) <= replacing.LARGEST_SHARE
        is_grown |= bool(hole.all() and not mask.all())
        grown = "grow_mask" if is_grown else None
        return replacing.warnings_of_share(source.pixels, hole, _origin(params), grown)
    if hole.all():
        name = _origin(params) if mask.all() else "grow_mask"
        raise BadParameter(name, f"the area to replace covers the whole image with this {name}")
    return []


def _origin(params: GenerativeFillParams) -> str:
    """The parameter that the mask comes from."""
    names = (name for name in ("strokes", "points", "box") if getattr(params, name) is not None)
    return next(names, _MASK)


def _margins(mask: Mask, params: GenerativeFillParams) -> tuple[int, int]:
    """How far to grow and to feather. A thin mask limits those that were not given.

    Otherwise a scratch of one pixel would become a strip of 27, of which little could be restored.
    """
    from ml.imaging import masks

    grow, feather = params.grow_mask, params.feather
    if not params.has_prompt:
        thickness = masks.thickness(mask)
        if "grow_mask" not in params.model_fields_set:
            grow = min(grow, math.ceil(thickness / 2))
        if "feather" not in params.model_fields_set:
            feather = min(feather, thickness)
    return grow, feather


def _inpaint(
    source: Picture,
    blend: Mask,
    params: GenerativeFillParams,
    context: Context,
    artefacts: dict[str, bytes],
) -> ToolResult:
    from ml.editing import repainting

    engine, options, warnings = text_prompts.load_inpainter(params, context, 0.05)
    pixels = repainting.repaint(
        source.pixels,
        blend,
        engine,
        options,
        lambda fraction: context.step("painting", 0.1 + 0.8 * fraction),
    )
    return ToolResult(
        pixels,
        model=engine.checkpoint,
        device=engine.device,
        fields={"seed": options.seed},
        warnings=warnings,
        artefacts=artefacts,
    )


def _read_mask(
    source: Picture, params: GenerativeFillParams, context: Context
) -> tuple[Mask, dict[str, bytes]]:
    """The mask, from a file or else from strokes, a selection or both; and the artefacts of a selection."""
    import numpy as np

    from ml.imaging import masks

    content = context.files.get(_MASK)
    if content is not None:
        return masks.from_file(content, source, params.mask_mode), {}
    drawn = None
    if params.strokes is not None:
        drawn = masks.from_strokes(params.strokes, source.width, source.height)
    if params.points is not None or params.box is not None:
        from ml.editing import selecting

        selection = selecting.select_objects(source, params.points, params.box, context)
        selected = masks.require_partial(selection.mask, "points" if params.points else "box")
        return selected if drawn is None else np.maximum(selected, drawn), selection.artefacts
    assert drawn is not None
    return drawn, {}


TOOL = Tool(
    name="generative-fill",
    title="Generative fill",
    summary="Remove an object and fill the area from its surroundings, or from a prompt.",
    params=GenerativeFillParams,
    run=run,
    check_files=_check_files,
    check_installed=_check_installed,
    files=(
        FileField(
            _MASK,
            "Area to replace: white = replace, black or transparent = keep, grey = partially. A mask of"
            " another size is resized if it has the image's aspect ratio. mask_id: a mask from"
            " magic-select.",
            id_field="mask_id",
        ),
    ),
    artefacts=ARTEFACTS,
    is_random=text_prompts.is_random,
    cost=text_prompts.cost,
)
