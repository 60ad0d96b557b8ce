"""Files as base64 and the JSON around them: every way of writing them is read, everything else refused."""

import asyncio
import base64
import json
import random
import threading
import urllib.parse
from typing import Any, Literal

import pytest

from api.errors import FileTooLarge, InvalidParameter, InvalidRequest
from api.http import base64_files, json_bodies, json_forms, long_texts
from api.http.long_texts import LongText
from api.images import service as images

FILE = random.Random(1).randbytes(300_001)
TEXT = base64.b64encode(FILE).decode()

Notation = Literal["plain", "json", "urlencoded"]


def decoded(text: str | bytes, notation: Notation = "plain") -> bytes:
    content = text.encode() if isinstance(text, str) else text
    return base64_files._decode(LongText(content, 0, len(content), notation), "image_file_b64")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 1000, 48 * 1024, 49_151, 49_152, 49_153, 98_305])
def test_any_length_comes_back(size: int) -> None:
    assert decoded(base64.b64encode(FILE[:size])) == FILE[:size]


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.rstrip("="),
        TEXT.replace("+", "-").replace("/", "_"),
        base64.encodebytes(FILE).decode(),
        base64.encodebytes(FILE).decode().replace("\n", "\r\n"),
        f"  {TEXT}\n",
        f"data:image/png;base64,{TEXT}",
        f"DATA:image/jpeg;charset=utf-8;BASE64,{TEXT}",
        f"data:;base64,{TEXT}",
    ],
    ids=["plain", "unpadded", "url-safe", "lines", "crlf", "spaces", "data-url", "upper", "no-type"],
)
def test_the_usual_forms_are_read(text: str) -> None:
    assert decoded(text) == FILE
    assert decoded(json.dumps(text)[1:-1], "json") == FILE
    assert decoded(urllib.parse.quote(text, safe=""), "urlencoded") == FILE


