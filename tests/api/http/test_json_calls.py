"""Calls by URL and as JSON: the same call as a form's, with the same refusals."""

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from api.errors import InvalidParameter, InvalidRequest
from api.http import json_calls
from billing.ledger.plans import PlanName
from tests.api.remote_files.test_service import PRIVATE_NAMES, URLS
from tests.support.apps import LocalApi, local_api
from tests.support.calling import code_of, param_of, small_picture
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.remote_host import LOOPBACK, NAME, Names, RemoteHost, files_of, running_host

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def host() -> Iterator[RemoteHost]:
    with running_host() as running:
        yield running


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, host: RemoteHost) -> Iterator[LocalApi]:
    names = Names(**{NAME: [LOOPBACK], **PRIVATE_NAMES})
    with local_api(
        tmp_path_factory.mktemp("json"), has_workers=True, remote_files=files_of(host, names, seconds=2.0)
    ) as opened:
        yield opened


@pytest.fixture
def key(api: LocalApi, request: pytest.FixtureRequest) -> str:
    return api.new_key(f"{abs(hash(request.node.nodeid))}@example.com", PlanName.BUSINESS)


@pytest.fixture
def free_key(api: LocalApi, request: pytest.FixtureRequest) -> str:
    return api.new_key(f"{abs(hash(request.node.nodeid))}@example.com", PlanName.FREE)


def post(api: LocalApi, key: str, path: str = "/api/tools/crop", **options: Any) -> httpx.Response:
    headers = {"X-Api-Key": key, **options.pop("headers", {})}
    return api.request("POST", path, headers=headers, **options)


def crop(image: object, **values: Any) -> dict[str, Any]:
    return {"image": image, "width": 10, "height": "50%", **values}


def as_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def credits_of(api: LocalApi, key: str) -> int:
    answer = api.request("GET", "/api/account", headers={"X-Api-Key": key}).json()
    return int(answer["data"]["credits"]["available"])


def picture_of(api: LocalApi, response: httpx.Response) -> bytes:
    assert response.status_code == 200, response.text
    return api.request("GET", response.json()["data"]["imageUrl"].removeprefix("http://test")).content


