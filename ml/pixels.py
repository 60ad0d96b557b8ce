"""The representation of pictures in memory.

Pixels are numpy arrays of uint8, height x width x 3 (RGB) or x 4 (RGBA, straight alpha), sRGB, 0..255,
upright. A mask or matte is height x width, uint8 (255 = act here, or foreground) or float32 0..1 where
stated.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # H x W x 3 | 4
Mask = NDArray[np.uint8]  # H x W
Matte = NDArray[np.float32]  # H x W, 0..1


@dataclass(frozen=True)
class Picture:
    """A decoded picture: upright, sRGB, 8 bits a channel."""

    pixels: Pixels
    format: str  # of the source: jpg, png, webp, avif, heic, bmp, gif, tiff
    warnings: tuple[str, ...] = ()  # about the file
    #: Of a JPEG, if the pixels are still those of the file: the quantisation steps of luminance and colour.
    jpeg_tables: tuple[tuple[int, ...], ...] | None = None
    dpi: tuple[float, float] | None = None  # across and down, where the file states it
    exif: bytes | None = None  # the block as stored, for `ml.imaging.formats.camera_metadata`

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def has_alpha(self) -> bool:
        return bool(self.pixels.shape[2] == 4)

    @property
    def rgb(self) -> Pixels:
        """The colour channels, H x W x 3; a view."""
        return self.pixels[:, :, :3]
