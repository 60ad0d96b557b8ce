"""Successful calls of the drop-in: pictures, headers, content types and credits, with the real network."""

import base64
import io
import json
import math
import urllib.parse
import zipfile
from typing import Any

import httpx
import numpy as np
import pytest

from ml.pixels import Mask, Pixels
from tests.api.http.removebg.conftest import Drop
from tests.support.ml.photos import file_bytes, jpeg_bytes, open_bytes, photo, png_bytes

COFFEE = jpeg_bytes(photo("coffee"))
SIZE = {"x-width": "600", "x-height": "400"}
FOREGROUND = tuple(f"x-foreground-{side}" for side in ("top", "left", "width", "height"))


def send(drop: Drop, accept: str | None = None, **fields: str) -> httpx.Response:
    response = drop.post(
        files={"image_file": ("coffee.jpg", COFFEE, "image/jpeg")}, data=fields, accept=accept
    )
    assert response.status_code == 200, response.text
    return response


def picture(response: httpx.Response) -> Pixels:
    return open_bytes(response.content)


def box_of(response: httpx.Response) -> tuple[int, ...]:
    return tuple(int(response.headers[name]) for name in FOREGROUND)


def own_result(drop: Drop, **fields: str) -> Pixels:
    """The same photo through our own route."""
    response = drop.api.request(
        "POST",
        "/api/tools/bg-removal",
        headers={"X-Api-Key": drop.key, "Accept": "image/png"},
        files={"image": COFFEE},
        data=fields,
    )
    assert response.status_code == 200, response.text
    return open_bytes(response.content)


def difference(one: Pixels | Mask, other: Pixels | Mask) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_the_usual_call_answers_the_cut_out_that_our_own_route_makes(drop: Drop) -> None:
    response = send(drop, size="auto")
    assert np.array_equal(picture(response), own_result(drop, format="png"))
    headers = response.headers
    assert headers["content-type"] == "image/png"
    assert {name: headers[name] for name in SIZE} == SIZE
    assert (headers["x-max-width"], headers["x-max-height"]) == ("600", "400")
    assert (headers["x-type"], headers["x-credits-charged"]) == ("other", "1")
    assert headers["x-ratelimit-limit"] == "600"
    assert int(headers["x-ratelimit-remaining"]) < 600
    assert int(headers["x-ratelimit-reset"]) > 0
    top, left, width, height = box_of(response)
    rows, columns = np.nonzero(picture(response)[..., 3] >= 13)
    assert (top, left) == (int(rows.min()), int(columns.min()))
    assert (height, width) == (int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1)
    assert drop.credits() == (4_998, 0)


@pytest.mark.parametrize("kind", ["multipart", "urlencoded", "json", "multipart-base64", "url", "json-url"])
def test_every_way_to_send_the_image_is_the_same_call(drop: Drop, kind: str) -> None:
    encoded = base64.b64encode(COFFEE).decode()
    url = drop.host.serve("/coffee.jpg", COFFEE)
    ways: dict[str, dict[str, Any]] = {
        "multipart": {"files": {"image_file": COFFEE}, "data": {"size": "hd"}},
        "urlencoded": {"data": {"image_file_b64": encoded, "size": "hd"}},
        "json": {"json": {"image_base64": f"data:image/jpeg;base64,{encoded}", "size": "HD"}},
        "multipart-base64": {"files": {"image_file_b64": (None, encoded), "size": (None, "hd")}},
        "url": {"data": {"image_url": url, "size": "hd", "bg_color": ""}},
        "json-url": {
            "json": {"image_url": url, "size": "hd", "crop": False, "add_shadow": False, "roi": None}
        },
    }
    first = drop.post(**ways["multipart"])
    again = drop.post(**ways[kind])
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    # The same parameters and the same file: a replay, for 0 credits.
    assert again.headers["idempotent-replayed"] == "true"
    assert (first.headers["x-credits-charged"], again.headers["x-credits-charged"]) == ("1", "0")
    for name in (*FOREGROUND, "x-width", "x-max-width", "x-type"):
        assert again.headers[name] == first.headers[name]
    assert drop.credits() == (4_999, 0)


def test_an_idempotency_key_replays_in_either_form(drop: Drop) -> None:
    def call(accept: str) -> httpx.Response:
        headers = {"Idempotency-Key": "order-7"}
        return drop.post(files={"image_file": COFFEE}, headers=headers, accept=accept)

    image, as_json = call("image/*"), call("application/json")
    assert base64.b64decode(as_json.json()["data"]["result_b64"]) == image.content
    assert as_json.headers["idempotent-replayed"] == "true"
    assert drop.credits() == (4_999, 0)


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        (None, False),
        ("*/*", False),
        ("image/*", False),
        ("application/json", True),
        ("application/json, text/plain, */*", False),  # axios
        ("application/json, */*;q=0.5", True),
        ("image/png;q=0.5, application/json", True),
    ],
)
def test_json_only_where_accept_prefers_it(drop: Drop, accept: str | None, is_json: bool) -> None:
    response = send(drop, accept, size="preview")
    if not is_json:
        assert response.headers["content-type"] == "image/png"
        return
    assert response.headers["content-type"] == "application/json"
    assert int(response.headers["content-length"]) == len(response.content)
    data = response.json()["data"]
    assert set(data) == {"result_b64", *(f"foreground_{side}" for side in ("top", "left", "width", "height"))}
    assert open_bytes(base64.b64decode(data["result_b64"])).shape == (400, 600, 4)
    assert tuple(data[name[2:].replace("-", "_")] for name in FOREGROUND) == box_of(response)


