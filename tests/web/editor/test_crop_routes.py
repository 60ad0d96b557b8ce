"""Crops of cut-outs on a running server: the layers are kept, so that nothing is paid twice."""

import json
from typing import Any

import numpy as np
import pytest
from sqlmodel import col, select

from api.images.models import Image
from ml.pixels import Pixels
from tests.support.editor_client import Browser
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo
from tests.support.server import RunningServer

COFFEE = photo("coffee")


@pytest.fixture(scope="module")
def coffee() -> bytes:
    return jpeg_bytes(COFFEE)


def pixels(browser: Browser, project: dict[str, Any], step: dict[str, Any]) -> Pixels:
    answer = browser.download(project, step, format="png")
    assert answer.status_code == 200, answer.text
    return open_bytes(answer.content)


def turned(picture: Pixels) -> Pixels:
    """The part at x 100..500 and y 50..350, rotated to the right and mirrored."""
    return np.rot90(picture[50:350, 100:500], -1)[:, ::-1]


TURN = {"x": "100", "y": "50", "width": "400", "height": "300", "rotate": "90", "flip": "h"}
LOOKS: list[dict[str, str]] = [
    {},
    {"bg_color": "#1f3a5f", "shadow": "drop", "shadow_x": "6%"},
    {"bg_scene": "studio-grey", "outline_width": "6", "outline_color": "#ffd84d"},
    {"bg_color": "#ffffff", "subject_x": "60", "subject_scale": "70", "shadow": "drop"},
    {"bg_image_id": "own"},
]


def test_a_crop_of_a_cutout_shows_what_was_seen_and_stays_a_cutout(
    server: RunningServer, coffee: bytes
) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        scenes = [scene["name"] for scene in browser.session["scenes"]]
        first = project["steps"][0]
        cut = browser.run(project, "bg-removal", {"model": "fast"})
        for look in LOOKS:
            chosen = {name: {"own": first["imageId"]}.get(text, text) for name, text in look.items()}
            if "bg_scene" in chosen:
                chosen["bg_scene"] = scenes[0]
            step = browser.look(project, cut, chosen) if chosen else cut
            cropped = browser.run(project, "crop", TURN, step_id=step["id"])
            assert (cropped["width"], cropped["height"]) == (300, 400)
            assert (cropped["cutout"]["width"], cropped["cutout"]["height"]) == (300, 400)
            shown = pixels(browser, project, cropped).astype(int)
            expected = turned(pixels(browser, project, step))
            assert shown.shape == expected.shape, look
            if shown.shape[2] == 4:
                assert np.array_equal(shown[..., 3], expected[..., 3])
            assert np.abs(shown - expected)[..., :3].mean() < 0.5, look
    assert server.balance(customer) == (14, 0)
    assert server.drifts() == []


