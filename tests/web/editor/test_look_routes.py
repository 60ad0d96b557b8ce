"""Looks of cut-outs on a running server: what is free, what costs a credit, and what nobody gets for free."""

import json
from typing import Any

import numpy as np
import pytest
from sqlmodel import col, select

from api.images.models import Image
from ml.imaging.framing import object_box
from ml.pixels import Pixels
from tests.support.editor_client import Browser
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo
from tests.support.server import RunningServer

#: Over the cup and the table on its right.
STROKES = '[{"points":[[300,150],[560,150]],"size":40,"hardness":1}]'
CORNER = '[{"points":[[20,20]],"size":40,"hardness":1}]'
ALL = '[{"points":[[300,200]],"size":680,"hardness":1}]'
CUP = {"points": "[[300, 150, 1]]"}


@pytest.fixture(scope="module")
def coffee() -> bytes:
    return jpeg_bytes(photo("coffee"))


def pixels(browser: Browser, project: dict[str, Any], step: dict[str, Any]) -> Pixels:
    answer = browser.download(project, step, format="png")
    assert answer.status_code == 200, answer.text
    return open_bytes(answer.content)


def test_a_cutout_is_recoloured_and_retouched_for_one_credit_altogether(
    server: RunningServer, coffee: bytes
) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        cut = browser.run(project, "bg-removal", {"model": "fast", "format": "png"})
        assert server.balance(customer) == (14, 0)
        red = browser.look(project, cut, {"bg_color": "#ff0000", "format": "png"})
        assert (red["parentId"], red["isRendered"], red["cutout"]["photoId"]) == (
            cut["id"],
            False,
            project["steps"][0]["imageId"],
        )
        assert pixels(browser, project, red)[5, 5].tolist() == [255, 0, 0]
        restored = browser.run(
            project, "brush", {"op": "restore", "strokes": CORNER, "format": "png"}, step_id=red["id"]
        )
        shown = pixels(browser, project, restored).astype(int)
        assert np.abs(shown[20, 20] - open_bytes(coffee)[20, 20]).max() <= 2, "the photo is back here"
        assert shown[5, 590].tolist() == [255, 0, 0], "retouching keeps the background"
        # "Cut out" after that is another look of the same cut-out, by either route.
        blue = browser.look(project, restored, {"bg_color": "#0000ff"})
        again = browser.run(project, "bg-removal", {"bg_color": "#0000ff"}, step_id=restored["id"])
        for step in (blue, again):
            shown = pixels(browser, project, step).astype(int)
            assert shown[5, 590].tolist() == [0, 0, 255]
            assert np.abs(shown[20, 20] - open_bytes(coffee)[20, 20]).max() <= 2, "what was restored stays"
        erased = browser.run(project, "brush", {"op": "erase", "strokes": STROKES}, step_id=blue["id"])
        assert pixels(browser, project, erased)[150, 300].tolist() == [0, 0, 255]
        steps = browser.project(project["id"])["steps"]
        assert [step["tool"] for step in steps] == [
            None,
            "bg-removal",
            "bg-removal",
            "brush",
            "bg-removal",
            "bg-removal",
            "brush",
        ]
    assert server.balance(customer) == (14, 0)
    assert server.drifts() == []


def test_a_cutout_from_a_selection_has_free_looks_too(server: RunningServer, coffee: bytes) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        cut = browser.run(project, "magic-select", {**CUP, "output": "cutout", "format": "png"})
        green = browser.look(project, cut, {"bg_color": "#00ff00", "shadow": "drop"})
        assert pixels(browser, project, green)[5, 5].tolist() == [0, 255, 0]
    assert server.balance(customer) == (14, 0)


def test_the_first_cutout_may_have_a_look_at_once(server: RunningServer, coffee: bytes) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        first = browser.run(project, "bg-removal", {"model": "fast", "preset": "marketplace"})
        assert not first["isRendered"]
        drawn = browser.client.post(f"/editor/projects/{project['id']}/steps/{first['id']}/rendering")
        step = drawn.json()["data"]["step"]
        assert (step["width"], step["height"], step["isRendered"]) == (2000, 2000, True)
        assert step["imageId"] != first["imageId"]
        # A crop is made in the frame that is shown, and is in no other frame then.
        cropped = browser.run(project, "crop", {"width": "50%"}, step_id=first["id"])
        assert (cropped["width"], cropped["height"]) == (1000, 2000)
        assert cropped["cutout"]["look"] == {"bg_color": "#ffffff"}
        whole = pixels(browser, project, first)
        assert np.abs(pixels(browser, project, cropped).astype(int) - whole[:, :1000]).max() <= 2
        kept = browser.client.get(first["cutout"]["url"])
        assert open_bytes(kept.content).shape == (400, 600, 4)
        assert kept.headers["content-type"] == "image/png"
    assert server.balance(customer) == (14, 0)


