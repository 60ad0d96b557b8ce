"""Guests' previews of their own photos: small, marked, limited, kept through sign-up, never in full size."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from api.auth import throttle
from api.editor import guest_previews, owners
from api.editor.models import Project
from billing.timestamps import utc_now
from tests.support.editor_client import Browser, patiently, refill_previews
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import Customer, RunningServer


@pytest.fixture
def fresh_server(server: RunningServer) -> RunningServer:
    """The shared server, whose address has all of its previews left."""
    refill_previews(server)
    return server


@pytest.fixture(scope="module")
def large_photo() -> bytes:
    return jpeg_bytes(np.asarray(Image.fromarray(photo("coffee")).resize((1800, 1200))))


def downloaded(browser: Browser, project: dict[str, Any], step: dict[str, Any]) -> Any:
    answer = browser.client.get(f"/editor/projects/{project['id']}/steps/{step['id']}/file?format=png")
    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(answer.content)) as picture:
        return np.asarray(picture.convert("RGBA"))


def sign_up(server: RunningServer, project: dict[str, Any]) -> Customer:
    """What the sign-up does with the guest's projects."""
    customer = server.new_customer()
    with server.database.transaction() as session:
        guest_id = session.get_one(Project, project["id"]).session_id
        assert guest_id is not None
        owners.adopt(session, guest_id, customer.account_id, utc_now())
    return customer


def preview(browser: Browser, project: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The step of a guest's run."""
    step_id = more.pop("step_id", None)
    params = {"model": "fast", **more}
    answer = patiently(lambda: browser.start(project, "bg-removal", params, step_id=step_id))
    assert answer.status_code == 200, answer.text
    ended = browser.watch(project, answer.json()["data"])
    assert ended["status"] == "done", ended
    step: dict[str, Any] = ended["step"]
    return step


def refused(browser: Browser, project: dict[str, Any], tool: str, params: dict[str, str]) -> dict[str, Any]:
    answer = patiently(lambda: browser.start(project, tool, params))
    error: dict[str, Any] = {"status": answer.status_code, **answer.json()["error"]}
    return error


def test_a_guest_gets_a_small_marked_preview_which_sign_up_keeps(
    fresh_server: RunningServer, large_photo: bytes
) -> None:
    with Browser(fresh_server) as guest:
        project = guest.open(large_photo)
        step = preview(guest, project)
        assert step["isPreview"] is True
        assert max(step["width"], step["height"]) == guest_previews.LONGEST_SIDE
        assert step["cutout"] is None  # no layers that a look could be drawn from at full size
        picture = downloaded(guest, project, step)
        assert max(picture.shape[:2]) == guest_previews.LONGEST_SIDE
        plain = picture[picture[..., 3] == 0]
        assert plain.size > 0  # the background is gone
        corner = picture[-60:-6, -160:-6]
        assert corner[..., 3].max() > 120  # the mark, where the photo's background was
        assert (corner[..., :3][corner[..., 3] > 200] > 200).any()
        # No look, no larger picture: neither is drawn from a preview.
        look = guest.add_look(project, step, {"bg_color": "red"})
        assert look.status_code in (403, 422)
        again = preview(guest, project, step_id=step["id"])
        assert again["parentId"] == project["currentStepId"]
        assert again["isPreview"] is True
        framed = preview(guest, project, preset="etsy")
        assert (framed["width"], framed["height"]) == (1024, 768)
    customer = sign_up(fresh_server, project)
    with Browser(fresh_server, customer) as member:
        kept = member.project(project["id"])
        assert [one["isPreview"] for one in kept["steps"]] == [False, True, True, True]
        assert max(downloaded(member, kept, step).shape[:2]) == guest_previews.LONGEST_SIDE
        before = member.session["account"]["creditsAvailable"]
        full = member.run(kept, "bg-removal", {"model": "fast"}, step_id=step["id"])
        assert full["isPreview"] is False
        assert (full["width"], full["height"]) == (1800, 1200)
        assert full["parentId"] == kept["steps"][0]["id"]
        session = member.client.get("/editor/session").json()["data"]
        assert session["account"]["creditsAvailable"] == before - 1
        wrong = refused(member, {**kept, "currentStepId": step["id"]}, "crop", {"width": "100"})
        assert (wrong["status"], wrong["param"]) == (422, "stepId")


def test_previews_are_limited_by_network_and_failures_do_not_count(
    fresh_server: RunningServer, large_photo: bytes
) -> None:
    with Browser(fresh_server) as guest, Browser(fresh_server) as neighbour:
        project = guest.open(large_photo)
        assert refused(guest, project, "upscale", {})["code"] == "FORBIDDEN"
        assert refused(guest, project, "bg-removal", {"scale": "7%"})["status"] == 422
        used = throttle.by_address("preview", "127.0.0.1")
        with fresh_server.database.transaction() as session:
            for _ in range(guest_previews.LIMIT.attempts - 1):
                assert throttle.take(session, used, guest_previews.LIMIT, utc_now()) is None
        missing = patiently(
            lambda: guest.start(project, "bg-removal", {"model": "fast", "bg_image_id": "img_none"})
        )
        assert guest.watch(project, missing.json()["data"])["status"] == "failed"
        preview(guest, project)  # the last one
        others = neighbour.open(large_photo)
        over = patiently(lambda: neighbour.start(others, "bg-removal", {"model": "fast"}))
        assert over.json()["error"]["code"] == "RATE_LIMITED"
        assert int(over.headers["retry-after"]) > 3600
        assert "Sign up" in over.json()["error"]["message"]
        # Samples stay free.
        sample = guest.open_sample()
        free = patiently(lambda: guest.start(sample, "crop", {"width": "50"}))
        assert guest.watch(sample, free.json()["data"])["status"] == "done"
