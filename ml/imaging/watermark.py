"""Visible marks: in the corner of a picture that is only a preview, and all over one that is only a test."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ml.pixels import Mask, Pixels

#: The height of the text as a share of the picture's shorter side, and its least height in pixels.
_HEIGHT_SHARE = 0.035
_LEAST_HEIGHT = 9
_PLATE = (0, 0, 0, 150)
_TEXT = (255, 255, 255, 235)


def mark(pixels: Pixels, text: str) -> tuple[Pixels, list[int]]:
    """The picture (H x W x 3|4) with `text` on a dark plate at the lower right, and the plate's box."""
    height, width = pixels.shape[:2]
    text_height = max(_LEAST_HEIGHT, min(height, width) * _HEIGHT_SHARE)
    font = ImageFont.load_default(text_height)
    left, top, right, bottom = font.getbbox(text)
    padding = text_height * 0.5
    plate_width, plate_height = right - left + 2 * padding, bottom - top + 2 * padding
    margin = text_height * 0.5
    x, y = width - margin - plate_width, height - margin - plate_height
    layer = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    draw.rounded_rectangle((x, y, x + plate_width, y + plate_height), padding * 0.6, _PLATE)
    draw.text((x + padding - left, y + padding - top), text, _TEXT, font)
    base = Image.fromarray(pixels).convert("RGBA")
    marked = np.asarray(Image.alpha_composite(base, layer))
    box = [max(0, int(x)), max(0, int(y)), width, height]
    return np.ascontiguousarray(marked if pixels.shape[2] == 4 else marked[..., :3]), box


#: Of the mark all over a picture: the text's height as a share of the picture's shorter side, its bounds in
#: pixels, its angle in degrees, and the gaps between its repetitions as shares of its height.
_COVER_HEIGHT_SHARE, _COVER_HEIGHTS, _COVER_ANGLE = 0.055, (7, 28), 30
_COVER_GAPS = (1.6, 3.2)
#: A light text with a dark rim is seen on any ground, and on none.
_COVER_TEXT, _COVER_RIM = (255, 255, 255, 120), (0, 0, 0, 95)


def cover(pixels: Pixels | Mask, text: str) -> Pixels | Mask:
    """The picture (H x W x 3|4, or H x W) with `text` all over it, also where it is transparent."""
    height, width = pixels.shape[:2]
    base = Image.fromarray(pixels).convert("RGBA")
    marked = Image.alpha_composite(base, _tiled(width, height, text))
    if pixels.ndim == 2:
        return np.ascontiguousarray(np.asarray(marked.convert("L")))
    channels = pixels.shape[2]
    return np.ascontiguousarray(np.asarray(marked)[..., :channels])


def _tiled(width: int, height: int, text: str) -> Image.Image:
    """Slanted rows of the text, every other one shifted, on nothing."""
    least, most = _COVER_HEIGHTS
    text_height = max(least, min(most, min(width, height) * _COVER_HEIGHT_SHARE))
    font = ImageFont.load_default(text_height)
    rim = max(1, round(text_height * 0.06))
    left, top, right, bottom = font.getbbox(text, stroke_width=rim)
    across = (right - left) + text_height * _COVER_GAPS[0]
    along = (bottom - top) + text_height * _COVER_GAPS[1]
    # Large enough to cover the picture after it was turned.
    side = math.ceil(math.hypot(width, height)) + 2
    layer = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    for row in range(-1, math.ceil(side / along) + 1):
        for column in range(-1, math.ceil(side / across) + 1):
            place = (column * across + (row % 2) * across / 2 - left, row * along - top)
            draw.text(place, text, _COVER_TEXT, font, stroke_width=rim, stroke_fill=_COVER_RIM)
    turned = layer.rotate(_COVER_ANGLE, Image.Resampling.BICUBIC)
    begin = ((side - width) // 2, (side - height) // 2)
    return turned.crop((*begin, begin[0] + width, begin[1] + height))
