"""BMP, GIF and TIFF in every place where a caller sends a file."""

import httpx
import numpy as np
import pytest
from PIL import Image

from ml.imaging.formats import opened, tiff
from tests.support.calling import crop, small_picture
from tests.support.editor_client import Browser
from tests.support.ml.damage import good_files
from tests.support.ml.photos import file_bytes, open_bytes, photo
from tests.support.server import Customer, RunningServer

#: A file of each format, and what `format=auto` makes of it.
FILES = {
    "bmp": (good_files()["bmp"], "jpg"),
    "gif": (good_files()["gif animated"], "png"),
    "tiff": (good_files()["tiff"], "jpg"),
}
MASK = np.zeros((40, 60), np.uint8)
MASK[10:30, 20:40] = 255


@pytest.fixture
def customer(server: RunningServer) -> Customer:
    return server.new_customer(credits=40)


def answered(response: httpx.Response) -> dict[str, object]:
    assert response.status_code == 200, response.text
    data: dict[str, object] = response.json()["data"]
    return data


@pytest.mark.parametrize("format", FILES)
def test_a_tool_takes_it_and_a_stored_one_too(server: RunningServer, customer: Customer, format: str) -> None:
    content, auto = FILES[format]
    direct = answered(crop(server, customer, content))
    assert direct["format"] == auto
    assert direct["warnings"] == ([opened.ANIMATED] if format == "gif" else [])
    with server.client(customer) as client:
        stored = answered(client.post("/api/images", files={"image": content}))
        assert (stored["format"], stored["width"], stored["height"]) == (format, 128, 96)
        assert stored["warnings"] == direct["warnings"]
        preview = client.get(str(stored["previewUrl"]))
        assert (preview.status_code, preview.headers["content-type"]) == (200, "image/webp")
        fields = {"image_id": str(stored["imageId"]), "width": "10", "height": "10"}
        by_id = answered(client.post("/api/tools/crop", data=fields))
        assert by_id["format"] == auto
        first, second = (open_bytes(client.get(str(data["imageUrl"])).content) for data in (direct, by_id))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("format", ["BMP", "GIF", "TIFF"])
def test_a_mask_may_be_one(server: RunningServer, customer: Customer, format: str) -> None:
    content = small_picture()
    results = []
    with server.client(customer) as client:
        for mask in (file_bytes(MASK, format), file_bytes(MASK, "PNG")):
            files = {"image": content, "mask": mask}
            data = answered(client.post("/api/tools/brush", files=files, data={"op": "erase"}))
            results.append(client.get(str(data["imageUrl"])).content)
    assert results[0] == results[1]
    assert open_bytes(results[0])[20, 30, 3] == 0


@pytest.mark.parametrize("format", FILES)
def test_the_editor_opens_it(server: RunningServer, format: str) -> None:
    content, _ = FILES[format]
    with Browser(server) as browser:
        project = browser.open(content, f"photo.{format}")
        (step,) = project["steps"]
        assert (step["width"], step["height"]) == (128, 96)
        answer = browser.download(project, step, format="png")
        assert answer.status_code == 200, answer.text
        assert open_bytes(answer.content).shape[:2] == (96, 128)


def test_a_damaged_file_and_an_unsupported_kind_are_refused_for_nothing(
    server: RunningServer, customer: Customer
) -> None:
    before = server.balance(customer)
    kinds = {
        "cut": good_files()["bmp"][:5_000],
        "cut gif": good_files()["gif"][:3_000],
        "jpeg in tiff": file_bytes(photo("coffee")[:64, :64], "TIFF", compression="jpeg"),
    }
    for content in kinds.values():
        answer = crop(server, customer, content)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "UNREADABLE_IMAGE")
    assert server.balance(customer) == before


def test_the_second_page_of_a_tiff_is_warned_about(server: RunningServer, customer: Customer) -> None:
    pages = [Image.fromarray(photo("coffee")[:64, :64]), Image.fromarray(photo("chelsea")[:64, :64])]
    content = file_bytes(np.asarray(pages[0]), "TIFF", save_all=True, append_images=pages[1:])
    assert answered(crop(server, customer, content))["warnings"] == [tiff.MORE_PAGES]


