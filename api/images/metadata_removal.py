"""Removing metadata from uploads before they are stored.

Every route serves what is stored, so nothing private has to be removed anywhere else. Place, time and device
of a photo, and bytes appended to the file, never reach the disk.
"""

import asyncio

from api.calls.tool_runner import run_tool
from api.services import Services
from ml.backend import Priority, ToolCall
from ml.imaging import codecs
from ml.tools import rendition
from ml.tools.rendition import RenditionParams

#: The quality of a file that has to be re-encoded.
_QUALITY = 95
_JPEG_END = b"\xff\xd9"


async def strip_metadata(services: Services, content: bytes, priority: Priority = Priority.FREE) -> bytes:
    """The same image without EXIF (except its orientation), XMP, comments, thumbnails and trailing bytes.

    Compressed pixels are copied in a thread, without decoding them. A worker encodes the image again where
    only a decoder can tell where it ends: a JPEG without end marker, and an AVIF or HEIC sequence without a
    still image. Raises `UnsupportedFormat`, `UnreadablePicture` for a truncated file, `PictureTooLarge`; and,
    where a worker is needed, any `MlError`.
    """
    stripped = await asyncio.to_thread(codecs.strip_metadata, content)
    if stripped is not None and not _lacks_end_marker(stripped):
        return stripped
    answer = await run_tool(services, _rendition(services, content, priority))
    return answer.content


def _lacks_end_marker(content: bytes) -> bool:
    return codecs.sniff(content[: codecs.SNIFF_BYTES]) == "jpg" and not content.endswith(_JPEG_END)


def _rendition(services: Services, content: bytes, priority: Priority) -> ToolCall:
    params = RenditionParams(quality=_QUALITY)
    files = {"image": content}
    return ToolCall(
        rendition.TOOL.name, params, files, priority, services.call_timeout_seconds, is_billed=False
    )
