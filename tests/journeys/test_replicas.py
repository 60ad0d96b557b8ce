"""Two servers and a worker that share PostgreSQL and a bucket, changed by settings only."""

import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.checkpoints import models_dir
from tests.support.databases import Postgres
from tests.support.editor_client import Browser
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.s3 import running_s3
from tests.support.server import Customer, RunningServer, ServerFactory
from tests.support.waiting import wait_until

PHOTO = jpeg_bytes(photo("chelsea"))
#: Takes a worker many seconds.
SLOW = {"scale": "4", "mode": "quality"}
#: Takes it some seconds, of a photo of a megapixel.
SECONDS = {"scale": "4", "mode": "fast"}


@pytest.fixture(scope="module")
def settings(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What all processes have in common."""
    name = postgres.create_database()
    with running_s3(tmp_path_factory.mktemp("s3") / "log") as s3:
        bucket = s3.new_bucket()
        yield {
            "BGERASER_DATABASE_URL": postgres.url(name),
            "BGERASER_STORAGE_URL": bucket.url,
            "BGERASER_SECRET_KEY": secrets.token_hex(32),
            "BGERASER_WORKERS": "1",
            "BGERASER_RUN_JOBS": "false",
            **bucket.environment,
        }


@pytest.fixture(scope="module")
def servers(
    settings: dict[str, str], server_factory: ServerFactory, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningServer, RunningServer]]:
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(server_factory(tmp_path_factory.mktemp(name), settings))
            for name in ("one", "other")
        )
        yield one, other
        assert one.drifts() == []


@contextmanager
def running_worker(settings: dict[str, str], directory: Path) -> Iterator[str]:
    """The address of its health."""
    directory.mkdir()
    log = directory / "log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BGERASER_")}
    environment |= {**settings, "BGERASER_DATA_DIR": str(directory), "BGERASER_MODELS_DIR": str(models_dir())}
    command = [sys.executable, "-m", "web.cli", "worker", "--port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: b"bgeraser worker runs jobs" in log.read_bytes())
        (address,) = re.findall(r"(http://127\.0\.0\.1:\d+)/readyz", log.read_text())
        wait_until(lambda: httpx.get(f"{address}/readyz").status_code == 200)
        yield address
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM  # after it has left its jobs to others
        assert "Traceback" not in log.read_text()
    finally:
        process.kill()
        process.wait()


def data_of(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json()["data"]


def client_of(server: RunningServer, customer: Customer) -> httpx.Client:
    return httpx.Client(base_url=server.address, headers=customer.headers, timeout=180)


def browser_of(server: RunningServer, other: Browser) -> Browser:
    """The same browser, whose requests now reach `server`."""
    moved = Browser.__new__(Browser)
    moved.client = httpx.Client(
        base_url=server.address, cookies=other.client.cookies, headers=other.client.headers, timeout=180
    )
    moved.session = other.session
    return moved


def test_an_image_of_one_server_is_edited_fetched_and_deleted_by_the_other(
    servers: tuple[RunningServer, RunningServer],
) -> None:
    one, other = servers
    customer = one.new_customer()
    with client_of(one, customer) as here, client_of(other, customer) as there:
        stored = data_of(here.post("/api/images", files={"image": PHOTO}))
        result = data_of(there.post("/api/tools/crop", data={"image_id": stored["imageId"], "width": "50"}))
        signed = result["imageUrl"].partition("/api/")[2]
        assert here.get(f"/api/{signed}").content == there.get(f"/api/{signed}").content
        data_of(there.delete(f"/api/images/{stored['imageId']}"))
        assert here.post("/api/tools/crop", data={"image_id": stored["imageId"]}).status_code == 404
    assert one.balance(customer) == (14, 0)


def test_one_key_is_charged_once_by_both(servers: tuple[RunningServer, RunningServer]) -> None:
    one, other = servers
    customer = one.new_customer()
    headers = {"Idempotency-Key": "the same"}
    answers = []
    for server in (one, other, one):
        with client_of(server, customer) as client:
            answers.append(
                data_of(
                    client.post(
                        "/api/tools/crop", files={"image": PHOTO}, data={"width": "50"}, headers=headers
                    )
                )
            )
    assert len({answer["imageId"] for answer in answers}) == 1
    assert one.balance(customer) == (14, 0)


def test_jobs_wait_for_a_worker_and_are_run_by_it(
    servers: tuple[RunningServer, RunningServer], settings: dict[str, str], tmp_path: Path
) -> None:
    one, other = servers
    customer = one.new_customer()
    with client_of(one, customer) as here, client_of(other, customer) as there:
        accepted = here.post(
            "/api/tools/crop",
            files={"image": PHOTO},
            data={"width": "50"},
            headers={"Prefer": "respond-async"},
        )
        assert accepted.status_code == 202
        place = accepted.headers["location"].partition("/api/")[2]
        files = [("images", (f"{number}.jpg", PHOTO)) for number in range(2)]
        batch = data_of(there.post("/api/batches", data={"tool": "crop", "width": "50"}, files=files))
        assert data_of(there.get(f"/api/{place}"))["status"] == "queued"
        with running_worker(settings, tmp_path / "worker") as health:
            wait_until(lambda: data_of(there.get(f"/api/{place}"))["status"] == "succeeded")
            wait_until(lambda: data_of(here.get(f"/api/batches/{batch['batchId']}"))["status"] == "completed")
            assert httpx.get(f"{health}/api/tools").status_code == 404
        result = data_of(here.get(f"/api/{place}"))["result"]
        assert result["creditsCharged"] == 1
        signed = result["imageUrl"].partition("/api/")[2]
        assert there.get(f"/api/{signed}").status_code == 200
    assert one.balance(customer) == (12, 0)


def test_an_editor_run_is_shown_and_cancelled_by_the_other_server(
    servers: tuple[RunningServer, RunningServer],
) -> None:
    one, other = servers
    customer = one.new_customer()
    with Browser(one, customer) as here, browser_of(other, here) as there:
        project = here.open(PHOTO)
        run = data_of(here.start(project, "upscale", SLOW, key="a"))
        place = f"/editor/projects/{project['id']}/runs/{run['id']}"
        seen = data_of(there.client.get(place, params={"seen": -1}))
        assert (seen["id"], seen["stepId"]) == (run["id"], None)
        # After a reload, and for a request that is repeated under the same key.
        assert there.project(project["id"])["run"]["id"] == run["id"]
        assert data_of(there.start(project, "upscale", SLOW, key="a"))["id"] == run["id"]
        data_of(there.client.delete(place))
        assert there.watch(project, run)["status"] == "cancelled"
        assert here.watch(project, run)["status"] == "cancelled"
        wait_until(lambda: one.balance(customer) == (15, 0))


def test_a_run_of_a_server_that_is_killed_is_made_by_the_other_and_charged_once(
    servers: tuple[RunningServer, RunningServer],
    settings: dict[str, str],
    server_factory: ServerFactory,
    tmp_path: Path,
) -> None:
    _, other = servers
    with server_factory(tmp_path / "doomed", settings) as doomed:
        customer = doomed.new_customer()
        with Browser(doomed, customer) as here, browser_of(other, here) as there:
            project = here.open(jpeg_bytes(np.tile(photo("chelsea"), (3, 3, 1))))
            run = data_of(here.start(project, "upscale", SECONDS, key="a"))
            place = f"/editor/projects/{project['id']}/runs/{run['id']}"
            wait_until(lambda: data_of(here.client.get(place, params={"seen": -1}))["status"] == "running")
            doomed.process.kill()
            doomed.process.wait()
            # As the page does: it polls, and asks for the run again once it is unknown.
            wait_until(lambda: there.client.get(place, params={"seen": -1}).status_code == 404)
            step = there.run(project, "upscale", SECONDS, key="a")
            assert step["width"] == 4 * project["steps"][0]["width"]
            assert other.balance(customer) == (14, 0)
            assert other.drifts() == []