class TestTheSameCall:
    @pytest.mark.parametrize("way", ["form url", "json url", "json image_url", "base64", "data url", "id"])
    def test_every_way_to_send_the_image_gives_the_same_result(
        self, api: LocalApi, host: RemoteHost, key: str, way: str
    ) -> None:
        content = small_picture()
        url = host.serve(f"/{way.replace(' ', '-')}.png", content)
        form = {"width": "10", "height": "50%"}
        expected = post(api, key, files={"image": ("a.png", content)}, data=form)
        if way == "id":
            stored = post(api, key, "/api/images", files={"image": ("a.png", content)}).json()["data"]
            body = crop({"image_id": stored["imageId"]})
        elif way == "json image_url":
            body = {"image_url": url, "width": 10, "height": "50%"}
        else:
            values = {
                "json url": {"url": url},
                "base64": {"base64": as_base64(content)},
                "data url": {"url": f"data:image/png;base64,{as_base64(content)}"},
            }
            body = crop(values.get(way))
        if way == "form url":
            answer = post(api, key, data={"image_url": url, **form})
        else:
            answer = post(api, key, json=body)
        assert picture_of(api, answer) == picture_of(api, expected)
        # The files are the same, so that without a key it is the same call: nothing is charged again.
        assert answer.headers["idempotent-replayed"] == "true"
        assert answer.headers["x-credits-charged"] == "0"

    def test_values_are_numbers_booleans_lists_and_null(self, api: LocalApi, key: str) -> None:
        content = small_picture()
        strokes = [{"points": [[5, 5], [30.5, 20]], "size": 12, "opacity": 0.5}]
        sent = {"op": "paint", "color": "ff0000", "format": "PNG", "quality": None, "strokes": strokes}
        answer = post(api, key, "/api/tools/brush", json={"image": {"base64": as_base64(content)}, **sent})
        form = {"op": "paint", "color": "#ff0000", "strokes": json.dumps(strokes)}
        expected = post(api, key, "/api/tools/brush", files={"image": ("a.png", content)}, data=form)
        assert picture_of(api, answer) == picture_of(api, expected)

    def test_a_hundred_thousand_points_are_read(self, api: LocalApi, key: str) -> None:
        point = [[5.5, 6.5], [7.5, 8.5]]
        strokes = [{"points": point * 49, "size": 2}] * 1_000
        body = {"image": {"base64": as_base64(small_picture())}, "op": "erase", "strokes": strokes}
        assert post(api, key, "/api/tools/brush", json=body).status_code == 200
        body["strokes"] = [{"points": point * 51, "size": 2}] * 1_000
        refused = post(api, key, "/api/tools/brush", json=body)
        assert (refused.status_code, code_of(refused), param_of(refused)) == (
            422,
            "INVALID_PARAMETER",
            "strokes",
        )

    @pytest.mark.parametrize("way", ["base64", "url", "form url", "image_id"])
    def test_a_mask_is_sent_in_the_same_ways(
        self, api: LocalApi, host: RemoteHost, key: str, way: str
    ) -> None:
        content, mask = small_picture(), jpeg_bytes(photo("chelsea")[:40, :60] // 2 + 60)
        url = host.serve(f"/mask-{way.replace(' ', '-')}.jpg", mask)
        stored = post(api, key, "/api/images", files={"image": ("a.jpg", mask)}).json()["data"]["imageId"]
        values = {"base64": as_base64(mask), "url": url, "image_id": stored}
        form = {"op": "erase", "mask_url": url}
        expected = post(
            api, key, "/api/tools/brush", files={"image": content, "mask": mask}, data={"op": "erase"}
        )
        if way == "form url":
            answer = post(api, key, "/api/tools/brush", files={"image": content}, data=form)
        else:
            body = {"image": {"base64": as_base64(content)}, "op": "erase", "mask": {way: values[way]}}
            answer = post(api, key, "/api/tools/brush", json=body)
        assert picture_of(api, answer) == picture_of(api, expected)

    def test_an_image_of_25_mib_as_base64_is_read(self, api: LocalApi, key: str) -> None:
        content = small_picture()
        whole = content + bytes(25 * MIB - len(content))
        answer = post(api, key, json=crop({"base64": as_base64(whole)}))
        assert answer.status_code == 200, answer.text
        refused = post(api, key, json=crop({"base64": as_base64(whole + b"x")}))
        assert (refused.status_code, code_of(refused)) == (413, "FILE_TOO_LARGE")

    @pytest.mark.parametrize("way", ["url", "base64", "form"])
    def test_an_upload_may_be_a_url_or_base64(
        self, api: LocalApi, host: RemoteHost, key: str, way: str
    ) -> None:
        content = small_picture()
        url = host.serve(f"/upload-{way}.png", content)
        image = {"url": url} if way == "url" else {"base64": as_base64(content)}
        body = {"data": {"image_url": url}} if way == "form" else {"json": {"image": image}}
        answer = post(api, key, "/api/images", **body)
        assert answer.status_code == 200, answer.text
        assert (answer.json()["data"]["width"], answer.headers["x-credits-charged"]) == (60, "0")
        assert picture_of(api, answer) == content


class TestRetries:
    def test_a_replay_fetches_nothing(self, api: LocalApi, host: RemoteHost, key: str) -> None:
        url = host.serve("/once.png", small_picture())
        before = host.connections
        headers = {"Idempotency-Key": "one"}
        first = post(api, key, json=crop({"url": url}), headers=headers)
        assert first.status_code == 200
        # The form is the same request, and what is there now does not matter.
        host.serve("/once.png", b"gone", status="404 Not Found")
        form = {"image_url": url, "width": "10", "height": "50%"}
        for options in ({"json": crop({"url": url})}, {"data": form}):
            replay = post(api, key, headers=headers, **options)
            assert (replay.status_code, replay.content) == (200, first.content)
            assert replay.headers["idempotent-replayed"] == "true"
            assert replay.headers["x-credits-charged"] == "0"
        assert host.connections - before == 1

    @pytest.mark.parametrize("changed", ["url", "parameter", "file"])
    def test_another_request_with_the_key_is_refused_and_fetches_nothing(
        self, api: LocalApi, host: RemoteHost, key: str, changed: str
    ) -> None:
        content = small_picture()
        url = host.serve(f"/mine-{changed}.png", content)
        headers = {"Idempotency-Key": "two"}
        assert post(api, key, json=crop({"url": url}), headers=headers).status_code == 200
        before = host.connections
        others = {
            "url": crop({"url": f"{url}?other"}),
            "parameter": crop({"url": url}, width=11),
            "file": crop({"base64": as_base64(content)}),
        }
        refused = post(api, key, json=others[changed], headers=headers)
        assert (refused.status_code, code_of(refused)) == (422, "IDEMPOTENCY_MISMATCH")
        assert host.connections == before

    def test_without_a_key_the_content_decides(self, api: LocalApi, host: RemoteHost, key: str) -> None:
        url = host.serve("/changing.png", small_picture())
        first = post(api, key, json=crop({"url": url}))
        host.serve("/changing.png", small_picture())
        second = post(api, key, json=crop({"url": url}))
        assert [each.headers["x-credits-charged"] for each in (first, second)] == ["1", "1"]

    def test_the_key_of_a_failed_fetch_may_be_used_again(
        self, api: LocalApi, host: RemoteHost, key: str
    ) -> None:
        url = host.serve("/later.png", b"", status="503 Not Yet")
        headers = {"Idempotency-Key": "three"}
        failed = post(api, key, json=crop({"url": url}), headers=headers)
        assert (failed.status_code, param_of(failed)) == (422, "image_url")
        host.serve("/later.png", small_picture())
        assert post(api, key, json=crop({"url": url}), headers=headers).headers["x-credits-charged"] == "1"

    @pytest.mark.parametrize("path", ["/api/tools/crop", "/api/images"])
    def test_of_two_requests_with_one_key_only_the_first_fetches(
        self, api: LocalApi, host: RemoteHost, key: str, path: str
    ) -> None:
        began, may_answer = threading.Event(), threading.Event()
        content = small_picture()

        def slow(_: bytes, connection: Any) -> None:
            began.set()
            may_answer.wait(10)
            head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(content)}\r\n\r\n".encode()
            connection.sendall(head + content)

        body = {"image": {"url": host.respond(f"/slow{len(path)}.png", slow)}}
        body |= {"width": 10} if "tools" in path else {}
        before = host.connections
        headers = {"Idempotency-Key": "four"}
        answers: list[httpx.Response] = []
        first = threading.Thread(
            target=lambda: answers.append(post(api, key, path, json=body, headers=headers))
        )
        first.start()
        assert began.wait(10)
        second = post(api, key, path, json=body, headers=headers)
        may_answer.set()
        first.join()
        assert (second.status_code, code_of(second)) == (409, "IDEMPOTENCY_IN_PROGRESS")
        assert second.headers["retry-after"] == "1"
        assert answers[0].status_code == 200
        assert host.connections - before == 1

    def test_an_upload_by_url_is_replayed_by_its_key(self, api: LocalApi, host: RemoteHost, key: str) -> None:
        url = host.serve("/stored.png", small_picture())
        headers = {"Idempotency-Key": "five"}
        before = host.connections
        first = post(api, key, "/api/images", json={"image": {"url": url}}, headers=headers)
        again = post(api, key, "/api/images", data={"image_url": url}, headers=headers)
        assert first.content == again.content
        assert again.headers["idempotent-replayed"] == "true"
        other = post(api, key, "/api/images", json={"image": {"url": url + "?"}}, headers=headers)
        assert code_of(other) == "IDEMPOTENCY_MISMATCH"
        assert host.connections - before == 1


