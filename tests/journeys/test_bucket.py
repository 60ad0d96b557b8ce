"""A server whose images are in a bucket, on an S3 server of its own."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.s3 import Bucket, S3Server, running_s3
from tests.support.server import RunningServer, ServerFactory
from tests.support.waiting import wait_until

PHOTO = jpeg_bytes(photo("chelsea"))


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3(tmp_path_factory.mktemp("s3") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def bucket(s3: S3Server) -> Bucket:
    return s3.new_bucket()


@pytest.fixture(scope="module")
def served(
    bucket: Bucket, server_factory: ServerFactory, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    settings = {"BGERASER_STORAGE_URL": bucket.url, "BGERASER_WORKERS": "1", **bucket.environment}
    with server_factory(tmp_path_factory.mktemp("bucket"), settings) as running:
        yield running
        assert running.drifts() == []


@pytest.fixture
def client(served: RunningServer) -> Iterator[httpx.Client]:
    with served.client(served.customer) as opened:
        yield opened


def data_of(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json()["data"]


def uploaded(client: httpx.Client) -> Any:
    return data_of(client.post("/api/images", files={"image": PHOTO}))


def keys_of(bucket: Bucket, image_id: str) -> set[str]:
    prefix = f"pictures/{image_id}/"
    return {key.removeprefix(prefix) for key in bucket.object_keys() if key.startswith(prefix)}


def test_an_image_is_stored_edited_fetched_and_deleted(client: httpx.Client, bucket: Bucket) -> None:
    stored = uploaded(client)
    assert keys_of(bucket, stored["imageId"]) == {"image"}
    result = data_of(client.post("/api/tools/crop", data={"image_id": stored["imageId"], "width": "100"}))
    fetched = httpx.get(result["imageUrl"])
    assert fetched.status_code == 200
    assert fetched.headers["content-type"] == "image/jpeg"
    assert int(fetched.headers["content-length"]) == len(fetched.content)
    preview = httpx.get(stored["previewUrl"])
    assert preview.headers["content-type"] == "image/webp"
    assert keys_of(bucket, stored["imageId"]) == {"image", "artefacts/preview-1600"}
    assert httpx.get(stored["previewUrl"]).content == preview.content
    assert client.delete(f"/api/images/{stored['imageId']}").is_success
    assert keys_of(bucket, stored["imageId"]) == set()
    assert httpx.get(stored["imageUrl"]).status_code == 404


def test_ranges_and_tags_are_answered_as_from_files(client: httpx.Client) -> None:
    url = uploaded(client)["imageUrl"]
    whole = httpx.get(url)
    content, tag = whole.content, whole.headers["etag"]
    assert whole.headers["accept-ranges"] == "bytes"
    for sent, first, last in [
        ("bytes=0-9", 0, 9),
        ("bytes=10-", 10, len(content) - 1),
        ("bytes=5-999999999", 5, len(content) - 1),
    ]:
        part = httpx.get(url, headers={"range": sent})
        assert part.status_code == 206
        assert part.content == content[first : last + 1]
        assert part.headers["content-range"] == f"bytes {first}-{last}/{len(content)}"
    for sent in ("bytes=999999999-", "bytes=9-5", "bytes=0-1,3-4", "lines=0-5"):
        assert httpx.get(url, headers={"range": sent}).content == content
    matching = {"range": "bytes=0-9", "if-range": tag}
    assert httpx.get(url, headers=matching).status_code == 206
    assert httpx.get(url, headers={**matching, "if-range": '"other"'}).content == content
    assert httpx.get(url, headers={"if-none-match": tag}).status_code == 304
    head = httpx.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == len(content)


def test_a_selection_keeps_its_embedding_beside_the_image(client: httpx.Client, bucket: Bucket) -> None:
    stored = uploaded(client)
    fields = {"image_id": stored["imageId"], "points": "[[200, 150]]"}
    data_of(client.post("/api/tools/magic-select", data=fields))
    assert any(key.startswith("artefacts/embedding") for key in keys_of(bucket, stored["imageId"]))


@pytest.mark.long
def test_a_batch_is_downloaded_and_deleted(client: httpx.Client, bucket: Bucket) -> None:
    former = set(bucket.object_keys())
    files = [("images", (f"{number}.jpg", PHOTO)) for number in range(3)]
    fields = {"tool": "crop", "width": "50"}
    batch = data_of(client.post("/api/batches", data=fields, files=files))
    address = f"/api/batches/{batch['batchId']}"
    wait_until(lambda: data_of(client.get(address))["status"] == "completed")
    packed = client.get(f"{address}/results.zip")
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        assert sorted(archive.namelist()) == ["0.jpg", "1.jpg", "2.jpg"]
        assert archive.testzip() is None
    assert client.delete(address, params={"delete_results": "true"}).is_success
    wait_until(lambda: set(bucket.object_keys()) == former)


def test_the_server_is_ready_only_while_the_bucket_can_be_used(
    s3: S3Server, server_factory: ServerFactory, tmp_path: Path
) -> None:
    bucket = s3.new_bucket()
    settings = {"BGERASER_STORAGE_URL": bucket.url, "BGERASER_WORKERS": "1", **bucket.environment}
    with server_factory(tmp_path, settings) as running, running.client(running.customer) as client:
        stored = uploaded(client)
        client_of_bucket = bucket.client()
        for key in bucket.object_keys():
            client_of_bucket.delete_object(Bucket=bucket.name, Key=key)
        client_of_bucket.delete_bucket(Bucket=bucket.name)
        wait_until(lambda: client.get("/readyz").status_code == 503)
        refused = client.post("/api/tools/crop", files={"image": PHOTO}, data={"width": "50"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert httpx.get(stored["imageUrl"]).status_code == 404
        client_of_bucket.create_bucket(Bucket=bucket.name)
        assert client.post("/api/tools/crop", files={"image": PHOTO}, data={"width": "50"}).is_success
        assert running.balance(running.customer)[1] == 0
        assert running.drifts() == []


def test_image_urls_may_lead_to_the_bucket(
    bucket: Bucket, server_factory: ServerFactory, tmp_path: Path
) -> None:
    settings = {
        "BGERASER_STORAGE_URL": bucket.url,
        "BGERASER_STORAGE_REDIRECT": "true",
        "BGERASER_WORKERS": "1",
        **bucket.environment,
    }
    with server_factory(tmp_path, settings) as running, running.client(running.customer) as client:
        stored = uploaded(client)
        led = httpx.get(stored["imageUrl"])
        assert led.status_code == 307
        location = httpx.URL(led.headers["location"])
        assert (location.scheme, f"{location.host}:{location.port}") == ("http", bucket.endpoint[7:])
        assert int(location.params["X-Amz-Expires"]) == 900
        fetched = httpx.get(location)
        assert fetched.headers["content-type"] == "image/jpeg"
        assert fetched.headers["content-disposition"].startswith("attachment; ")
        assert httpx.head(stored["imageUrl"]).status_code == 200
        assert httpx.get(stored["previewUrl"]).status_code == 200
        assert httpx.get(stored["imageUrl"] + "x").status_code == 403
