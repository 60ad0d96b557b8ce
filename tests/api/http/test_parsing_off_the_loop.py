"""Work proportional to a body is bounded beforehand or runs off the event loop."""

import json
import random
import re
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from api.errors import InvalidRequest
from api.http import forms, json_bodies, multipart
from api.http.middleware import body_limits
from tests.support.apps import LocalApi, local_api
from tests.support.calling import code_of, small_picture

MIB = 1024 * 1024
URLENCODED = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalApi]:
    with local_api(tmp_path_factory.mktemp("parsing")) as opened:
        yield opened


@pytest.fixture(scope="module")
def key(api: LocalApi) -> str:
    return api.new_key("a@example.com")


@pytest.mark.parametrize("content_type", [URLENCODED, "text/plain", "image/png", None])
def test_a_body_without_files_may_not_be_larger_than_a_mebibyte(
    api: LocalApi, key: str, content_type: str | None
) -> None:
    api.clock.move(minutes=1)
    headers = {"X-Api-Key": key} | ({} if content_type is None else {"Content-Type": content_type})
    response = api.request("POST", "/api/tools/crop", content=b"&" * (MIB + 1), headers=headers)
    assert (response.status_code, code_of(response)) == (413, "FILE_TOO_LARGE")
    assert body_limits.OTHER_LIMIT_BYTES == MIB


@pytest.mark.parametrize("content", [b"&" * MIB, b"a&" * (MIB // 2), b"a=%41&" * (MIB // 6)])
def test_a_form_of_many_fields_is_refused_before_it_is_split(
    api: LocalApi, key: str, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unescape(text: bytes) -> bytes:
        raise AssertionError(f"a field was decoded: {text[:20]!r}")

    monkeypatch.setattr(forms, "_unescaped", unescape)
    api.clock.move(minutes=1)
    headers = {"X-Api-Key": key, "Content-Type": URLENCODED}
    response = api.request("POST", "/api/tools/crop", content=content, headers=headers)
    assert (response.status_code, code_of(response)) == (400, "INVALID_REQUEST")
    assert "too many fields" in response.json()["error"]["message"]


def test_a_urlencoded_form_is_decoded_in_another_thread(
    api: LocalApi, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def loop_thread() -> int:
        return threading.get_ident()

    decoded_in: list[int] = []

    unescaped = forms._unescaped

    def note(text: bytes) -> bytes:
        decoded_in.append(threading.get_ident())
        return unescaped(text)

    monkeypatch.setattr(forms, "_unescaped", note)
    api.clock.move(minutes=1)
    headers = {"X-Api-Key": key, "Content-Type": URLENCODED}
    response = api.request("POST", "/api/tools/crop", content=b"width=%31", headers=headers)
    assert code_of(response) == "MISSING_IMAGE"
    assert decoded_in
    assert api.call(loop_thread) not in decoded_in


def test_a_multipart_body_is_copied_in_another_thread(
    api: LocalApi, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def loop_thread() -> int:
        return threading.get_ident()

    joined_in: list[int] = []
    joined = multipart._Content.joined

    def note(content: multipart._Content) -> bytes:
        joined_in.append(threading.get_ident())
        return joined(content)

    monkeypatch.setattr(multipart._Content, "joined", note)
    api.clock.move(minutes=1)
    files = {"image": ("a.png", small_picture())}
    assert api.request("POST", "/api/images", files=files, headers={"X-Api-Key": key}).status_code == 200
    assert joined_in
    assert api.call(loop_thread) not in joined_in


@pytest.mark.parametrize("bytes_at_once", [3, 4, 7, forms._UNESCAPED_AT_ONCE_BYTES])
def test_a_urlencoded_form_is_decoded_as_the_standard_library_does(
    bytes_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "_UNESCAPED_AT_ONCE_BYTES", bytes_at_once)
    source = random.Random(1)
    escapes = ["%", "%41", "%c3%a9", "%3D", "%26", "%0D%0A", "%25"]
    alphabet = [*escapes, "+", "=", "z", "_", ".", " ", "\r\n", "\t"]
    for _ in range(3_000):
        text = "z" + "".join(source.choices(alphabet, k=source.randrange(8)))
        try:
            parts = forms._read_urlencoded(text.encode())
        except InvalidRequest:
            assert re.search("%(?![0-9A-Fa-f]{2})", text), text
            continue
        expected = urllib.parse.parse_qsl(text, keep_blank_values=True, errors="strict")
        assert [(part.name, part.text()) for part in parts] == expected, text


@pytest.mark.parametrize("text", [b"%41" * (MIB // 3), b"=" * MIB, b"+" * MIB, b"a" * MIB])
def test_a_long_form_is_decoded_in_pieces(text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    decode = forms._unescaped_piece

    def note(piece: bytes) -> bytes:
        lengths.append(len(piece))
        return decode(piece)

    monkeypatch.setattr(forms, "_unescaped_piece", note)
    (part,) = forms._read_urlencoded(b"width=" + text)
    assert part.content == urllib.parse.unquote_to_bytes(text.replace(b"+", b" "))
    assert max(lengths) <= 32 * 1024
    assert sum(lengths) == len(b"width" + text)


@pytest.mark.parametrize(
    "content",
    [
        b'{"a":[' + b"[]," * 300_000 + b"0]}",
        b'{"a":[' + b"0," * 500_000 + b"0]}",
        b'{"a":{' + b'"":0,' * 200_000 + b'"":0}}',
        b'{"a":"' + b'","b":"' * 100_000 + b'"}',
        b" " * MIB,
        b"[" * MIB,
        b'"' * MIB,
    ],
)
def test_json_of_many_values_is_refused_before_it_is_parsed(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(*_: Any, **__: Any) -> Any:
        raise AssertionError("it was parsed")

    monkeypatch.setattr(json_bodies, "from_json", parse)
    with pytest.raises(InvalidRequest):
        json_bodies.read_object(content)


def test_json_of_long_texts_is_read() -> None:
    strokes = json.dumps([{"points": [[1, 2]] * 50, "size": 3}] * 1_000)
    body = {"tool": "brush", "params": {"strokes": strokes, "op": "erase"}, "stepId": 'a"b\\'}
    assert json_bodies.read_object(json.dumps(body).encode()) == body


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"a"',
        b"{}{}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":"\\ud800"}',
        b"\xff",
    ],
)
def test_anything_but_a_json_object_is_400(content: bytes) -> None:
    with pytest.raises(InvalidRequest):
        json_bodies.read_object(content)


def test_an_overlong_field_is_refused_before_it_is_parsed(api: LocalApi, key: str) -> None:
    form = {"image": ("a.png", small_picture()), "pad_color": (None, b"1 " * MIB)}
    api.clock.move(minutes=1)
    response = api.request("POST", "/api/tools/crop", files=form, headers={"X-Api-Key": key})
    assert (response.status_code, code_of(response)) == (422, "INVALID_PARAMETER")
    assert "too long" in response.json()["error"]["message"]