class TestLimitsBeforeFetching:
    def test_a_url_takes_a_call_of_the_rate_first(
        self, api: LocalApi, host: RemoteHost, free_key: str
    ) -> None:
        url = host.serve("/not-a-picture", b"<html>" * 50)
        for path, body in (("/api/tools/crop", crop({"url": url})), ("/api/images", {"image": {"url": url}})):
            api.clock.move(minutes=1)
            before = host.connections
            statuses = [post(api, free_key, path, json=body).status_code for _ in range(22)]
            assert statuses == [422] * 20 + [429] * 2
            assert host.connections - before == 20

    @pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "six"}])
    def test_without_credits_nothing_is_fetched(
        self, api: LocalApi, host: RemoteHost, free_key: str, headers: dict[str, str]
    ) -> None:
        for _ in range(15):
            content = as_base64(small_picture())
            used = post(
                api, free_key, json=crop({"base64": content}), headers={"Idempotency-Key": content[-99:]}
            )
            assert used.status_code == 200
        before = host.connections
        url = host.serve("/unpaid.png", small_picture())
        refused = post(api, free_key, json=crop({"url": url}), headers=headers)
        assert (refused.status_code, code_of(refused)) == (402, "INSUFFICIENT_CREDITS")
        assert refused.headers["x-credits-remaining"] == "0"
        assert host.connections == before

    def test_a_replay_without_key_costs_nothing_on_an_empty_account(
        self, api: LocalApi, host: RemoteHost, free_key: str
    ) -> None:
        url = host.serve("/again.png", small_picture())
        for number in range(15):
            image = {"url": url} if number == 14 else {"base64": as_base64(small_picture())}
            assert post(api, free_key, json=crop(image)).status_code == 200
        assert credits_of(api, free_key) == 0
        replay = post(api, free_key, json=crop({"url": url}))
        assert (replay.status_code, replay.headers["x-credits-charged"]) == (200, "0")

    def test_an_invalid_parameter_is_found_before_anything_is_fetched(
        self, api: LocalApi, host: RemoteHost, key: str
    ) -> None:
        before = host.connections
        refused = post(api, key, json=crop({"url": host.serve("/a.png", small_picture())}, quality=101))
        assert (refused.status_code, param_of(refused)) == (422, "quality")
        assert host.connections == before

    def test_nothing_is_charged_or_told_for_a_failed_fetch(
        self, api: LocalApi, host: RemoteHost, key: str
    ) -> None:
        credits = credits_of(api, key)
        for status in ("404 Not Found", "500 Oops", "401 Unauthorized"):
            url = host.serve("/error", b"the secret of that server", status=status)
            answer = post(api, key, json=crop({"url": url}))
            assert (answer.status_code, code_of(answer), param_of(answer)) == (
                422,
                "INVALID_PARAMETER",
                "image_url",
            )
            assert status[:3] not in answer.json()["error"]["message"]
            assert "secret" not in answer.text
        assert credits_of(api, key) == credits

    def test_a_mask_that_cannot_be_fetched_is_named(self, api: LocalApi, host: RemoteHost, key: str) -> None:
        body = {"image": {"base64": as_base64(small_picture())}, "op": "erase", "mask": {"url": host.url}}
        assert param_of(post(api, key, "/api/tools/brush", json=body)) == "mask_url"


