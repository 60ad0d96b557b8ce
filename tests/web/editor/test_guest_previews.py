"""Guests' previews of their own photos: small, marked, limited, kept through sign-up, never in full size."""

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from api.auth import throttle
from api.editor import guest_previews, owners
from api.editor.models import Project
from billing.timestamps import utc_now
from tests.support.editor_client import Browser, patiently, refill_previews
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import Customer, RunningServer

SIDE = guest_previews.LONGEST_SIDE
#: The middle of the red disc in the photo of 1200 x 800 pixels, a stroke over it, and the cup.
DISC = (1000, 200)
STROKE = json.dumps([{"points": [DISC], "size": 70, "hardness": 1}])
CUP = {"points": json.dumps([[600, 400, 1]])}


@pytest.fixture
def fresh_server(server: RunningServer) -> RunningServer:
    """The shared server, whose address has all of its previews left."""
    refill_previews(server)
    return server


@pytest.fixture(scope="module")
def large_photo() -> bytes:
    picture = Image.fromarray(photo("coffee")).resize((1200, 800))
    ImageDraw.Draw(picture).circle(DISC, 25, fill="red")
    return jpeg_bytes(np.asarray(picture))


def pixels(content: bytes) -> Any:
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGBA"))


def downloaded(browser: Browser, project: dict[str, Any], step: dict[str, Any]) -> Any:
    answer = browser.download(project, step, format="png")
    assert answer.status_code == 200, answer.text
    return pixels(answer.content)


def redness(picture: Any) -> Any:
    return picture[..., 0].astype(int) - picture[..., 1:3].max(axis=2)


def assert_marked(picture: Any) -> None:
    """The mark is at the lower right: a plate with white text, also where the rest is transparent."""
    corner = picture[-60:-6, -160:-6]
    assert corner[..., 3].max() > 120
    assert (corner[..., :3][corner[..., 3] > 200] > 200).any()
    assert max(picture.shape[:2]) <= SIDE


def sign_up(server: RunningServer, project: dict[str, Any]) -> Customer:
    """What the sign-up does with the guest's projects."""
    customer = server.new_customer()
    with server.database.transaction() as session:
        guest_id = session.get_one(Project, project["id"]).session_id
        assert guest_id is not None
        owners.adopt(session, guest_id, customer.account_id, utc_now())
    return customer


def run(
    browser: Browser, project: dict[str, Any], tool: str, params: dict[str, str], **more: Any
) -> dict[str, Any]:
    """The step of a guest's run, whose rate of a minute other tests use too."""
    answer = patiently(lambda: browser.start(project, tool, params, **more))
    assert answer.status_code == 200, answer.text
    ended = browser.watch(project, answer.json()["data"])
    assert ended["status"] == "done", ended
    step: dict[str, Any] = ended["step"]
    return step


def refused(
    browser: Browser, project: dict[str, Any], tool: str, params: dict[str, str], **more: Any
) -> dict[str, Any]:
    """The error of a run that is refused at once, or that fails."""
    answer = patiently(lambda: browser.start(project, tool, params, **more))
    if answer.status_code == 200:
        error = browser.watch(project, answer.json()["data"])["error"]
        assert error is not None
        return dict(error)
    return {"status": answer.status_code, **answer.json()["error"]}


def previews_left(server: RunningServer) -> int:
    """How many previews the tests' address has; takes them all."""
    bucket = throttle.by_address("preview", "127.0.0.1")
    with server.database.transaction() as session:
        for left in range(guest_previews.LIMIT.attempts + 1):
            if throttle.take(session, bucket, guest_previews.LIMIT, utc_now()) is not None:
                return left
    raise AssertionError("the previews are not limited")


def test_the_session_says_when_there_is_a_preview_again(fresh_server: RunningServer) -> None:
    def wait_seconds(customer: Customer | None = None) -> int:
        with Browser(fresh_server, customer) as browser:
            return int(browser.session["previews"]["waitSeconds"])

    assert wait_seconds() == 0
    assert previews_left(fresh_server) == guest_previews.LIMIT.attempts
    assert 0 < wait_seconds() <= guest_previews.LIMIT.per.total_seconds()
    assert wait_seconds(fresh_server.new_customer()) == 0
    refill_previews(fresh_server)


