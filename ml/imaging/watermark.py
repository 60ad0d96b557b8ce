"""A visible mark in the corner of a picture that is only a preview."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ml.pixels import Pixels

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
