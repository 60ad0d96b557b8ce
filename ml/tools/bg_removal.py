"""Background removal: the foreground of a photo, alone or on another background."""

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, model_validator

from ml.checkpoints import CHECKPOINTS
from ml.errors import BadParameter, ModelUnavailable, NothingFound
from ml.framing import MarginsField, framed, object_box, with_margins
from ml.geometry import Box
from ml.params import ColorField, Params, parameter_error
from ml.pixels import Mask, Matte, Picture, Pixels
from ml.tool import Context, Outcome, Tool

if TYPE_CHECKING:
    from ml.engines.matting import MattingEngine

QUALITY = "isnet-general-use"
FAST = "u2netp"

#: Best first; the rest by name only.
_CHECKPOINTS = (
    QUALITY,
    FAST,
    *(
        checkpoint.name
        for checkpoint in CHECKPOINTS.values()
        if checkpoint.tool == "bg-removal" and checkpoint.name not in (QUALITY, FAST)
    ),
)
# An object covers at least this share of the picture, a hundredth of its width and height.
_LEAST_SHARE = 1e-4


class BgRemovalParams(Params):
    model: str = Field(
        "auto",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="auto, fast, quality, or the name of an installed checkpoint. auto is quality if that is"
        " installed, else fast.",
    )
    channels: Literal["rgba", "alpha"] = Field(
        "rgba",
        description="rgba answers the cut-out, alpha its matte as a grey picture (white = foreground).",
    )
    bg_color: ColorField | None = Field(
        None,
        description="Colour behind the foreground: #rgb, #rrggbb, #rrggbbaa or a CSS name. Default: none.",
    )
    bg_blur: int = Field(
        0,
        ge=0,
        le=100,
        description="Keep the photo's own background and blur it this much. 0: do not keep it.",
    )
    crop: bool = Field(False, description="Cut the answer to the foreground.")
    crop_margin: MarginsField | None = Field(
        None,
        description='Room around the foreground (crop): pixels or % of its size, "10%", "20 40" (vertical,'
        ' horizontal) or "1 2 3 4" (top, right, bottom, left). May reach beyond the photo.',
    )
    decontaminate: bool = Field(
        True, description="Take the old background's colour out of soft edges such as hair."
    )
    feather: float = Field(0, ge=0, le=50, description="Soften the edge by this many pixels.")

    @model_validator(mode="after")
    def _one_background(self) -> "BgRemovalParams":
        if self.bg_blur and self.bg_color is not None:
            raise parameter_error("bg_blur", "cannot be combined with bg_color")
        return self

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> "BgRemovalParams":
        """A setting that does nothing is a mistake somewhere; better said than ignored."""
        if self.crop_margin is not None and not self.crop:
            raise parameter_error("crop_margin", "has an effect only with crop=true")
        if self.channels == "alpha" and self.bg_color is not None:
            raise parameter_error("bg_color", "has no effect with channels=alpha")
        if self.channels == "alpha" and self.bg_blur:
            raise parameter_error("bg_blur", "has no effect with channels=alpha")
        return self


def run(source: Picture, params: BgRemovalParams, context: Context) -> Outcome:
    """Raises NothingFound where there is no foreground, ModelUnavailable, BadParameter for `model`."""
    from ml.matting import refinement

    context.step("loading", 0.0)
    engine, warnings = _choose_engine(params.model, context)
    context.step("finding the foreground", 0.1)
    seen = _visible(source)
    matte = engine.matte(seen)
    _check_found(matte)
    context.step("refining edges", 0.5)
    alpha = refinement.refine(seen, matte)
    if source.has_alpha:
        # What was transparent before stays so. Not the product: it would thin the edges of a cut-out.
        alpha = np.minimum(alpha, source.pixels[..., 3])
    box = object_box(alpha)
    if box is None:
        raise NothingFound("No foreground was found in this picture.")
    context.step("finishing", 0.7)
    return Outcome(
        _finish(source, alpha, params),
        model=engine.checkpoint,
        device=engine.device,
        fields={
            "foreground": {"top": box.top, "left": box.left, "width": box.width, "height": box.height},
        },
        warnings=warnings,
    )


def _choose_engine(wanted: str, context: Context) -> tuple["MattingEngine", list[str]]:
    if wanted == "auto":
        return _best_engine(context)
    name = {"fast": FAST, "quality": QUALITY}.get(wanted, wanted)
    try:
        engine: MattingEngine = context.engines.matting(name)
    except KeyError:
        raise BadParameter(
            "model", f"must be auto, fast, quality or one of {', '.join(_CHECKPOINTS)}, not {wanted}"
        ) from None
    if not CHECKPOINTS[name].commercial:
        return engine, [f"The licence of {name} does not clearly allow commercial use."]
    return engine, []


def _best_engine(context: Context) -> tuple["MattingEngine", list[str]]:
    try:
        return context.engines.matting(QUALITY), []
    except ModelUnavailable as missing:
        try:
            return context.engines.matting(FAST), [f"Made with {FAST}, which is less exact: {missing}"]
        except ModelUnavailable:
            # One command brings both.
            raise ModelUnavailable(QUALITY, "bgeraser models pull --profile embedded") from None


def _check_found(matte: Matte) -> None:
    from ml.engines.matting import SURE

    if float((matte > SURE).mean()) < _LEAST_SHARE:
        raise NothingFound("No foreground was found in this picture.")


def _visible(source: Picture) -> Pixels:
    """What one sees of the source on white: colours hidden under transparency tell nothing."""
    if not source.has_alpha:
        return source.rgb
    from ml import compositing

    return compositing.on_color(source.rgb, source.pixels[..., 3], (255, 255, 255, 255))


def _finish(source: Picture, alpha: Mask, params: BgRemovalParams) -> Pixels | Mask:
    from ml import compositing
    from ml.matting import decontamination

    edge = compositing.feathered(alpha, params.feather)
    frame = _frame(edge, params)
    if params.channels == "alpha":
        return framed(edge, frame)
    colors = source.rgb
    if params.decontaminate:
        colors = decontamination.decontaminate(colors, alpha, shown=edge)
    if params.bg_blur:
        behind = compositing.blurred_background(source.rgb, alpha, params.bg_blur)
        return compositing.over(
            framed(colors, frame), framed(edge, frame), framed(behind, frame, repeat_edge=True)
        )
    if params.bg_color is not None:
        return compositing.on_color(framed(colors, frame), framed(edge, frame), params.bg_color)
    return compositing.with_alpha(framed(colors, frame), framed(edge, frame))


def _frame(alpha: Mask, params: BgRemovalParams) -> Box:
    """The part of the picture that is answered."""
    height, width = alpha.shape
    box = object_box(alpha) if params.crop else None
    if box is None:
        return Box(0, 0, width, height)
    return box if params.crop_margin is None else with_margins(box, params.crop_margin)


TOOL = Tool(
    name="bg-removal",
    title="Remove background",
    summary="Cut out the foreground of a photo, hair included, alone or on another background.",
    params=BgRemovalParams,
    run=run,
    checkpoints=_CHECKPOINTS,
)
