"""Our server for benchmarks, as an operator runs it."""

import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.server import RunningServer, running_server

# Of a call that the server refuses because the wait would be too long.
_ATTEMPTS = 20


@contextmanager
def serving(**settings: str) -> Iterator[RunningServer]:
    """A server with data of its own and these settings (BGERASER_…), ready for calls."""
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder) / "data", settings) as server:
        yield server


def call(client: httpx.Client, tool: str, picture: bytes, **fields: str) -> bytes:
    """The result of a tool as PNG. A refusal for overload is waited for and repeated, as clients do.

    Each call has a key of its own, since identical ones would be replayed.
    """
    for _ in range(_ATTEMPTS):
        answer = client.post(
            f"/api/tools/{tool}",
            headers={"Accept": "image/png", "Idempotency-Key": uuid.uuid4().hex},
            data={"format": "png", **fields},
            files={"image": ("photo.jpg", picture, "image/jpeg")},
        )
        if answer.status_code != 503:
            break
        time.sleep(float(answer.headers["Retry-After"]))
    assert answer.status_code == 200, answer.text
    return answer.content
