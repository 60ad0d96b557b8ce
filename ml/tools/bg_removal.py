"""Background removal: the foreground of a photo, alone or on another background."""

from typing import TYPE_CHECKING

from ml.editing import cutting, foreground
from ml.errors import BadParameter, NothingFound
from ml.imaging.framing import crop_or_pad, object_box
from ml.imaging.geometry import Box
from ml.pixels import Mask, Picture, Pixels
from ml.tool import Context, FileField, Tool, ToolResult
from ml.tools import cutout_look
from ml.tools.bg_removal_params import BgRemovalParams

if TYPE_CHECKING:
    from ml.engines.installed import InstalledEngines

_KEPT = "The image is a cut-out already: its transparency was kept."


def run(source: Picture, params: BgRemovalParams, context: Context) -> ToolResult:
    """Raises NothingFound if there is no foreground, ModelUnavailable, BadParameter."""
    context.step("loading", 0.0)
    background_image = cutout_look.background_image(params, context)
    region = cutout_look.region_of(source, params)
    engine, warnings = foreground.choose_engine(params.model, context)
    context.step("finding the foreground", 0.1)
    cut = cutting.cut_out(engine, source, lambda: context.step("refining edges", 0.5), region)
    alpha = cut.alpha
    box = object_box(alpha)
    if box is None:
        raise NothingFound("No foreground was found in this image.")
    context.step("finishing", 0.7)
    # Edge operations are limited to the region, so that nothing outside of it becomes visible.
    edge = cutout_look.finish_edge(alpha, params)
    whole = Box(-region.left, -region.top, source.width - region.left, source.height - region.top)
    alpha, edge = crop_or_pad(alpha, whole), crop_or_pad(edge, whole)
    if params.bg_blur and cut.is_kept:
        _require_background(source, alpha)
    return ToolResult(
        _finish(source, alpha, edge, params, background_image, mixed=not cut.is_kept),
        model=None if cut.is_kept else engine.checkpoint,
        device=engine.device,
        fields={
            "foreground": {
                "top": box.top + region.top,
                "left": box.left + region.left,
                "width": box.width,
                "height": box.height,
            },
            "confidence": round(cut.confidence, 3),
        },
        warnings=[*warnings, *([_KEPT] if cut.is_kept else [])],
    )


def _require_background(source: Picture, alpha: Mask) -> None:
    """Raise `BadParameter` for `bg_blur` if no pixel shows mostly background."""
    if not cutout_look.has_background(cutout_look.hidden_background(source, alpha)):
        raise BadParameter("bg_blur", "bg_blur has no effect: the image is a cut-out without a background")


def _finish(
    source: Picture,
    alpha: Mask,
    edge: Mask,
    params: BgRemovalParams,
    background: Pixels | None,
    *,
    mixed: bool,
) -> Pixels | Mask:
    """The result: the source with the alpha `edge`; `alpha` is the estimated opacity of its pixels.

    `mixed` is whether soft pixels show the background too, which those of a finished cut-out do not.
    """
    from ml.imaging import spreading
    from ml.imaging.matting import decontamination

    if params.channels == "alpha":
        return cutout_look.matte(edge, params)
    colors = source.rgb
    if params.decontaminate:
        if mixed:
            colors = decontamination.decontaminate(colors, alpha)
        if (edge > alpha).any():
            colors = spreading.colors_beyond_edge(colors, alpha, edge)
    return cutout_look.finish(source, colors, alpha, edge, params, background)


def _check_installed(params: BgRemovalParams, engines: "InstalledEngines") -> None:
    foreground.check_available(params.model, engines)


TOOL = Tool(
    name="bg-removal",
    title="Remove background",
    summary="Cut out the foreground of a photo, including hair, on a transparent or another background.",
    params=BgRemovalParams,
    run=run,
    answer_size=cutout_look.answer_size,
    check_files=cutout_look.check_background,
    check_installed=_check_installed,
    files=(
        FileField(
            "bg_image",
            "Background image, cropped to fill the result. At most one of bg_image, bg_color,"
            " bg_gradient, bg_scene and bg_blur.",
        ),
    ),
    checkpoints=foreground.MATTING_CHECKPOINTS,
)