@pytest.mark.parametrize("format", ["PNG", "WEBP", "AVIF", "GIF", "TIFF"])
def test_frames_that_are_not_stored_are_warned_about(
    server: RunningServer, customer: Customer, format: str
) -> None:
    frames = [Image.fromarray(photo(name)[:64, :64]) for name in ("coffee", "chelsea")]
    content = file_bytes(np.asarray(frames[0]), format, save_all=True, append_images=frames[1:])
    expected = tiff.MORE_PAGES if format == "TIFF" else opened.ANIMATED
    assert answered(crop(server, customer, content))["warnings"] == [expected]
    with server.client(customer) as client:
        for _ in range(2):  # the second answer is a replay
            answer = client.post(
                "/api/images", files={"image": content}, headers={"Idempotency-Key": f"frames-{format}"}
            )
            assert answered(answer)["warnings"] == [expected]
        still = file_bytes(np.asarray(frames[0]), format)
        assert answered(client.post("/api/images", files={"image": still}))["warnings"] == []


def test_a_jpeg_of_12_bits_is_named_in_every_place_for_nothing(
    server: RunningServer, customer: Customer
) -> None:
    content = bytearray(file_bytes(photo("coffee")[:64, :64], "JPEG"))
    frame = content.index(b"\xff\xc0")
    content[frame + 4] = 12
    before = server.balance(customer)
    small = small_picture()
    with server.client(customer) as client:
        masked = {"image": small, "mask": bytes(content)}
        restored = {"image": small, "mask": file_bytes(MASK, "PNG"), "original": bytes(content)}
        placed = {"image": small, "bg_image": bytes(content)}
        answers = {
            "image": crop(server, customer, bytes(content)),
            "upload": client.post("/api/images", files={"image": bytes(content)}),
            "mask": client.post("/api/tools/brush", files=masked, data={"op": "erase"}),
            "original": client.post("/api/tools/brush", files=restored, data={"op": "restore"}),
            "bg_image": client.post("/api/tools/bg-removal", files=placed),
        }
    for name, answer in answers.items():
        error = answer.json()["error"]
        assert answer.status_code == 422, (name, answer.text)
        assert "12-bit JPEG" in error["message"]
        if name in ("mask", "original", "bg_image"):
            assert (error["code"], error["param"]) == ("INVALID_PARAMETER", name)
        else:
            assert error["code"] == "UNREADABLE_IMAGE"
    assert server.balance(customer) == before


@pytest.mark.parametrize(("format", "real"), [("bmp", "tiff"), ("tiff", "gif"), ("gif", "bmp")])
def test_names_and_content_types_do_not_matter(
    server: RunningServer, customer: Customer, format: str, real: str
) -> None:
    content, auto = FILES[real]
    with server.client(customer) as client:
        files = {"image": (f"photo.{format}", content, f"image/{format}")}
        data = answered(client.post("/api/tools/crop", files=files, data={"width": "10", "height": "11"}))
        assert data["format"] == auto


@pytest.mark.parametrize("format", FILES)
def test_what_is_appended_or_put_before_is_neither_kept_nor_believed(
    server: RunningServer, customer: Customer, format: str
) -> None:
    content, _ = FILES[format]
    tail = b"PK\x03\x04<html><script>alert(1)</script>"
    with server.client(customer) as client:
        stored = answered(client.post("/api/images", files={"image": content + tail}))
        kept = client.get(str(stored["imageUrl"])).content
        cropped = answered(crop(server, customer, content + tail))
        result = client.get(str(cropped["imageUrl"])).content
        assert tail not in kept
        assert tail not in result
        for start in (b"<svg xmlns='http://www.w3.org/2000/svg'>", b"%PDF-1.7\n", b"PK\x03\x04"):
            answer = client.post("/api/images", files={"image": (f"a.{format}", start + content)})
            assert (answer.status_code, answer.json()["error"]["code"]) == (415, "UNSUPPORTED_FORMAT")
