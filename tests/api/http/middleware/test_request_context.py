"""Request ids, logging and errors around every request."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from fastapi import HTTPException
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from api import logging_setup
from tests.support.apps import LocalApi, local_api
from tests.support.calling import code_of

Logged = Callable[[Literal["json", "console"]], Callable[[], str]]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[LocalApi]:
    with local_api(tmp_path) as opened:
        yield opened


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator[Logged]:
    """`read = logged("json")` logs as a server does from now on; `read()` is what came out."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def begin(format: Literal["json", "console"]) -> Callable[[], str]:
        logging_setup.set_up(format)
        return lambda: capsys.readouterr().err

    yield begin
    root.handlers[:] = handlers
    root.setLevel(level)


async def broken() -> None:
    raise KeyError("/srv/bgeraser/secret.key bge_live_AbCdEfGhIjKl bge_test_MnOpEfGhIjKl")


def test_an_unexpected_error_is_500_without_details(api: LocalApi, logged: Logged) -> None:
    api.app.add_api_route("/api/broken", broken)
    read = logged("json")
    answer = api.request("GET", "/api/broken")
    assert (answer.status_code, code_of(answer)) == (500, "INTERNAL_ERROR")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    lines = [json.loads(line) for line in read().splitlines()]
    (failure,) = [line for line in lines if line["event"] == "unforeseen error"]
    assert failure["request_id"] == answer.headers["x-request-id"]
    assert "KeyError" in failure["exception"]
    assert "bge_live_AbCd… bge_test_MnOp…" in failure["exception"]
    assert "EfGh" not in failure["exception"]


def test_a_line_break_in_a_path_cannot_forge_a_log_line(api: LocalApi, logged: Logged) -> None:
    read = logged("console")
    api.request("GET", "/api/a%0Aforged=line")
    (line,) = [line for line in read().splitlines() if "path=" in line]
    assert "%0Aforged=line" in line


def test_a_signature_never_reaches_the_log(api: LocalApi, logged: Logged) -> None:
    read = logged("json")
    api.request("GET", "/api/images/img_aaaaaaaaaaaa?exp=1&kid=2&sig=not-to-be-logged")
    written = read()
    assert '"path": "/api/images/img_aaaaaaaaaaaa"' in written
    assert "not-to-be-logged" not in written


def test_framework_errors_have_the_error_shape(api: LocalApi) -> None:
    class Order(BaseModel):
        number: int

    async def order(wanted: Order, page: int) -> None:
        raise HTTPException(status_code=503, detail=f"{wanted.number} on {page}")

    api.app.add_api_route("/api/order", order, methods=["POST"])

    def post(page: str = "1", **body: Any) -> tuple[int, str, str | None]:
        answer = api.request("POST", "/api/order", params={"page": page}, **body)
        return answer.status_code, code_of(answer), answer.json()["error"]["param"]

    assert post(json={"number": 1}) == (503, "SERVICE_UNAVAILABLE", None)
    assert post(json={"number": "one"}) == (422, "INVALID_PARAMETER", "number")
    assert post("first", json={"number": 1}) == (422, "INVALID_PARAMETER", "page")
    assert post(content=b"{", headers={"Content-Type": "application/json"})[:2] == (422, "INVALID_PARAMETER")
    # FastAPI's body parser hits our limit.
    assert post(json={"number": "1" * 2_000_000}) == (413, "FILE_TOO_LARGE", None)


def test_a_page_keeps_the_headers_it_sets_itself(api: LocalApi) -> None:
    async def page() -> StreamingResponse:
        return StreamingResponse(iter(["a page"]), headers={"Content-Security-Policy": "default-src 'self'"})

    api.app.add_api_route("/page", page, response_class=StreamingResponse)
    headers = api.request("GET", "/page").headers
    assert headers["content-security-policy"] == "default-src 'self'"
    assert headers["x-frame-options"] == "DENY"
