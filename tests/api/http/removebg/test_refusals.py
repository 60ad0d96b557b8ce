"""Errors in remove.bg's dialect: status, code word and shape of each, and nothing charged for any."""

import base64
import json
from typing import Any

import httpx
import pytest

from api.calls import admission
from api.http.middleware import body_limits
from api.http.middleware.body_gate import BodiesFillMemory
from ml import errors as ml_errors
from tests.api.http.removebg.conftest import Drop
from tests.support.calling import code_of, small_picture
from tests.support.ml.photos import photo, png_bytes

MIB = 1024 * 1024
JSON = {"Content-Type": "application/json"}


def problem_of(response: httpx.Response) -> dict[str, str]:
    """The one entry of an error, whose shape is checked on the way."""
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    body = response.json()
    assert set(body) == {"errors"}
    (entry,) = body["errors"]
    assert {"title", "code"} <= set(entry) <= {"title", "code", "detail"}
    assert all(isinstance(text, str) and text for text in entry.values())
    return dict(entry)


def check(response: httpx.Response, status: int, code: str) -> dict[str, str]:
    entry = problem_of(response)
    assert (response.status_code, entry["code"]) == (status, code), entry
    return entry


def image() -> dict[str, Any]:
    return {"image_file": ("a.png", small_picture(), "image/png")}


@pytest.mark.parametrize("key", [None, "", "wrong", "bge_live_" + "x" * 38])
@pytest.mark.parametrize(
    "route", [("POST", "/v1.0/removebg"), ("GET", "/v1.0/account"), ("HEAD", "/v1.0/account")]
)
def test_a_bad_key_is_403_before_the_body_is_read(
    drop: Drop, key: str | None, route: tuple[str, str]
) -> None:
    headers = {} if key is None else {"X-Api-Key": key}
    response = drop.api.request(
        *route, headers=headers, content=b"not a form" if route[0] == "POST" else None
    )
    assert response.status_code == 403
    if route[0] != "HEAD":
        assert check(response, 403, "auth_failed")["title"] == "API Key invalid"


def test_a_bearer_key_opens_it_too(drop: Drop) -> None:
    response = drop.api.request(
        "POST", "/v1.0/removebg", headers={"Authorization": f"Bearer {drop.key}"}, data={"size": "auto"}
    )
    check(response, 400, "missing_source")


