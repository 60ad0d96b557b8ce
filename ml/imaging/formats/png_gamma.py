"""The colours of a PNG that states a gamma and primaries (gAMA, cHRM) instead of a profile, in sRGB.

They are computed from the samples as stored, because 16 bits of light rounded to 8 have no shadows: the
levels 0 and 1 of 255 are 13 levels apart in sRGB. Greys are looked up alone, so that they stay exactly grey.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.imaging.formats import display_profile
from ml.imaging.formats.display_profile import Chromaticities
from ml.pixels import Mask, Pixels

_GAMMA_MIN, _GAMMA_MAX = 0.1, 10.0
_GAMMA_OF_SRGB = 0.45455  # as the standard writes it
_SAME_GAMMA = 0.05
_SAME_CHROMATICITY = 0.005
_LARGEST = 65_535
_ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class Conversion:
    """Of samples to sRGB, by tables over their values 0..65535."""

    light: NDArray[np.float32]  # linear, 0..1
    #: From the linear RGB of the file to that of sRGB; None if both have the same primaries.
    matrix: NDArray[np.float32] | None

    def apply(self, samples: NDArray[np.uint16]) -> Pixels:
        """sRGB from H x W x 1|3 (grey or RGB) of 16 bits."""
        if self.matrix is None or samples.shape[2] == 1:
            greys: Pixels = self._of_grey[samples]
            return greys
        linear = np.clip(self.light[samples] @ self.matrix.T, 0, 1)
        pixels: Pixels = _TO_SRGB[np.rint(linear * _LARGEST).astype(np.uint16)]
        red, green, blue = (samples[..., channel] for channel in range(3))
        is_grey = (red == green) & (green == blue)
        pixels[is_grey] = self._of_grey[red[is_grey]][:, None]
        return pixels

    def apply_to_image(self, image: Image.Image) -> None:
        """Convert an L, LA, RGB or RGBA image of 8 bits in place; alpha stays."""
        channels = 1 if image.mode in ("L", "LA") else 3
        for top in range(0, image.height, _ROWS_AT_ONCE):
            strip = image.crop((0, top, image.width, min(image.height, top + _ROWS_AT_ONCE)))
            pixels = np.atleast_3d(np.array(strip))
            pixels[..., :channels] = self.apply(pixels[..., :channels] * np.uint16(257))
            image.paste(Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels), (0, top))

    @cached_property
    def _of_grey(self) -> Mask:
        table: Mask = _TO_SRGB[np.rint(self.light * _LARGEST).astype(np.uint16)]
        return table


def conversion(gamma: float, chromaticities: Chromaticities | None) -> Conversion | None:
    """From a file's gamma (1 / that of the display) and primaries; None if they are sRGB's or cannot be.

    Without `chromaticities` they are sRGB's.
    """
    if not _GAMMA_MIN <= gamma <= _GAMMA_MAX:
        return None
    colors = chromaticities or display_profile.SRGB
    differences = (abs(one - other) for pair in zip(colors, display_profile.SRGB, strict=True)
                   for one, other in zip(*pair, strict=True))  # fmt: skip
    has_srgb_primaries = max(differences) < _SAME_CHROMATICITY
    # Writers round: with sRGB's primaries, any gamma close to that of its curve means the curve.
    if has_srgb_primaries and abs(gamma * 2.2 - 1) < _SAME_GAMMA:
        return None
    primaries = display_profile.primaries_under_d50(colors)
    srgb = display_profile.primaries_under_d50(display_profile.SRGB)
    if primaries is None or srgb is None:
        return None
    values = np.linspace(0, 1, _LARGEST + 1)
    if gamma == _GAMMA_OF_SRGB:  # Display P3 has sRGB's curve; Adobe RGB's gamma is 0.45471 when rounded
        light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    else:
        light = values ** (1 / gamma)
    matrix = None
    if not has_srgb_primaries:
        matrix = np.linalg.solve(np.array(srgb).T, np.array(primaries).T).astype(np.float32)
    return Conversion(light.astype(np.float32), matrix)


def _table_to_srgb() -> Mask:
    """sRGB's 0..255 by linear light 0..65535."""
    linear = np.linspace(0, 1, _LARGEST + 1)
    curved = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    table: Mask = np.rint(curved * 255).astype(np.uint8)
    return table


_TO_SRGB = _table_to_srgb()
