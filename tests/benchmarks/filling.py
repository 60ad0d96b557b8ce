"""Removing an object: seconds by the size of picture and object, beside OpenCV's inpainting (Telea, a blur).

The work alone, in this process, without HTTP: a mask becomes a picture without the object.
"""

from functools import partial

import cv2
import numpy as np
from PIL import Image

from ml.pixels import Mask, Picture, Pixels
from ml.tools import generative_fill
from ml.tools.generative_fill import GenerativeFillParams
from tests.benchmarks import load
from tests.benchmarks.report import Report
from tests.support.ml import photos
from tests.support.ml.contexts import Calm

#: Picture's width and height, object's diameter in pixels.
CASES = {
    "1 MP, object of 400": ((1224, 816), 400),
    "12 MP, object of 400": ((4000, 3000), 400),
    "12 MP, object of 1400": ((4000, 3000), 1400),
}
PHOTO = "motorcycle_left"
TURNS = 3


def main(report: Report) -> None:
    section = report.section(
        "Fill", "generative-fill without words, the best of several", "OpenCV's inpainting by Telea"
    )
    for case, (size, diameter) in report.cases(CASES.items()):
        picture = Picture(_picture(size), "png")
        mask = _object(size, diameter)
        context = Calm({"mask": photos.png_bytes(mask)})
        works = {
            "ours": partial(generative_fill.run, picture, GenerativeFillParams(), context),
            "peer": partial(cv2.inpaint, picture.pixels, mask, 5, cv2.INPAINT_TELEA),
        }
        timed = {name: partial(load.timed, work) for name, work in works.items()}
        seconds = load.in_turns(timed, report.times(TURNS))
        section.add(case, "s", min(seconds["ours"]), peer=min(seconds["peer"]))


def _picture(size: tuple[int, int]) -> Pixels:
    """The photo at this size, with the noise of a camera: an enlargement alone would be too smooth."""
    large = np.asarray(Image.fromarray(photos.photo(PHOTO)).resize(size, Image.Resampling.BICUBIC))
    noise = np.random.default_rng(0).normal(0, 4, large.shape)
    return np.clip(large + noise, 0, 255).astype(np.uint8)


def _object(size: tuple[int, int], diameter: int) -> Mask:
    mask = np.zeros((size[1], size[0]), np.uint8)
    cv2.circle(mask, (size[0] // 2, size[1] // 2), diameter // 2, 255, -1)
    return mask
