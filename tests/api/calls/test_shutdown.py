"""A server that receives SIGTERM with unfinished calls answers every client and exits."""

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from billing.ledger.plans import PlanName
from tests.support.calling import code_of, crop, small_picture
from tests.support.editor_client import Browser
from tests.support.job_calls import crop_later, job_of
from tests.support.ml.photos import photo, png_bytes
from tests.support.raw_client import HEAD_OF_PART, RawClient
from tests.support.server import Customer, RunningServer, StartServer
from tests.support.waiting import wait_until

QUEUED = 4


def long_call(server: RunningServer, customer: Customer) -> httpx.Response:
    with server.client(customer) as client:
        return client.post(
            "/api/tools/upscale",
            files={"image": png_bytes(photo("chelsea")[:160, :160])},
            data={"scale": "2", "mode": "quality"},
        )


def await_queue(server: RunningServer, running: int, waiting: int) -> None:
    expected = {"waiting": waiting, "running": running}
    with server.client() as client:
        wait_until(lambda: client.get("/readyz").json()["data"]["queue"] == expected)


def assert_refused_for_now(answer: httpx.Response) -> None:
    assert (answer.status_code, code_of(answer)) in [(503, "OVERLOADED"), (503, "SERVICE_UNAVAILABLE")]
    assert int(answer.headers["retry-after"]) > 0
    assert "shutting down" in answer.json()["error"]["message"]


def assert_clean_log(server: RunningServer) -> None:
    log = server.log_text()
    assert "Traceback" not in log
    assert "exception" not in log
    assert '"status": 500' not in log


def listen(server: RunningServer, customer: Customer, path: str, begun: threading.Event) -> None:
    """Hold an event stream until the server ends it."""
    with server.client(customer) as client:
        try:
            with client.stream("GET", path) as stream:
                for _ in stream.iter_raw():
                    begun.set()
        except httpx.TransportError:
            pass  # broken off, as any stream that has no end


def test_waiting_calls_are_refused_at_once_and_running_ones_finish(start_server: StartServer) -> None:
    server = start_server(BGERASER_WORKERS="1", BGERASER_SHUTDOWN_SECONDS="200")
    customer = server.new_customer(PlanName.BUSINESS)
    ended: list[int] = []

    def note(answer: httpx.Response) -> httpx.Response:
        ended.append(answer.status_code)
        return answer

    with ThreadPoolExecutor(QUEUED + 1) as threads:
        running = threads.submit(lambda: note(long_call(server, customer)))
        await_queue(server, running=1, waiting=0)
        waiting = [threads.submit(lambda: note(crop(server, customer))) for _ in range(QUEUED)]
        await_queue(server, running=1, waiting=QUEUED)
        server.process.send_signal(signal.SIGTERM)
        for each in waiting:
            assert_refused_for_now(each.result())
        assert running.result().status_code == 200
    assert server.stop() in (0, -signal.SIGTERM)
    assert ended == [503] * QUEUED + [200]
    assert server.balance(customer) == (4999, 0)
    assert server.drifts() == []
    assert_clean_log(server)


@pytest.mark.long
def test_event_streams_do_not_delay_the_shutdown(start_server: StartServer) -> None:
    server = start_server(BGERASER_WORKERS="1", BGERASER_SHUTDOWN_SECONDS="200")
    customer = server.new_customer(PlanName.BUSINESS)
    with ThreadPoolExecutor(3) as threads:
        running = threads.submit(long_call, server, customer)
        await_queue(server, running=1, waiting=0)
        job_id = job_of(crop_later(server, customer))
        streams = []
        for path in ("/app/gradio_api/heartbeat/abcdef", f"/api/jobs/{job_id}/events"):
            begun = threading.Event()
            streams.append(threads.submit(listen, server, customer, path, begun))
            assert begun.wait(60)
        server.process.send_signal(signal.SIGTERM)
        for stream in streams:
            stream.result()
        assert not running.done()
        assert running.result().status_code == 200
    assert server.stop() in (0, -signal.SIGTERM)
    assert_clean_log(server)


@pytest.mark.long
def test_calls_that_exceed_the_shutdown_timeout_are_stopped_and_not_charged(
    start_server: StartServer,
) -> None:
    server = start_server(BGERASER_WORKERS="1", BGERASER_SHUTDOWN_SECONDS="0")
    customer = server.new_customer(PlanName.BUSINESS)
    with ThreadPoolExecutor(3) as threads, ExitStack() as stack:
        running = threads.submit(long_call, server, customer)
        await_queue(server, running=1, waiting=0)
        upload = RawClient(server)  # a body that does not end
        stack.callback(upload.close)
        upload.head(customer, "Content-Length: 9000000")
        upload.write(HEAD_OF_PART + bytes(400_000))
        answer = threads.submit(upload.answer)
        server.process.send_signal(signal.SIGTERM)
        assert_refused_for_now(running.result())
        status, body = answer.result()
    assert (status, b"shutting down" in body) == (503, True)
    assert server.stop() in (0, -signal.SIGTERM)
    assert server.balance(customer) == (5000, 0)
    assert server.drifts() == []
    assert_clean_log(server)


def test_an_editor_waiting_for_its_run_does_not_delay_the_shutdown(start_server: StartServer) -> None:
    server = start_server(BGERASER_WORKERS="1", BGERASER_SHUTDOWN_SECONDS="200")
    customer = server.new_customer(PlanName.BUSINESS)
    with ThreadPoolExecutor(2) as threads, Browser(server, customer) as browser:
        project = browser.open_sample()  # before the only worker is busy: it makes a preview
        running = threads.submit(long_call, server, customer)
        await_queue(server, running=1, waiting=0)
        run = browser.start(project, "crop", {"width": "10", "height": "10"}).json()["data"]
        place = f"/editor/projects/{project['id']}/runs/{run['id']}"
        await_queue(server, running=1, waiting=1)
        seen = browser.client.get(place).json()["data"]["version"]
        sent = threading.Event()

        def trace(event: str, _: object) -> None:
            if event == "http11.send_request_body.complete":
                sent.set()

        polling = threads.submit(
            browser.client.get, place, params={"seen": seen}, extensions={"trace": trace}
        )
        assert sent.wait(60)
        # The server reads its connections in order: once this later request is answered, it has the poll.
        await_queue(server, running=1, waiting=1)
        server.process.send_signal(signal.SIGTERM)
        data = polling.result().json()["data"]
        assert not running.done()
        assert (data["status"], data["error"]["status"]) == ("failed", 503)
        assert running.result().status_code == 200
    assert server.stop() in (0, -signal.SIGTERM)
    assert_clean_log(server)


def test_a_server_that_drains_is_not_ready_but_works(start_server: StartServer) -> None:
    server = start_server(BGERASER_WORKERS="1", BGERASER_DRAIN_SECONDS="15")
    customer = server.new_customer()
    with server.client(customer) as client:
        assert client.get("/readyz").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: client.get("/readyz").status_code == 503)
        assert "about to end" in client.get("/readyz").json()["error"]["message"]
        assert client.get("/healthz").status_code == 200
        answer = client.post("/api/tools/crop", files={"image": small_picture()}, data={"width": "5"})
        assert answer.status_code == 200, answer.text
    assert server.process.wait(60) in (0, -signal.SIGTERM)
    assert server.balance(customer) == (14, 0)
