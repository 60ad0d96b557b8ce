"""What only a bucket does; `test_storage` has what every kind of storage promises."""

from pathlib import Path

import pytest

from api.errors import ServiceUnavailable
from api.images.bucket_storage import BucketAddress
from tests.api.images.test_storage import IMAGE, PICTURE
from tests.support.s3 import Bucket, S3Server, open_storage


def test_the_probe_of_a_bucket_leaves_nothing(bucket: Bucket, tmp_path: Path) -> None:
    open_storage(bucket, tmp_path).check_writable()
    assert bucket.object_keys() == []


def test_objects_are_below_the_prefix(bucket: Bucket, tmp_path: Path) -> None:
    storage = open_storage(bucket, tmp_path)
    storage.write(IMAGE, PICTURE)
    storage.write_artefact(IMAGE, "preview-64", b"preview")
    assert bucket.object_keys() == [f"pictures/{IMAGE}/artefacts/preview-64", f"pictures/{IMAGE}/image"]
    described = bucket.client().head_object(Bucket=bucket.name, Key=f"pictures/{IMAGE}/image")
    assert described["ContentType"] == "image/png"
    assert described["ContentDisposition"] == f'attachment; filename="{IMAGE}.png"'


@pytest.mark.long
def test_more_artefacts_than_a_page_of_the_list_holds(bucket: Bucket, tmp_path: Path) -> None:
    storage = open_storage(bucket, tmp_path)
    client = bucket.client()
    for number in range(1005):  # a page of S3's has 1000
        key = f"pictures/{IMAGE}/artefacts/a{number}"
        client.put_object(Bucket=bucket.name, Key=key, Body=b"1")
    assert storage.artefact_bytes(IMAGE) == 1005
    storage.delete(IMAGE)
    assert bucket.object_keys() == []


@pytest.mark.parametrize("is_missing", [True, False])
def test_a_bucket_that_cannot_be_used_is_an_outage(
    s3: S3Server, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_missing: bool
) -> None:
    if not is_missing:  # Nothing listens there.
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        monkeypatch.setattr("api.images.bucket_storage._RETRIES_MAX", 0)
    storage = open_storage(Bucket(bucket.endpoint, "missing"), tmp_path)
    for write in (storage.check_writable, lambda: storage.write(IMAGE, b"picture")):
        with pytest.raises(ServiceUnavailable):
            write()
    assert storage.read_artefact(IMAGE, "preview-64") is None
    if not is_missing:
        with pytest.raises(ServiceUnavailable):
            storage.read(IMAGE)


@pytest.mark.parametrize(
    "url", ["s3://", "s3:///a", "s3://user@bucket", "s3://bucket:1/a", "s3://b?x=1", "file:///a"]
)
def test_an_address_that_is_not_one_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not s3://bucket/prefix"):
        BucketAddress.parse(url)
