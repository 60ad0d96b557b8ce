"""Malformed forms are refused, never a 500."""

import random
from collections.abc import Iterator

import httpx
import pytest

from tests.support.apps import LocalApi, local_api
from tests.support.calling import code_of, small_picture

SEEDS = range(8)
DAMAGED_A_SEED = 40


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalApi]:
    with local_api(tmp_path_factory.mktemp("forms")) as opened:
        yield opened


@pytest.fixture(scope="module")
def key(api: LocalApi) -> str:
    return api.new_key("a@example.com")


def post(api: LocalApi, key: str, content: bytes, content_type: str) -> httpx.Response:
    api.clock.move(minutes=1)  # so that the rate limit does not interfere
    headers = {"X-Api-Key": key, "Content-Type": content_type}
    return api.request("POST", "/api/tools/crop", content=content, headers=headers)


def a_form() -> tuple[bytes, str]:
    """A form that is refused only for its last field, so that no call begins."""
    request = httpx.Request(
        "POST",
        "http://test",
        files={"image": ("a.png", small_picture()), "width": (None, b"10"), "end": (None, b"x")},
    )
    return request.read(), request.headers["content-type"]


def damaged(content: bytes, random_source: random.Random) -> bytes:
    """`content` with a piece cut out, doubled, swapped for noise or for what parsers look for."""
    start = random_source.randrange(len(content))
    end = min(len(content), start + random_source.choice((1, 2, 8, 64, 512)))
    tokens = (b"\r\n", b"--", b"\x00", b'"', b"; ", b"=", b"%", b"&", b"\xff\xfe", b"name=", b"filename=")
    piece = random_source.choice(
        (b"", content[start:end] * 2, random_source.randbytes(end - start), random_source.choice(tokens))
    )
    return content[:start] + piece + content[end:]


def refused(response: httpx.Response) -> None:
    assert response.status_code in (400, 413, 415, 422), response.text
    code_of(response)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_multipart_form_is_refused(api: LocalApi, key: str, seed: int) -> None:
    random_source = random.Random(seed)
    content, content_type = a_form()
    for _ in range(DAMAGED_A_SEED):
        # The last field stays whole, so that even a lucky damage starts no call.
        kept = content.rindex(b"--", 0, content.rindex(b'name="end"')) - 40
        refused(post(api, key, damaged(content[:kept], random_source) + content[kept:], content_type))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_content_type_is_refused(api: LocalApi, key: str, seed: int) -> None:
    random_source = random.Random(seed)
    content, content_type = a_form()
    for _ in range(DAMAGED_A_SEED):
        altered = damaged(content_type.encode(), random_source)
        printable = bytes(byte for byte in altered if 32 <= byte < 127).decode()
        refused(post(api, key, content, printable.strip()))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_urlencoded_form_is_refused(api: LocalApi, key: str, seed: int) -> None:
    random_source = random.Random(seed)
    content = b"width=10&height=20%25&format=jpg&x=%E2%82%AC&end=x"
    for _ in range(DAMAGED_A_SEED):
        altered = damaged(content, random_source)
        response = post(api, key, altered, "application/x-www-form-urlencoded")
        refused(response)


@pytest.mark.parametrize(
    "charset", ["utf-16", "utf-7", "idna", "punycode", "base64", "undefined", "latin-1", "no-such"]
)
def test_text_in_another_charset_is_refused(api: LocalApi, key: str, charset: str) -> None:
    content, content_type = a_form()
    response = post(api, key, content, f"{content_type}; charset={charset}")
    assert (response.status_code, code_of(response)) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "name", ["", " ", "width ", "WIDTH", "wid\x00th", "image[]", "__proto__", "\u202ewidth"]
)
def test_an_almost_correct_field_name_is_unknown(api: LocalApi, key: str, name: str) -> None:
    content, content_type = a_form()
    response = post(api, key, content.replace(b'name="end"', f'name="{name}"'.encode()), content_type)
    assert (response.status_code, code_of(response)) == (422, "INVALID_PARAMETER")


def test_file_names_are_ignored(api: LocalApi, key: str) -> None:
    content, content_type = a_form()
    for name in (b"../../etc/passwd", b"a\x00b", b"x" * 3000, b"con.png", b"%s%n", b"\xff"):
        response = post(api, key, content.replace(b"a.png", name), content_type)
        assert response.json()["error"]["param"] == "end"


def test_an_empty_file_field_of_a_browser_counts_as_not_sent(api: LocalApi, key: str) -> None:
    boundary = "multipart/form-data; boundary=b"
    part = b'--b\r\nContent-Disposition: form-data; name="image"; filename=""\r\n\r\n\r\n--b--\r\n'
    response = post(api, key, part, boundary)
    assert (response.status_code, code_of(response)) == (400, "MISSING_IMAGE")
