"""Pictures whose true alpha and colours are known, and the engines that tests share."""

import atexit
import functools
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.engines.cache import EngineCache
from ml.pixels import Mask, Matte, Pixels
from tests.support.checkpoints import models_dir
from tests.support.ml.photos import photo


@functools.cache
def engines() -> EngineCache:
    """One for all tests of a run, with room for everything."""
    return EngineCache(models_dir(), _compiled_dir(), "cpu", memory_budget_bytes=8 << 30)


def _compiled_dir() -> Path:
    """A folder for compiled networks, which goes when this process ends."""
    directory = Path(tempfile.mkdtemp(prefix="bgeraser-engines-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


@dataclass(frozen=True)
class KnownCutout:
    """`picture` is `foreground` over `background` by `alpha`."""

    picture: Pixels
    alpha: Mask
    foreground: Pixels
    background: Pixels

    def blurred_matte(self, side_pixels: int) -> Matte:
        """What a perfect network of this input size would say: true, and too coarse."""
        small = cv2.resize(self.alpha, (side_pixels, side_pixels), interpolation=cv2.INTER_AREA)
        matte: Matte = cv2.GaussianBlur(small.astype(np.float32) / 255, (0, 0), 1)
        return matte

    def alpha_error(self, alpha: Mask) -> float:
        """Mean error, 0..255, over the soft parts and their surroundings."""
        near = cv2.dilate(cv2.inRange(self.alpha, 1, 254), np.ones((15, 15), np.uint8)) > 0
        return float(np.abs(alpha.astype(np.float32) - self.alpha)[near].mean())

    def color_error(self, colors: Pixels) -> float:
        """Mean error of the colours, 0..255, weighted by how visible they are, over soft pixels."""
        weight = self.alpha.astype(np.float32) / 255 * ((self.alpha > 5) & (self.alpha < 250))
        difference = np.abs(colors.astype(np.float32) - self.foreground).mean(axis=2)
        return float((difference * weight).sum() / weight.sum())


def hairy_alpha(width: int, height: int) -> Mask:
    """A round body with some hundred hairs two or three pixels wide, always the same."""
    random = np.random.default_rng(7)
    alpha = np.zeros((height, width), np.uint8)
    middle, radius = np.array([width / 2, height / 2]), height * 0.28
    cv2.circle(alpha, (width // 2, height // 2), round(radius), 255, -1, cv2.LINE_AA)
    for angle in random.uniform(0, 2 * np.pi, 250):
        steps = np.linspace(0.9, random.uniform(1.2, 1.6), 20)
        bend = angle + random.uniform(-0.5, 0.5) * (steps - 0.9)
        points = middle + radius * steps[:, None] * np.stack([np.cos(bend), np.sin(bend)], axis=1)
        cv2.polylines(alpha, [np.rint(points).astype(np.int32)], False, 255, 2, cv2.LINE_AA)
    blurred: Mask = cv2.GaussianBlur(alpha, (0, 0), 0.8)
    return blurred


def known_cutout(front: str, back: str, width: int = 1600, height: int = 1200) -> KnownCutout:
    """Colours of one photo, cut out by `hairy_alpha`, over another photo."""
    foreground, background = (
        cv2.resize(photo(name), (width, height), interpolation=cv2.INTER_CUBIC) for name in (front, back)
    )
    alpha = hairy_alpha(width, height)
    share = alpha.astype(np.float32)[..., None] / 255
    picture = np.rint(foreground * share + background * (1 - share)).astype(np.uint8)
    return KnownCutout(picture, alpha, foreground, background)


def enlarged(matte: NDArray[np.float32], picture: Pixels) -> Mask:
    """A network's matte at the picture's size as it is, without any refinement."""
    height, width = picture.shape[:2]
    large = cv2.resize(matte, (width, height), interpolation=cv2.INTER_CUBIC)
    answer: Mask = np.rint(np.clip(large, 0, 1) * 255).astype(np.uint8)
    return answer