@pytest.mark.parametrize("way", ["form", "json", "upload"])
def test_no_form_of_a_private_address_is_connected_to(
    api: LocalApi, host: RemoteHost, key: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []

    async def connect(_: object, host: str, port: int, **__: object) -> None:
        opened.append((host, port))
        raise AssertionError("a connection")

    monkeypatch.setattr("httpcore.AnyIOBackend.connect_tcp", connect)
    # This machine's own address is public to the fetcher of these tests, and only by name.
    urls = [url for url in URLS if url and not url.startswith("data:") and LOOPBACK not in url]
    urls += [f"https://{name}/a.png" for name in PRIVATE_NAMES if "127.0.0.1" not in PRIVATE_NAMES[name]]
    assert len(urls) >= 60
    for url in urls:
        if way == "form":
            answer = post(api, key, data={"image_url": url, "width": "10"})
        elif way == "json":
            answer = post(api, key, json=crop({"url": url}))
        else:
            answer = post(api, key, "/api/images", json={"image": {"url": url}})
        assert (answer.status_code, code_of(answer)) == (422, "INVALID_PARAMETER"), url
        assert param_of(answer) in ("image_url", "image"), url
    assert opened == []


REFUSED: list[tuple[Any, int, str, str | None]] = [
    (b"", 400, "INVALID_REQUEST", None),
    (b"{", 400, "INVALID_REQUEST", None),
    (b"[]", 400, "INVALID_REQUEST", None),
    (b"null", 400, "INVALID_REQUEST", None),
    (b'"image"', 400, "INVALID_REQUEST", None),
    (b"\xff\xfe{}", 400, "INVALID_REQUEST", None),
    (b'{"image": {"url": "\xff"}}', 400, "INVALID_REQUEST", None),
    (b'{"prompt": "\\ud800"}', 400, "INVALID_REQUEST", None),
    (b'{"width": NaN}', 400, "INVALID_REQUEST", None),
    (b'{"width": 1, "width": 2}', 422, "INVALID_PARAMETER", "width"),
    (b'{"image": {"base64": "AA==", "base64": "AA=="}}', 422, "INVALID_PARAMETER", "base64"),
    (b'{"image": {"base64": "AA=="}, "file": {"base64": "AA=="}}', 422, "INVALID_PARAMETER", "file"),
    (b'{"image": {"image_id": "a"}, "image_id": "b"}', 422, "INVALID_PARAMETER", "image_id"),
    (b'{"image": {"url": "https://a.example.com"}, "image_id": "b"}', 400, "MULTIPLE_SOURCES", None),
    (b'{"image_url": "https://a.example.com", "image_id": "b"}', 400, "MULTIPLE_SOURCES", None),
    (b"{}", 400, "MISSING_IMAGE", None),
    (b'{"image": null, "width": 3}', 400, "MISSING_IMAGE", None),
    (b'{"nothing": 1}', 422, "INVALID_PARAMETER", "nothing"),
    (b'{"mask": {"base64": "AA=="}}', 422, "INVALID_PARAMETER", "mask"),
    (b'{"image": "https://a.example.com/a.png"}', 422, "INVALID_PARAMETER", "image"),
    (b'{"image": ["AA=="]}', 422, "INVALID_PARAMETER", "image"),
    (b'{"image": 5}', 422, "INVALID_PARAMETER", "image"),
    (b'{"image": {}}', 422, "INVALID_PARAMETER", "image"),
    (b'{"image": {"path": "/etc/passwd"}}', 422, "INVALID_PARAMETER", "image"),
    (b'{"image": {"url": "a", "base64": "b"}}', 422, "INVALID_PARAMETER", "image"),
    (b'{"image": {"url": null}}', 422, "INVALID_PARAMETER", "image"),
    (b'{"image": {"url": ""}}', 422, "INVALID_PARAMETER", "image"),
    (b'{"image": {"url": {"url": "a"}}}', 422, "INVALID_PARAMETER", "image"),
    (b'{"image": {"base64": 5}}', 422, "INVALID_PARAMETER", "image"),
    (b'{"image": {"base64": "!!!!"}}', 422, "INVALID_PARAMETER", "image"),
    (b'{"image": {"base64": "AAAA=AAA"}}', 422, "INVALID_PARAMETER", "image"),
    (b'{"image": {"base64": "data:image/png,AAAA"}}', 422, "INVALID_PARAMETER", "image"),
    (b'{"image": {"base64": "aGVsbG8gd29ybGQ="}}', 415, "UNSUPPORTED_FORMAT", None),
    (b'{"image": {"url": "data:image/png;base64,aGVsbG8gd29ybGQ="}}', 415, "UNSUPPORTED_FORMAT", None),
    (b'{"image": {"image_id": "img_none"}, "width": 5}', 404, "NOT_FOUND", "image_id"),
    (b'{"image": {"base64": "AA=="}, "width": {"px": 5}}', 422, "INVALID_PARAMETER", "width"),
    (b'{"image": {"base64": "AA=="}, "width": [5}', 400, "INVALID_REQUEST", None),
    (b'{"image": {"base64": "AA=="}, "width": [5}}', 415, "UNSUPPORTED_FORMAT", None),
    (b'{"width": ' + b"9" * 5_000 + b"}", 400, "INVALID_REQUEST", None),
    (b'{"image": {"base64": "AA=="}, "width": ' + b"9" * 4_000 + b"}", 415, "UNSUPPORTED_FORMAT", None),
    (b'{"width": ' + b"[" * 100_000, 400, "INVALID_REQUEST", None),
    (b'{"width": ' + b"[" * 300_000 + b"]" * 300_000 + b"}", 400, "INVALID_REQUEST", None),
    (b'{"width": "' + b'\\"' * 2_000 + b'"}', 400, "INVALID_REQUEST", None),
    (b"{" + b'"a":1,' * 3_000 + b'"b":1}', 400, "INVALID_REQUEST", None),
    (b" " * (2 * MIB), 400, "INVALID_REQUEST", None),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_bad_json_is_refused_by_its_parameter(api: LocalApi, key: str, number: int) -> None:
    content, status, code, param = REFUSED[number]
    answer = post(api, key, content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, code_of(answer), param_of(answer)) == (status, code, param), answer.text
    assert answer.headers["x-credits-charged"] == "0"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-Type": "application/json; charset=utf-16"}, "INVALID_REQUEST"),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, "INVALID_REQUEST"),
        ({"Content-Type": "application/ld+json"}, "INVALID_REQUEST"),
        ({"Content-Type": "text/json"}, "INVALID_REQUEST"),
    ],
)
def test_other_encodings_and_types_are_refused(
    api: LocalApi, key: str, headers: dict[str, str], code: str
) -> None:
    assert code_of(post(api, key, content=b"{}", headers=headers)) == code


