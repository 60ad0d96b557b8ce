"""Limits and balance that the editor's scripts get from the server."""

import json
from typing import Any

import pytest

from api.http.middleware.error_limit import ERRORS_A_MINUTE
from ml.imaging import codecs
from tests.support.editor_client import Browser
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import RunningServer
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def coffee() -> bytes:
    return jpeg_bytes(photo("coffee"))


def test_a_finished_run_returns_the_remaining_credits(server: RunningServer, coffee: bytes) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        before = browser.session["account"]["creditsAvailable"]
        started = browser.start(project, "bg-removal", {"model": "fast"}).json()["data"]
        assert "creditsAvailable" not in started
        done = browser.watch(project, started)
        assert (done["creditsCharged"], done["creditsAvailable"]) == (1, before - 1)
        slow = browser.start(project, "upscale", {"mode": "quality", "scale": "4"}).json()["data"]
        browser.client.delete(f"/editor/projects/{project['id']}/runs/{slow['id']}")
        cancelled = browser.watch(project, slow)
        assert (cancelled["status"], cancelled["creditsAvailable"]) == ("cancelled", before - 1)
    with Browser(server) as guest:
        sample = guest.open_sample()
        # Work that guests of other tests left may still take up what one network may run at once.
        wait_until(
            lambda: guest.start(sample, "crop", {"width": "50"}, key="crop").is_success, every_seconds=1
        )
        run = guest.watch(sample, guest.start(sample, "crop", {"width": "50"}, key="crop").json()["data"])
        assert (run["status"], run["creditsAvailable"]) == ("done", None)


def test_the_session_returns_the_limits_that_the_server_enforces(
    server: RunningServer, coffee: bytes
) -> None:
    with Browser(server, server.new_customer()) as browser:
        limits = browser.session["limits"]
        project = browser.open(coffee)
        stroke = {"points": [[100, 100]], "size": 4, "hardness": 1, "opacity": 1}

        def refused(tool: str, params: dict[str, Any]) -> bool:
            answer = browser.start(project, tool, params)
            if answer.status_code == 200:
                browser.client.delete(f"/editor/projects/{project['id']}/runs/{answer.json()['data']['id']}")
            return answer.status_code == 422

        def strokes(*made: dict[str, Any]) -> dict[str, str]:
            return {"op": "erase", "strokes": json.dumps(made)}

        assert not refused("brush", strokes(*[stroke] * limits["strokes"]))
        assert refused("brush", strokes(*[stroke] * (limits["strokes"] + 1)))
        assert not refused("brush", strokes({**stroke, "size": limits["brushSizePixels"]}))
        assert refused("brush", strokes({**stroke, "size": limits["brushSizePixels"] + 1}))
        assert refused("brush", strokes({**stroke, "points": [[1, 1]] * (limits["strokePoints"] + 1)}))
        clicks = [[10, 10, 1]] * limits["selectionPoints"]
        assert not refused("magic-select", {"points": json.dumps(clicks)})
        assert refused("magic-select", {"points": json.dumps([*clicks, [10, 10, 1]])})
        too_large = browser.client.post(
            "/editor/projects", files={"image": b"\xff\xd8" + bytes(limits["fileBytes"])}
        )
        assert too_large.json()["error"]["code"] == "FILE_TOO_LARGE"
        assert limits["outputPixels"] == codecs.MAX_OUTPUT_PIXELS


def test_a_browser_whose_requests_keep_failing_is_refused_whatever_else_it_sends(
    server: RunningServer,
) -> None:
    with Browser(server, server.new_customer()) as browser, Browser(server, server.new_customer()) as other:
        statuses = []
        for number in range(ERRORS_A_MINUTE + 10):  # some of the limit is refilled meanwhile
            browser.client.cookies.set("other", f"{number}")
            failed = browser.client.get("/editor/projects/none")
            statuses.append(failed.status_code)
            if failed.status_code == 429:
                break
        assert statuses[-1] == 429
        assert set(statuses[:-1]) == {404}
        assert failed.json()["error"]["message"] == "Too many failed requests. Please wait."
        assert other.client.get("/editor/projects/none").status_code == 404
