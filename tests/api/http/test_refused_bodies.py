"""What a refused request held is freed with it, and not only when Python collects its garbage."""

import base64
import gc
import json
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from billing.ledger.plans import PlanName
from tests.support.apps import LocalApi, local_api
from tests.support.ml.photos import png_bytes

#: A valid picture of several megabytes.
_FILE = png_bytes(np.random.default_rng(1).integers(0, 256, (1200, 1200, 3), np.uint8))
_BASE64 = base64.b64encode(_FILE).decode()
_FORM: dict[str, Any] = {"data": {"width": "0"}, "files": {"image": _FILE}}
_WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "form": ("/api/tools/crop", _FORM),
    "not an image": ("/api/tools/crop", {"files": {"image": bytes(len(_FILE))}}),
    "job": ("/api/tools/crop", {**_FORM, "headers": {"Prefer": "respond-async"}}),
    "batch": ("/api/batches", {"data": {"tool": "nothing"}, "files": {"images": _FILE}}),
    "image": ("/api/images", {"data": {"nothing": "1"}, "files": {"image": _FILE}}),
    "json": ("/api/tools/crop", {"text": json.dumps({"image": {"base64": _BASE64}, "width": 0})}),
    "removebg": ("/v1.0/removebg", {"data": {"size": "0"}, "files": {"image_file": _FILE}}),
    "removebg, base64": ("/v1.0/removebg", {"text": json.dumps({"size": "0", "image_file_b64": _BASE64})}),
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalApi]:
    with local_api(tmp_path_factory.mktemp("refused")) as opened:
        yield opened


@pytest.fixture
def without_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    tracemalloc.start()
    yield
    tracemalloc.stop()
    gc.enable()


@pytest.mark.usefixtures("without_collections")
@pytest.mark.parametrize("way", _WAYS)
def test_a_refused_request_leaves_nothing_for_the_collector(way: str, api: LocalApi) -> None:
    key = api.new_key(f"{way}@example.com".replace(" ", "-"), PlanName.BUSINESS)
    _refuse(api, key, way)
    before = _large_blocks()
    for _ in range(3):
        _refuse(api, key, way)
    assert _large_blocks() - before < len(_FILE)


def _large_blocks() -> int:
    """Bytes in memory, in large blocks only: the application may import or remember smaller things."""
    return sum(trace.size for trace in tracemalloc.take_snapshot().traces if trace.size > 1 << 20)


def _refuse(api: LocalApi, key: str, way: str) -> None:
    path, request = _WAYS[way]
    headers = {"Authorization": f"Bearer {key}", **request.get("headers", {})}
    # Sent in pieces: the application must not be given our own bytes.
    body: dict[str, Any] = {
        "files": {name: BytesIO(content) for name, content in request.get("files", {}).items()},
        "data": request.get("data", {}),
    }
    if "text" in request:
        headers["Content-Type"] = "application/json"
        body = {"content": _pieces(request["text"])}
    answer = api.request("POST", path, headers=headers, **body)
    assert answer.status_code in (400, 415, 422), answer.text


async def _pieces(text: str) -> AsyncIterator[bytes]:
    for start in range(0, len(text), 1 << 16):
        yield text[start : start + (1 << 16)].encode()
