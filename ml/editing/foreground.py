"""Finds the foreground of a picture: selects the matting engine and rejects uncertain mattes."""

from typing import TYPE_CHECKING

import numpy as np

from ml.checkpoints.registry import CHECKPOINTS
from ml.errors import BadParameter, ModelUnavailable, NothingFound
from ml.imaging.geometry import Box
from ml.pixels import Matte, Picture, Pixels
from ml.tool import Context

if TYPE_CHECKING:
    from ml.engines.installed import InstalledEngines
    from ml.engines.matting import MattingEngine

AUTO = "auto"
QUALITY = "isnet-general-use"
FAST = "u2netp"

#: Best first. Those after the first two are used only by name.
MATTING_CHECKPOINTS = (
    QUALITY,
    FAST,
    *(
        checkpoint.name
        for checkpoint in CHECKPOINTS.values()
        if checkpoint.tool == "bg-removal" and checkpoint.name not in (QUALITY, FAST)
    ),
)
# The smallest object as a share of the picture: a hundredth of its width and height.
_MIN_SHARE = 1e-4


def choose_engine(model: str, context: Context) -> tuple["MattingEngine", list[str]]:
    """The engine for auto, fast, quality or a checkpoint's name, and warnings.

    Raises `ModelUnavailable`, or `BadParameter` for `model`.
    """
    if model == AUTO:
        return best_engine(context)
    name = _checkpoint(model)
    engine: MattingEngine = context.engines.matting(name)
    if not CHECKPOINTS[name].commercial:
        return engine, [f"The licence of {name} does not clearly allow commercial use."]
    return engine, []


def check_available(model: str, engines: "InstalledEngines") -> None:
    """Raise what `choose_engine` would, and load nothing."""
    if model != AUTO:
        engines.check_matting(_checkpoint(model))
        return
    try:
        engines.check_matting(QUALITY)
    except ModelUnavailable:
        try:
            engines.check_matting(FAST)
        except ModelUnavailable:
            raise _none_installed() from None


def _checkpoint(model: str) -> str:
    """The checkpoint's name. Raises `BadParameter`."""
    name = {"fast": FAST, "quality": QUALITY}.get(model, model)
    if name not in MATTING_CHECKPOINTS:
        raise BadParameter(
            "model", f"must be auto, fast, quality or one of {', '.join(MATTING_CHECKPOINTS)}, not {model}"
        )
    return name


def _none_installed() -> ModelUnavailable:
    # One command installs both.
    return ModelUnavailable(QUALITY, "bgeraser models pull --profile embedded")


def best_engine(context: Context) -> tuple["MattingEngine", list[str]]:
    """The best engine installed, and warnings. Raises `ModelUnavailable`."""
    try:
        return context.engines.matting(QUALITY), []
    except ModelUnavailable as missing:
        try:
            return context.engines.matting(FAST), [f"{FAST} was used, which is less accurate: {missing}"]
        except ModelUnavailable:
            raise _none_installed() from None


def find_matte(engine: "MattingEngine", visible: Pixels) -> Matte:
    """The matte of `visible` (H x W x 3) at the network's own size, without false detections.

    Raises `NothingFound`.
    """
    from ml.imaging.matting import parts

    return parts.remove_uncertain(find_suspected(engine, visible))


def find_suspected(engine: "MattingEngine", visible: Pixels) -> Matte:
    """As `find_matte`, with the parts of which the network is uncertain. Raises `NothingFound`."""
    from ml.engines.matting import CONFIDENT
    from ml.imaging.matting import parts

    matte = engine.matte(visible)
    is_empty = float((matte > CONFIDENT).mean()) < _MIN_SHARE
    if is_empty or parts.is_texture(matte) or parts.is_page_of_text(matte, visible):
        raise NothingFound("No foreground was found in this image.")
    return matte


def flatten_on_white(source: Picture) -> Pixels:
    """The source on white, because colours hidden under transparency are meaningless."""
    if not source.has_alpha:
        return source.rgb
    from ml.imaging import compositing

    return compositing.composite_on_color(source.rgb, source.pixels[..., 3], (255, 255, 255, 255))


def visible_colors(source: Picture) -> Pixels:
    """What a network looks for the foreground in: a cut-out on white, a photo without its frame.

    On white, a photo that was straightened would be an object of its own.
    """
    from ml.imaging import transparency

    if not source.has_alpha or transparency.is_cutout(source.pixels[..., 3]):
        return flatten_on_white(source)
    return transparency.spread_colours(source.pixels)


def matte_box(matte: Matte, picture: tuple[int, int]) -> Box:
    """The box, in a picture of (width, height), around the pixels that are probably foreground.

    Its precision is that of `matte`, which has the network's size.
    """
    is_foreground = matte > min(0.5, float(matte.max()) / 2)
    rows, columns = (np.flatnonzero(is_foreground.any(axis=axis)) for axis in (1, 0))
    across, down = picture[0] / matte.shape[1], picture[1] / matte.shape[0]
    return Box(
        int(columns[0] * across),
        int(rows[0] * down),
        min(picture[0], round((columns[-1] + 1) * across)),
        min(picture[1], round((rows[-1] + 1) * down)),
    )