def test_a_preview_is_worked_on_at_its_size(drop: Drop) -> None:
    large = np.repeat(np.repeat(photo("coffee"), 2, axis=0), 2, axis=1)  # 1200 x 800
    response = drop.post(files={"image_file": jpeg_bytes(large)}, data={"roi": "0 0 1200px 100%"})
    assert response.status_code == 200, response.text
    width, height = int(response.headers["x-width"]), int(response.headers["x-height"])
    assert width * height <= 250_000 < (width + 2) * (height + 2)
    assert picture(response).shape == (height, width, 4)
    assert abs(int(response.headers["x-max-width"]) - 1200) <= 2
    top, left, box_width, box_height = box_of(response)
    assert left + box_width <= width
    assert top + box_height <= height
    at_most = math.sqrt(250_000 / (1200 * 800))
    assert box_width == pytest.approx(816 * at_most, rel=0.05)


def test_a_region_in_pixels_is_of_the_photo_and_not_of_its_preview(drop: Drop) -> None:
    large = np.repeat(np.repeat(photo("coffee"), 2, axis=0), 2, axis=1)
    files = {"image_file": jpeg_bytes(large)}
    response = drop.post(files=files, data={"roi": "0 0 600px 100%", "crop": "false"})
    assert response.status_code == 200, response.text
    alpha = picture(response)[..., 3]
    middle = alpha.shape[1] // 2
    assert alpha[:, middle + 1 :].max() == 0
    assert alpha[:, :middle].max() == 255
    outside = drop.post(files=files, data={"roi": "0 0 1201px 100%"})
    assert outside.json()["errors"][0]["code"] == "invalid_roi"
    assert "1200 x 800" in outside.json()["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("format", "extra", "media_type", "kind"),
    [
        ("auto", {}, "image/png", "RGBA"),
        ("png", {"bg_color": "00ff00"}, "image/png", "RGB"),
        ("jpg", {}, "image/jpeg", "RGB"),
        ("webp", {}, "image/webp", "RGBA"),
        ("auto", {"bg_color": "00ff00"}, "image/jpeg", "RGB"),
        ("auto", {"bg_color": "00ff0080"}, "image/png", "RGBA"),
        ("auto", {"channels": "alpha"}, "image/png", "L"),
    ],
)
def test_every_format(drop: Drop, format: str, extra: dict[str, str], media_type: str, kind: str) -> None:
    response = send(drop, format=format, **extra)
    assert response.headers["content-type"] == media_type
    shapes = {"RGBA": (400, 600, 4), "RGB": (400, 600, 3), "L": (400, 600)}
    assert picture(response).shape == shapes[kind]


def test_a_background_colour_without_hash_is_that_colour(drop: Drop) -> None:
    jpeg = picture(send(drop, bg_color="81d4fa"))
    assert np.abs(jpeg[:15, :15].astype(int) - (0x81, 0xD4, 0xFA)).max() <= 3
    png = picture(send(drop, bg_color="81d4fa", format="png"))
    assert np.array_equal(png[0, 0], (0x81, 0xD4, 0xFA))
    assert np.array_equal(png, own_result(drop, bg_color="81d4fa", format="png"))


@pytest.mark.parametrize("format", ["BMP", "GIF", "TIFF"])
def test_an_image_and_a_background_of_other_formats(drop: Drop, format: str) -> None:
    background = np.full((50, 50), 77, np.uint8)
    files = {
        "image_file": file_bytes(photo("coffee")[..., 0], format),
        "bg_image_file": file_bytes(background, format),
    }
    response = drop.post(files=files, data={"format": "PNG"})
    assert response.status_code == 200, response.text
    assert np.array_equal(picture(response)[0, 0], (77, 77, 77))


@pytest.mark.parametrize("way", ["file", "url"])
def test_a_background_image_fills_the_canvas(drop: Drop, way: str) -> None:
    background = png_bytes(np.full((100, 100, 3), (10, 200, 30), np.uint8))
    files: dict[str, Any] = {"image_file": COFFEE}
    data = {"format": "png"}
    if way == "file":
        files["bg_image_file"] = background
    else:
        data["bg_image_url"] = drop.host.serve("/bg.png", background)
    response = drop.post(files=files, data=data)
    assert response.status_code == 200, response.text
    assert np.array_equal(picture(response)[0, 0], (10, 200, 30))


