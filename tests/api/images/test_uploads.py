"""Uploads through `POST /api/images`: retries, sizes and truncated files."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import func, select

from api.images.models import Image
from tests.support.apps import LocalApi, local_api
from tests.support.calling import code_of, param_of, small_picture
from tests.support.ml.photos import jpeg_bytes, photo

KEY = {"Idempotency-Key": "upload-1"}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[LocalApi]:
    with local_api(tmp_path) as opened:
        yield opened


@pytest.fixture
def key(api: LocalApi) -> str:
    return api.new_key("a@example.com")


def upload(api: LocalApi, key: str, content: bytes, **headers: str) -> httpx.Response:
    files = {"image": ("picture", content)}
    return api.request("POST", "/api/images", files=files, headers={"X-Api-Key": key, **headers})


def delete(api: LocalApi, key: str, image_id: str) -> None:
    response = api.request("DELETE", f"/api/images/{image_id}", headers={"X-Api-Key": key})
    assert response.status_code == 200


def stored_images(api: LocalApi) -> int:
    with api.services.database.transaction() as session:
        return session.exec(select(func.count()).select_from(Image)).one()


def test_the_same_upload_under_its_key_is_stored_once_and_replayed(api: LocalApi, key: str) -> None:
    content = small_picture()
    first, second = upload(api, key, content, **KEY), upload(api, key, content, **KEY)
    assert first.status_code == 200
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert second.content == first.content
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert second.headers["x-ratelimit-remaining"] == "18"  # a replay takes a call of the rate
    assert stored_images(api) == 1


def test_without_a_key_the_same_upload_is_stored_again(api: LocalApi, key: str) -> None:
    content = small_picture()
    first, second = upload(api, key, content), upload(api, key, content)
    assert first.json()["data"]["imageId"] != second.json()["data"]["imageId"]


def test_another_file_under_the_key_is_422(api: LocalApi, key: str) -> None:
    upload(api, key, small_picture(), **KEY)
    response = upload(api, key, small_picture(), **KEY)
    assert (response.status_code, code_of(response)) == (422, "IDEMPOTENCY_MISMATCH")
    assert param_of(response) == "Idempotency-Key"
    assert stored_images(api) == 1


def test_a_tool_call_under_the_key_of_an_upload_is_422(api: LocalApi, key: str) -> None:
    content = small_picture()
    upload(api, key, content, **KEY)
    response = api.request(
        "POST",
        "/api/tools/crop",
        files={"image": ("picture", content)},
        data={"width": "9"},
        headers={"X-Api-Key": key, **KEY},
    )
    assert (response.status_code, code_of(response)) == (422, "IDEMPOTENCY_MISMATCH")


def test_two_accounts_may_use_one_key(api: LocalApi, key: str) -> None:
    content = small_picture()
    first = upload(api, key, content, **KEY)
    second = upload(api, api.new_key("b@example.com"), content, **KEY)
    assert second.status_code == 200
    assert second.json()["data"]["imageId"] != first.json()["data"]["imageId"]


def test_a_deleted_upload_is_stored_again_under_its_key(api: LocalApi, key: str) -> None:
    content = small_picture()
    first = upload(api, key, content, **KEY).json()["data"]["imageId"]
    delete(api, key, first)
    response = upload(api, key, content, **KEY)
    assert "idempotent-replayed" not in response.headers
    assert response.json()["data"]["imageId"] != first
    assert stored_images(api) == 1


def test_a_key_works_for_another_file_after_24_hours(api: LocalApi, key: str) -> None:
    upload(api, key, small_picture(), **KEY)
    api.clock.move(hours=24, seconds=1)
    assert upload(api, key, small_picture(), **KEY).status_code == 200


def test_concurrent_identical_uploads_store_one_image(api: LocalApi, key: str, tmp_path: Path) -> None:
    content = small_picture()

    async def scenario() -> list[httpx.Response]:
        transport = httpx.ASGITransport(api.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            files = {"image": ("picture", content)}
            headers = {"X-Api-Key": key, **KEY}
            posts = [client.post("/api/images", files=files, headers=headers) for _ in range(4)]
            return list(await asyncio.gather(*posts))

    answers = api.call(scenario)
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({answer.content for answer in answers}) == 1
    assert stored_images(api) == 1
    assert len(list((tmp_path / "images").glob("??/img_*"))) == 1


def test_a_corrected_upload_may_reuse_the_key_of_a_refused_one(api: LocalApi, key: str) -> None:
    content = small_picture()
    response = upload(api, key, content[: len(content) // 2], **KEY)
    assert (response.status_code, code_of(response)) == (422, "UNREADABLE_IMAGE")
    assert upload(api, key, content, **KEY).status_code == 200


def test_the_response_has_the_upright_size(api: LocalApi, key: str) -> None:
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # rotated by 90 degrees
    content = jpeg_bytes(photo("chelsea")[:80, :120], exif=exif)
    data: dict[str, Any] = upload(api, key, content).json()["data"]
    assert (data["width"], data["height"]) == (80, 120)
    with api.services.database.transaction() as session:
        row = session.get_one(Image, data["imageId"])
        assert (row.width, row.height) == (80, 120)


def test_a_truncated_jpeg_is_refused_and_one_without_its_end_marker_is_stored(tmp_path: Path) -> None:
    content = jpeg_bytes(photo("chelsea"))
    with local_api(tmp_path, has_workers=True) as api:
        key = api.new_key("a@example.com")
        for cut in (10, 500, len(content) // 2):
            response = upload(api, key, content[:-cut])
            assert (response.status_code, code_of(response)) == (422, "UNREADABLE_IMAGE"), cut
        assert stored_images(api) == 0
        assert upload(api, key, content[:-2]).status_code == 200
