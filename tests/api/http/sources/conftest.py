"""An API with real workers, a host from which it fetches, and calls of both."""

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from billing.ledger.plans import PlanName
from tests.api.remote_files.test_service import PRIVATE_NAMES
from tests.support.apps import LocalApi, local_api
from tests.support.remote_host import LOOPBACK, NAME, Names, RemoteHost, files_of, running_host


@pytest.fixture(scope="package")
def host() -> Iterator[RemoteHost]:
    with running_host() as running:
        yield running


@pytest.fixture(scope="package")
def api(tmp_path_factory: pytest.TempPathFactory, host: RemoteHost) -> Iterator[LocalApi]:
    names = Names(**{NAME: [LOOPBACK], **PRIVATE_NAMES})
    with local_api(
        tmp_path_factory.mktemp("json"), has_workers=True, remote_files=files_of(host, names, seconds=10.0)
    ) as opened:
        yield opened


@pytest.fixture
def key(api: LocalApi, request: pytest.FixtureRequest) -> str:
    return api.new_key(f"{abs(hash(request.node.nodeid))}@example.com", PlanName.BUSINESS)


@pytest.fixture
def free_key(api: LocalApi, request: pytest.FixtureRequest) -> str:
    return api.new_key(f"{abs(hash(request.node.nodeid))}@example.com", PlanName.FREE)


def post(api: LocalApi, key: str, path: str = "/api/tools/crop", **options: Any) -> httpx.Response:
    headers = {"X-Api-Key": key, **options.pop("headers", {})}
    return api.request("POST", path, headers=headers, **options)


def crop(image: object, **values: Any) -> dict[str, Any]:
    return {"image": image, "width": 10, "height": "50%", **values}


def as_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def credits_of(api: LocalApi, key: str) -> int:
    answer = api.request("GET", "/api/account", headers={"X-Api-Key": key}).json()
    return int(answer["data"]["credits"]["available"])


def picture_of(api: LocalApi, response: httpx.Response) -> bytes:
    assert response.status_code == 200, response.text
    return api.request("GET", response.json()["data"]["imageUrl"].removeprefix("http://test")).content
