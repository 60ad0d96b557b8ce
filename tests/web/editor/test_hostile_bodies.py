"""Malformed editor requests are refused in the error shape, and never stored or echoed."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlmodel import select

from api.editor.models import Project
from tests.support.editor_client import Browser
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import RunningServer

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def member(server: RunningServer) -> Iterator[Browser]:
    """Not a guest: guests' uploads are rationed by address."""
    with Browser(server, server.new_customer()) as browser:
        yield browser


def refused(browser: Browser, path: str, content: bytes, *statuses: int) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    answer = browser.client.post(path, content=content, headers=headers)
    assert answer.status_code in statuses, answer.text[:300]
    error: dict[str, Any] = answer.json()["error"]
    return error


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b'{"a":[' + b"[]," * 300_000 + b"0]}", 400),
        (b"[" * MIB, 400),
        (b'{"sample":"' + b"x" * (2 * MIB) + b'"}', 413),
        (b'{"sample":"\\ud800"}', 400),
        (b'{"sample":"cof\\u0000fee"}', 422),
        (b'{"sample":["coffee"]}', 422),
        (b'{"sample":1e999}', 422),
        (b"\xff\xfe", 400),
        (b"", 400),
    ],
)
def test_invalid_json_is_4xx_on_every_route_that_accepts_json(
    member: Browser, content: bytes, status: int
) -> None:
    place = f"/editor/projects/{member.open_sample()['id']}"
    refused(member, "/editor/projects", content, status)
    for path in (f"{place}/runs", f"{place}/overlay", "/editor/batches", "/editor/batches/quote"):
        refused(member, path, content, 400, 413, 422)
    refused(member, "/editor/keys", content.replace(b"sample", b"name"), 400, 413, 422)


def test_a_nul_in_a_name_is_refused(server: RunningServer, member: Browser) -> None:
    error = refused(member, "/editor/keys", b'{"name":"a\\u0000b"}', 422)
    assert error["param"] == "name"
    picture = {"image": jpeg_bytes(photo("coffee"))}
    answer = member.client.post("/editor/projects?name=a%00b", files=picture)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_REQUEST")
    with server.database.transaction() as session:
        assert not [name for name in session.exec(select(Project.name)) if "\0" in name]


def test_a_project_response_omits_the_strokes(member: Browser) -> None:
    strokes = json.dumps([{"points": [[index % 500, 100] for index in range(3_000)], "size": 8}])
    project = member.open_sample()
    step = member.run(project, "brush", {"op": "erase", "strokes": strokes})
    assert step["params"] == {"op": "erase"}
    assert len(json.dumps(member.project(project["id"]))) < len(strokes)
