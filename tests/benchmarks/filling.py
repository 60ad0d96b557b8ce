"""Removing an object: seconds by the size of picture and object, and beside other ways to do it.

The work alone, in this process, without HTTP: a mask becomes a picture without the object.
"""

import time
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from ml.pixels import Mask, Picture, Pixels
from ml.tools import generative_fill
from ml.tools.generative_fill import GenerativeFillParams
from tests.support.ml import photos
from tests.support.ml.contexts import Calm

#: Picture's width and height, object's diameter in pixels.
CASES = {
    "1 MP, object of 400": ((1224, 816), 400),
    "12 MP, object of 400": ((4000, 3000), 400),
    "12 MP, object of 1400": ((4000, 3000), 1400),
}
PHOTO = "motorcycle_left"
RUNS = 3


def _picture(size: tuple[int, int]) -> Pixels:
    """The photo at this size, with the noise of a camera: an enlargement alone would be too smooth."""
    large = np.asarray(Image.fromarray(photos.photo(PHOTO)).resize(size, Image.Resampling.BICUBIC))
    noise = np.random.default_rng(0).normal(0, 4, large.shape)
    return np.clip(large + noise, 0, 255).astype(np.uint8)


def _object(size: tuple[int, int], diameter: int) -> Mask:
    mask = np.zeros((size[1], size[0]), np.uint8)
    cv2.circle(mask, (size[0] // 2, size[1] // 2), diameter // 2, 255, -1)
    return mask


def _seconds(work: Callable[[], object]) -> float:
    took = []
    for _ in range(RUNS):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return min(took)


def main() -> None:
    print(
        "generative-fill without words: seconds (best of three); OpenCV's inpainting (Telea, a blur) beside"
    )
    print(f"{'case':24}{'ours s':>9}{'Telea s':>9}")
    for case, (size, diameter) in CASES.items():
        picture = Picture(_picture(size), "png")
        mask = _object(size, diameter)
        context = Calm({"mask": photos.png_bytes(mask)})
        ours = _seconds(lambda: generative_fill.run(picture, GenerativeFillParams(), context))  # noqa: B023
        telea = _seconds(lambda: cv2.inpaint(picture.pixels, mask, 5, cv2.INPAINT_TELEA))  # noqa: B023
        print(f"{case:24}{ours:9.2f}{telea:9.2f}", flush=True)


if __name__ == "__main__":
    main()
