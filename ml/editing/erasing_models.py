"""Fills and blends without words by the model that the caller names, or by the best that is installed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import Field

from ml.engines.network_facts import ERASING_FACTS, PATCHMATCH
from ml.errors import ModelUnavailable
from ml.params import Params
from ml.pixels import Mask, Matte, Pixels
from ml.progress import ReportProgress
from ml.tool import Context

if TYPE_CHECKING:
    from ml.editing.filling import FillPenalties
    from ml.engines.erasing import Eraser
    from ml.engines.installed import InstalledEngines
    from ml.imaging.pyramid import Region

ErasingModel = Literal["auto", "patchmatch", "migan", "lama"]

_AUTO = "auto"


def model_field(requirement: str) -> Any:
    """The parameter of a tool that fills without words; `requirement` says when it has an effect."""
    return Field(
        _AUTO,
        description="What fills the area: patchmatch copies from the surroundings, the networks migan and"
        " lama continue them. auto selects the best that is installed: lama, migan, patchmatch."
        f" {requirement}",
    )


@dataclass(frozen=True)
class Erased:
    pixels: Pixels
    model: str
    device: str
    warnings: list[str] = field(default_factory=list)


def uses_model(params: type[Params]) -> bool:
    """Whether a tool with these parameters fills without words."""
    field = params.model_fields.get("model")
    return field is not None and PATCHMATCH in get_args(field.annotation)


def check_available(model: ErasingModel, engines: "InstalledEngines") -> None:
    """Raise `ModelUnavailable` if `model` is a checkpoint that is not installed. Loads nothing."""
    if model in ERASING_FACTS:
        engines.check_erasing(model)


def fill_and_blend(
    model: ErasingModel,
    context: Context,
    pixels: Pixels,
    hole: "Region",
    blend: Mask,
    *,
    source_costs: Callable[[], Matte | None] = lambda: None,
    penalties: "FillPenalties | None" = None,
    seed: int = 0,
    step: ReportProgress,
) -> Erased:
    """Fill `hole` in `pixels` (H x W x 3|4) from its surroundings, blended by `blend` (H x W).

    Where `blend` is 0, pixels equal the source. Transparency does not change. If the network cannot be used
    for this picture, PatchMatch fills it; `source_costs` and `penalties` are for that. Raises
    `ModelUnavailable`, which `auto` never does.
    """
    import numpy as np

    from ml.editing import filling, replacing

    penalties = penalties or filling.BEHIND
    warnings = []
    engine = _engine(model, context)
    if engine is not None:
        from ml.editing import network_filling
        from ml.engines.erasing import UnstableOutput

        try:
            filled = network_filling.fill(
                np.ascontiguousarray(pixels[..., :3]),
                hole | (blend > 0),
                engine,
                usable=replacing.visible(pixels),
                penalties=penalties,
                seed=seed,
                step=step,
            )
        except network_filling.NoContext:
            reason = "too little of the image is known around the area"
        except UnstableOutput:
            reason = "its result was not usable"
        else:
            return Erased(replacing.blend_colors(pixels, filled, blend), engine.checkpoint, engine.device)
        warnings = [f"The area was filled by {PATCHMATCH} instead of {engine.checkpoint}: {reason}."]
    answer = replacing.fill_and_blend(
        pixels, hole, blend, source_costs=source_costs(), penalties=penalties, seed=seed, step=step
    )
    return Erased(answer, PATCHMATCH, "cpu", warnings)


def _engine(model: ErasingModel, context: Context) -> "Eraser | None":
    """The engine of `model`; None for PatchMatch. Raises `ModelUnavailable` for a named one."""
    if model == PATCHMATCH:
        return None
    if model != _AUTO:
        named: Eraser = context.engines.erasing(model)
        return named
    for checkpoint in ERASING_FACTS:
        try:
            best: Eraser = context.engines.erasing(checkpoint)
        except ModelUnavailable:
            continue
        return best
    return None
