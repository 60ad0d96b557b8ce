"""Calls by URL and as JSON: the same call as a form's, with the same refusals."""

import asyncio
import json
import threading
from typing import Any

import pytest

from api.errors import InvalidParameter, InvalidRequest
from api.http import base64_files, json_calls
from api.http.long_texts import LongText
from tests.api.http.sources.conftest import as_base64, crop, picture_of, post
from tests.support.apps import LocalApi
from tests.support.calling import code_of, param_of, small_picture
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.remote_host import RemoteHost

MIB = 1024 * 1024


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

    @pytest.mark.parametrize("shape", [(135, 4), (1_000, 98), (1, 3_000)])
    def test_strokes_as_text_and_as_a_list_are_the_same_call(
        self, api: LocalApi, key: str, shape: tuple[int, int]
    ) -> None:
        number, points = shape
        stroke = {
            "points": [[5.5, 6.5], [7.5, 8.5]] * (points // 2),
            "size": 2,
            "hardness": 0.5,
            "opacity": 1,
        }
        strokes = [stroke] * number
        body = {"image": {"base64": as_base64(small_picture())}, "op": "erase"}
        answers = [
            post(api, key, "/api/tools/brush", json={**body, "strokes": value})
            for value in (strokes, json.dumps(strokes, separators=(",", ":")))
        ]
        assert [each.status_code for each in answers] == [200, 200], answers[1].text
        assert answers[1].headers["idempotent-replayed"] == "true"

    @pytest.mark.parametrize("prompt", ['"' * 1_100, "\\" * 40, '\\"' * 500])
    def test_a_text_of_quotes_and_backslashes_is_read(self, api: LocalApi, key: str, prompt: str) -> None:
        body = {"image": {"image_id": "img_none"}, "prompt": prompt, "box": [0, 0, 9, 9], "seed": -2}
        form = {"image_id": "img_none", "prompt": prompt, "box": "[0,0,9,9]", "seed": "-2"}
        answer = post(api, key, "/api/tools/generative-fill", json=body)
        expected = post(api, key, "/api/tools/generative-fill", data=form)
        assert (answer.status_code, answer.json()["error"]) == (422, expected.json()["error"])

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
    (b'{"image": {"base64": "AA=="}, "file": {"base64": "AA=="}}', 400, "MULTIPLE_SOURCES", None),
    (b'{"image": {"image_id": "a"}, "image_id": "b"}', 400, "MULTIPLE_SOURCES", None),
    (
        b'{"image": {"url": "https://a.example.com"}, "image_url": "https://b.example.com"}',
        400,
        "MULTIPLE_SOURCES",
        None,
    ),
    (b'{"image": {"url": "a", "base64": "b"}}', 400, "MULTIPLE_SOURCES", None),
    (b'{"image": {"url": "a", "path": "b"}}', 422, "INVALID_PARAMETER", "image"),
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
    (b'{"width": ' + b"[" * 300_000 + b"]" * 300_000 + b"}", 422, "INVALID_PARAMETER", "width"),
    (b'{"image": {"base64": "AA=="}, "x": [' + b"0," * 3 * MIB + b"0]}", 422, "INVALID_PARAMETER", "x"),
    (b'{"width": "' + b'\\"' * 2_000 + b'"}', 400, "MISSING_IMAGE", None),
    (b'{"width": "' + b'\\"' * 2_000, 400, "INVALID_REQUEST", None),
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


@pytest.mark.parametrize("path", ["/api/tools/crop", "/api/images"])
def test_a_body_over_the_limit_is_413(api: LocalApi, key: str, path: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": str(53 * MIB)}
    answer = post(api, key, path, content=b"", headers=headers)
    assert (answer.status_code, code_of(answer)) == (413, "FILE_TOO_LARGE")


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
    real = base64_files._decode

    def decode(text: LongText, param: str) -> bytes:
        threads.append(threading.current_thread().name)
        return real(text, param)

    monkeypatch.setattr(base64_files, "_decode", decode)
    read = json_calls.read(bytearray(b'{"image": {"base64": "AAAA"}}'), {"image": "image"}, set(), set())
    assert asyncio.run(json_calls.decoded(read)) == {"image": b"\0\0\0"}
    assert threads
    assert "MainThread" not in threads