B64 = base64.b64encode(png_bytes(photo("chelsea")[:40, :60])).decode()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({}, "missing_source"),
        ({"data": {"size": "auto"}}, "missing_source"),
        ({"json": {}}, "missing_source"),
        ({"json": {"image_url": None, "image_file_b64": ""}}, "missing_source"),
        ({"files": {"size": (None, "auto")}}, "missing_source"),
        ({"json": {"image_url": "https://a.example.com/", "image_file_b64": B64}}, "multiple_sources"),
        ({"data": {"image_base64": B64, "image_file_b64": B64}}, "multiple_sources"),
        ({"files": image(), "data": {"image_url": "https://a.example.com/"}}, "multiple_sources"),
        (
            {"json": {"image_file_b64": B64, "bg_color": "fff", "bg_image_url": "https://a.example.com/"}},
            "multiple_bg_sources",
        ),
        (
            {"files": {**image(), "bg_image_file": small_picture()}, "data": {"bg_color": "fff"}},
            "multiple_bg_sources",
        ),
        ({"data": {"image_file_b64": "not base64!"}}, "invalid_image_file_b64"),
        ({"json": {"image_base64": "?"}}, "invalid_image_base64"),
        ({"data": {"image_file_b64": base64.b64encode(b"8BPS" + bytes(80)).decode()}}, "invalid_file_type"),
        ({"files": {"image_file": ("a.mp4", bytes(100), "image/png")}}, "invalid_file_type"),
        ({"files": {"image_file": ("a.png", b"", "image/png")}}, "invalid_image_file"),
        ({"files": {**image(), "bg_image_file": ("a.png", b"%PDF-1.7" + bytes(80))}}, "invalid_file_type"),
        ({"files": {"image_file": ("a.png", small_picture()[:60])}}, "failed_to_read_image"),
        ({"files": {"image_file": (None, "a.png")}}, "invalid_image_file"),
        ({"json": {"image_file": B64}}, "invalid_image_file"),
        ({"data": {"image_url": "https://127.0.0.1/a.png"}}, "invalid_image_url"),
        ({"data": {"image_url": "http://a.example.com/a.png"}}, "invalid_image_url"),
        ({"data": {"image_url": "a.png"}}, "invalid_image_url"),
        ({"json": {"image_url": "https://localhost/"}}, "invalid_image_url"),
        ({"files": image(), "data": {"bg_image_url": "https://[::1]/"}}, "invalid_bg_image_url"),
        ({"files": image(), "data": {"size": "giant"}}, "invalid_size"),
        ({"json": {"image_file_b64": B64, "format": "gif"}}, "invalid_format"),
        ({"json": {"image_file_b64": B64, "channels": "alpha", "format": "zip"}}, "invalid_format"),
        ({"files": image(), "data": {"roi": "0 0 5000 5000"}}, "invalid_roi"),
        ({"files": image(), "data": {"roi": "9 9 9 9"}}, "invalid_roi"),
        ({"files": image(), "data": {"scale": "200%"}}, "invalid_scale"),
        ({"files": image(), "data": {"bg_color": "nothing"}}, "invalid_bg_color"),
        ({"files": image(), "data": {"bg_color": "x" * 9_000}}, "invalid_bg_color"),
        ({"json": {"image_file_b64": B64, "crop": [True]}}, "invalid_crop"),
        ({"json": {"image_file_b64": B64, "size": {"a": 1}}}, "invalid_size"),
        ({"content": b'{"size":"a","size":"b"}', "headers": JSON}, "invalid_size"),
        ({"content": b'{"size":', "headers": JSON}, "invalid_request"),
        ({"content": b"[]", "headers": JSON}, "invalid_request"),
        (
            {
                "content": b"size=auto&size=full",
                "headers": {"Content-Type": "application/x-www-form-urlencoded"},
            },
            "invalid_size",
        ),
        (
            {"content": b"size=%zz", "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
            "invalid_size",
        ),
        (
            {"content": b"&a" * 100, "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
            "invalid_request",
        ),
        ({"content": small_picture(), "headers": {"Content-Type": "image/png"}}, "invalid_request"),
        ({"content": small_picture()}, "invalid_request"),
        ({"content": b"a", "headers": {"Content-Type": "multipart/form-data"}}, "invalid_request"),
        (
            {"content": b"a", "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
            "invalid_request",
        ),
        ({"files": image(), "headers": {"Content-Encoding": "gzip"}}, "invalid_request"),
        ({"files": image(), "headers": {"Idempotency-Key": ""}}, "invalid_idempotency_key"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_caller_sent_wrongly_is_400(drop: Drop, options: dict[str, Any], code: str) -> None:
    before = drop.credits()
    response = drop.post(**options)
    check(response, 400, code)
    assert response.headers["x-credits-charged"] == "0"
    assert drop.credits() == before == (5_000, 0)


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        ({"roi": "0 0 5000 5000"}, "roi", "roi: leaves the image"),
        ({"roi": "9 9 9 9"}, "roi", "roi: is empty"),
        ({"bg_image_file": small_picture()[:60]}, "bg_image_file", "bg_image_file cannot be used"),
        ({"bg_image_url": small_picture()[:60]}, "bg_image_url", "bg_image_url cannot be used"),
        ({"size": "giant"}, "size", "size: "),
    ],
)
def test_a_detail_names_the_parameter_as_the_caller_sent_it(
    drop: Drop, data: dict[str, Any], name: str, message: str
) -> None:
    files, texts = image(), dict(data)
    if name == "bg_image_file":
        files[name] = texts.pop(name)
    elif name == "bg_image_url":
        texts[name] = drop.host.serve("/damaged.png", texts[name])
    answers = [drop.post(files=files, data=texts, headers={"Idempotency-Key": name}) for _ in range(2)]
    for answer in answers:
        problem = check(answer, 400, f"invalid_{name}")
        assert problem["title"] == f"Invalid {name} parameter given"
        assert problem["detail"].startswith(message)


def test_an_image_of_too_many_pixels_is_400(drop: Drop) -> None:
    huge = bytearray(small_picture())
    huge[16:24] = (20_000).to_bytes(4, "big") * 2
    response = drop.post(files={"image_file": bytes(huge)})
    assert check(response, 400, "resolution_too_high")["title"] == "Image resolution too high"


def test_a_picture_without_foreground_is_400_and_a_replay_too(drop: Drop) -> None:
    blank = png_bytes(photo("chelsea")[:64, :64] * 0 + 200)
    answers = [drop.post(files={"image_file": blank}, headers={"Idempotency-Key": "blank"}) for _ in range(2)]
    for response in answers:
        check(response, 400, "unknown_foreground")
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert answers[0].json() == answers[1].json()
    assert drop.credits() == (5_000, 0)


@pytest.mark.parametrize("kind", ["multipart", "json", "urlencoded"])
def test_a_body_over_the_limit_is_400_file_too_large(drop: Drop, kind: str) -> None:
    types = {
        "multipart": "multipart/form-data; boundary=b",
        "json": "application/json",
        "urlencoded": "application/x-www-form-urlencoded",
    }
    headers = {"Content-Type": types[kind], "Content-Length": str(body_limits.UPLOAD_LIMIT_BYTES + 1)}
    check(drop.post(content=b"x", headers=headers), 400, "file_too_large")


def test_a_file_over_25_mib_is_400_however_it_is_sent(drop: Drop) -> None:
    content = small_picture() + bytes(25 * MIB)
    check(drop.post(files={"image_file": content}), 400, "file_too_large")
    encoded = base64.b64encode(content).decode()
    check(drop.post(data={"image_file_b64": encoded}), 400, "file_too_large")
    check(drop.post(content=json.dumps({"image_file_b64": encoded}), headers=JSON), 400, "file_too_large")
    check(drop.post(files={"image_file_b64": (None, encoded)}), 400, "file_too_large")


def test_without_credits_it_is_402(free_drop: Drop) -> None:
    free_drop.spend_all()
    response = free_drop.post(files=image())
    assert check(response, 402, "insufficient_credits")["title"] == "Insufficient credits"
    assert response.headers["x-credits-charged"] == "0"


def test_beyond_the_rate_it_is_429_until_retry_after(free_drop: Drop) -> None:
    for _ in range(20):
        check(
            free_drop.post(data={"image_url": "https://nowhere.example.com/a.png"}), 400, "invalid_image_url"
        )
    response = free_drop.post(data={"image_url": "https://nowhere.example.com/a.png"})
    check(response, 429, "rate_limit_exceeded")
    assert response.headers["x-ratelimit-limit"] == "20"
    assert response.headers["x-ratelimit-remaining"] == "0"
    assert int(response.headers["x-ratelimit-reset"]) > free_drop.api.clock().timestamp()
    free_drop.api.clock.move(seconds=int(response.headers["retry-after"]))
    check(free_drop.post(data={"image_url": "https://nowhere.example.com/a.png"}), 400, "invalid_image_url")


def test_a_url_takes_a_call_of_the_rate_before_anything_is_fetched(free_drop: Drop) -> None:
    url = free_drop.host.serve("/not-a-picture", b"<html>" * 50)
    before = free_drop.host.connections
    statuses = [free_drop.post(data={"image_url": url}).status_code for _ in range(23)]
    assert statuses == [400] * 20 + [429] * 3
    assert free_drop.host.connections - before == 20


def test_a_key_that_belongs_to_another_request_is_400(drop: Drop) -> None:
    headers = {"Idempotency-Key": "one"}
    assert drop.post(files=image(), headers=headers).status_code in (200, 400)
    good = {"image_file": ("a.jpg", png_bytes(photo("coffee")))}
    assert drop.post(files=good, headers=headers | {"Idempotency-Key": "two"}).status_code == 200
    check(drop.post(files=image(), headers=headers | {"Idempotency-Key": "two"}), 400, "idempotency_mismatch")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ml_errors.Overloaded("The queue is full.", 7), 503, "overloaded"),
        (ml_errors.ModelUnavailable("isnet", "bgeraser models pull"), 503, "model_unavailable"),
        (ml_errors.TimedOut("too long"), 504, "processing_timeout"),
        (ml_errors.WorkerLost("the worker died"), 500, "processing_failed"),
        (RuntimeError("a secret of ours"), 500, "internal_error"),
    ],
)
def test_what_goes_wrong_here_is_5xx_without_charge(
    drop: Drop, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, code: str
) -> None:
    def submit(*_: object) -> None:
        raise error

    monkeypatch.setattr(drop.api.services.backend, "submit", submit)
    response = drop.post(files=image())
    check(response, status, code)
    assert "secret" not in response.text
    assert ("retry-after" in response.headers) == (code in ("overloaded",))
    assert drop.credits() == (5_000, 0)


