"""PNGs of 16 bits a channel, rounded to 8.

Pillow keeps 16 bits for grey. For colour it keeps the high byte of each sample, which darkens a picture by
half a level on average. So colour is decoded twice, the second time with swapped byte order, which yields the
low bytes; grey with alpha is decoded once as four 8-bit channels.
"""

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.pixels import Mask, Pixels

# Rounds v / 257, so that 0 stays 0 and 65535 becomes 255.
_TO_8_BITS = ((np.arange(65536, dtype=np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
_CHANNELS = {"I;16B": 1, "LA;16B": 2, "RGB;16B": 3, "RGBA;16B": 4}
_ROWS_AT_ONCE = 256


def load(content: bytes, transparent_color: NDArray[np.int64] | None) -> Image.Image:
    """L, LA, RGB or RGBA from the bytes of a 16-bit PNG. `transparent_color` has 1 or 3 values, 0..65535."""
    image = Image.open(io.BytesIO(content), formats=["PNG"])
    raw_mode = str(image.tile[0].args)
    pixels = np.empty((image.height, image.width, _CHANNELS[raw_mode]), np.uint8)
    alpha = None if transparent_color is None else np.empty(pixels.shape[:2], np.uint8)
    top = 0
    for samples in _sample_strips(content, raw_mode):
        rows = slice(top, top + len(samples))
        _TO_8_BITS.take(samples, out=pixels[rows])
        if alpha is not None and transparent_color is not None:
            alpha[rows] = alpha_of_color(samples, transparent_color)
        top += len(samples)
    answer = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if alpha is not None:
        answer.putalpha(Image.fromarray(alpha))
    return answer


def alpha_of_color(samples: NDArray[np.integer], transparent_color: NDArray[np.int64]) -> Mask:
    """0 where `samples` (H x W x 1|3) are exactly this colour, else 255; H x W."""
    return np.where((samples == transparent_color).all(axis=2), np.uint8(0), np.uint8(255))


def _sample_strips(content: bytes, raw_mode: str) -> Iterator[NDArray[np.uint16]]:
    """The samples, some rows at a time, to limit memory."""
    if raw_mode == "I;16B":
        for strip in _strips(_decode(content, raw_mode)):
            yield strip.astype(np.uint16)
    elif raw_mode == "LA;16B":
        for strip in _strips(_decode(content, "RGBA")):
            yield _joined(strip[..., 0::2], strip[..., 1::2])
    else:
        high, low = _decode(content, raw_mode), _decode(content, raw_mode[:-1] + "L")
        for first, second in zip(_strips(high), _strips(low), strict=True):
            yield _joined(first, second)


def _joined(high: Pixels, low: Pixels) -> NDArray[np.uint16]:
    samples = high.astype(np.uint16)
    samples <<= 8
    samples |= low
    return samples


def _decode(content: bytes, raw_mode: str) -> Image.Image:
    """Decode with another raw mode than Pillow would use."""
    image = Image.open(io.BytesIO(content), formats=["PNG"])
    image.tile = [tile._replace(args=raw_mode) for tile in image.tile]
    image.load()
    return image


def _strips(image: Image.Image) -> Iterator[Pixels]:
    for top in range(0, image.height, _ROWS_AT_ONCE):
        bottom = min(image.height, top + _ROWS_AT_ONCE)
        yield np.atleast_3d(np.asarray(image.crop((0, top, image.width, bottom))))
