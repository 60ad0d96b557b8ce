"""A hostile guest on a running server: unbilled work is bounded and stops in time."""

import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from sqlmodel import func, select

from api.auth import sessions
from api.auth.models import BrowserSession
from tests.support.editor_client import Browser
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import RunningServer, ServerFactory, StartServer
from tests.support.waiting import PATIENCE_SECONDS, wait_until


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, server_factory: ServerFactory) -> Iterator[RunningServer]:
    """A server of this module's own, because its guests use up what their address may have for a minute.

    They open five pictures here; six a minute are allowed.
    """
    with server_factory(tmp_path_factory.mktemp("free"), {"BGERASER_WORKERS": "2"}) as running:
        yield running


@pytest.fixture(scope="module")
def guest(own: RunningServer) -> Iterator[Browser]:
    with Browser(own) as browser:
        yield browser


@pytest.fixture(scope="module")
def project(guest: Browser, large: bytes) -> dict[str, Any]:
    """The guest's, of a large picture."""
    return guest.open(large)


@pytest.fixture(scope="module")
def coffee() -> bytes:
    return jpeg_bytes(photo("coffee"))


@pytest.fixture(scope="module")
def large() -> bytes:
    """24 megapixels that no encoder finds easy."""
    noise = np.random.default_rng(1).integers(0, 60, (4000, 6000, 3), np.uint8)
    return jpeg_bytes(noise + np.linspace(0, 190, 6000, dtype=np.uint8)[None, :, None])


def queue_of(server: RunningServer) -> dict[str, int]:
    queue: dict[str, int] = httpx.get(f"{server.address}/readyz").json()["data"]["queue"]
    return queue


def sessions_of(server: RunningServer) -> int:
    with server.database.transaction() as session:
        return session.exec(select(func.count()).select_from(BrowserSession)).one()


@pytest.mark.long
def test_1000_runs_of_a_guest_do_not_block_accounts(
    own: RunningServer, guest: Browser, coffee: bytes
) -> None:
    sample = guest.open_sample("coffee")
    # The same run asked for again takes nothing of the limits.
    key = secrets.token_hex(8)
    first = guest.watch(sample, guest.start(sample, "crop", {"width": "9"}, key=key).json()["data"])
    for _ in range(20):
        again = guest.start(sample, "crop", {"width": "9"}, key=key)
        assert again.json()["data"]["stepId"] == first["stepId"]
    began = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: guest.start(sample, "crop", {"width": "9"}), range(1000)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    refilled = (time.monotonic() - began) / 6  # ten a minute
    assert statuses.count(200) <= 10 + refilled
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.is_error)
    customer = own.new_customer()
    with Browser(own, customer) as browser:
        step = browser.run(browser.open(coffee), "bg-removal", {"model": "fast"})
        assert step["width"] == 600
    assert own.balance(customer) == (14, 0)


