"""The ways to cut out an object that are compared: ours, and rembg plain and with alpha matting.

All run ISNet from the same checkpoint file.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ml.engines import rembg_engine
from ml.errors import NothingFound
from ml.pixels import Picture, Pixels
from ml.tools import bg_removal
from ml.tools.bg_removal_params import BgRemovalParams
from tests.support.checkpoints import models_dir
from tests.support.ml.contexts import Calm
from tests.support.ml.cutouts import engines


@dataclass(frozen=True)
class Cutout:
    """The pixels (H x W x 4), and the confidence of cutters that have one. Nothing found: 0."""

    pixels: Pixels
    confidence: float | None = None


#: From a picture (H x W x 3) to its cut-out.
Cutter = Callable[[Pixels], Cutout]

#: rembg's defaults for alpha matting.
_FOREGROUND_THRESHOLD, _BACKGROUND_THRESHOLD, _ERODED_PIXELS = 240, 10, 10


def ours(picture: Pixels) -> Cutout:
    params = BgRemovalParams(model="quality")
    try:
        result = bg_removal.run(Picture(picture, "png"), params, Calm(engines=engines()))
    except NothingFound:
        return Cutout(np.dstack([picture, np.zeros(picture.shape[:2], np.uint8)]), 0.0)
    return Cutout(result.pixels, float(result.fields["confidence"]))


class Rembg:
    """rembg with its own session. Importing its alpha matting compiles numba code once, for a minute."""

    def __init__(self) -> None:
        os.environ["U2NET_HOME"] = str(models_dir())
        os.environ["MODEL_CHECKSUM_DISABLED"] = "1"
        self._session: Any = rembg_engine.import_sessions().new_session("isnet-general-use")
        from rembg import bg

        self._cut = bg
        self._last: tuple[Pixels, Image.Image] | None = None

    def plain(self, picture: Pixels) -> Cutout:
        return Cutout(np.dstack([picture, np.asarray(self._mask(picture))]))

    def with_matting(self, picture: Pixels) -> Cutout:
        image = Image.fromarray(picture)
        mask = self._mask(picture)
        try:
            cutout = self._cut.alpha_matting_cutout(
                image, mask, _FOREGROUND_THRESHOLD, _BACKGROUND_THRESHOLD, _ERODED_PIXELS
            )
        except ValueError:  # rembg itself falls back like this if the mask has no certain part
            cutout = self._cut.naive_cutout(image, mask)
        return Cutout(np.asarray(cutout.convert("RGBA")))

    def _mask(self, picture: Pixels) -> Image.Image:
        """The network runs once for both ways."""
        if self._last is None or self._last[0] is not picture:
            self._last = picture, self._session.predict(Image.fromarray(picture))[0]
        return self._last[1]
