"""Our server for benchmarks, as an operator runs it."""

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.server import RunningServer, running_server


@contextmanager
def serving(**settings: str) -> Iterator[RunningServer]:
    """A server with data of its own and these settings (BGERASER_…), ready for calls."""
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder) / "data", settings) as server:
        yield server


def call(client: httpx.Client, tool: str, picture: bytes, **fields: str) -> bytes:
    """The result of a tool as PNG. Each call has a key of its own, since identical ones would be replayed."""
    answer = client.post(
        f"/api/tools/{tool}",
        headers={"Accept": "image/png", "Idempotency-Key": uuid.uuid4().hex},
        data={"format": "png", **fields},
        files={"image": ("photo.jpg", picture, "image/jpeg")},
    )
    assert answer.status_code == 200, answer.text
    return answer.content