def test_a_full_server_is_503_in_the_dialect(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise BodiesFillMemory

    monkeypatch.setattr(drop.api.app.state.body_gate, "admit", refuse)
    response = drop.post(files=image())
    check(response, 503, "overloaded")
    assert int(response.headers["retry-after"]) >= 1


def test_an_invalid_request_line_is_in_the_dialect_too(drop: Drop) -> None:
    response = drop.api.request("POST", "/v1.0/removebg", headers={"X-Api-Key": drop.key}, params={"a": "b"})
    check(response, 400, "missing_source")  # a query is ignored


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1.0/removebg", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/v1.0/account", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/v1.0/improve", 404, "NOT_FOUND"),
        ("GET", "/v1.0/", 404, "NOT_FOUND"),
        ("GET", "/v1.0", 404, "NOT_FOUND"),
        ("POST", "/v1.0/removebg/", 404, "NOT_FOUND"),
    ],
)
def test_other_addresses_and_methods_keep_our_own_shape(
    drop: Drop, method: str, path: str, status: int, code: str
) -> None:
    response = drop.api.request(method, path, headers={"X-Api-Key": drop.key})
    assert (response.status_code, code_of(response)) == (status, code)


def test_fetched_bytes_count_towards_the_memory_for_bodies(
    drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = drop.api.app.state.body_gate
    content = small_picture() + bytes(3 * MIB)
    url = drop.host.serve("/padded.png", content)
    in_flight: list[int] = []
    count = body_limits.count_fetched

    def note(scope: Any, size_bytes: int) -> None:
        count(scope, size_bytes)
        in_flight.append(gate.bytes_in_flight)

    monkeypatch.setattr(body_limits, "count_fetched", note)
    drop.post(data={"image_url": url})
    assert max(in_flight) >= len(content)
    assert gate.bytes_in_flight == 0


def test_a_fetch_that_fills_the_memory_is_refused(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = drop.api.app.state.body_gate
    monkeypatch.setattr(gate, "_capacity_bytes", MIB)
    monkeypatch.setattr(gate, "_largest_bytes", MIB)
    url = drop.host.serve("/large.png", small_picture() + bytes(3 * MIB))
    response = drop.post(data={"image_url": url})
    assert response.status_code in (429, 503)
    problem_of(response)


def test_refusals_are_in_the_call_log_as_background_removal(
    drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[Any] = []
    monkeypatch.setattr(drop.api.services.call_log, "enqueue", lambda record, _plan: logged.append(record))
    check(drop.post(data={"size": "auto"}), 400, "missing_source")
    (record,) = logged
    assert (record.tool, record.code, record.credits) == ("bg-removal", "MISSING_IMAGE", 0)


def test_the_rate_is_checked_before_the_body(free_drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    with free_drop.api.services.database.transaction() as session:
        account = free_drop.account(session)
        for _ in range(20):
            admission.take_rate(session, account.id, free_drop.api.clock())
    response = free_drop.post(content=b"no form at all")
    check(response, 429, "rate_limit_exceeded")
