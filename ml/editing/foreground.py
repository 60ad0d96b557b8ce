"""The foreground of a picture: which engine finds it, and what is sure enough to be one."""

from typing import TYPE_CHECKING

import numpy as np

from ml.checkpoints.registry import CHECKPOINTS
from ml.errors import BadParameter, ModelUnavailable, NothingFound
from ml.imaging.geometry import Box
from ml.pixels import Matte, Picture, Pixels
from ml.tool import Context

if TYPE_CHECKING:
    from ml.engines.matting import MattingEngine

QUALITY = "isnet-general-use"
FAST = "u2netp"

#: Best first; the rest by name only.
MATTING_CHECKPOINTS = (
    QUALITY,
    FAST,
    *(
        checkpoint.name
        for checkpoint in CHECKPOINTS.values()
        if checkpoint.tool == "bg-removal" and checkpoint.name not in (QUALITY, FAST)
    ),
)
# An object covers at least this share of the picture, a hundredth of its width and height.
_MIN_SHARE = 1e-4


def choose_engine(wanted: str, context: Context) -> tuple["MattingEngine", list[str]]:
    """The engine for auto, fast, quality or a checkpoint's name, and warnings.

    Raises `ModelUnavailable`, or `BadParameter` for `model`.
    """
    if wanted == "auto":
        return best_engine(context)
    name = {"fast": FAST, "quality": QUALITY}.get(wanted, wanted)
    try:
        engine: MattingEngine = context.engines.matting(name)
    except KeyError:
        raise BadParameter(
            "model", f"must be auto, fast, quality or one of {', '.join(MATTING_CHECKPOINTS)}, not {wanted}"
        ) from None
    if not CHECKPOINTS[name].commercial:
        return engine, [f"The licence of {name} does not clearly allow commercial use."]
    return engine, []


def best_engine(context: Context) -> tuple["MattingEngine", list[str]]:
    """The best engine installed, and warnings. Raises `ModelUnavailable`."""
    try:
        return context.engines.matting(QUALITY), []
    except ModelUnavailable as missing:
        try:
            return context.engines.matting(FAST), [f"Made with {FAST}, which is less exact: {missing}"]
        except ModelUnavailable:
            # One command brings both.
            raise ModelUnavailable(QUALITY, "bgeraser models pull --profile embedded") from None


def find_matte(engine: "MattingEngine", seen: Pixels) -> Matte:
    """The matte of `seen` (H x W x 3) at the network's own size. Raises `NothingFound`."""
    from ml.engines.matting import CONFIDENT

    matte = engine.matte(seen)
    if float((matte > CONFIDENT).mean()) < _MIN_SHARE:
        raise NothingFound("No foreground was found in this picture.")
    return matte


def flatten_on_white(source: Picture) -> Pixels:
    """What one sees of the source on white: colours hidden under transparency tell nothing."""
    if not source.has_alpha:
        return source.rgb
    from ml.imaging import compositing

    return compositing.composite_on_color(source.rgb, source.pixels[..., 3], (255, 255, 255, 255))


def matte_box(matte: Matte, picture: tuple[int, int]) -> Box:
    """The box, in a picture of (width, height), around what is rather foreground than not.

    `matte` is at the network's size: the box is as exact as its pixels are.
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