def test_every_paid_outcome_has_a_small_marked_preview_that_sign_up_keeps(
    fresh_server: RunningServer, large_photo: bytes
) -> None:
    with Browser(fresh_server) as guest:
        project = guest.open(large_photo)
        photo_id = project["steps"][0]["id"]
        made = {
            "upscale": run(guest, project, "upscale", {"scale": "2"}),
            "remove": run(guest, project, "generative-fill", {"strokes": STROKE}, step_id=photo_id),
            "heal": run(guest, project, "brush", {"op": "heal", "strokes": STROKE}, step_id=photo_id),
            "extend": run(guest, project, "generative-expand", {"left": "400"}, step_id=photo_id),
            "select": run(guest, project, "magic-select", {**CUP, "output": "cutout"}, step_id=photo_id),
        }
        sizes = {name: (step["width"], step["height"]) for name, step in made.items()}
        assert sizes["remove"] == sizes["heal"] == sizes["select"] == (SIDE, 683)
        assert sizes["upscale"] == (SIDE, 682)
        assert sizes["extend"] == (SIDE, 512)  # 1600 x 800 at full size
        pictures = {name: downloaded(guest, project, step) for name, step in made.items()}
        for name, step in made.items():
            assert step["isPreview"] is True, name
            assert step["parentId"] == photo_id, name
            assert step["preview"]["request"]["tool"] == step["tool"]
            assert_marked(pictures[name])
        small = pixels(guest.client.get(made["remove"]["preview"]["beforeUrl"]).content)
        x, y = (round(place * SIDE / 1200) for place in DISC)
        assert (redness(small)[y - 10 : y + 10, x - 10 : x + 10] > 200).all()
        for name in ("remove", "heal"):
            assert (redness(pictures[name])[y - 20 : y + 20, x - 20 : x + 20] < 130).all(), name
        # The picture that Enlarge is compared with is the one that was enlarged.
        before = pixels(guest.client.get(made["upscale"]["preview"]["beforeUrl"]).content)
        assert before.shape[1] == SIDE // 2
        assert (pictures["select"][..., 3] == 0).mean() > 0.3
        assert made["select"]["cutout"]["width"] == SIDE
    customer = sign_up(fresh_server, project)
    with Browser(fresh_server, customer) as member:
        listed = member.client.get("/editor/projects").json()["data"]
        assert [one["id"] for one in listed] == [project["id"]]
        kept = member.project(project["id"])
        assert [one["isPreview"] for one in kept["steps"]] == [False] + [True] * 5
        for step in kept["steps"][1:]:
            assert_marked(downloaded(member, kept, step))
        # What was previewed is applied to the photo itself, for a credit.
        request = made["remove"]["preview"]["request"]
        full = member.run(kept, request["tool"], request["params"], step_id=photo_id)
        assert (full["isPreview"], full["preview"]) == (False, None)
        assert (full["width"], full["height"]) == (1200, 800)
    assert fresh_server.balance(customer) == (14, 0)


def test_looks_and_strokes_on_a_previewed_cut_out_are_free_and_stay_marked(
    fresh_server: RunningServer, large_photo: bytes
) -> None:
    with Browser(fresh_server) as guest:
        project = guest.open(large_photo)
        step = run(guest, project, "bg-removal", {"model": "fast", "bg_color": "white"})
        assert (step["cutout"]["width"], step["cutout"]["height"]) == (SIDE, 683)
        shown = pixels(guest.client.get(step["cutout"]["url"]).content)
        assert_marked(shown)
        left, top, right, bottom = step["cutout"]["markBox"]
        assert (right, bottom) == (SIDE, 683)
        assert shown[top + 10 : bottom - 16, left + 20 : right - 20, 3].min() > 100
        for color in ("red", "#00ff00", "blue"):
            step = guest.look(project, step, {"bg_color": color})
            assert step["isPreview"] is True
        blue = downloaded(guest, project, step)
        assert_marked(blue)
        assert (blue[5, 5] == (0, 0, 255, 255)).all()
        assert (blue[:top, :, 3] == 255).all()
        # A look that moves, enlarges or frames the subject takes the mark neither along nor out of the frame.
        framed = guest.look(
            project, step, {"preset": "etsy", "subject_x": "-60%", "subject_scale": "40", "shadow": "drop"}
        )
        frame = downloaded(guest, project, framed)
        assert frame.shape[:2] == (768, SIDE)
        assert_marked(frame)
        assert (frame[5, -5, :3] > 240).all()
        strokes = json.dumps([{"points": [[512, 340]], "size": 120}])
        brush = {"op": "erase", "strokes": strokes}
        erased = run(guest, project, "brush", brush, step_id=step["id"])
        assert erased["isPreview"] is True
        assert erased["cutout"]["look"] == {"bg_color": "blue"}
        assert_marked(downloaded(guest, project, erased))
        assert (downloaded(guest, project, erased)[340, 512] == (0, 0, 255, 255)).all()
        # Erasing all around the mark, and where it is, leaves it where it is.
        corner = json.dumps([{"points": [[700, 650], [1020, 650]], "size": 200, "hardness": 1}])
        cleared = run(guest, project, "brush", {"op": "erase", "strokes": corner}, step_id=step["id"])
        assert_marked(pixels(guest.client.get(cleared["cutout"]["url"]).content))
        restored = run(guest, project, "brush", {"op": "restore", "strokes": strokes}, step_id=erased["id"])
        assert (downloaded(guest, project, restored)[340, 512, :3] != (0, 0, 255)).any()
        assert previews_left(fresh_server) == guest_previews.LIMIT.attempts - 1
    customer = sign_up(fresh_server, project)
    with Browser(fresh_server, customer) as member:
        kept = member.project(project["id"])
        look = member.look(kept, restored, {"bg_color": "#123456"})
        assert look["isPreview"] is True
        assert_marked(downloaded(member, kept, look))
        more = member.run(kept, "brush", brush, step_id=look["id"])
        assert_marked(downloaded(member, kept, more))
        assert fresh_server.balance(customer) == (15, 0)
        full = member.run(kept, "bg-removal", {"model": "fast", "bg_color": "red"}, step_id=more["id"])
        assert full["isPreview"] is False
        assert (full["cutout"]["width"], full["cutout"]["height"]) == (1200, 800)
        assert full["parentId"] == kept["steps"][0]["id"]
    assert fresh_server.balance(customer) == (14, 0)


