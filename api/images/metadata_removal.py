"""Uploads before they are stored: everything in the file that is not the picture goes.

What is stored is what every route serves, so nothing private has to be taken out anywhere else. Where and
when a photo was taken, by which device, and whatever was appended to the file never reach the disk.
"""

import asyncio

from api.services import Services
from ml.backend import Priority, ToolCall
from ml.imaging import codecs
from ml.tools import rendition
from ml.tools.rendition import RenditionParams

#: Of a file that has to be encoded anew.
_QUALITY = 95


async def strip_metadata(services: Services, content: bytes, priority: Priority = Priority.FREE) -> bytes:
    """The same picture without EXIF but its orientation, XMP, comments, thumbnails and trailing bytes.

    Compressed pixels are copied, in a thread and without decoding them. Only of an AVIF or HEIC that just a
    decoder can follow, such as a sequence without a still picture, a worker encodes the first picture anew.
    Raises `UnsupportedFormat`, `UnreadablePicture` for a file that is cut short, `PictureTooLarge`, and for
    those that a worker opens whatever it finds.
    """
    stripped = await asyncio.to_thread(codecs.strip_metadata, content)
    if stripped is not None:
        return stripped
    params = RenditionParams(quality=_QUALITY)
    call = ToolCall(rendition.TOOL.name, params, {"image": content}, priority, services.call_timeout_seconds)
    ticket = services.backend.submit(call)
    try:
        return (await asyncio.wrap_future(ticket.answer)).content
    except asyncio.CancelledError:
        ticket.cancel()
        raise
