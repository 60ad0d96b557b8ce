"""Gradio's queue accepts only a strict schema of events, and opens no files or URLs from them."""

import json
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.gradio_client import DATA, JOIN, NO_LIMITS, Dashboard, browser, results
from tests.support.server import Customer, RunningServer

CACHE = Path(os.environ.get("GRADIO_TEMP_DIR") or Path(tempfile.gettempdir()) / "gradio")


@pytest.fixture
def customer(server: RunningServer) -> Customer:
    return server.new_customer()


@pytest.fixture
def client(server: RunningServer, customer: Customer) -> Iterator[httpx.Client]:
    with browser(server, customer) as opened:
        yield opened


def refused(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Status, code and parameter of an answer in the one shape that errors have."""
    body = answer.json()
    assert body.keys() == {"success", "error", "requestId"}, body
    assert body["success"] is False
    return answer.status_code, body["error"]["code"], body["error"].get("param")


def is_alive(server: RunningServer) -> bool:
    return httpx.get(f"{server.address}/healthz", timeout=10).status_code == 200


def file_object(path: str, **more: object) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        opened.setblocking(False)
        yield opened


def test_files_and_urls_in_an_event_are_never_opened(
    server: RunningServer, client: httpx.Client, fifo: Path, listener: socket.socket
) -> None:
    database = server.data_dir / "bgeraser.db"
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/x.png"
    event = Dashboard(client).event("generate", "a name", *NO_LIMITS)
    copies = sorted(CACHE.rglob("*")) if CACHE.exists() else []
    places = [
        "/dev/zero",
        str(fifo),
        "/proc/self/environ",
        str(database),
        address,
        "data:image/png;base64,AA",
    ]
    for place in places:
        for argument in (
            file_object(place),
            file_object("x.png", url=place),
            [file_object(place)],
            {"value": file_object(place)},
        ):
            for body in (event | {"data": [argument]}, event | {"event_data": argument}):
                answer = client.post(JOIN, json=body)
                field = "data" if body["event_data"] is None else "event_data"
                assert refused(answer) == (422, "INVALID_PARAMETER", field), place
                assert place not in answer.text
            assert is_alive(server)
    with pytest.raises(OSError, match="No such device or address"):
        os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)  # opens only if a reader exists
    with pytest.raises(BlockingIOError):
        listener.accept()
    assert (sorted(CACHE.rglob("*")) if CACHE.exists() else []) == copies


@pytest.mark.parametrize("as_guest", [True, False])
@pytest.mark.parametrize("argument", ["x", file_object("/dev/zero"), file_object("http://127.0.0.1:9/")])
def test_an_event_requires_a_session(server: RunningServer, as_guest: bool, argument: object) -> None:
    with browser(server, None) as client:
        if as_guest:
            assert client.get("/editor/session").status_code == 200
        body = {"data": [argument, "x"], "fn_index": 0, "trigger_id": 0, "session_hash": "q"}
        assert refused(client.post(JOIN, json=body)) == (401, "INVALID_API_KEY", None)
        assert refused(client.get(DATA, params={"session_hash": "q"})) == (401, "INVALID_API_KEY", None)
        heartbeat = client.get("/app/gradio_api/heartbeat/q")
        assert refused(heartbeat) == (401, "INVALID_API_KEY", None)
    assert is_alive(server)


@pytest.mark.parametrize("route", ["run/generate", "api/generate", "call/generate", "cancel"])
def test_events_are_accepted_through_the_queue_only(client: httpx.Client, route: str) -> None:
    answer = client.post(f"/app/gradio_api/{route}", json={"data": [file_object("/dev/zero")]})
    assert refused(answer) == (404, "NOT_FOUND", None)


def test_a_genuine_event_is_answered(server: RunningServer, client: httpx.Client) -> None:
    dashboard = Dashboard(client)
    answer = client.post(JOIN, json=dashboard.event("generate", "ein Schlüssel", *NO_LIMITS))
    assert answer.status_code == 200, answer.text
    (completed,) = results(client, dashboard.session_hash)
    assert completed["event_id"] == answer.json()["event_id"]
    assert completed["success"] is True
    assert completed["output"]["data"][0]["value"].startswith("bge_live_")


FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"fn_index": 10_000}, "fn_index"),
    ({"fn_index": -1}, "fn_index"),
    ({"fn_index": True}, "fn_index"),
    ({"fn_index": 3.0}, "fn_index"),
    ({"fn_index": None}, "fn_index"),
    ({"trigger_id": 1}, "trigger_id"),
    ({"trigger_id": None}, "trigger_id"),
    ({"trigger_id": 2**80}, "trigger_id"),
    ({"session_hash": "../../etc"}, "session_hash"),
    ({"session_hash": ""}, "session_hash"),
    ({"session_hash": "a" * 33}, "session_hash"),
    ({"session_hash": None}, "session_hash"),
    ({"data": []}, "data"),
    ({"data": ["a", "b"]}, "data"),
    ({"data": ["x"] * 1000}, "data"),
    ({"data": [7]}, "data"),
    ({"data": [None]}, "data"),
    ({"data": [["a"]]}, "data"),
    ({"data": [True]}, "data"),
    ({"data": ["x" * 101]}, "data"),
    ({"data": ["a\x00b"]}, "data"),
    ({"data": ["a\nb"]}, "data"),
    ({"data": "a"}, "data"),
    ({"data": {"path": "x"}}, "data"),
]


@pytest.mark.parametrize(("fields", "at_fault"), FIELDS)
def test_unexpected_values_are_refused_by_name(
    client: httpx.Client, fields: dict[str, Any], at_fault: str
) -> None:
    event = Dashboard(client).event("generate", "a name", *NO_LIMITS)
    assert refused(client.post(JOIN, json=event | fields)) == (422, "INVALID_PARAMETER", at_fault)


@pytest.mark.parametrize("days", [8, "30", 30.0, True, None, [30]])
def test_a_choice_must_be_one_of_the_options(client: httpx.Client, days: object) -> None:
    dashboard = Dashboard(client)
    assert client.post(JOIN, json=dashboard.event("draw", 30, "tool")).status_code == 200
    answer = client.post(JOIN, json=dashboard.event("draw", days, "tool"))
    assert refused(answer) == (422, "INVALID_PARAMETER", "data")


@pytest.mark.parametrize(
    "tools",
    [["no-tool"], ["crop", "crop"], "crop", None, [["crop"]], [7], [{"path": "/dev/zero"}], ["crop"] * 40],
)
def test_choices_must_be_a_list_of_the_options(client: httpx.Client, tools: object) -> None:
    event = Dashboard(client).event("generate", "a name", "live", tools, "", "")
    assert refused(client.post(JOIN, json=event)) == (422, "INVALID_PARAMETER", "data")


@pytest.mark.parametrize(
    "name", ["simple_format", "batched", "oauth_token", "event_id", "request", "batch_trigger_ids", "\ud800"]
)
def test_an_unknown_field_is_refused(client: httpx.Client, name: str) -> None:
    event = Dashboard(client).event("generate", "a name", *NO_LIMITS)
    answer = client.post(JOIN, content=json.dumps(event | {name: "x"}))
    assert refused(answer) == (400, "INVALID_REQUEST", None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"not json",
        b"\xff\xfe",
        b"[" * 8_000,
        b'{"data":' + b"[" * 4_000 + b"]" * 4_000 + b"}",
        b'{"a":' * 1_300 + b"1" + b"}" * 1_300,
        b'{"fn_index":' + b"9" * 7_000 + b"}",
    ],
)
def test_a_malformed_event_is_refused(server: RunningServer, client: httpx.Client, body: bytes) -> None:
    answer = client.post(JOIN, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    refused(answer)
    assert is_alive(server)


@pytest.mark.parametrize("first", ["data", "fn_index", "session_hash"])
def test_a_duplicate_name_is_refused(client: httpx.Client, first: str) -> None:
    event = json.dumps(Dashboard(client).event("generate", "a name", *NO_LIMITS))
    twice = f'{{"{first}": [{json.dumps(file_object("/dev/zero"))}], {event[1:]}'
    assert refused(client.post(JOIN, content=twice)) == (400, "INVALID_REQUEST", None)


def test_a_lone_surrogate_in_a_text_is_refused(client: httpx.Client) -> None:
    event = Dashboard(client).event("generate", "\ud800", *NO_LIMITS)
    answer = client.post(JOIN, content=json.dumps(event))
    assert refused(answer) == (422, "INVALID_PARAMETER", "data")


@pytest.mark.parametrize("size_bytes", [9 * 1024, 900 * 1024, 4 * 1024 * 1024])
@pytest.mark.parametrize("is_chunked", [True, False])
def test_a_large_event_is_refused_before_it_is_parsed(
    server: RunningServer, client: httpx.Client, size_bytes: int, is_chunked: bool
) -> None:
    body = b'{"data": ["' + b"x" * size_bytes + b'"]}'
    answer = client.post(JOIN, content=iter([body]) if is_chunked else body)
    assert refused(answer) == (413, "FILE_TOO_LARGE", None)
    assert is_alive(server)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://elsewhere.example"},
        {"origin": "null"},
        {"origin": "http://[::1"},
        {"origin": "http://[zz]"},
        {"origin": ""},
    ],
)
def test_an_event_from_another_site_is_refused(client: httpx.Client, headers: dict[str, str]) -> None:
    event = Dashboard(client).event("generate", "a name", *NO_LIMITS)
    assert refused(client.post(JOIN, json=event, headers=headers)) == (403, "FORBIDDEN", None)
    own = {"origin": str(client.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}
    assert client.post(JOIN, json=event, headers=own).status_code == 200
