"""Generative expand: extend a picture beyond its edges.

Without a prompt the surroundings are continued by a network or by patches. For patches, foreground objects
are recognised, if a matting checkpoint is installed, so that they are not duplicated. With a prompt a
diffusion checkpoint repaints what patches filled, window by window outwards. The new area continues the
transparency of the edge.
"""

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from ml.editing import erasing_models, text_prompts
from ml.editing.text_prompts import PromptParams
from ml.errors import BadParameter, ModelUnavailable
from ml.imaging import codecs, geometry
from ml.imaging.geometry import AspectRatioField, Gravity
from ml.params import Length, LengthField, parameter_error
from ml.pixels import Mask, Matte, Picture, Pixels
from ml.tool import Context, Tool, ToolResult

if TYPE_CHECKING:
    from ml.editing.expanding import Margins
    from ml.engines.installed import InstalledEngines
    from ml.engines.matting import MattingEngine
    from ml.imaging.pyramid import Region

_SIDES = ("left", "right", "top", "bottom")
_SIZE = ("width", "height")
_HORIZONTAL = frozenset({"left", "right", "width"})
_FOREGROUND_CHECKPOINTS = ("isnet-general-use", "u2netp")
# Progress after the first fill with a prompt, and after the fill without one.
_GUESSED, _FILLED = 0.25, 0.9


class GenerativeExpandParams(PromptParams):
    left: LengthField | None = Field(None, description="Pixels or % of the width to add on the left.")
    right: LengthField | None = Field(None, description="Pixels or % of the width to add on the right.")
    top: LengthField | None = Field(None, description="Pixels or % of the height to add at the top.")
    bottom: LengthField | None = Field(None, description="Pixels or % of the height to add at the bottom.")
    aspect_ratio: AspectRatioField | None = Field(
        None,
        description='Aspect ratio of the result, e.g. "16:9": the smallest such canvas around the image.',
    )
    width: LengthField | None = Field(
        None, description="Width of the result, in pixels or % of the image's width. Default: unchanged."
    )
    height: LengthField | None = Field(
        None, description="Height of the result, in pixels or % of the image's height. Default: unchanged."
    )
    anchor: Gravity = Field(
        "center", description="Position of the image on the new canvas, with aspect_ratio, width or height."
    )
    overlap: int = Field(
        16,
        ge=0,
        le=128,
        description="Blend over this many pixels inside the image's edge, at most a quarter of its"
        " shorter side. Pixels farther inside do not change.",
    )

    @model_validator(mode="after")
    def _check_one_way_to_grow(self) -> "GenerativeExpandParams":
        sides, size = self._given(_SIDES), self._given(_SIZE)
        if sides and size:
            raise parameter_error(size[0], f"cannot be combined with {sides[0]}")
        if self.aspect_ratio is not None and (sides or size):
            raise parameter_error("aspect_ratio", f"cannot be combined with {(sides or size)[0]}")
        if not sides and not size and self.aspect_ratio is None:
            raise parameter_error("left", "is needed, or right, top, bottom, aspect_ratio, width or height")
        if sides and self.anchor != "center":
            raise parameter_error("anchor", "has an effect only with aspect_ratio, width or height")
        for name in (*sides, *size):
            length = getattr(self, name)
            if geometry.is_share(length):
                raise parameter_error(
                    name, f'is less than one pixel; percentages are written "{100 * length.value:g}%"'
                )
        for name in sides:
            if getattr(self, name).value < 0:
                raise parameter_error(name, "must not be negative; use crop to cut")
        return self

    def for_reduced(self, source: tuple[int, int], reduced: tuple[int, int]) -> "GenerativeExpandParams":
        across, along = (after / before for before, after in zip(source, reduced, strict=True))
        factors = {name: across if name in _HORIZONTAL else along for name in (*_SIDES, *_SIZE)}
        scaled: dict[str, object] = {
            name: Length(value=max(1.0, length.value * factor) if length.value else 0.0)
            for name, factor in factors.items()
            if (length := getattr(self, name)) is not None and not length.percent
        }
        return self.model_copy(update={**scaled, "overlap": round(self.overlap * min(across, along))})

    def _given(self, names: tuple[str, ...]) -> list[str]:
        return [name for name in names if getattr(self, name) is not None]


def _check_installed(params: GenerativeExpandParams, engines: "InstalledEngines") -> None:
    text_prompts.check_available(params, engines)
    erasing_models.check_available(params.model, engines)


