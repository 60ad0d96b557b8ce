"""Invalid input has its own error code, is not charged, and does not affect the next call."""

import io
import zipfile
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import numpy as np
import pytest

from billing.ledger.plans import PlanName
from ml.catalogue import TOOLS
from tests.support.calling import code_of, crop, param_of, small_picture
from tests.support.ml.photos import file_bytes, jpeg_bytes, photo, png_bytes
from tests.support.server import Customer, RunningServer
from tests.support.traversals import TRAVERSALS

MIB = 1024 * 1024


@pytest.fixture
def customer(server: RunningServer) -> Iterator[Customer]:
    """An account that must not have been charged after the test, and whose next valid call must succeed."""
    made = server.new_customer(PlanName.STANDARD)
    yield made
    assert server.balance(made) == (500, 0)
    response = crop(server, made)
    assert response.status_code == 200
    assert server.balance(made) == (499, 0)


Part = tuple[str, tuple[str | None, bytes]]


def send(
    server: RunningServer, customer: Customer, parts: list[Part], tool: str = "crop", **options: str
) -> httpx.Response:
    """A form of exactly these parts; one without a file name is a text field."""
    with server.client(customer) as client:
        return client.post(f"/api/tools/{tool}", files=parts, headers=options)


def image(content: bytes | None = None, name: str = "image") -> Part:
    return name, ("picture", small_picture() if content is None else content)


def text(name: str, value: str) -> Part:
    return name, (None, value.encode())


def refused(response: httpx.Response, status: int, code: str, param: str | None = None) -> None:
    assert (response.status_code, code_of(response), param_of(response)) == (status, code, param)
    assert response.headers["x-credits-charged"] == "0"


def test_a_missing_image_is_400(server: RunningServer, customer: Customer) -> None:
    refused(send(server, customer, [text("width", "10")]), 400, "MISSING_IMAGE")


def test_an_empty_request_is_400(server: RunningServer, customer: Customer) -> None:
    with server.client(customer) as client:
        refused(client.post("/api/tools/crop"), 400, "MISSING_IMAGE")


@pytest.mark.parametrize("part", [("image", ("a.png", b"")), ("image", (None, b"")), text("image_id", "")])
def test_an_empty_image_file_is_400(server: RunningServer, customer: Customer, part: Part) -> None:
    refused(send(server, customer, [part]), 400, "MISSING_IMAGE")


@pytest.mark.parametrize(
    "second", [image(b"x", "image_file"), image(b"x", "file"), text("image_id", "img_1")]
)
def test_two_image_sources_are_400(server: RunningServer, customer: Customer, second: Part) -> None:
    refused(send(server, customer, [image(), second]), 400, "MULTIPLE_SOURCES")


def test_an_image_sent_as_text_is_explained(server: RunningServer, customer: Customer) -> None:
    refused(send(server, customer, [text("image", "photo.jpg")]), 422, "INVALID_PARAMETER", "image")


def test_a_parameter_sent_as_a_file_is_explained(server: RunningServer, customer: Customer) -> None:
    refused(send(server, customer, [image(), image(b"5", "width")]), 422, "INVALID_PARAMETER", "width")


def test_26_mb_is_413(server: RunningServer, customer: Customer) -> None:
    content = small_picture() + bytes(26 * MIB)
    refused(send(server, customer, [image(content)]), 413, "FILE_TOO_LARGE")


@pytest.mark.parametrize(
    "content",
    [
        b"This is a text file.",
        b"8BPS\0\x01" + bytes(100),
        b"%PDF-1.7",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"II+\x00" + bytes(100),
        b"MZ",
        b"\xff\xd8",
        b"\x89PNG",
        b"RIFF\x00\x00\x00\x00WAVE",
        b"\x00\x00\x00\x18ftypisom" + bytes(100),
    ],
    ids=["text", "psd", "pdf", "svg", "bigtiff", "exe", "short-jpeg", "short-png", "wave", "mp4"],
)
def test_an_unsupported_format_is_415_whatever_its_name(
    server: RunningServer, customer: Customer, content: bytes
) -> None:
    parts: list[Part] = [("image", ("photo.jpg", content))]
    refused(send(server, customer, parts), 415, "UNSUPPORTED_FORMAT")
    with server.client(customer) as client:
        refused(client.post("/api/images", files=parts), 415, "UNSUPPORTED_FORMAT")


def test_a_zip_file_appended_to_text_is_415(server: RunningServer, customer: Customer) -> None:
    packed = io.BytesIO(b"text")
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("a.txt", "a")
    refused(send(server, customer, [image(packed.getvalue())]), 415, "UNSUPPORTED_FORMAT")


