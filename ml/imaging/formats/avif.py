"""AVIF, still or the first frame of a sequence."""

import io
import re
import struct

from PIL import Image

from ml.imaging.formats import cicp, exif, item_container
from ml.imaging.formats.opened import ANIMATED, MAX_PROFILE_BYTES, Opened, check_size

# An item of type Exif in the file's directory. By the standard the container's rotation takes precedence, and
# Pillow would parse the whole block on opening, which a malicious file can expand to gigabytes.
_EXIF_ITEM = re.compile(rb"(infe[\x02\x03]\0.{6,8}?)Exif", re.DOTALL)
# Primaries and transfer characteristics of a colour box without a profile.
_COLOR_POINTS = re.compile(rb"colrnclx(.{4})", re.DOTALL)


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels as stored."""
    with _open(data) as image:
        return image.size


def orientation(data: bytes) -> int:
    """The container's rotation and mirroring, in EXIF's numbers."""
    with _open(data) as image:
        return exif.orientation(image.info.get("exif"))


def omitted(data: bytes) -> tuple[str, ...]:
    """`ANIMATED` for a sequence of several frames."""
    with _open(data) as image:
        return (ANIMATED,) if getattr(image, "n_frames", 1) > 1 else ()


def strip_metadata(data: bytes, max_pixels: int) -> bytes | None:
    """See `item_container.strip_metadata`."""
    return item_container.strip_metadata(data, max_pixels)


def read(data: bytes, max_pixels: int) -> Opened:
    """RGB or RGBA. 10 and 12 bits are rounded to 8 by libavif."""
    image = _open(data)
    check_size(*image.size, max_pixels)
    picture = image.copy()  # without the decoder and its frame
    # Pillow reports the container's rotation and mirroring in EXIF's numbers.
    warnings = (ANIMATED,) if getattr(image, "n_frames", 1) > 1 else ()
    return Opened(picture, _profile(data, image), exif.orientation(image.info.get("exif")), warnings)


def _profile(data: bytes, image: Image.Image) -> bytes | None:
    profile: bytes | None = image.info.get("icc_profile")
    if profile:
        return profile if len(profile) <= MAX_PROFILE_BYTES else None
    points = _COLOR_POINTS.search(data)
    return None if points is None else cicp.icc_profile(*struct.unpack(">HH", points[1]))


def _open(data: bytes) -> Image.Image:
    """Parse the container in native code, without decoding."""
    return Image.open(io.BytesIO(_EXIF_ITEM.sub(rb"\1skip", data)), formats=["AVIF"])