def run(source: Picture, params: GenerativeExpandParams, context: Context) -> ToolResult:
    """Raises `ModelUnavailable` for a prompt, `BadParameter`, `PictureTooLarge`."""
    _check_installed(params, context.engines)
    left, top, right, bottom = _margins((source.width, source.height), params)
    codecs.check_output_size(source.width + left + right, source.height + top + bottom)
    from ml.editing import expanding, filling

    margins = left, top, right, bottom
    canvas, hole = expanding.extend_canvas(source.pixels, margins)
    blend = expanding.blend_mask(source.pixels, hole, params.overlap)
    seed = params.seed or 0
    filled_at = _GUESSED if params.has_prompt else _FILLED

    def source_costs() -> Matte:
        context.step("analysing the image", 0.0)
        engine = _foreground_engine(context)
        foreground = None if engine is None else engine.matte(source.rgb)
        return expanding.source_costs(hole, margins, foreground)

    erased = erasing_models.fill_and_blend(
        # The prompt's network repaints it, so this need not be good.
        "patchmatch" if params.has_prompt else params.model,
        context,
        canvas,
        hole,
        blend,
        source_costs=source_costs,
        penalties=filling.BEYOND,
        seed=seed,
        step=lambda fraction: context.step("filling", 0.1 + (filled_at - 0.1) * fraction),
    )
    result = ToolResult(
        erased.pixels,
        model=erased.model,
        device=erased.device,
        fields={"seed": seed, "bbox": [left, top, left + source.width, top + source.height]},
        warnings=erased.warnings,
    )
    if params.has_prompt:
        _paint(result, canvas, hole, blend, params, context)
    return result


def _paint(
    result: ToolResult,
    canvas: Pixels,
    hole: "Region",
    blend: Mask,
    params: GenerativeExpandParams,
    context: Context,
) -> None:
    """Paint the new area by the prompt, starting from the first fill in `result`."""
    from ml.editing import repainting

    engine, options, result.warnings = text_prompts.load_inpainter(params, context, _GUESSED)
    result.pixels = repainting.outpaint(
        canvas,
        result.pixels,
        hole,
        blend,
        engine,
        options,
        lambda fraction: context.step("painting", _GUESSED + (_FILLED - _GUESSED) * fraction),
    )
    result.model, result.device = engine.checkpoint, engine.device
    result.fields["seed"] = options.seed


def _answer_size(params: GenerativeExpandParams, source: tuple[int, int]) -> tuple[int, int]:
    left, top, right, bottom = _margins(source, params)
    return source[0] + left + right, source[1] + top + bottom


def _margins(size: tuple[int, int], params: GenerativeExpandParams) -> "Margins":
    """Raises `BadParameter` if the canvas would not be larger than the picture of `size`."""
    given = [name for name in (*_SIDES, *_SIZE, "aspect_ratio") if getattr(params, name) is not None]
    if params.aspect_ratio is not None:
        margins = _around(size, _of_ratio(size, params.aspect_ratio), params.anchor)
    elif params.width is not None or params.height is not None:
        canvas = _side("width", params.width, size[0]), _side("height", params.height, size[1])
        margins = _around(size, canvas, params.anchor)
    else:
        margins = (
            _pixels(params.left, size[0]),
            _pixels(params.top, size[1]),
            _pixels(params.right, size[0]),
            _pixels(params.bottom, size[1]),
        )
    if not any(margins):
        raise BadParameter(given[0], f"{given[0]} adds no pixel to this image of {size[0]} x {size[1]}")
    return margins


def _pixels(length: Length | None, side: int) -> int:
    return 0 if length is None else length.pixels(side)


def _side(name: str, length: Length | None, own: int) -> int:
    wanted = own if length is None else length.pixels(own)
    if wanted < own:
        raise BadParameter(name, f"{name} is {wanted}, less than the image's {own}; use crop to cut")
    return wanted


def _of_ratio(size: tuple[int, int], ratio: tuple[float, float]) -> tuple[int, int]:
    """The smallest canvas of this shape around a picture of this size."""
    width, height = size
    wanted = ratio[0] / ratio[1]
    return (
        (width, max(height, round(width / wanted)))
        if width > height * wanted
        else (
            max(width, round(height * wanted)),
            height,
        )
    )


def _around(size: tuple[int, int], canvas: tuple[int, int], anchor: Gravity) -> "Margins":
    left, top = geometry.place(size, anchor, canvas)
    return left, top, canvas[0] - size[0] - left, canvas[1] - size[1] - top


def _foreground_engine(context: Context) -> "MattingEngine | None":
    for checkpoint in _FOREGROUND_CHECKPOINTS:
        try:
            engine: MattingEngine = context.engines.matting(checkpoint)
        except ModelUnavailable:
            continue
        return engine
    return None


TOOL = Tool(
    name="generative-expand",
    title="Generative expand",
    summary="Extend an image beyond its edges: to an aspect ratio, to a size, or by a length per side.",
    params=GenerativeExpandParams,
    run=run,
    is_random=text_prompts.is_random,
    cost=text_prompts.cost,
    answer_size=_answer_size,
    check_installed=_check_installed,
)