def test_a_truncated_jpeg_is_422(server: RunningServer, customer: Customer) -> None:
    whole = jpeg_bytes(photo("coffee"))
    refused(send(server, customer, [image(whole[: len(whole) // 3])]), 422, "UNREADABLE_IMAGE")


def test_60_megapixels_are_422(server: RunningServer, customer: Customer) -> None:
    content = png_bytes(np.zeros((6000, 10_000), np.uint8))
    refused(send(server, customer, [image(content)]), 422, "IMAGE_TOO_LARGE")


def test_an_unknown_parameter_is_422(server: RunningServer, customer: Customer) -> None:
    refused(send(server, customer, [image(), text("colour", "red")]), 422, "INVALID_PARAMETER", "colour")


def test_a_repeated_parameter_is_422(server: RunningServer, customer: Customer) -> None:
    parts = [image(), text("width", "5"), text("width", "5")]
    refused(send(server, customer, parts), 422, "INVALID_PARAMETER", "width")


def test_a_repeated_image_is_422(server: RunningServer, customer: Customer) -> None:
    refused(send(server, customer, [image(), image()]), 422, "INVALID_PARAMETER", "image")


@pytest.mark.parametrize("tool", TOOLS)
def test_an_image_under_an_unknown_field_name_is_422_on_every_tool(
    server: RunningServer, customer: Customer, tool: str
) -> None:
    refused(send(server, customer, [image(name="photo")], tool), 422, "INVALID_PARAMETER", "photo")


@pytest.mark.parametrize(
    ("name", "value"),
    [("quality", "banana"), ("quality", "101"), ("quality", " "), ("format", "bmp"), ("width", "wide")],
)
def test_an_impossible_value_is_422(server: RunningServer, customer: Customer, name: str, value: str) -> None:
    refused(send(server, customer, [image(), text(name, value)]), 422, "INVALID_PARAMETER", name)


def test_a_non_numeric_blur_is_422(server: RunningServer, customer: Customer) -> None:
    parts = [image(), text("bg_blur", "banana")]
    refused(send(server, customer, parts, "bg-removal"), 422, "INVALID_PARAMETER", "bg_blur")


def test_two_backgrounds_are_422_naming_one_of_them(server: RunningServer, customer: Customer) -> None:
    parts = [image(), text("bg_blur", "20"), text("bg_color", "#fff")]
    response = send(server, customer, parts, "bg-removal")
    assert (response.status_code, code_of(response)) == (422, "INVALID_PARAMETER")
    assert param_of(response) in ("bg_blur", "bg_color")


def test_query_parameters_are_refused_instead_of_ignored(server: RunningServer, customer: Customer) -> None:
    with server.client(customer) as client:
        response = client.post("/api/tools/crop?format=jpg", files=[image()])
    refused(response, 422, "INVALID_PARAMETER", "format")


def test_json_that_is_no_object_is_400(server: RunningServer, customer: Customer) -> None:
    with server.client(customer) as client:
        refused(client.post("/api/tools/crop", json=["image_id", "img_1"]), 400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x\r\n\r\n"),
        ("multipart/form-data; boundary=x", b"no boundary here"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x; charset=utf-7", b"--x--\r\n"),
        ("multipart/form-data; boundary=x; charset=idna", b"--x--\r\n"),
        ("multipart/form-data; boundary=" + "x" * 300, b"--x--\r\n"),
        ("application/octet-stream", b"abc"),
        ("image/jpeg", b"\xff\xd8\xff"),
    ],
)
def test_an_unreadable_form_is_400(
    server: RunningServer, customer: Customer, content_type: str, body: bytes
) -> None:
    with server.client(customer) as client:
        response = client.post("/api/tools/crop", content=body, headers={"Content-Type": content_type})
    refused(response, 400, "INVALID_REQUEST")


def test_a_truncated_form_is_never_accepted_as_complete(server: RunningServer, customer: Customer) -> None:
    request = httpx.Request("POST", "http://x", files=[image()])
    body = request.read()
    with server.client(customer) as client:
        response = client.post(
            "/api/tools/crop", content=body[:-60], headers={"Content-Type": request.headers["content-type"]}
        )
    assert response.status_code in (400, 422)
    assert code_of(response) in ("INVALID_REQUEST", "MISSING_IMAGE")


@pytest.mark.parametrize("value", ["x" * 256, "a\tb", "\xa0", "\x85"])
def test_an_invalid_idempotency_key_is_422(server: RunningServer, customer: Customer, value: str) -> None:
    with server.client(customer) as client:
        key = {b"Idempotency-Key": value.encode("latin-1")}
        response = client.post("/api/tools/crop", files=[image()], headers=key)
    refused(response, 422, "INVALID_PARAMETER", "Idempotency-Key")


def test_an_empty_or_doubled_idempotency_key_is_422(server: RunningServer, customer: Customer) -> None:
    with server.client(customer) as client:
        for sent in ([("Idempotency-Key", "")], [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]):
            headers = [*sent, ("Authorization", f"Bearer {customer.key}")]
            response = client.post("/api/tools/crop", files=[image()], headers=headers)
            refused(response, 422, "INVALID_PARAMETER", "Idempotency-Key")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_200_traversal_strings_reach_no_file(server: RunningServer, customer: Customer, method: str) -> None:
    with server.client(customer) as client:
        for name in TRAVERSALS:
            # As raw as a request line can be: only what it cannot hold is escaped.
            path = "/api/images/" + quote(name, safe="/%.;\\~:")
            url = httpx.URL(server.address).copy_with(raw_path=path.encode())
            response = client.request(method, url)
            assert response.status_code in (400, 403, 404, 405), name
            assert response.content.startswith(b'{"success":false') or response.status_code == 400


def test_traversal_strings_as_an_image_id_reach_no_file(server: RunningServer, customer: Customer) -> None:
    names = [name for name in TRAVERSALS if name][::12]
    for name in names:
        response = send(server, customer, [text("image_id", name)])
        refused(response, 404, "NOT_FOUND", "image_id")


def test_a_huge_parameter_name_is_not_repeated_in_full(server: RunningServer, customer: Customer) -> None:
    response = send(server, customer, [image(), text("x" * 3000, "1")])
    assert (response.status_code, code_of(response)) == (422, "INVALID_PARAMETER")
    assert len(response.content) < 1000


def test_a_format_that_cannot_hold_the_image_is_not_charged(
    server: RunningServer, customer: Customer
) -> None:
    tall = file_bytes(np.zeros((17_000, 2, 3), np.uint8), "PNG")
    parts = [image(tall), text("format", "webp")]
    refused(send(server, customer, parts), 422, "INVALID_PARAMETER", "format")
