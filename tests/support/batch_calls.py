"""Batches as a client asks for them, for tests against a live server."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from api.batches.models import BatchStatus
from tests.support.server import Customer, RunningServer
from tests.support.waiting import wait_until

CROP: dict[str, Any] = {"tool": "crop", "width": "10", "height": "10"}


def send_batch(
    server: RunningServer,
    customer: Customer,
    pictures: Sequence[tuple[str, bytes]] = (),
    *,
    archive: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    **fields: Any,
) -> httpx.Response:
    """The answer to a batch of these files, or of a ZIP. `fields` replace `CROP`."""
    files = [("images", (name, content, "image/png")) for name, content in pictures]
    if archive is not None:
        files.append(("archive", ("pictures.zip", archive, "application/zip")))
    # Without a file, httpx would not send a multipart form.
    form: list[tuple[str, Any]] = [(name, (None, str(value))) for name, value in (fields or CROP).items()]
    with server.client(customer) as client:
        return client.post("/api/batches", files=[*files, *form], headers=headers)


def batch_of(response: httpx.Response) -> str:
    """The id of an accepted batch."""
    assert response.status_code == 202, response.text
    return str(response.json()["data"]["batchId"])


def read_batch(server: RunningServer, customer: Customer, batch_id: str, path: str = "") -> Any:
    """The `data` of the batch, or of its `path`."""
    with server.client(customer) as client:
        response = client.get(f"/api/batches/{batch_id}{path}")
    assert response.status_code == 200, response.text
    return response.json()["data"]


def control(server: RunningServer, customer: Customer, batch_id: str, action: str) -> dict[str, Any]:
    """The batch after it was paused, resumed, retried or cancelled."""
    with server.client(customer) as client:
        if action == "cancel":
            response = client.delete(f"/api/batches/{batch_id}")
        else:
            response = client.post(f"/api/batches/{batch_id}/{action}")
    assert response.status_code == 200, response.text
    data: dict[str, Any] = response.json()["data"]
    return data


def batch_in(
    server: RunningServer, customer: Customer, batch_id: str, *statuses: BatchStatus
) -> dict[str, Any]:
    """The batch once it has one of these statuses; without any, once it has ended."""
    wanted = statuses or (BatchStatus.COMPLETED, BatchStatus.CANCELLED)
    latest: dict[str, Any] = {}

    def is_there() -> bool:
        latest.update(read_batch(server, customer, batch_id))
        return latest["status"] in wanted

    wait_until(is_there, every_seconds=0.1)
    return latest


def items_of(server: RunningServer, customer: Customer, batch_id: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = read_batch(server, customer, batch_id, "/items?limit=500")["items"]
    return items


def results_of(server: RunningServer, customer: Customer, batch_id: str) -> dict[str, bytes]:
    """The files of the batch's ZIP by name."""
    with server.client(customer) as client:
        response = client.get(f"/api/batches/{batch_id}/results.zip")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def zip_of(files: Sequence[tuple[str, bytes]]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return packed.getvalue()
