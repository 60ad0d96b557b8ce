"""Previews of stored images: rendered once by a worker and served by a signed URL."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from api.images import service as images
from api.images.models import Image
from tests.support.apps import LocalApi, local_api
from tests.support.calling import code_of
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo, png_bytes


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalApi]:
    """With a worker, which needs no checkpoints for this."""
    with local_api(tmp_path_factory.mktemp("previews"), has_workers=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def key(api: LocalApi) -> str:
    return api.new_key("a@example.com")


def store(api: LocalApi, key: str, content: bytes) -> dict[str, Any]:
    headers = {"X-Api-Key": key}
    response = api.request("POST", "/api/images", files={"image": ("a", content)}, headers=headers)
    data: dict[str, Any] = response.json()["data"]
    return data


def preview_path(api: LocalApi, image_id: str, width: int) -> str:
    parts = urlsplit(images.address(api.services, "http://test", image_id, width).url)
    return f"{parts.path}?{parts.query}"


def row(api: LocalApi, image_id: str) -> Image:
    with api.services.database.transaction() as session:
        return session.get_one(Image, image_id)


def test_an_upload_returns_the_url_of_a_webp_preview(api: LocalApi, key: str) -> None:
    wide = np.tile(photo("coffee"), (1, 3, 1))  # 400 x 1800
    data = store(api, key, jpeg_bytes(wide))
    answer = api.request("GET", data["previewUrl"].removeprefix("http://test"))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/webp"
    seen = open_bytes(answer.content)
    assert seen.shape == (round(400 * 1600 / 1800), 1600, 3)
    middle = seen[100:250, 100:400].astype(int).mean(axis=(0, 1))
    whole = wide[112:281, 112:450].astype(int).mean(axis=(0, 1))
    assert np.abs(middle - whole).max() < 3


def test_a_preview_is_never_larger_than_the_image_and_keeps_transparency(api: LocalApi, key: str) -> None:
    pixels = np.dstack([photo("chelsea"), np.zeros(photo("chelsea").shape[:2], np.uint8)])
    pixels[:150, :, 3] = 255
    data = store(api, key, png_bytes(pixels))
    seen = open_bytes(api.request("GET", preview_path(api, data["imageId"], 1600)).content)
    assert seen.shape == pixels.shape
    assert (seen[:145, :, 3] == 255).all()
    assert (seen[155:, :, 3] == 0).all()


def test_a_preview_is_rendered_once_and_counts_towards_storage(api: LocalApi, key: str) -> None:
    data = store(api, key, jpeg_bytes(photo("rocket")))
    path = preview_path(api, data["imageId"], 64)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: api.request("GET", path), range(8)))
    assert len({answer.content for answer in answers}) == 1
    kept = row(api, data["imageId"])
    assert (kept.width, kept.height) == (photo("rocket").shape[1], photo("rocket").shape[0])
    assert kept.artefact_bytes == len(answers[0].content)
    stored = api.services.storage.read_artefact(data["imageId"], "preview-64")
    assert stored == answers[0].content


def test_a_preview_supports_etag_and_head(api: LocalApi, key: str) -> None:
    data = store(api, key, jpeg_bytes(photo("coffee")))
    path = preview_path(api, data["imageId"], 80)
    first = api.request("GET", path)
    whole = api.request("GET", data["imageUrl"].removeprefix("http://test"))
    assert first.headers["etag"] != whole.headers["etag"]
    again = api.request("GET", path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert api.request("HEAD", path).headers["content-type"] == "image/webp"
    assert first.headers["x-content-type-options"] == "nosniff"
    assert first.headers["content-disposition"].endswith('.webp"')


def test_a_width_other_than_the_signed_one_is_refused(api: LocalApi, key: str) -> None:
    data = store(api, key, jpeg_bytes(photo("coffee")))
    path = preview_path(api, data["imageId"], 100)
    for altered in (path.replace("w=100", "w=101"), path.replace("&w=100", "")):
        assert code_of(api.request("GET", altered)) == "FORBIDDEN"
    whole = data["imageUrl"].removeprefix("http://test")
    assert code_of(api.request("GET", f"{whole}&w=100")) == "FORBIDDEN"


def test_the_preview_of_a_damaged_image_is_an_explained_error(api: LocalApi, key: str) -> None:
    content = png_bytes(photo("coffee"))
    middle = len(content) // 2
    data = store(api, key, content[:middle] + bytes(64) + content[middle + 64 :])  # only decoding finds it
    answer = api.request("GET", preview_path(api, data["imageId"], 100))
    assert (answer.status_code, code_of(answer)) == (422, "UNREADABLE_IMAGE")
    assert row(api, data["imageId"]).artefact_bytes == 0


def test_a_preview_is_deleted_with_its_image(api: LocalApi, key: str) -> None:
    data = store(api, key, jpeg_bytes(photo("coffee")))
    path = preview_path(api, data["imageId"], 90)
    assert api.request("GET", path).status_code == 200
    api.request("DELETE", f"/api/images/{data['imageId']}", headers={"X-Api-Key": key})
    assert code_of(api.request("GET", path)) == "NOT_FOUND"
    assert api.services.storage.read_artefact(data["imageId"], "preview-90") is None


def test_previews_are_served_uncached_when_storage_is_full(tmp_path: Path) -> None:
    with local_api(tmp_path, has_workers=True, account_storage_mb=1) as api:
        noise = np.random.default_rng(1).integers(0, 256, (575, 600, 3), np.uint8)
        data = store(api, api.new_key("a@example.com"), png_bytes(noise))
        answer = api.request("GET", preview_path(api, data["imageId"], 300))
        assert answer.status_code == 200
        assert row(api, data["imageId"]).artefact_bytes == 0
