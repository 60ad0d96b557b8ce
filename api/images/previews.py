"""Previews and conversions of stored images, rendered by a worker.

The server's own process never decodes an image, so a preview is an unbilled call to a worker;
`api.calls.unbilled_admission` limits how many are rendered at a time. Each preview is rendered once, as WebP,
and stored beside its image.
"""

import asyncio
import json
from dataclasses import dataclass

from api.calls import unbilled_admission
from api.calls.tool_runner import run_tool
from api.calls.unbilled_admission import Claimant
from api.images import service as images
from api.images.models import Image
from api.services import Services
from ml.backend import ToolAnswer, ToolCall
from ml.tools import rendition
from ml.tools.rendition import RenditionParams

#: Width in pixels of the preview that answers link to; wide enough for most screens.
OFFERED_WIDTH = 1600
_QUALITY = 82
#: Without chroma subsampling, which WebP always has. It takes about 2.5 times the bytes of the WebP.
_SHARP_QUALITY = 92


async def read(services: Services, image: Image, width: int, claimant: Claimant) -> bytes:
    """The WebP of `image`, at most `width` pixels wide; rendered if it is not stored yet.

    Rendering is cancelled when everyone who waits for it is. Raises `NotFound` if the image was deleted
    meanwhile, `RateLimited` and `Overloaded` when too many previews are being rendered, and any `MlError`.
    """
    return await _read(services, image, claimant, f"preview-{width}", _preview_params(width))


async def read_sharp(services: Services, image: Image, claimant: Claimant) -> bytes:
    """As `read`, at `OFFERED_WIDTH`, as a JPEG that differs hardly from the image where it is opaque."""
    params = RenditionParams(width=OFFERED_WIDTH, format="jpg", quality=_SHARP_QUALITY)
    return await _read(services, image, claimant, f"sharp-{OFFERED_WIDTH}", params)


async def read_lossless(services: Services, image: Image, claimant: Claimant) -> bytes:
    """As `read`, at `OFFERED_WIDTH`, as a PNG."""
    params = RenditionParams(width=OFFERED_WIDTH, format="png")
    return await _read(services, image, claimant, f"lossless-{OFFERED_WIDTH}", params)


@dataclass(frozen=True)
class CutoutPreview:
    """A reduced cut-out. `box`: left, top, right, bottom of what is visible at full size, if anything is."""

    content: bytes
    box: list[int] | None


async def read_cutout(services: Services, image: Image, claimant: Claimant) -> CutoutPreview:
    """As `read`, at `OFFERED_WIDTH`, as a PNG."""
    params = RenditionParams(width=OFFERED_WIDTH, format="png", finds_object=True)
    stored = await _read(services, image, claimant, f"cutout-{OFFERED_WIDTH}", params)
    box, _, content = stored.partition(b"\n")
    return CutoutPreview(content, json.loads(box))


def _preview_params(width: int) -> RenditionParams:
    return RenditionParams(width=width, format="webp", quality=_QUALITY)


async def _read(
    services: Services, image: Image, claimant: Claimant, name: str, params: RenditionParams
) -> bytes:
    stored = await asyncio.to_thread(services.storage.read_artefact, image.id, name)
    if stored is not None:
        return stored
    return await services.running.share(
        f"{image.id}/{name}", lambda: _render_preview(services, image, params, name, claimant)
    )


async def render(services: Services, image: Image, params: RenditionParams, claimant: Claimant) -> ToolAnswer:
    """Render a stored image in another size or format; the result is not stored.

    The caller has admitted the work through `api.calls.unbilled_admission`. Cancelling this stops it.
    """
    content = await asyncio.to_thread(services.storage.read, image.id)
    timeout_seconds = services.call_timeout_seconds
    if claimant.is_guest:
        timeout_seconds = min(timeout_seconds, unbilled_admission.GUEST_RENDITION_SECONDS)
    call = ToolCall(
        rendition.TOOL.name,
        params,
        {"image": content},
        claimant.priority,
        timeout_seconds,
        is_billed=False,
    )
    return await run_tool(services, call)


async def _render_preview(
    services: Services, image: Image, params: RenditionParams, name: str, claimant: Claimant
) -> bytes:
    async with services.unbilled.preview_turn(claimant):
        answer = await render(services, image, params, claimant)
    if image.width is None:
        await images.record_size(services, image.id, answer.source_width, answer.source_height)
    content = answer.content
    if params.finds_object:  # in one artefact, so that neither is stored without the other
        content = json.dumps(answer.fields["box"]).encode() + b"\n" + content
    room_bytes = services.guests_storage_bytes if claimant.is_guest else None
    await images.keep_artefacts(services, image.id, {name: content}, room_bytes=room_bytes)
    return content