@pytest.mark.long
def test_a_preview_never_loses_its_mark(fresh_server: RunningServer) -> None:
    """A small photo has the size of its preview, so that the preview could be restored into it."""
    with Browser(fresh_server) as guest:
        project = guest.open(jpeg_bytes(photo("coffee")))
        photo_step = project["steps"][0]
        strokes = json.dumps([{"points": [[300, 200], [340, 220]], "size": 60}])
        preview = run(guest, project, "generative-fill", {"strokes": strokes})
        assert (preview["width"], preview["height"]) == (photo_step["width"], photo_step["height"])
        cutout = run(guest, project, "bg-removal", {"model": "fast"}, step_id=photo_step["id"])

        def assert_kept(browser: Browser) -> None:
            restore = {"op": "restore", "strokes": strokes, "original_id": preview["imageId"]}
            assert refused(browser, project, "brush", restore, step_id=photo_step["id"])["status"] == 404
            mask = {"mask_id": cutout["imageId"]}
            masked = refused(browser, project, "generative-fill", mask, step_id=photo_step["id"])
            assert masked["status"] == 404
            behind = browser.add_look(project, cutout, {"bg_image_id": preview["imageId"]})
            assert behind.status_code == 404
            for tool, params in {
                "crop": {"width": "300"},
                "brush": {"op": "erase", "strokes": strokes},
                "upscale": {},
                "generative-fill": {"strokes": strokes},
                "generative-expand": {"left": "50"},
                "magic-select": {"auto": "true", "output": "cutout"},
            }.items():
                error = refused(browser, project, tool, params, step_id=preview["id"])
                assert (error["status"], error["param"]) == (422, "stepId"), tool
            selection = {"stepId": photo_step["id"], "params": {"auto": "true"}}
            erase = refused(
                browser, project, "brush", {"op": "erase"}, step_id=cutout["id"], selection=selection
            )
            assert (erase["status"], erase["param"]) == (422, "stepId")
            inside = {"stepId": preview["id"], "params": {"auto": "true"}}
            filled = refused(
                browser, project, "generative-fill", {}, step_id=photo_step["id"], selection=inside
            )
            assert (filled["status"], filled["param"]) == (422, "stepId")
            overlay = browser.client.post(f"/editor/projects/{project['id']}/overlay", json=inside)
            assert (overlay.status_code, overlay.json()["error"]["param"]) == (422, "stepId")
            for step in (preview, cutout):
                for width in ("previewUrl", "closeUrl"):
                    assert_marked(pixels(browser.client.get(step[width]).content))
                assert_marked(downloaded(browser, project, step))

        assert_kept(guest)
        unsigned = guest.client.get(f"/api/images/{cutout['imageId']}")
        assert unsigned.status_code in (401, 403)
        customer = sign_up(fresh_server, project)
    with Browser(fresh_server, customer) as member:
        assert_kept(member)
        assert_marked(pixels(member.client.get(cutout["cutout"]["url"]).content))
    assert fresh_server.balance(customer) == (15, 0)