def test_a_cropped_cutout_is_recoloured_retouched_and_cropped_again_for_free(
    server: RunningServer, coffee: bytes
) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        cut = browser.run(project, "bg-removal", {"model": "fast"})
        white = browser.look(project, cut, {"bg_color": "#ffffff"})
        cropped = browser.run(project, "crop", TURN, step_id=white["id"])
        red = browser.look(project, cropped, {"bg_color": "#ff0000", "shadow": "drop"})
        assert pixels(browser, project, red)[2, 2].tolist() == [255, 0, 0]
        # Restoring brings back the photo as it was cropped and turned.
        corner = json.dumps([{"points": [[20, 20]], "size": 30, "hardness": 1}])
        restored = browser.run(
            project,
            "brush",
            {"op": "restore", "strokes": corner, "original_id": red["cutout"]["photoId"]},
            step_id=red["id"],
        )
        shown = pixels(browser, project, restored).astype(int)
        assert np.abs(shown[20, 20] - turned(open_bytes(coffee))[20, 20]).max() <= 2
        assert shown[2, 2].tolist() == [255, 0, 0]
        selecting = {"stepId": restored["id"], "params": {"points": "[[150, 200, 1]]"}}
        overlay = browser.client.post(f"/editor/projects/{project['id']}/overlay", json=selecting)
        assert overlay.status_code == 200, "the cropped photo can be selected in"
        straight = browser.run(project, "crop", {"rotate": "10"}, step_id=restored["id"])
        shown = pixels(browser, project, straight)
        assert shown.shape[2] == 3, "the colour fills the corners"
        assert shown[1, 1].tolist() == [255, 0, 0]
        blurred = browser.look(project, straight, {"bg_blur": "50"})
        corners = pixels(browser, project, blurred)[[0, 0, -1, -1], [0, -1, 0, -1]]
        assert corners.max(axis=1).min() > 20, "the photo's blur fills the corners too"
        padded = browser.run(project, "crop", {"resize": "500x500", "fit": "pad"}, step_id=red["id"])
        assert pixels(browser, project, padded)[1, 1].tolist() == [255, 0, 0]
        trimmed = browser.run(project, "crop", {"mode": "trim"}, step_id=white["id"])
        assert pixels(browser, project, trimmed).shape[0] < 400
        subject = browser.run(
            project, "crop", {"aspect_ratio": "1:1", "gravity": "subject"}, step_id=white["id"]
        )
        assert (subject["width"], subject["height"]) == (400, 400)
        assert subject["cutout"] is not None
    assert server.balance(customer) == (14, 0)
    assert server.drifts() == []


def test_a_crop_that_cannot_be_made_changes_and_stores_nothing(server: RunningServer, coffee: bytes) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        cut = browser.run(project, "bg-removal", {"model": "fast"})
        white = browser.look(project, cut, {"bg_color": "#ffffff"})
        for params, code, name in (
            ({"x": "700"}, "INVALID_PARAMETER", "x"),
            ({"resize": "90000x90000"}, "IMAGE_TOO_LARGE", None),
            ({"resize": "90000x90000", "fit": "pad"}, "IMAGE_TOO_LARGE", None),
        ):
            run = browser.watch(
                project, browser.start(project, "crop", params, step_id=white["id"]).json()["data"]
            )
            error = run["error"]
            assert (run["status"], error["code"], error["param"]) == ("failed", code, name)
        assert len(browser.project(project["id"])["steps"]) == 3
        with server.database.transaction() as session:
            stored = session.exec(select(Image).where(col(Image.account_id) == customer.account_id)).all()
            assert len(stored) == 2
        # Deleting the project deletes every layer, the background of a crop included.
        scene = browser.look(project, cut, {"bg_scene": browser.session["scenes"][0]["name"]})
        browser.run(project, "crop", {"width": "300"}, step_id=scene["id"])
        assert browser.client.delete(f"/editor/projects/{project['id']}").status_code == 200
        with server.database.transaction() as session:
            left = session.exec(select(Image).where(col(Image.account_id) == customer.account_id)).all()
            assert left == []
    assert server.balance(customer) == (14, 0)


def test_guests_crop_cutouts_of_samples(server: RunningServer) -> None:
    with Browser(server) as guest:
        project = guest.open_sample("coffee")
        cut = guest.run(project, "bg-removal", {})
        scene = guest.look(project, cut, {"bg_scene": guest.session["scenes"][0]["name"]})
        cropped = guest.run(project, "crop", {"width": "300"}, step_id=scene["id"])
        assert pixels(guest, project, cropped).shape[1] == 300
        assert guest.look(project, cropped, {"bg_color": "red"})["cutout"]["look"] == {"bg_color": "red"}
        # The background that the crop has made is the guest's, and nobody else's.
        made = cropped["cutout"]["look"]["bg_image_id"]
        again = guest.look(project, cut, {"bg_image_id": made})
        assert again["cutout"]["backgroundUrl"]
        elsewhere = guest.open_sample("cat")
        other_cut = guest.run(elsewhere, "bg-removal", {})
        assert guest.add_look(elsewhere, other_cut, {"bg_image_id": made}).status_code == 404
