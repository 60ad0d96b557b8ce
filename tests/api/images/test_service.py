"""Stored images: expiry, storage limits and delivery. The clock is simulated."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import SecretStr
from sqlmodel import select

from api import cleanup
from api.auth import api_keys
from api.errors import NotFound
from api.images import service as images
from api.images.models import Image
from tests.support.apps import SECRET, LocalApi, local_api
from tests.support.calling import code_of, small_picture
from tests.support.ml.photos import file_bytes, heic_bytes, jpeg_bytes, photo


@pytest.fixture
def api(tmp_path: Path) -> Iterator[LocalApi]:
    with local_api(tmp_path) as opened:
        yield opened


@pytest.fixture
def key(api: LocalApi) -> str:
    return api.new_key("a@example.com")


def store(api: LocalApi, key: str, content: bytes | None = None) -> dict[str, Any]:
    response = api.request(
        "POST",
        "/api/images",
        files={"image": ("../../name.exe", content or small_picture())},
        headers={"X-Api-Key": key},
    )
    assert response.status_code == 200, response.text
    data: dict[str, Any] = response.json()["data"]
    return data


def path_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def row(api: LocalApi, image_id: str) -> Image | None:
    with api.services.database.transaction() as session:
        return session.get(Image, image_id)


def is_stored(api: LocalApi, image_id: str) -> bool:
    try:
        api.services.storage.read(image_id)
    except NotFound:
        return False
    return True


def test_a_signed_url_works_until_24_hours_and_is_410_afterwards(api: LocalApi, key: str) -> None:
    content = small_picture()
    data = store(api, key, content)
    api.clock.move(hours=23, minutes=59, seconds=59)
    answer = api.request("GET", path_of(data["imageUrl"]))
    assert (answer.status_code, answer.content) == (200, content)
    api.clock.move(seconds=2)
    answer = api.request("GET", path_of(data["imageUrl"]))
    assert (answer.status_code, code_of(answer)) == (410, "EXPIRED")


def test_the_response_states_when_its_url_expires(api: LocalApi, key: str) -> None:
    data = store(api, key)
    ends_at = datetime.fromisoformat(data["expiresAt"])
    assert timedelta(0) <= ends_at - (api.clock() + timedelta(hours=24)) < timedelta(seconds=1)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_every_altered_byte_of_a_signed_url_is_refused(api: LocalApi, key: str, method: str) -> None:
    path = path_of(store(api, key)["imageUrl"])
    assert api.request(method, path).status_code == 200
    start = len("/api/images/")
    for position in range(start, len(path), 1 if method == "GET" else 7):
        for replacement in ("A", "0", "-"):
            altered = path[:position] + replacement + path[position + 1 :]
            if altered != path:
                assert api.request(method, altered).status_code in (403, 404, 405), altered


def test_a_valid_signature_for_a_deleted_image_is_404(api: LocalApi, key: str) -> None:
    data = store(api, key)
    api.request("DELETE", f"/api/images/{data['imageId']}", headers={"X-Api-Key": key})
    answer = api.request("GET", path_of(data["imageUrl"]))
    assert (answer.status_code, code_of(answer)) == (404, "NOT_FOUND")


def test_a_missing_signature_is_403_even_for_the_owner(api: LocalApi, key: str) -> None:
    data = store(api, key)
    answer = api.request("GET", f"/api/images/{data['imageId']}", headers={"X-Api-Key": key})
    assert (answer.status_code, code_of(answer)) == (403, "FORBIDDEN")


def test_urls_signed_with_a_previous_secret_work_until_it_is_removed(tmp_path: Path) -> None:
    with local_api(tmp_path) as first:
        path = path_of(store(first, first.new_key("a@example.com"))["imageUrl"])
        clock = first.clock
    renewed = SecretStr("another secret of thirty-two characters")
    with local_api(tmp_path, clock, secret_key=renewed, secret_key_previous=SecretStr(SECRET)) as second:
        assert second.request("GET", path).status_code == 200
    with local_api(tmp_path, clock, secret_key=renewed) as third:
        assert third.request("GET", path).status_code == 403


def test_an_image_is_served_as_a_download_of_its_exact_type(api: LocalApi, key: str) -> None:
    types = {
        "jpg": (jpeg_bytes(photo("coffee")), "image/jpeg"),
        "png": (small_picture(), "image/png"),
        "heic": (heic_bytes(photo("coffee")), "image/heic"),
        "bmp": (file_bytes(photo("coffee"), "BMP"), "image/bmp"),
        "gif": (file_bytes(photo("coffee")[..., 0], "GIF"), "image/gif"),
        "tiff": (file_bytes(photo("coffee"), "TIFF"), "image/tiff"),
    }
    for format, (content, media_type) in types.items():
        data = store(api, key, content)
        assert data["format"] == format
        headers = api.request("GET", path_of(data["imageUrl"])).headers
        assert headers["content-type"] == media_type
        assert headers["content-disposition"] == f'attachment; filename="{data["imageId"]}.{format}"'
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"
        assert headers["cache-control"].startswith("private, ")


def test_a_valid_range_is_partial_and_an_unsupported_one_is_the_full_image(api: LocalApi, key: str) -> None:
    content = small_picture()
    path = path_of(store(api, key, content)["imageUrl"])
    piece = api.request("GET", path, headers={"Range": "bytes=10-19"})
    assert (piece.status_code, piece.content) == (206, content[10:20])
    rest = api.request("GET", path, headers={"Range": "bytes=10-"})
    assert (rest.status_code, rest.content) == (206, content[10:])
    for odd in ("bytes=5-1", "bytes=999999999-", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4", "bytes=-5", "x"):
        whole = api.request("GET", path, headers={"Range": odd})
        assert (whole.status_code, whole.content) == (200, content), odd


def test_a_cached_image_is_304(api: LocalApi, key: str) -> None:
    path = path_of(store(api, key)["imageUrl"])
    tag = api.request("GET", path).headers["etag"]
    again = api.request("GET", path, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


def test_an_image_expires_24_hours_after_its_last_use(api: LocalApi, key: str) -> None:
    data = store(api, key)
    for _ in range(5):
        api.clock.move(hours=20)
        api.call(images.read_for_call, api.services, account_of(api, key), data["imageId"])
    api.clock.move(hours=23, minutes=59)
    assert row(api, data["imageId"]) is not None
    sweep(api)
    assert is_stored(api, data["imageId"])
    api.clock.move(hours=2)
    answer = api.request(
        "POST", "/api/tools/crop", data={"image_id": data["imageId"]}, headers={"X-Api-Key": key}
    )
    assert (answer.status_code, code_of(answer)) == (404, "NOT_FOUND")
    sweep(api)
    assert row(api, data["imageId"]) is None
    assert not is_stored(api, data["imageId"])


def test_full_storage_is_413_until_an_image_is_deleted(tmp_path: Path) -> None:
    with local_api(tmp_path, account_storage_mb=1) as api:
        key = api.new_key("a@example.com")
        other = api.new_key("b@example.com")
        content = jpeg_bytes(photo("motorcycle_left"))
        size_mb = len(content) / 1024**2
        assert 0.1 < size_mb < 0.5
        stored = [store(api, key, content) for _ in range(int(1 / size_mb))]
        answer = upload(api, key, content)
        assert (answer.status_code, code_of(answer)) == (413, "STORAGE_FULL")
        assert answer.headers["x-credits-charged"] == "0"
        assert upload(api, other, content).status_code == 200
        api.request("DELETE", f"/api/images/{stored[0]['imageId']}", headers={"X-Api-Key": key})
        assert upload(api, key, content).status_code == 200
        files = [path for path in (tmp_path / "images").rglob("img_*") if path.is_file()]
        assert len(files) == len(stored) + 1  # what was refused left nothing behind


def test_full_storage_refuses_a_call_before_it_runs(tmp_path: Path) -> None:
    with local_api(tmp_path, account_storage_mb=1) as api:
        key = api.new_key("a@example.com")
        store(api, key)
        fill_up(api)
        answer = api.request(
            "POST", "/api/tools/crop", files={"image": small_picture()}, headers={"X-Api-Key": key}
        )
        assert (answer.status_code, code_of(answer)) == (413, "STORAGE_FULL")
        assert answer.headers["x-credits-remaining"] == "15"


def test_old_files_without_a_row_are_deleted(api: LocalApi, key: str) -> None:
    kept = store(api, key)["imageId"]
    api.services.storage.write("img_stray0stray0stray0", b"stray")
    api.call(images.delete_strays, api.services, 3600.0)
    assert is_stored(api, "img_stray0stray0stray0")
    api.call(images.delete_strays, api.services, -1.0)
    assert not is_stored(api, "img_stray0stray0stray0")
    assert is_stored(api, kept)


def test_the_public_url_takes_precedence_over_the_host_header(tmp_path: Path) -> None:
    with local_api(tmp_path, public_url="https://pictures.example.com/") as api:
        url = store(api, api.new_key("a@example.com"))["imageUrl"]
        assert url.startswith("https://pictures.example.com/api/images/img_")
        answer = api.request("GET", "/healthz")
        assert answer.headers["strict-transport-security"].startswith("max-age=")


def account_of(api: LocalApi, key: str) -> str:
    with api.services.database.transaction() as session:
        return api_keys.find(session, key, api.clock()).account_id


def upload(api: LocalApi, key: str, content: bytes) -> httpx.Response:
    api.clock.move(minutes=1)  # so that the rate limit does not interfere
    return api.request("POST", "/api/images", files={"image": content}, headers={"X-Api-Key": key})


def fill_up(api: LocalApi) -> None:
    """Let the stored pictures be as large as their account's room."""
    with api.services.database.transaction() as session:
        image = session.exec(select(Image)).first()
        assert image is not None
        image.size_bytes = api.services.account_storage_bytes
        session.add(image)


def sweep(api: LocalApi) -> None:
    services = api.services
    api.call(cleanup.delete_expired_images, services.database, services.storage.delete, api.clock())