@pytest.mark.parametrize(
    "escape",
    [("/", "\\/"), ("+", "\\u002B"), ("=", "\\u003d"), ("A", "\\u0041")],
    ids=["php", "dotnet", "html-safe", "all-of-one-letter"],
)
def test_json_escapes_are_read_wherever_a_piece_ends(
    escape: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = TEXT[:4_000]
    for piece_bytes in (64, 65, 66, 67, 68, 69, 70):
        monkeypatch.setattr(long_texts, "PIECE_BYTES", piece_bytes)
        assert decoded(short.replace(*escape), "json") == base64.b64decode(short)


def test_percent_escapes_are_read_wherever_a_piece_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    short = TEXT[:4_000]
    for piece_bytes in (64, 65, 66, 67):
        monkeypatch.setattr(long_texts, "PIECE_BYTES", piece_bytes)
        assert decoded("".join(f"%{ord(letter):02x}" for letter in short), "urlencoded") == base64.b64decode(
            short
        )


def test_a_plus_sign_that_a_form_did_not_escape_stays_one() -> None:
    assert "+" in TEXT
    assert decoded(TEXT, "urlencoded") == FILE


@pytest.mark.parametrize(
    "text",
    [
        "!!!!",
        "A",
        "AAAAA",
        "=AAA",
        "A===",
        "AA=A",
        "AA==AAAA",
        "AAAA\x00AAA",
        "AAAAé",
        "a.png",
        TEXT[:70_000] + "=" + TEXT[70_000:],
        TEXT[:70_000] + "*" + TEXT[70_000:],
        TEXT + "AAAA",
        "data:image/png,AAAA",
        "data:image/png;base64",
        "data:" + "x" * 1_000 + ";base64,AAAA",
        "",
        "  \n",
        "data:image/png;base64,",
    ],
    ids=lambda text: ascii(text)[:24],
)
def test_junk_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        decoded(text)
    assert raised.value.param == "image_file_b64"


@pytest.mark.parametrize(
    ("text", "notation"),
    [("AA\\x", "json"), ("\\", "json"), ("AAA\n", "json"), ("AA%4", "urlencoded"), ("%zz", "urlencoded")],
)
def test_a_broken_escape_is_refused(text: str, notation: Notation) -> None:
    with pytest.raises(InvalidParameter):
        decoded(text, notation)


def test_a_file_over_the_limit_is_refused_before_it_is_decoded_in_full() -> None:
    read = 0

    def pieces() -> Any:
        nonlocal read
        for _ in range(1_000):
            read += 1
            yield b"A" * 65536

    with pytest.raises(FileTooLarge):
        b"".join(base64_files._decoded_blocks(pieces(), "image_file_b64"))
    assert read <= images.FILE_LIMIT_BYTES / 49_152 + 1


def test_long_strings_stay_undecoded_and_short_ones_do_not() -> None:
    body = {"image_file_b64": TEXT, "size": "auto", "crop": False, "n": [1, {"deep": TEXT}], "e": '"\\'}
    value = json_forms.read_object(bytearray(json.dumps(body).encode()))
    assert isinstance(value["image_file_b64"], LongText)
    assert b"".join(value["image_file_b64"].pieces()).decode() == TEXT
    assert b"".join(value["n"][1]["deep"].pieces()).decode() == TEXT
    assert (value["size"], value["crop"], value["e"]) == ("auto", False, '"\\')


def test_json_with_random_strings_is_read_as_the_standard_library_does() -> None:
    source = random.Random(2)
    letters = ['"', "\\", "a", "é", "\n", "/", "😀", " "]
    for _ in range(300):
        body = {
            f"k{number}": "".join(source.choices(letters, k=source.choice([0, 3, 9_000])))
            for number in range(source.randrange(5))
        }
        read = json_forms.read_object(json.dumps(body, ensure_ascii=source.random() < 0.5).encode())
        as_text = {
            name: value.text() if isinstance(value, LongText) else value for name, value in read.items()
        }
        assert as_text == body


@pytest.mark.parametrize("text", ['"', "\\", '\\"', 'x"\\', "\\\\n"])
@pytest.mark.parametrize("offset", range(4))
def test_a_text_of_escapes_is_read_wherever_a_search_ends(text: str, offset: int) -> None:
    body = {"a": "x" * offset + text * 70_000, "b": "ends here"}
    read = json_forms.read_object(json.dumps(body).encode())
    assert (read["a"].text(), read["b"]) == (body["a"], "ends here")


def test_lists_are_cut_out_of_the_object_that_the_path_leads_to() -> None:
    path = (b"params", b"arguments")
    body = {
        "params": {
            "other": {"strokes": [1]},
            "list": [2, {"params": {"arguments": {"strokes": [3]}}}],
            "name": "arguments",
            "arguments": {"strokes": [[4, "]"], {"a": [5]}], "image": {"x": [6]}, "points": []},
            "_meta": {"arguments": {"strokes": [7]}},
        },
        "arguments": {"strokes": [8]},
    }
    rest, lists = json_forms.cut_out_lists(bytearray(json.dumps(body).encode()), path)
    left = json.loads(rest)
    arguments = left["params"]["arguments"]
    texts = {name: lists[arguments.pop(name)].text() for name in ("strokes", "points")}
    assert texts == {"strokes": '[[4, "]"], {"a": [5]}]', "points": "[]"}
    assert len(lists) == 2
    del body["params"]["arguments"]["strokes"], body["params"]["arguments"]["points"]  # type: ignore[index]
    assert left == body


def test_a_list_of_too_many_values_is_refused_by_its_name() -> None:
    content = bytearray(b'{"strokes":[' + b"[]," * 300_000 + b"[]]}")
    with pytest.raises(InvalidParameter) as raised:
        json_forms.cut_out_lists(content)
    assert raised.value.param == "strokes"


def test_a_long_name_is_not_mistaken_for_a_file() -> None:
    with pytest.raises(InvalidRequest, match="a name of more than"):
        json_forms.read_object(b'{"' + b"x" * 9_000 + b'" : 1}')


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'"a"',
        b'{"a":"' + b"x" * 20_000,
        b'{"a":"' + b'\\"' * 20_000,
        b'{"a":"' + b"\\" * 20_001 + b'"}',
        b"[" * 2_000_000,
        b" " * 2_000_000,
        b'{"a":[' + b'"",' * json_bodies.STRINGS_MAX + b'""]}',
        b'{"a":1}{"b":2}',
        b'{"a":NaN}',
    ],
    ids=lambda content: ascii(content[:12]),
)
def test_what_is_no_json_object_of_few_values_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidRequest):
        json_forms.read_object(content)


@pytest.mark.parametrize("content", [b'{"size":"a","size":"b"}', b'{"n":{"x":1,"x":2}}'])
def test_a_name_that_occurs_twice_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidParameter, match="more than once"):
        json_forms.read_object(content)


def test_long_text_is_decoded_in_another_thread_and_in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[tuple[int, int]] = []
    decode_piece = LongText._decoded

    def note(text: LongText, piece: bytes) -> bytes:
        pieces.append((threading.get_ident(), len(piece)))
        return decode_piece(text, piece)

    monkeypatch.setattr(LongText, "_decoded", note)
    content = TEXT.encode()
    file = asyncio.run(base64_files.decode(LongText(content, 0, len(content), "json"), "image_file_b64"))
    assert file == FILE
    assert threading.get_ident() not in {thread for thread, _ in pieces}
    assert max(size for _, size in pieces) <= long_texts.PIECE_BYTES


def test_a_short_form_value_is_decoded_as_the_standard_library_does() -> None:
    source = random.Random(3)
    for _ in range(1_000):
        text = "".join(source.choices(["%41", "%c3%a9", "%3D", "+", "=", "z", "_", "%25", "%0D%0A"], k=6))
        content = text.encode()
        value = LongText(content, 0, len(content), "urlencoded").text()
        assert value == urllib.parse.unquote_plus(text, errors="strict")