def test_the_next_paid_tool_gets_the_look_at_full_size(server: RunningServer, coffee: bytes) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        cut = browser.run(project, "bg-removal", {"model": "fast"})
        red = browser.look(project, cut, {"bg_color": "#ff0000"})
        larger = browser.run(project, "upscale", {"scale": "2", "format": "png"}, step_id=red["id"])
        assert np.abs(pixels(browser, project, larger)[10, 10].astype(int) - (255, 0, 0)).max() <= 3
    assert server.balance(customer) == (13, 0)


def test_a_selection_is_free_until_it_is_used_and_then_costs_one_credit(
    server: RunningServer, coffee: bytes
) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        first = project["currentStepId"]
        overlay = browser.client.post(
            f"/editor/projects/{project['id']}/overlay", json={"stepId": first, "params": CUP}
        )
        assert overlay.status_code == 200
        assert server.balance(customer) == (15, 0)
        selection = {"stepId": first, "params": {"auto": "true", "grow": "3"}}
        removed = browser.run(project, "generative-fill", {"format": "png"}, selection=selection)
        assert server.balance(customer) == (14, 0)
        assert np.abs(pixels(browser, project, removed).astype(int) - open_bytes(coffee)).mean() > 5
        erase = {"op": "erase", "format": "png"}
        erased = browser.run(
            project, "brush", erase, step_id=first, selection={"stepId": first, "params": CUP}
        )
        alpha = pixels(browser, project, erased)[..., 3]
        assert (alpha[150, 300], alpha[5, 5]) == (0, 255)
        # Erasing by strokes is free; by a selection it is not.
        assert server.balance(customer) == (13, 0)
        cut = browser.run(project, "bg-removal", {"model": "fast"}, step_id=first)
        red = browser.look(project, cut, {"bg_color": "#ff0000"})
        here = {"stepId": red["id"], "params": {"box": "[0, 0, 80, 60]"}}
        more = browser.run(project, "brush", {"op": "restore"}, step_id=red["id"], selection=here)
        assert more["cutout"]["look"] == {"bg_color": "#ff0000"}
    assert server.balance(customer) == (11, 0)
    assert server.drifts() == []


def test_without_credits_a_selection_gives_nothing(server: RunningServer, coffee: bytes) -> None:
    customer = server.new_customer(credits=0)
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        first = project["currentStepId"]
        here = {"stepId": first, "params": CUP}
        for tool, params in (("brush", {"op": "erase"}), ("generative-fill", {})):
            run = browser.watch(project, browser.start(project, tool, params, selection=here).json()["data"])
            assert (run["status"], run["error"]["code"]) == ("failed", "INSUFFICIENT_CREDITS")
        assert len(browser.project(project["id"])["steps"]) == 1
    with server.database.transaction() as session:
        stored = session.exec(select(Image).where(col(Image.account_id) == customer.account_id)).all()
        assert len(stored) == 1, "no mask was stored"


def test_a_selection_is_refused_where_it_has_no_meaning(server: RunningServer, coffee: bytes) -> None:
    with Browser(server, server.new_customer()) as browser:
        project, other = browser.open(coffee), browser.open(coffee)
        here = {"stepId": project["currentStepId"], "params": CUP}
        for tool, params, selection in (
            ("upscale", {}, here),
            ("brush", {"op": "erase", "mask_id": project["steps"][0]["imageId"]}, here),
            ("brush", {"op": "erase"}, "all"),
            ("brush", {"op": "erase"}, {**here, "params": {}}),
            ("brush", {"op": "erase"}, {**here, "params": {"points": 1}}),
        ):
            refused = browser.start(project, tool, params, selection=selection)
            assert refused.status_code == 422, (tool, selection)
        elsewhere = {**here, "stepId": other["currentStepId"]}
        assert browser.start(project, "brush", {"op": "erase"}, selection=elsewhere).status_code == 404


