"""An S3 server on this machine, in a process of its own, with one bucket for each test that asks for one."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from api.images.bucket_storage import BucketAddress, BucketStorage

ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-secret", "AWS_REGION": "us-east-1"}

_SERVE = """
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server
app = DomainDispatcherApplication(create_backend_app)
server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@dataclass(frozen=True)
class Bucket:
    """`environment` is what a server needs to use it under `url`."""

    endpoint: str
    name: str

    @property
    def url(self) -> str:
        return f"s3://{self.name}/pictures"

    @property
    def environment(self) -> dict[str, str]:
        return {**ENVIRONMENT, "AWS_ENDPOINT_URL": self.endpoint}

    def client(self) -> Any:  # boto3 makes its classes when it runs
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
            region_name=ENVIRONMENT["AWS_REGION"],
        )

    def object_keys(self) -> list[str]:
        return [entry["Key"] for entry in self.client().list_objects_v2(Bucket=self.name).get("Contents", [])]


def open_storage(bucket: Bucket, directory: Path) -> BucketStorage:
    """Its storage, in a process whose environment leads to the bucket."""
    return BucketStorage(BucketAddress.parse(bucket.url), directory / "unfinished")


class S3Server:
    def __init__(self, process: "subprocess.Popen[str]", endpoint: str) -> None:
        self._process = process
        self.endpoint = endpoint

    def new_bucket(self) -> Bucket:
        bucket = Bucket(self.endpoint, f"test-{secrets.token_hex(6)}")
        bucket.client().create_bucket(Bucket=bucket.name)
        return bucket

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def running_s3(log: Path) -> Iterator[S3Server]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE],
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            env={**os.environ, **ENVIRONMENT},
        )
    assert process.stdout is not None
    with process.stdout:
        port = process.stdout.readline().strip()
    server = S3Server(process, f"http://127.0.0.1:{port}")
    try:
        yield server
    finally:
        server.stop()