def test_a_selection_can_be_made_in_the_own_photo_and_what_uses_it_is_one_preview(
    fresh_server: RunningServer, large_photo: bytes
) -> None:
    with Browser(fresh_server) as guest:
        project = guest.open(large_photo)
        photo_id = project["steps"][0]["id"]
        selection = {"stepId": photo_id, "params": CUP}
        place = f"/editor/projects/{project['id']}"
        assert guest.client.post(f"{place}/encoding", json=selection).status_code == 200
        overlay = guest.client.post(f"{place}/overlay", json=selection)
        assert overlay.status_code == 200, overlay.text
        removed = run(guest, project, "generative-fill", {}, selection=selection)
        assert removed["isPreview"] is True
        assert removed["preview"]["request"]["selection"] == selection
        assert_marked(downloaded(guest, project, removed))
        mask = run(guest, project, "magic-select", CUP, step_id=photo_id)
        assert mask["isMask"] is True
        assert_marked(downloaded(guest, project, mask))
        # Coordinates would be the selection without a mark.
        for output in ("polygon", "rle"):
            error = refused(guest, project, "magic-select", {**CUP, "output": output}, step_id=photo_id)
            assert (error["status"], error["param"]) == (422, "output")
        assert previews_left(fresh_server) == guest_previews.LIMIT.attempts - 2


def test_free_tools_work_on_a_guests_own_photo_and_take_no_preview(
    fresh_server: RunningServer, large_photo: bytes
) -> None:
    with Browser(fresh_server) as guest:
        project = guest.open(large_photo)
        cropped = run(guest, project, "crop", {"width": "1100", "height": "700"})
        assert (cropped["isPreview"], cropped["width"], cropped["height"]) == (False, 1100, 700)
        strokes = json.dumps([{"points": [[100, 100]], "size": 60}])
        painted = run(
            guest,
            project,
            "brush",
            {"op": "paint", "color": "red", "strokes": strokes},
            step_id=cropped["id"],
        )
        assert painted["isPreview"] is False
        assert redness(downloaded(guest, project, painted))[100, 100] > 250
        assert previews_left(fresh_server) == guest_previews.LIMIT.attempts


@pytest.mark.long
def test_previews_are_limited_by_network_and_failures_do_not_count(
    fresh_server: RunningServer, large_photo: bytes
) -> None:
    with Browser(fresh_server) as guest, Browser(fresh_server) as neighbour:
        project = guest.open(large_photo)
        # What could not be made at full size has no preview either, and words need an account.
        assert refused(guest, project, "upscale", {"target_width": "9999"})["status"] == 422
        assert refused(guest, project, "bg-removal", {"scale": "7%"})["status"] == 422
        for tool, where in (("generative-fill", {"strokes": STROKE}), ("generative-expand", {"left": "9"})):
            words = refused(guest, project, tool, {**where, "prompt": "a cat"})
            assert (words["status"], words["code"]) == (403, "FORBIDDEN")
            assert "Sign up" in words["message"]
        missing = {"model": "fast", "bg_image_id": "img_none"}
        assert refused(guest, project, "bg-removal", missing)["status"] == 404
        used = throttle.by_address("preview", "127.0.0.1")
        with fresh_server.database.transaction() as session:
            for _ in range(guest_previews.LIMIT.attempts - 1):
                assert throttle.take(session, used, guest_previews.LIMIT, utc_now()) is None
        key = "the-last-one"
        last = run(guest, project, "bg-removal", {"model": "fast"}, key=key)
        # The same run asked for again is the one that was made.
        again = guest.start(project, "bg-removal", {"model": "fast"}, key=key).json()["data"]
        assert again["stepId"] == last["id"]
        others = neighbour.open(large_photo)
        for tool, params in (("bg-removal", {"model": "fast"}), ("upscale", {})):
            over = patiently(lambda tool=tool, params=params: neighbour.start(others, tool, params))  # type: ignore[misc]
            assert over.json()["error"]["code"] == "RATE_LIMITED"
            assert int(over.headers["retry-after"]) > 3600
            assert "Sign up" in over.json()["error"]["message"]
        # Looks, free tools and samples stay free.
        assert guest.add_look(project, last, {"bg_color": "red"}).status_code == 200
        run(neighbour, others, "crop", {"width": "50"})
        run(guest, guest.open_sample(), "crop", {"width": "50"})
