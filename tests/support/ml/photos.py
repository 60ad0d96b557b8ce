"""Real photographs for tests: the ones that scikit-image ships, and the same as files of several formats."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import skimage
import tifffile
from numpy.typing import NDArray
from PIL import Image

from ml.pixels import Mask, Pixels

_FOLDER = Path(skimage.__file__).parent / "data"


def photo(name: str) -> Pixels:
    """H x W x 3. Names: astronaut, chelsea, coffee, rocket, motorcycle_left, retina, ..."""
    paths = [_FOLDER / f"{name}.png", _FOLDER / f"{name}.jpg"]
    with Image.open(next(path for path in paths if path.exists())) as opened:
        return np.array(opened.convert("RGB"))


def file_bytes(pixels: Pixels | Mask, format: str, **options: Any) -> bytes:
    """A file of Pillow's `format` name (JPEG, PNG, GIF, TIFF, ...); `options` go to its writer."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format, **options)
    return out.getvalue()


def jpeg_bytes(pixels: Pixels | Mask, quality: int = 92, **options: Any) -> bytes:
    """`options` go to Pillow's JPEG writer: exif, icc_profile, progressive, ..."""
    return file_bytes(pixels, "JPEG", quality=quality, **options)


def png_bytes(pixels: Pixels | Mask, **options: Any) -> bytes:
    """`options` go to Pillow's PNG writer: exif, icc_profile, pnginfo, ..."""
    return file_bytes(pixels, "PNG", compress_level=1, **options)


def heic_bytes(pixels: Pixels, quality: int = 92, **options: Any) -> bytes:
    """`options` go to pillow_heif's writer: exif, icc_profile, chroma, ..."""
    out = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(out, quality=quality, **options)
    return out.getvalue()


def tiff_bytes(pixels: Pixels | Mask, *, predictor: int = 1, **options: Any) -> bytes:
    """`options` go to Pillow's TIFF writer: compression, icc_profile, ..."""
    return file_bytes(pixels, "TIFF", tiffinfo={317: predictor}, **options)


def tiled_tiff_bytes(pixels: NDArray[np.unsignedinteger], **options: Any) -> bytes:
    """A TIFF in tiles of 48 x 32 pixels; `options` go to tifffile: byteorder, compression, ..."""
    out = io.BytesIO()
    tifffile.imwrite(out, pixels, **{"photometric": "rgb", "tile": (32, 48), "metadata": None, **options})
    return out.getvalue()


def open_bytes(content: bytes) -> Pixels:
    """Pixels of an encoded picture as Pillow reads them, without any conversion."""
    with Image.open(io.BytesIO(content)) as opened:
        return np.array(opened)
