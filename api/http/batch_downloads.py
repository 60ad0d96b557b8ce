"""The results of a batch as a ZIP, and its manifest as CSV, as answers of any route."""

import asyncio

from fastapi import Request
from starlette.responses import Response, StreamingResponse

from api.batches import results as batch_results
from api.batches import service as batches
from api.batches.results import ResultRow
from api.errors import NotFound
from api.http import responses
from api.services import Services


async def results(request: Request, services: Services, account_id: str, batch_id: str) -> Response:
    """The account's results so far. Raises `NotFound`."""
    rows = await _rows(services, account_id, batch_id)
    if not any(row.file for row in rows):
        raise NotFound("The batch has no results yet, or they have expired.")
    headers = _file_headers(f"{batch_id}.zip")
    if request.method == "HEAD":
        return responses.head_of_stream("application/zip", headers)
    stream = batch_results.archive(services.storage, rows)
    return StreamingResponse(stream, media_type="application/zip", headers=headers)


async def manifest(services: Services, account_id: str, batch_id: str) -> Response:
    """What became of each image of the account's batch. Raises `NotFound`."""
    rows = await _rows(services, account_id, batch_id)
    content = await asyncio.to_thread(batch_results.manifest, rows)
    return Response(content, media_type="text/csv; charset=utf-8", headers=_file_headers("manifest.csv"))


async def _rows(services: Services, account_id: str, batch_id: str) -> list[ResultRow]:
    return await services.database.read(
        lambda session: batch_results.rows(
            session, batches.find(session, account_id, batch_id, services.clock()), services.clock()
        )
    )


def _file_headers(name: str) -> dict[str, str]:
    """Attachments, and never stored by a proxy. `name` is ours."""
    return {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
