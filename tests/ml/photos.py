"""Real photographs for tests: the ones that scikit-image ships, and the same as files of several formats."""

import io
from pathlib import Path

import numpy as np
import skimage
from PIL import Image

from ml.pixels import Pixels

_FOLDER = Path(skimage.__file__).parent / "data"


def photo(name: str) -> Pixels:
    """H x W x 3. Names: astronaut, chelsea, coffee, rocket, motorcycle_left, ..."""
    path = next(_FOLDER / f"{name}{suffix}" for suffix in (".png", ".jpg") if (_FOLDER / f"{name}{suffix}").exists())
    with Image.open(path) as opened:
        return np.array(opened.convert("RGB"))


def jpeg_bytes(pixels: Pixels, quality: int = 92, **options: object) -> bytes:
    """`options` go to Pillow's JPEG writer: exif, icc_profile, progressive, ..."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality, **options)  # type: ignore[arg-type]
    return out.getvalue()


def png_bytes(pixels: Pixels, **options: object) -> bytes:
    """`options` go to Pillow's PNG writer."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1, **options)  # type: ignore[arg-type]
    return out.getvalue()


def open_bytes(content: bytes) -> Pixels:
    """Pixels of an encoded picture as Pillow reads them, without conversion."""
    with Image.open(io.BytesIO(content)) as opened:
        return np.array(opened)