class Conversions:
    """Downloads in another format that one visitor asks for at the same time."""

    def __init__(self, browser: Browser, project: dict[str, Any], count: int) -> None:
        self.ended: list[int] = []
        self._threads = [threading.Thread(target=self._ask, args=(browser, project)) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _ask(self, browser: Browser, project: dict[str, Any]) -> None:
        answer = browser.download(project, project["steps"][0], format="avif")
        self.ended.append(answer.status_code)

    def wait(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)


def test_a_paid_crop_precedes_earlier_guest_conversions(
    own: RunningServer, guest: Browser, project: dict[str, Any], coffee: bytes
) -> None:
    with own.client(own.customer) as paid:
        files = {"image": coffee}
        assert paid.post("/api/tools/crop", files=files, data={"width": "40"}).status_code == 200
        conversions = Conversions(guest, project, 12)
        wait_until(lambda: queue_of(own)["running"] == 1 and len(conversions.ended) == 10)
        assert set(conversions.ended) == {429}
        assert queue_of(own) == {"waiting": 1, "running": 1}
        crop = paid.post("/api/tools/crop", files=files, data={"width": "50"})
        assert crop.status_code == 200, crop.text
        assert len(conversions.ended) == 10  # the crop passed both conversions
        conversions.wait()
        assert sorted(conversions.ended[10:]) == [200, 200]


def leave_after(browser: Browser, path: str, condition: Callable[[], bool]) -> None:
    """Send a GET with the browser's cookies, and break the connection once `condition` holds."""
    place = urlsplit(str(browser.client.base_url))
    cookies = "; ".join(f"{name}={value}" for name, value in browser.client.cookies.items())
    request = f"GET {path} HTTP/1.1\r\nHost: {place.netloc}\r\nCookie: {cookies}\r\n\r\n"
    with socket.create_connection((place.hostname, place.port)) as connection:
        connection.sendall(request.encode())
        wait_until(condition)


def test_a_conversion_stops_when_its_client_disconnects(
    own: RunningServer, guest: Browser, project: dict[str, Any]
) -> None:
    step = project["steps"][0]
    path = f"/editor/projects/{project['id']}/steps/{step['id']}/file?format=avif&quality=91"
    for _ in range(3):  # more than may run at once: each gives its place back
        leave_after(guest, path, lambda: queue_of(own)["running"] == 1)
        wait_until(lambda: queue_of(own) == {"waiting": 0, "running": 0})


def test_a_preview_stops_when_all_its_clients_have_disconnected(
    own: RunningServer, guest: Browser, project: dict[str, Any]
) -> None:
    step = project["steps"][0]
    leave_after(guest, step["closeUrl"], lambda: queue_of(own)["running"] == 1)
    wait_until(lambda: queue_of(own) == {"waiting": 0, "running": 0})
    assert guest.client.get(step["closeUrl"]).status_code == 200


def test_opening_the_editor_writes_no_row_and_the_first_image_writes_one(own: RunningServer) -> None:
    before = sessions_of(own)
    with own.client() as client:
        for _ in range(300):
            assert client.get("/editor/session").status_code == 200
            client.cookies.clear()
        assert client.get("/editor/projects").json()["data"] == []
        assert client.get("/editor/projects/prj_none").status_code == 404
    assert sessions_of(own) == before
    with Browser(own) as visitor, ThreadPoolExecutor(2) as threads:
        projects = list(threads.map(lambda _: visitor.open_sample(), range(2)))
        assert sessions_of(own) == before + 1
        listed = {found["id"] for found in visitor.client.get("/editor/projects").json()["data"]}
        assert listed == {found["id"] for found in projects}
        # The token of the page that was loaded before there was a session still works.
        assert visitor.client.delete(f"/editor/projects/{projects[0]['id']}").status_code == 200
        assert (
            visitor.client.get("/editor/session").json()["data"]["csrfToken"] == visitor.session["csrfToken"]
        )


def test_an_ended_session_is_reported_and_the_next_page_starts_a_new_one(own: RunningServer) -> None:
    with Browser(own) as visitor:
        opened = visitor.open_sample()
        token_sha256 = sessions.hash_of(visitor.client.cookies["bgeraser_session"])
        with own.database.transaction() as session:
            session.delete(
                session.exec(select(BrowserSession).where(BrowserSession.token_sha256 == token_sha256)).one()
            )
        place = f"/editor/projects/{opened['id']}"
        assert visitor.client.get(place).status_code == 401
        assert visitor.client.get("/editor/session").json()["data"]["account"] is None
        assert "bgeraser_session" not in visitor.client.cookies
        assert visitor.client.get(place).status_code == 404


@pytest.fixture
def small(start_server: StartServer) -> RunningServer:
    """All guests share 32 MiB: one may fill 512 KiB, those of one address 2 MiB."""
    return start_server(BGERASER_WORKERS="2", BGERASER_ACCOUNT_STORAGE_MB="8")


def test_one_guest_can_fill_only_a_small_part_of_the_guest_storage(
    small: RunningServer, coffee: bytes
) -> None:
    with Browser(small) as guest, Browser(small) as other:
        padded = coffee[:-2] + b"\xff\xfe\xff\xfd" + bytes(0xFFFB) + coffee[-2:]
        answers = []
        for _ in range(5):
            answer = guest.client.post("/editor/projects", files={"image": padded})
            answers.append(answer)
        assert answers[0].status_code == 200
        assert answers[-1].status_code == 413
        assert answers[-1].json()["error"]["code"] == "STORAGE_FULL"
        other.open_sample()


def test_runs_of_one_account_are_limited_by_the_plan_before_any_work(
    server: RunningServer, coffee: bytes
) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        upscale = {"mode": "quality", "scale": "4"}
        runs = [browser.start(project, "upscale", upscale) for _ in range(4)]
        assert [run.status_code for run in runs] == [200, 200, 429, 429]
        for run in runs[:2]:
            browser.client.delete(f"/editor/projects/{project['id']}/runs/{run.json()['data']['id']}")
        ended = [browser.watch(project, run.json()["data"])["status"] for run in runs[:2]]
        assert ended == ["cancelled", "cancelled"]
        assert browser.run(project, "bg-removal", {"model": "fast"})["width"] == 600
    assert server.balance(customer) == (14, 0)
