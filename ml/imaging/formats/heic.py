"""HEIC, the primary picture."""

from typing import Any

from PIL import Image

from ml.imaging.formats import cicp, item_container
from ml.imaging.formats.opened import ANIMATED, MAX_PROFILE_BYTES, Opened, check_size


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels."""
    width, height = _primary(data).size
    return width, height


def orientation(_data: bytes) -> int:
    """Always 1, because libheif returns the picture and its size upright."""
    return 1


def omitted(data: bytes) -> tuple[str, ...]:
    """`ANIMATED` for a still picture that comes with a sequence."""
    return (ANIMATED,) if item_container.has_sequence(data) else ()


def strip_metadata(data: bytes, max_pixels: int) -> bytes | None:
    """See `item_container.strip_metadata`."""
    return item_container.strip_metadata(data, max_pixels)


def read(data: bytes, max_pixels: int) -> Opened:
    """L, LA, RGB or RGBA, upright: libheif applies the container's rotation, which by the standard
    takes precedence over EXIF's.

    10 and 12 bits are reduced to 8 by libheif.
    """
    primary = _primary(data)
    width, height = primary.size
    check_size(width, height, max_pixels)
    pixels = primary.data
    width, height = primary.size
    check_size(width, height, max_pixels)  # the coded size may differ from the declared one
    image = Image.frombytes(primary.mode, (width, height), pixels, "raw", primary.mode, primary.stride)
    if image.mode in ("RGBa", "La"):  # colour stored multiplied by alpha
        image = image.convert("RGBA" if image.mode == "RGBa" else "LA")
    return Opened(image, _profile(primary), warnings=omitted(data), exif=primary.info.get("exif"))


def _profile(primary: Any) -> bytes | None:
    profile: bytes | None = primary.info.get("icc_profile")
    if profile:
        return profile if len(profile) <= MAX_PROFILE_BYTES else None
    points = primary.info.get("nclx_profile")
    if points is None:
        return None
    return cicp.icc_profile(points["color_primaries"], points["transfer_characteristics"])


def _primary(data: bytes) -> Any:
    """Parse the container in native code, without decoding, and return its primary picture."""
    import pillow_heif

    # Ignore everything else in the file.
    pillow_heif.options.THUMBNAILS = False
    pillow_heif.options.DEPTH_IMAGES = False
    pillow_heif.options.AUX_IMAGES = False
    opened = pillow_heif.open_heif(data)
    return opened[opened.primary_index]