def test_an_archive_holds_the_colours_and_the_alpha_of_the_png(drop: Drop) -> None:
    rgba = picture(send(drop, format="png"))
    response = send(drop, format="zip")
    assert response.headers["content-type"] == "application/zip"
    assert response.headers["x-credits-charged"] == "1"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.namelist() == ["color.jpg", "alpha.png"]
        assert archive.testzip() is None
        color, alpha = open_bytes(archive.read("color.jpg")), open_bytes(archive.read("alpha.png"))
    assert (color.shape, alpha.shape) == ((400, 600, 3), (400, 600))
    assert np.array_equal(alpha, rgba[..., 3])
    visible = alpha > 200
    assert np.abs(color[visible].astype(int) - rgba[..., :3][visible]).mean() < 3
    soft = (alpha > 40) & (alpha < 216)
    assert np.abs(color[soft].astype(int) - rgba[..., :3][soft]).mean() < 12  # no dark rim


def test_an_archive_does_not_hold_what_was_removed(drop: Drop) -> None:
    with zipfile.ZipFile(io.BytesIO(send(drop, format="zip").content)) as archive:
        color, alpha = open_bytes(archive.read("color.jpg")), open_bytes(archive.read("alpha.png"))
    far = alpha[:60, :60] == 0
    assert far.all()
    assert color[:60, :60].std(axis=(0, 1)).max() < 1.5  # one colour, not the table


def test_crop_margin_scale_and_shadow_mean_what_they_do_in_our_own_route(drop: Drop) -> None:
    for fields in (
        {"crop": "true"},
        {"crop": "true", "crop_margin": "10% 30px"},
        {"scale": "50%", "position": "0% 100%"},
    ):
        assert np.array_equal(
            picture(send(drop, format="png", **fields)), own_result(drop, format="png", **fields)
        )
    shadowed = picture(send(drop, format="png", add_shadow="true", shadow_opacity="80"))
    assert np.array_equal(shadowed, own_result(drop, format="png", shadow="drop", shadow_opacity="80"))
    assert difference(shadowed, picture(send(drop, format="png"))) > 0.1


def test_a_cropped_result_says_its_own_size_and_the_box_in_the_photo(drop: Drop) -> None:
    whole, cropped = send(drop), send(drop, crop="true")
    assert box_of(cropped) == box_of(whole)
    _, _, width, height = box_of(cropped)
    assert (int(cropped.headers["x-width"]), int(cropped.headers["x-height"])) == (width, height)


def test_types_are_repeated(drop: Drop) -> None:
    assert send(drop, type="product").headers["x-type"] == "product"
    assert "x-type" not in send(drop, type_level="none").headers


def test_unknown_fields_files_and_values_without_effect_are_ignored(drop: Drop) -> None:
    files = {"image_file": COFFEE, "thumbnail": b"anything"}
    data = {
        "crop": "false",
        "add_shadow": "false",
        "type_level": "2",
        "shadow_method": "latest",
        "sizes": "all",
    }
    assert drop.post(files=files, data=data).status_code == 200
    encoded = base64.b64encode(COFFEE).decode()
    body = {
        "image_file_b64": encoded,
        "crop": False,
        "add_shadow": False,
        "extra": {"deep": [1, {}]},
        "n": None,
    }
    assert drop.post(json=body).status_code == 200


def test_a_body_of_25_mib_as_base64_is_read_in_every_form(drop: Drop) -> None:
    padded = COFFEE + bytes(25 * 1024 * 1024 - len(COFFEE))
    encoded = base64.b64encode(padded).decode()
    php = json.dumps({"image_file_b64": encoded}).replace("/", "\\/")
    answers = [
        drop.post(content=php, headers={"Content-Type": "application/json"}),
        drop.post(
            content=urllib.parse.urlencode({"image_file_b64": encoded}),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        ),
        drop.post(files={"image_file_b64": (None, encoded)}),
    ]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert drop.credits() == (4_999, 0)


def test_the_account_shows_what_is_left(drop: Drop) -> None:
    send(drop)
    response = drop.api.request("GET", "/v1.0/account", headers={"X-Api-Key": drop.key})
    assert response.status_code == 200
    assert response.json() == {
        "data": {
            "attributes": {
                "credits": {"total": 4_999, "subscription": 4_999, "payg": 0, "enterprise": 0},
                "api": {"free_calls": 0, "sizes": "all"},
            }
        }
    }


def test_a_call_is_logged_as_background_removal(drop: Drop) -> None:
    send(drop)
    usage = drop.api.request("GET", "/api/usage", headers={"X-Api-Key": drop.key}).json()["data"]
    assert [(entry["tool"], entry["calls"], entry["credits"]) for entry in usage] == [("bg-removal", 1, 1)]


def test_the_same_image_through_our_own_route_is_a_call_of_its_own(drop: Drop) -> None:
    send(drop, format="png", size="full")
    own_result(drop, format="png")
    assert drop.credits() == (4_998, 0)
