"""The photos that benchmarks send, and whether two cut-outs of one show the same object."""

import io

import numpy as np
from PIL import Image

from ml.pixels import Mask
from tests.support.ml.photos import jpeg_bytes, photo

SIZES = {"1 MP": (1224, 816), "9 MP": (3672, 2448)}
SMALL = (600, 400)
NAMES = ("coffee", "chelsea", "astronaut", "motorcycle_left")


def jpegs_of(size: tuple[int, int]) -> list[bytes]:
    """Each photo as a JPEG of this width and height."""
    return [jpeg_bytes(np.asarray(_resized(name, size))) for name in NAMES]


def _resized(name: str, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(photo(name)).resize(size, Image.Resampling.LANCZOS)


def iou(first: bytes, second: bytes) -> float:
    """Of the objects of two cut-outs in PNG, 0..1: 0 if their sizes differ."""
    one, other = (_alpha(content) > 127 for content in (first, second))
    if one.shape != other.shape:
        return 0.0
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0


def _alpha(content: bytes) -> Mask:
    with Image.open(io.BytesIO(content)) as opened:
        answer: Mask = np.asarray(opened.convert("RGBA"))[..., 3]
    return answer
