"""Metadata of uploads is removed before storage, so no route can serve it."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from ml.imaging import codecs
from tests.ml.imaging.test_codecs_strip import MAKERS, SECRET, archive
from tests.support.apps import LocalApi, local_api
from tests.support.calling import code_of
from tests.support.ml.photos import jpeg_bytes, photo, png_bytes


@pytest.fixture
def api(tmp_path: Path) -> Iterator[LocalApi]:
    with local_api(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("name", MAKERS)
def test_an_upload_is_stored_and_served_without_metadata(api: LocalApi, tmp_path: Path, name: str) -> None:
    content = MAKERS[name](6) + archive()
    headers = {"X-Api-Key": api.new_key("a@example.com")}
    stored = api.request("POST", "/api/images", files={"image": content}, headers=headers)
    data = stored.json()["data"]
    parts = urlsplit(data["imageUrl"])
    served = api.request("GET", f"{parts.path}?{parts.query}").content
    assert len(served) == data["bytes"]
    assert np.array_equal(codecs.decode(served).pixels, codecs.decode(content).pixels)
    files = [file.read_bytes() for file in tmp_path.rglob("img_*") if file.is_file()]
    assert files == [served]
    for private in (SECRET, b"PK\x03\x04"):
        assert private not in served


def test_bytes_after_the_last_row_of_a_jpeg_without_end_marker_are_not_stored(tmp_path: Path) -> None:
    content = jpeg_bytes(photo("coffee")[:96, :128])[:-2] + archive().replace(b"\xff", b"\xff\0")
    with local_api(tmp_path, has_workers=True) as api:
        headers = {"X-Api-Key": api.new_key("a@example.com")}
        stored = api.request("POST", "/api/images", files={"image": content}, headers=headers)
        assert stored.status_code == 200, stored.text
    (file,) = (file for file in tmp_path.rglob("img_*") if file.is_file())
    kept = file.read_bytes()
    assert b"PK\x03\x04" not in kept
    assert kept.endswith(b"\xff\xd9")
    difference = codecs.decode(kept).pixels.astype(int) - codecs.decode(content).pixels
    assert np.abs(difference).mean() < 1.5


def test_a_truncated_or_oversized_file_is_not_stored(api: LocalApi, tmp_path: Path) -> None:
    headers = {"X-Api-Key": api.new_key("a@example.com")}
    whole = png_bytes(np.zeros((64, 64, 3), np.uint8))
    long = whole[:16] + (50_000_000).to_bytes(4, "big") + (1).to_bytes(4, "big") + whole[24:]
    for content, code in ((whole[:-30], "UNREADABLE_IMAGE"), (long, "IMAGE_TOO_LARGE")):
        answer = api.request("POST", "/api/images", files={"image": content}, headers=headers)
        assert (answer.status_code, code_of(answer)) == (422, code)
    assert not [file for file in tmp_path.rglob("img_*") if file.is_file()]