def test_no_free_step_removes_another_background(server: RunningServer, coffee: bytes) -> None:
    """What a hostile browser may try to get a second removal out of one paid cut-out."""
    customer = server.new_customer()
    cat = jpeg_bytes(np.ascontiguousarray(photo("chelsea")[:300, :450]))
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        first = project["steps"][0]
        cut = browser.run(project, "bg-removal", {"model": "fast"})
        other = browser.open(cat)
        other_photo = other["steps"][0]
        # The foreground of another picture under the paid matte.
        stranger = {"op": "restore", "strokes": ALL, "original_id": other_photo["imageId"]}
        refused = browser.start(project, "brush", stranger, step_id=cut["id"])
        assert refused.json()["error"]["param"] == "original_id"
        # A look of a step that is not a cut-out: the photo, a crop of the photo, a step of another project.
        cropped_photo = browser.run(project, "crop", {"width": "300"}, step_id=first["id"])
        for step in (first, cropped_photo):
            assert browser.add_look(project, step, {"bg_color": "red"}).json()["error"]["param"] == "stepId"
        assert browser.add_look(project, other_photo, {}).status_code == 404
        assert browser.add_look(other, cut, {}).status_code == 404
        assert (
            browser.client.get(f"/editor/projects/{other['id']}/cutouts/{cut['imageId']}").status_code == 404
        )
        photo_as_cutout = f"/editor/projects/{project['id']}/cutouts/{first['imageId']}"
        assert browser.client.get(photo_as_cutout).status_code == 404
        assert browser.client.get(cut["cutout"]["sharpPhotoUrl"]).status_code == 200
        # Only the photo of a cut-out of this project.
        for image_id in (cut["imageId"], other_photo["imageId"]):
            address = f"/editor/projects/{project['id']}/photos/{image_id}"
            assert browser.client.get(address).status_code == 404
        # Another model or region does not run again for free.
        for params in ({"model": "quality"}, {"channels": "alpha"}):
            refused = browser.start(project, "bg-removal", params, step_id=cut["id"])
            assert refused.status_code == 422
        region = browser.add_look(project, cut, {"roi": "0 0 50% 50%", "bg_color": "#ff0000"})
        assert region.json()["error"]["param"] == "roi"
        # Everything restored and cut out "again" is the same paid cut-out, not a new one.
        whole = browser.run(project, "brush", {"op": "restore", "strokes": ALL}, step_id=cut["id"])
        again = browser.run(project, "bg-removal", {"format": "png"}, step_id=whole["id"])
        assert again["cutout"]["url"] == whole["cutout"]["url"]
        # The same holds for a crop of it, which no other model is applied to either, and which is restored
        # from the same part of the same photo only.
        cropped = browser.run(project, "crop", {"width": "300"}, step_id=whole["id"])
        again = browser.run(project, "bg-removal", {"format": "png"}, step_id=cropped["id"])
        assert again["cutout"]["url"] == cropped["cutout"]["url"]
        refused = browser.start(project, "bg-removal", {"model": "quality"}, step_id=cropped["id"])
        assert refused.json()["error"]["param"] == "model"
        for image_id in (first["imageId"], other_photo["imageId"], cropped_photo["imageId"]):
            restore = {"op": "restore", "strokes": ALL, "original_id": image_id}
            refused = browser.start(project, "brush", restore, step_id=cropped["id"])
            assert refused.json()["error"]["param"] == "original_id"
        elsewhere = f"/editor/projects/{other['id']}/cutouts/{cropped['imageId']}"
        assert browser.client.get(elsewhere).status_code == 404
        assert server.balance(customer) == (14, 0)
        # The crop of the photo is a picture of its own: its removal is paid.
        browser.run(project, "bg-removal", {"model": "fast"}, step_id=cropped_photo["id"])
    assert server.balance(customer) == (13, 0)


def test_a_look_with_invalid_parameters_or_a_strangers_background_is_refused(
    server: RunningServer, coffee: bytes
) -> None:
    with (
        Browser(server, server.new_customer()) as stranger,
        Browser(server, server.new_customer()) as browser,
    ):
        theirs = stranger.open(coffee)["steps"][0]["imageId"]
        project = browser.open(coffee)
        cut = browser.run(project, "bg-removal", {"model": "fast"})
        for params, named in (
            ({"bg_color": "nocolour"}, "bg_color"),
            ({"feather": "51"}, "feather"),
            ({"unknown": "1"}, "unknown"),
            ({"bg_image_id": project["steps"][0]["imageId"], "bg_color": "red"}, "bg_image_id"),
        ):
            refused = browser.add_look(project, cut, params)
            assert (refused.status_code, refused.json()["error"]["param"]) == (422, named)
        assert browser.add_look(project, cut, {"bg_image_id": theirs}).status_code == 404
        own = browser.look(project, cut, {"bg_image_id": project["steps"][0]["imageId"]})
        assert np.abs(pixels(browser, project, own).astype(int) - open_bytes(coffee)).mean() < 2
        assert stranger.add_look(project, cut, {}).status_code == 404
        assert len(browser.project(project["id"])["steps"]) == 3


