"""An S3 server for the tests of storage."""

from collections.abc import Iterator

import pytest

from tests.support.s3 import Bucket, S3Server, running_s3


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3(tmp_path_factory.mktemp("s3") / "log") as server:
        yield server


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A new bucket, which the environment leads to."""
    bucket = s3.new_bucket()
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    return bucket
