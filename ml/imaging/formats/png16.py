"""PNGs of 16 bits a channel, rounded to 8.

Pillow keeps 16 bits for grey. For colour it keeps the high byte of each sample, which darkens a picture by
half a level on average. So colour is decoded twice, the second time with swapped byte order, which yields the
low bytes; grey with alpha is decoded once as four 8-bit channels. Some rows at a time are rounded and replace
the high bytes, so that memory holds nothing but the decoded pictures.
"""

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from ml.imaging.formats.png_gamma import Conversion
from ml.pixels import Mask, Pixels

_ROWS_AT_ONCE = 256


def load(
    content: bytes, transparent_color: NDArray[np.int64] | None, conversion: Conversion | None = None
) -> Image.Image:
    """L, LA, RGB or RGBA from the bytes of a 16-bit PNG. `transparent_color` has 1 or 3 values, 0..65535.

    Colours, not alpha, are converted before they are rounded.
    """
    raw_mode = str(_open(content).tile[0].args)
    if raw_mode == "I;16B":
        decoded = _decode(content, raw_mode)
        answer, strips = Image.new("L", decoded.size), _grey_strips(decoded)
    elif raw_mode == "LA;16B":
        decoded = _decode(content, "RGBA")
        answer, strips = Image.new("LA", decoded.size), _grey_alpha_strips(decoded)
    else:
        answer = _decode(content, raw_mode)
        strips = _color_strips(answer, _decode(content, raw_mode[:-1] + "L"))
    alpha = None if transparent_color is None else np.empty((answer.height, answer.width), np.uint8)
    top = 0
    for samples in strips:
        if alpha is not None and transparent_color is not None:
            alpha[top : top + len(samples)] = alpha_of_color(samples, transparent_color)
        answer.paste(Image.fromarray(_in_8_bits(samples, conversion)), (0, top))
        top += len(samples)
    if alpha is not None:
        answer.putalpha(Image.fromarray(alpha))
    return answer


def alpha_of_color(samples: NDArray[np.integer], transparent_color: NDArray[np.int64]) -> Mask:
    """0 where `samples` (H x W x 1|3) are exactly this colour, else 255; H x W."""
    return np.where((samples == transparent_color).all(axis=2), np.uint8(0), np.uint8(255))


def _in_8_bits(samples: NDArray[np.uint16], conversion: Conversion | None) -> Pixels:
    """H x W for one channel."""
    pixels = _rounded(samples)
    if conversion is None:
        return pixels
    if pixels.ndim == 2:
        return conversion.apply(samples)[..., 0]
    colors = 1 if samples.shape[2] == 2 else 3
    pixels[..., :colors] = conversion.apply(samples[..., :colors])
    return pixels


def _rounded(samples: NDArray[np.uint16]) -> Pixels:
    """Rounds v / 257, so that 0 stays 0 and 65535 becomes 255. H x W for one channel."""
    import cv2

    answer: Pixels = cv2.convertScaleAbs(samples, alpha=1 / 257)
    return answer


def _grey_strips(image: Image.Image) -> Iterator[NDArray[np.uint16]]:
    for strip in _strips(image):
        yield strip.astype(np.uint16)


def _grey_alpha_strips(image: Image.Image) -> Iterator[NDArray[np.uint16]]:
    for strip in _strips(image):
        yield _joined(strip[..., 0::2], strip[..., 1::2])


def _color_strips(high: Image.Image, low: Image.Image) -> Iterator[NDArray[np.uint16]]:
    for first, second in zip(_strips(high), _strips(low), strict=True):
        yield _joined(first, second)


def _joined(high: Pixels, low: Pixels) -> NDArray[np.uint16]:
    samples = high.astype(np.uint16)
    samples <<= 8
    samples |= low
    return samples


def _open(content: bytes) -> ImageFile.ImageFile:
    return Image.open(io.BytesIO(content), formats=["PNG"])


def _decode(content: bytes, raw_mode: str) -> Image.Image:
    """Decode with another raw mode than Pillow would use."""
    image = _open(content)
    image.tile = [tile._replace(args=raw_mode) for tile in image.tile]
    image.load()
    return image


def _strips(image: Image.Image) -> Iterator[Pixels]:
    """The pixels, H x W x channels, some rows at a time."""
    for top in range(0, image.height, _ROWS_AT_ONCE):
        bottom = min(image.height, top + _ROWS_AT_ONCE)
        yield np.atleast_3d(np.asarray(image.crop((0, top, image.width, bottom))))