def test_a_plain_text_may_not_be_a_list(api: LocalApi, key: str) -> None:
    body = {"image": {"base64": as_base64(small_picture())}, "prompt": ["a", "cat"], "box": [0, 0, 9, 9]}
    answer = post(api, key, "/api/tools/generative-fill", json=body)
    assert (answer.status_code, param_of(answer)) == (422, "prompt")


def test_a_form_may_not_send_two_sources(api: LocalApi, key: str) -> None:
    data = {"image_url": "https://a.example.com/a.png", "width": "5"}
    assert code_of(post(api, key, files={"image": small_picture()}, data=data)) == "MULTIPLE_SOURCES"
    both = {"op": "erase", "mask_url": "https://a.example.com/a.png"}
    files = {"image": small_picture(), "mask": small_picture()}
    answer = post(api, key, "/api/tools/brush", files=files, data=both)
    assert (code_of(answer), param_of(answer)) == ("INVALID_PARAMETER", "mask_url")


def test_an_upload_takes_no_stored_image(api: LocalApi, key: str) -> None:
    answer = post(api, key, "/api/images", json={"image": {"image_id": "img_a"}})
    assert (answer.status_code, param_of(answer)) == (422, "image")


def test_lists_are_cut_out_wherever_they_are() -> None:
    content = bytearray(b'{"points": [[1, 2, "]"], {"a": [3]}], "prompt": "[not a list]", "box":[]}')
    read = json_calls.read(content, {}, {"points", "prompt", "box"}, {"points", "box"})
    assert read.texts == {"points": '[[1, 2, "]"], {"a": [3]}]', "prompt": "[not a list]", "box": "[]"}
    with pytest.raises(InvalidRequest):
        json_calls.read(bytearray(b'[{"a": [1]}]'), {}, {"a"}, {"a"})
    with pytest.raises(InvalidParameter):
        json_calls.read(bytearray(b'{"image": {"url": ["a"]}}'), {"image": "image"}, set(), set())


def test_decoding_is_not_done_on_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    real = json_calls.base64_files._decode
    monkeypatch.setattr(
        json_calls.base64_files,
        "_decode",
        lambda text, param: (threads.append(threading.current_thread().name), real(text, param))[1],
    )
    read = json_calls.read(bytearray(b'{"image": {"base64": "AAAA"}}'), {"image": "image"}, set(), set())
    assert asyncio.run(json_calls.decoded(read)) == {"image": b"\0\0\0"}
    assert threads
    assert "MainThread" not in threads
