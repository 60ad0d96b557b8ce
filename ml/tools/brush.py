"""Brush: erase, restore, paint, blur or heal under strokes or a mask."""

from collections.abc import Container
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from ml.editing import erasing_models
from ml.editing.erasing_models import ErasingModel, model_field
from ml.errors import BadParameter, MlError
from ml.imaging import codecs, strokes
from ml.imaging.mask_modes import MASK_MODE, MaskMode, reject_mask_mode
from ml.imaging.strokes import StrokesField
from ml.params import ColorField, Params, parameter_error
from ml.pixels import Mask, Picture, Pixels
from ml.tool import Context, FileField, Tool, ToolResult

if TYPE_CHECKING:
    from ml.engines.installed import InstalledEngines

_MASK = "mask"
_ORIGINAL = "original"
_ROWS_AT_ONCE = 256


class BrushParams(Params):
    op: Literal["erase", "restore", "paint", "blur", "heal"] = Field(
        description="erase makes pixels transparent, restore copies them from the original, paint applies"
        " a colour, blur softens by 1% of the longer side, heal removes a blemish by filling it from"
        " its surroundings."
    )
    strokes: StrokesField | None = Field(
        None,
        description='Brush strokes as JSON: [{"points":[[x,y],…],"size":24,"hardness":0.8,"opacity":1}]; size'
        " is the diameter in pixels. At most 1,000 strokes and 100,000 points.",
    )
    mask_mode: MaskMode = MASK_MODE
    color: ColorField | None = Field(
        None, description="Paint colour: #rgb, #rrggbb, #rrggbbaa or a CSS colour name. Requires op=paint."
    )
    model: ErasingModel = model_field("Requires op=heal.")

    @model_validator(mode="after")
    def _reject_without_effect(self) -> "BrushParams":
        """Reject parameters that have no effect instead of ignoring them."""
        if self.op == "paint" and self.color is None:
            raise parameter_error("color", "is needed to paint")
        if self.op != "paint" and self.color is not None:
            raise parameter_error("color", "has an effect only with op=paint")
        if self.op != "heal" and self.model != "auto":
            raise parameter_error("model", "has an effect only with op=heal")
        return self

    def for_reduced(self, source: tuple[int, int], reduced: tuple[int, int]) -> "BrushParams":
        if self.strokes is None:
            return self
        factors = (reduced[0] / source[0], reduced[1] / source[1])
        return self.model_copy(update={"strokes": strokes.scaled(self.strokes, factors)})


def _check_files(params: BrushParams, names: Container[str]) -> None:
    if _MASK in names and params.strokes is not None:
        raise BadParameter(_MASK, "send either strokes or a mask")
    if _MASK not in names:
        reject_mask_mode(params.mask_mode)
        if params.strokes is None:
            raise BadParameter("strokes", "send strokes or a mask")
    if _ORIGINAL in names and params.op != "restore":
        raise BadParameter(_ORIGINAL, "original has an effect only with op=restore")
    if _ORIGINAL not in names and params.op == "restore":
        raise BadParameter(_ORIGINAL, "restore needs the original: send original or original_id")


def _check_installed(params: BrushParams, engines: "InstalledEngines") -> None:
    erasing_models.check_available(params.model, engines)


def run(source: Picture, params: BrushParams, context: Context) -> ToolResult:
    """Raises `BadParameter` and `EmptyMask` for strokes, mask or original."""
    _check_installed(params, context.engines)
    _check_files(params, context.files)
    context.step("reading the strokes", 0.0)
    mask = _read_mask(source, params, context)
    original = _read_original(source, context)
    context.step("brushing", 0.2)
    if params.op == "heal":
        return _heal(source, mask, params.model, context)
    return ToolResult(_apply(source, mask, original, params, context))


def _heal(source: Picture, mask: Mask, model: ErasingModel, context: Context) -> ToolResult:
    from ml.editing import filling, replacing

    hole = mask > 0
    name = _MASK if _MASK in context.files else "strokes"
    size_warnings = replacing.warnings_of_share(source.pixels, hole, name)
    erased = erasing_models.fill_and_blend(
        model,
        context,
        source.pixels,
        hole,
        mask,
        penalties=filling.OVER,
        step=lambda fraction: context.step("healing", 0.2 + 0.7 * fraction),
    )
    return ToolResult(
        erased.pixels, model=erased.model, device=erased.device, warnings=[*size_warnings, *erased.warnings]
    )


def _apply(
    source: Picture, mask: Mask, original: Pixels | None, params: BrushParams, context: Context
) -> Pixels:
    """Process rows in strips, so that full-size float arrays are never allocated."""
    import cv2

    from ml.editing import brushing

    brings_alpha = params.op == "erase" or (original is not None and original.shape[2] == 4)
    answer = brushing.with_alpha(source.pixels) if brings_alpha else source.pixels.copy()
    if original is not None and answer.shape[2] == 4:
        original = brushing.with_alpha(original)
    blur = brushing.Blur(source.pixels)
    left, top, across, along = cv2.boundingRect(mask)
    for begin in range(top, top + along, _ROWS_AT_ONCE):
        context.step("brushing", 0.2 + 0.7 * (begin - top) / along)
        part = slice(begin, min(top + along, begin + _ROWS_AT_ONCE)), slice(left, left + across)
        if params.op == "erase":
            answer[part] = brushing.erase(answer[part], mask[part])
        elif params.op == "restore":
            assert original is not None
            answer[part] = brushing.blend(answer[part], original[part], mask[part])
        elif params.op == "paint":
            assert params.color is not None
            answer[part] = brushing.paint(answer[part], params.color, mask[part])
        else:
            answer[part] = brushing.blend(answer[part], blur.part(part), mask[part])
    is_opaque = params.op == "restore" and answer.shape[2] == 4 and (answer[..., 3] == 255).all()
    return answer[..., :3] if is_opaque else answer


def _read_mask(source: Picture, params: BrushParams, context: Context) -> Mask:
    from ml.imaging import masks

    content = context.files.get(_MASK)
    if content is not None:
        return masks.from_file(content, source, params.mask_mode)
    assert params.strokes is not None
    return masks.from_strokes(params.strokes, source.width, source.height)


def _read_original(source: Picture, context: Context) -> Pixels | None:
    content = context.files.get(_ORIGINAL)
    if content is None:
        return None
    try:
        original = codecs.decode(content)
    except MlError as error:
        raise BadParameter(_ORIGINAL, f"{_ORIGINAL} cannot be used. {error}") from None
    if (original.width, original.height) != (source.width, source.height):
        raise BadParameter(
            _ORIGINAL,
            f"original is {original.width} x {original.height} pixels, the image {source.width} x"
            f" {source.height}; both must have the same size",
        )
    return original.pixels


TOOL = Tool(
    name="brush",
    title="Brush",
    summary="Erase, restore, paint, blur or heal along brush strokes or in a mask.",
    params=BrushParams,
    run=run,
    check_files=_check_files,
    check_installed=_check_installed,
    files=(
        FileField(
            _MASK,
            "Instead of strokes: the area to edit; white = fully, grey = partially, transparent = not. A mask"
            " of another size is resized if it has the image's aspect ratio.",
            id_field="mask_id",
        ),
        FileField(
            _ORIGINAL,
            "The image to restore from, of the same size. Requires op=restore.",
            id_field="original_id",
            is_sized_as_source=True,
        ),
    ),
)
