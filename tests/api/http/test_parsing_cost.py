"""Parsers of request heads and bodies take linear time.

CPU time of two sizes is compared: four times the input may take about four times as long. A quadratic parser
takes sixteen times as long.
"""

import time
from collections.abc import Callable

import pytest
from starlette.requests import cookie_parser

from api.errors import InvalidRequest
from api.http import json_bodies, json_forms, multipart, request_line
from ml.imaging.formats import jpeg
from tests.support.ml.photos import jpeg_bytes, photo

_LARGEST_RATIO = 9.0


def cpu_seconds(work: Callable[[], object]) -> float:
    """The fastest of five runs."""
    seconds = []
    for _ in range(5):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return min(seconds)


def assert_linear(work: Callable[[int], object], size: int) -> None:
    work(size)
    assert cpu_seconds(lambda: work(4 * size)) < _LARGEST_RATIO * cpu_seconds(lambda: work(size)) + 0.002


def test_an_unterminated_json_string_full_of_escaped_quotes() -> None:
    def read(size: int) -> None:
        with pytest.raises(InvalidRequest):
            json_bodies.read_object(b'"' + b'\\"' * size)

    assert_linear(read, 20_000)


@pytest.mark.parametrize("escape", [b'\\"', b"\\\\"])
def test_an_unterminated_json_text_full_of_escapes(escape: bytes) -> None:
    def read(size: int) -> None:
        with pytest.raises(InvalidRequest):
            json_forms.read_object(b'{"a":"' + escape * size)

    assert_linear(read, 200_000)


def test_json_of_many_short_lists() -> None:
    def read(size: int) -> None:
        json_forms.cut_out_lists(bytearray(b"{" + b'"a":[],' * size + b'"b":1}'))

    assert_linear(read, 5_000)


def test_an_unterminated_parameter_of_a_part() -> None:
    assert_linear(lambda size: multipart._QUOTED.sub(b'""', b'x; y="' + b'\\"' * size + b"x"), 5_000)


def test_a_quoted_cookie_full_of_backslashes_is_dropped_before_it_is_parsed() -> None:
    header = b'first=1; bad="' + b"\\" * 60_000 + b'"; last=2'
    scope = {"type": "http", "path": "/login", "query_string": b"", "headers": [(b"cookie", header)]}
    kept = dict(request_line.normalized(scope)["headers"])[b"cookie"]
    assert cookie_parser(kept.decode()) == {"first": "1", "last": "2"}


def test_a_jpeg_with_thousands_of_tables_and_markers() -> None:
    content = jpeg_bytes(photo("coffee"))

    def strip(size: int) -> None:
        tables = b"\xff\xc4\0\x02" * size + b"\xff\xe0\0\x07JFIF\0" * size
        jpeg.strip_metadata(content[:2] + tables + content[2:], 50_000_000)

    assert_linear(strip, 1_000)
