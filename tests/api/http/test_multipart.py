"""Multipart forms: everything the standards allow is accepted, and errors are explained."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from api.http import multipart
from tests.support.apps import LocalApi, local_api
from tests.support.calling import code_of, param_of, small_picture

MULTIPART = "multipart/form-data; boundary=b"
NAMED = b'Content-Disposition: form-data; name="image"'
#: Refused only after the whole form was read and sorted, so that no call begins.
END = b'--b\r\nContent-Disposition: form-data; name="end"\r\n\r\nx\r\n--b--\r\n'


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalApi]:
    with local_api(tmp_path_factory.mktemp("multipart")) as opened:
        yield opened


@pytest.fixture(scope="module")
def key(api: LocalApi) -> str:
    return api.new_key("a@example.com")


def post(
    api: LocalApi, key: str, content: bytes, content_type: str | None = MULTIPART, path: str = "/api/images"
) -> httpx.Response:
    """Uploads, because storing a picture needs no worker."""
    api.clock.move(minutes=1)  # so that the rate limit does not interfere
    headers = {"X-Api-Key": key} | ({} if content_type is None else {"Content-Type": content_type})
    return api.request("POST", path, content=content, headers=headers)


def a_form(head: bytes, content: bytes | None = None) -> bytes:
    return b"--b\r\n" + head + b"\r\n\r\n" + (content or small_picture()) + b"\r\n--b--\r\n"


@pytest.mark.parametrize(
    "head",
    [
        NAMED + b'; filename="a.png"',
        NAMED + b"; filename=a.png",
        NAMED + b"; filename*=utf-8''%E6%BC%A2.png",
        NAMED + b"; filename*0*=utf-8''%E6; filename*1*=%BC%A2.png",
        NAMED + b"\r\nContent-Type: image/png",
        NAMED + b"\r\nContent-Type: application/octet-stream",
        b"content-type: IMAGE/PNG\r\ncontent-disposition: form-data; name=image",
    ],
)
def test_every_way_of_sending_an_image_is_accepted(api: LocalApi, key: str, head: bytes) -> None:
    response = post(api, key, a_form(head))
    assert response.status_code == 200, response.text
    assert response.json()["data"]["format"] == "png"


@pytest.mark.parametrize(
    "preamble", [b"\r\n", b"This is a message in MIME format.\r\n", b"x" * 30_000 + b"\r\n", b"--other\r\n"]
)
def test_a_preamble_is_skipped(api: LocalApi, key: str, preamble: bytes) -> None:
    assert post(api, key, preamble + a_form(NAMED + b'; filename="a.png"')).status_code == 200


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 7, 64, 100_000])
@pytest.mark.parametrize("preamble", [b"", b"\r\n", b"In MIME format.\r\n"])
def test_white_space_after_a_boundary_is_ignored_wherever_a_chunk_ends(
    preamble: bytes, chunk_bytes: int
) -> None:
    content = b"\r\n--c \r\n--\r\r\n"
    named = b'Content-Disposition: form-data; name="x"\r\n\r\n'
    second = named.replace(b"x", b"y") + b"last"
    form = preamble + b"--b \t\r\n" + named + content + b"\r\n--b \t \r\n" + second + b"\r\n--b-- \r\n"
    limits = multipart.Limits(files=1, fields=2, file_bytes=100, text_bytes=1_000)

    async def read() -> list[multipart.Part]:
        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(form), chunk_bytes):
                yield form[start : start + chunk_bytes]

        return await multipart.read_parts(chunks(), b"b", limits)

    assert [(part.name, part.content) for part in asyncio.run(read())] == [("x", content), ("y", b"last")]


def test_a_form_with_padded_boundaries_is_read(api: LocalApi, key: str) -> None:
    form = a_form(NAMED + b'; filename="a.png"').replace(b"--b\r\n", b"--b  \r\n", 1)
    assert post(api, key, form + b"epilogue").status_code == 200


def test_a_preamble_is_bounded(api: LocalApi, key: str) -> None:
    response = post(api, key, b"x" * 200_000 + b"\r\n" + a_form(NAMED + b'; filename="a.png"'))
    assert (response.status_code, code_of(response)) == (400, "INVALID_REQUEST")


def test_an_epilogue_is_skipped(api: LocalApi, key: str) -> None:
    assert post(api, key, a_form(NAMED + b'; filename="a.png"') + b"the end").status_code == 200


def test_a_field_name_containing_filename_is_not_a_file(api: LocalApi, key: str) -> None:
    head = b'Content-Disposition: form-data; name="x; filename*=a"'
    response = post(api, key, a_form(head))
    assert (response.status_code, param_of(response)) == (422, "x; filename*=a")


@pytest.mark.parametrize("length", [10, 60, 90])
def test_a_truncated_body_is_reported_as_such(api: LocalApi, key: str, length: int) -> None:
    response = post(api, key, a_form(NAMED + b'; filename="a.png"')[:-length])
    assert (response.status_code, code_of(response)) == (400, "INVALID_REQUEST")
    assert "cut off" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("content", "content_type", "said"),
    [
        (small_picture(), "application/x-www-form-urlencoded", "curl -F image=@"),
        (small_picture(), "image/png", "curl -F image=@"),
        (small_picture(), "application/octet-stream", "curl -F image=@"),
        (small_picture(), None, "curl -F image=@"),
        (b'{"image_id": "img_1"}', "application/ld+json", "multipart/form-data"),
        (gzip.compress(b"width=10", mtime=0), "application/x-www-form-urlencoded", "uncompressed"),
        (a_form(NAMED), "multipart/form-data", "boundary"),
    ],
)
def test_an_unsupported_content_type_names_the_supported_one(
    api: LocalApi, key: str, content: bytes, content_type: str | None, said: str
) -> None:
    response = post(api, key, content, content_type, "/api/tools/crop")
    assert (response.status_code, code_of(response)) == (400, "INVALID_REQUEST")
    assert said in response.json()["error"]["message"]


def test_a_compressed_body_is_refused_before_it_is_read(api: LocalApi, key: str) -> None:
    headers = {"X-Api-Key": key, "Content-Type": MULTIPART, "Content-Encoding": "gzip"}
    response = api.request("POST", "/api/tools/crop", content=gzip.compress(a_form(NAMED)), headers=headers)
    assert (response.status_code, code_of(response)) == (400, "INVALID_REQUEST")
    assert "uncompressed" in response.json()["error"]["message"]


def test_text_that_is_not_utf8_is_refused_by_name(api: LocalApi, key: str) -> None:
    for value in (b"\xff", "\ud800".encode("utf-8", "surrogatepass")):
        part = b'--b\r\nContent-Disposition: form-data; name="width"\r\n\r\n' + value + b"\r\n"
        response = post(api, key, part + END, path="/api/tools/crop")
        assert (response.status_code, param_of(response)) == (422, "width")


@pytest.mark.parametrize("name", ["\udc80", "a\udfff"])
def test_a_lone_surrogate_in_a_name_is_not_a_500(api: LocalApi, key: str, name: str) -> None:
    spelled = name.encode("utf-8", "surrogatepass")
    response = post(api, key, a_form(b'Content-Disposition: form-data; name="' + spelled + b'"'))
    assert (response.status_code, code_of(response)) == (400, "INVALID_REQUEST")
    named = post(api, key, a_form(NAMED + b'; filename="' + spelled + b'"'))
    assert named.status_code == 200
    urlencoded = b"".join(b"%%%02X" % byte for byte in spelled) + b"=1"
    response = post(api, key, urlencoded, "application/x-www-form-urlencoded")
    assert (response.status_code, code_of(response)) == (400, "INVALID_REQUEST")


def test_a_nul_in_text_is_refused_by_name(api: LocalApi, key: str) -> None:
    form = {"image": ("a.png", small_picture()), "pad_color": (None, b"re\0d")}
    api.clock.move(minutes=1)
    response = api.request("POST", "/api/tools/crop", files=form, headers={"X-Api-Key": key})
    assert (response.status_code, param_of(response)) == (422, "pad_color")


def test_an_empty_optional_field_counts_as_not_sent(api: LocalApi, key: str) -> None:
    form = {"image": ("a.png", small_picture()), "width": (None, b""), "quality": (None, b"101")}
    api.clock.move(minutes=1)
    response = api.request("POST", "/api/tools/crop", files=form, headers={"X-Api-Key": key})
    assert (response.status_code, param_of(response)) == (422, "quality")


@pytest.mark.parametrize(
    ("tool", "name"), [("bg-removal", "bg_image"), ("generative-fill", "mask"), ("brush", "original")]
)
def test_an_error_about_a_file_names_its_field(api: LocalApi, key: str, tool: str, name: str) -> None:
    for content, status in ((b"no picture", 415), (small_picture() + bytes(26 * 1024 * 1024), 413)):
        form = {"image": ("a.png", small_picture()), name: ("a.png", content)}
        api.clock.move(minutes=1)
        response = api.request("POST", f"/api/tools/{tool}", files=form, headers={"X-Api-Key": key})
        assert (response.status_code, param_of(response)) == (status, name)


@pytest.mark.parametrize(("tool", "name"), [("crop", "image_id"), ("generative-fill", "mask_id")])
def test_an_error_about_a_stored_image_names_its_field(api: LocalApi, key: str, tool: str, name: str) -> None:
    form = {name: (None, b"img_aaaaaaaaaaaaaaaaaaaaaa")}
    if name != "image_id":
        form["image"] = ("a.png", small_picture())  # type: ignore[assignment]
    api.clock.move(minutes=1)
    response = api.request("POST", f"/api/tools/{tool}", files=form, headers={"X-Api-Key": key})
    assert (response.status_code, code_of(response), param_of(response)) == (404, "NOT_FOUND", name)