def test_a_look_has_the_size_of_its_frame_before_it_is_drawn(server: RunningServer, coffee: bytes) -> None:
    with Browser(server, server.new_customer()) as browser:
        project = browser.open(coffee)
        cut = browser.run(project, "bg-removal", {"model": "fast"})
        story = browser.look(project, cut, {"preset": "story"})
        assert (story["width"], story["height"], story["isRendered"]) == (1080, 1920, False)
        assert pixels(browser, project, story).shape[:2] == (1920, 1080)


def test_the_layers_say_where_the_subject_is_at_full_size(server: RunningServer, coffee: bytes) -> None:
    """A frame that follows the subject depends on that to the pixel, which the preview does not show."""
    large = jpeg_bytes(open_bytes(coffee).repeat(5, axis=0).repeat(5, axis=1))
    with Browser(server, server.new_customer()) as browser:
        project = browser.open(large)
        cut = browser.run(project, "bg-removal", {"model": "fast"})
        box = object_box(np.ascontiguousarray(pixels(browser, project, cut)[..., 3]))
        assert box is not None
        for _ in ("rendered", "stored"):
            layers = browser.client.get(cut["cutout"]["url"])
            assert json.loads(layers.headers["x-object-box"]) == [box.left, box.top, box.right, box.bottom]
            assert open_bytes(layers.content).shape == (1067, 1600, 4)


def test_a_look_of_deleted_images_is_not_found(server: RunningServer, coffee: bytes) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser, server.client(customer) as client:
        project = browser.open(coffee)
        cut = browser.run(project, "bg-removal", {"model": "fast"})
        red = browser.look(project, cut, {"bg_color": "red"})
        assert client.delete(f"/api/images/{project['steps'][0]['imageId']}").status_code == 200
        assert browser.add_look(project, cut, {"bg_color": "blue"}).status_code == 404
        assert browser.download(project, red).status_code == 404
        assert browser.start(project, "upscale", {}, step_id=red["id"]).status_code == 200
        assert browser.download(project, cut).status_code == 200, "what was paid stays"
    assert server.balance(customer) == (14, 0)


def test_guests_change_looks_of_samples(server: RunningServer) -> None:
    with Browser(server) as guest:
        project = guest.open_sample("coffee")
        cut = guest.run(project, "bg-removal", {})
        red = guest.look(project, cut, {"bg_color": "red"})
        assert pixels(guest, project, red)[4, 4].tolist() == [255, 0, 0]
        elsewhere = guest.open_sample("cat")["steps"][0]["imageId"]
        assert guest.add_look(project, cut, {"bg_image_id": elsewhere}).status_code == 404


def test_clicking_through_colours_is_not_refused_and_leaves_room(
    server: RunningServer, coffee: bytes
) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        step = cut = browser.run(project, "bg-removal", {"model": "fast"})
        removed = []
        for number in range(120):
            answer = browser.add_look(project, step, {"bg_color": f"#0000{number:02x}"})
            assert answer.status_code == 200, answer.text
            step = answer.json()["data"]["step"]
            removed.append(answer.json()["data"]["removedId"])
        steps = browser.project(project["id"])["steps"]
        assert len(steps) == 103
        assert removed[-1] is not None
        parents = {one["id"]: one["parentId"] for one in steps}
        here, length = step["id"], 0
        while here is not None:
            here, length = parents[here], length + 1
        assert length == len(steps), "undo leads through all that are left, to the photo"
        assert cut["id"] in parents
        with server.database.transaction() as session:
            stored = session.exec(select(Image).where(col(Image.account_id) == customer.account_id)).all()
            assert len(stored) == 2, "no look was drawn"


def test_a_look_that_cannot_be_drawn_is_refused(server: RunningServer, coffee: bytes) -> None:
    customer = server.new_customer()
    refused = (
        ({"output_size": "60000x60000"}, "IMAGE_TOO_LARGE", None),
        ({"output_size": "8001x8000"}, "IMAGE_TOO_LARGE", None),
        ({"crop": "true", "crop_margin": "99999999"}, "IMAGE_TOO_LARGE", None),
        ({"model": "quality"}, "INVALID_PARAMETER", "model"),
        ({"channels": "alpha"}, "INVALID_PARAMETER", "channels"),
        ({"roi": "0 0 50% 50%"}, "INVALID_PARAMETER", "roi"),
    )
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        cut = browser.run(project, "bg-removal", {"model": "fast"})
        for params, code, name in refused:
            answer = browser.add_look(project, cut, params)
            assert answer.status_code == 422, params
            error = answer.json()["error"]
            assert (error["code"], error["param"]) == (code, name), params
        assert len(browser.project(project["id"])["steps"]) == 2
