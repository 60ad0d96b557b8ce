"""Applying tools in the editor, against a live server with the real checkpoints."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from api.auth import api_keys
from api.editor import projects
from api.editor.models import Step
from tests.support.editor_client import Browser
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo
from tests.support.server import RunningServer
from tests.support.waiting import wait_until

STROKES = json.dumps([{"points": [[100, 100], [200, 160]], "size": 40, "hardness": 0.7, "opacity": 0.9}])


@pytest.fixture(scope="module")
def coffee() -> bytes:
    return jpeg_bytes(photo("coffee"))


def test_a_run_creates_a_step_costs_one_credit_and_can_be_fetched(
    server: RunningServer, coffee: bytes
) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser:
        project = browser.open(coffee, "My cup.jpg")
        assert (project["name"], project["steps"][0]["width"]) == ("My cup.jpg", 600)
        step = browser.run(project, "bg-removal", {"model": "fast", "format": "png"})
        assert (step["width"], step["height"], step["tool"]) == (600, 400, "bg-removal")
        again = browser.project(project["id"])
        assert again["currentStepId"] == step["id"]
        assert [one["parentId"] for one in again["steps"]] == [None, project["currentStepId"]]
        seen = open_bytes(browser.client.get(step["previewUrl"]).content)
        assert seen.shape == (400, 600, 4)
    assert server.balance(customer) == (14, 0)


def test_small_edits_are_free_and_healing_is_not(server: RunningServer, coffee: bytes) -> None:
    customer = server.new_customer(credits=1)
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        source = project["steps"][0]
        edits: list[tuple[str, dict[str, str]]] = [
            ("crop", {"width": "300", "rotate": "90", "flip": "h"}),
            ("brush", {"op": "erase", "strokes": STROKES}),
            ("brush", {"op": "restore", "strokes": STROKES, "original_id": source["imageId"]}),
            ("brush", {"op": "paint", "color": "#ff0000", "strokes": STROKES}),
            ("brush", {"op": "blur", "strokes": STROKES}),
        ]
        for tool, form in edits:
            browser.run(project, tool, form, step_id=source["id"])
            assert server.balance(customer) == (1, 0)
        browser.run(project, "brush", {"op": "heal", "strokes": STROKES}, step_id=source["id"])
        assert server.balance(customer) == (0, 0)
        browser.run(project, "crop", {"width": "300"}, step_id=source["id"])
        refused = browser.watch(
            project, browser.start(project, "bg-removal", {"model": "fast"}).json()["data"]
        )
        assert refused["error"]["code"] == "INSUFFICIENT_CREDITS"
        assert len(browser.project(project["id"])["steps"]) == 8
    assert server.drifts() == []


def test_free_edits_are_limited_by_a_rate_before_any_work(server: RunningServer, coffee: bytes) -> None:
    with Browser(server, server.new_customer()) as browser:
        project = browser.open(coffee)
        first = project["steps"][0]["id"]
        started = (browser.start(project, "crop", {"width": "9"}, step_id=first) for _ in range(200))
        refused = next(one for one in started if one.status_code == 429)
        assert refused.json()["error"]["code"] == "RATE_LIMITED"
        assert int(refused.headers["Retry-After"]) >= 1


def test_strokes_yield_the_same_bytes_as_the_api(server: RunningServer, coffee: bytes) -> None:
    customer = server.new_customer()
    form = {"op": "paint", "color": "#ff0000", "strokes": STROKES, "format": "png"}
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        step = browser.run(project, "brush", form)
        edited = browser.download(project, step).content
        source_id = project["steps"][0]["imageId"]
    with server.client(customer) as client:
        called = client.post(
            "/api/tools/brush", data={**form, "image_id": source_id}, headers={"Accept": "image/png"}
        )
    assert called.content == edited


def test_two_requests_under_one_key_run_and_charge_once(server: RunningServer, coffee: bytes) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        with ThreadPoolExecutor(4) as threads:
            answers = list(
                threads.map(
                    lambda _: browser.start(project, "bg-removal", {"model": "fast"}, key="once"), range(4)
                )
            )
        runs = {answer.json()["data"]["id"] for answer in answers}
        for answer in answers:
            browser.watch(project, answer.json()["data"])
        browser.start(project, "bg-removal", {"model": "fast"}, key="once")
        assert len(runs) == 1
        assert len(browser.project(project["id"])["steps"]) == 2
    assert server.balance(customer) == (14, 0)


def test_cancelling_stops_a_running_call_and_releases_the_credit(
    server: RunningServer, coffee: bytes
) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        run = browser.start(project, "upscale", {"mode": "quality", "scale": "4"}).json()["data"]
        place = f"/editor/projects/{project['id']}/runs/{run['id']}"
        while run["status"] != "running" or run["fraction"] <= 0:
            run = browser.client.get(place, params={"seen": run["version"]}).json()["data"]
        assert server.balance(customer) == (14, 1)
        browser.client.delete(place)
        assert browser.watch(project, run)["status"] == "cancelled"
        assert len(browser.project(project["id"])["steps"]) == 1
    assert server.balance(customer) == (15, 0)


def cancel_key(browser: Browser, project: dict[str, Any], key: str) -> httpx.Response:
    return browser.client.delete(f"/editor/projects/{project['id']}/runs", params={"key": key})


def test_a_run_that_is_cancelled_before_its_request_arrives_is_never_started(
    server: RunningServer, coffee: bytes
) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser, Browser(server) as guest:
        for visitor, project in ((browser, browser.open(coffee)), (guest, guest.open_sample())):
            for _ in range(2):
                answer = cancel_key(visitor, project, "late")
                assert (answer.status_code, answer.json()["data"]["status"]) == (200, "cancelled")
            late = visitor.start(project, "bg-removal", {"model": "fast"}, key="late").json()["data"]
            assert visitor.watch(project, late)["status"] == "cancelled"
            assert len(visitor.project(project["id"])["steps"]) == 1
            visitor.run(project, "bg-removal", {"model": "fast"}, key="another")
    assert server.balance(customer) == (14, 0)
    assert server.drifts() == []


def test_a_running_call_is_cancelled_by_its_key_and_not_started_again(
    server: RunningServer, coffee: bytes
) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        slow = {"mode": "quality", "scale": "4"}
        run = browser.start(project, "upscale", slow, key="slow").json()["data"]
        wait_until(lambda: server.balance(customer) == (14, 1))
        assert cancel_key(browser, project, "slow").json()["data"]["id"] == run["id"]
        assert browser.watch(project, run)["status"] == "cancelled"
        assert cancel_key(browser, project, "slow").json()["data"]["status"] == "cancelled"
        again = browser.start(project, "upscale", slow, key="slow").json()["data"]
        assert browser.watch(project, again)["status"] == "cancelled"
    assert server.balance(customer) == (15, 0)


def test_cancelling_the_key_of_a_run_that_is_done_answers_its_step_and_its_cost(
    server: RunningServer, coffee: bytes
) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        step = browser.run(project, "bg-removal", {"model": "fast"}, key="done")
        data = cancel_key(browser, project, "done").json()["data"]
        assert (data["status"], data["step"]["id"], data["creditsCharged"]) == ("done", step["id"], 1)
        assert data["creditsAvailable"] == 14
        again = browser.start(project, "bg-removal", {"model": "fast"}, key="done").json()["data"]
        assert browser.watch(project, again)["step"]["id"] == step["id"]
    assert server.balance(customer) == (14, 0)


def test_keys_are_cancelled_by_their_owner_only_and_unknown_ones_at_a_rate(
    server: RunningServer, coffee: bytes
) -> None:
    with Browser(server, server.new_customer()) as owner, Browser(server, server.new_customer()) as other:
        project = owner.open(coffee)
        assert cancel_key(other, project, "a").status_code == 404
        for key in ("", "a" * 65):
            assert cancel_key(owner, project, key).json()["error"]["param"] == "key"
        answers = [cancel_key(owner, project, f"{number}").status_code for number in range(80)]
        assert answers[0] == 200
        assert 429 in answers
        assert cancel_key(owner, project, "0").status_code == 200  # a known one has no rate


def test_deleting_a_project_cancels_its_run_and_releases_the_credit(
    server: RunningServer, coffee: bytes
) -> None:
    customer = server.new_customer(credits=3)
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        assert browser.start(project, "upscale", {"mode": "quality", "scale": "4"}).status_code == 200
        assert browser.client.delete(f"/editor/projects/{project['id']}").status_code == 200
    wait_until(lambda: server.balance(customer) == (3, 0))


def test_the_overlay_is_free_and_small_and_its_selection_can_be_applied(
    server: RunningServer, coffee: bytes
) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        points = "[[300, 150, 1]]"
        body = {"stepId": project["currentStepId"], "params": {"points": points}}
        answer = browser.client.post(f"/editor/projects/{project['id']}/overlay", json=body)
        data = answer.json()["data"]
        mask = open_bytes(base64.b64decode(data["mask"].partition(",")[2]))
        assert mask.shape == (400, 600)
        assert 0 < np.count_nonzero(mask) < mask.size
        assert set(data) == {"mask", "score", "confidence", "bbox", "areaRatio"}
        assert 0 < data["confidence"] <= 1
        assert server.balance(customer) == (15, 0)
        kept = browser.run(project, "magic-select", {"points": points, "output": "mask"})
        assert kept["isMask"]
        assert browser.project(project["id"])["currentStepId"] == project["currentStepId"]
        filled = browser.run(project, "generative-fill", {"mask_id": kept["imageId"]})
        assert (filled["width"], filled["height"]) == (600, 400)
        mixed = browser.run(
            project,
            "generative-fill",
            {"points": points, "strokes": STROKES, "format": "png"},
            step_id=project["currentStepId"],
        )
        before, after = (
            open_bytes(browser.client.get(step["previewUrl"]).content)[..., :3].astype(int)
            for step in (project["steps"][0], mixed)
        )
        changed = abs(after - before).max(axis=2) > 24
        # The clicked cup is filled, and so is what the strokes paint far from it.
        assert changed[mask > 127].mean() > 0.5
        assert changed[115:145, 135:165].mean() > 0.2
    assert server.balance(customer) == (12, 0)


def test_a_picture_is_prepared_for_selections_and_the_time_of_a_run_is_known_before_it(
    server: RunningServer, coffee: bytes
) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        place, step_id = f"/editor/projects/{project['id']}", project["currentStepId"]
        prepared = browser.client.post(f"{place}/encoding", json={"stepId": step_id})
        assert prepared.status_code == 200, prepared.text
        image_id = project["steps"][0]["imageId"]
        assert list(server.data_dir.glob(f"**/{image_id}*embedding*"))

        def expectation(tool: str, params: dict[str, str]) -> float | None:
            body = {"tool": tool, "stepId": step_id, "params": params}
            seconds: float | None = browser.client.post(f"{place}/expectation", json=body).json()["data"][
                "expectedSeconds"
            ]
            return seconds

        # Learned from the calls of this server, so that they cannot be compared here.
        for mode in ("fast", "quality"):
            assert expectation("upscale", {"mode": mode}) is not None
        assert expectation("crop", {"x": "9000"}) is None  # impossible in this picture
        assert expectation("upscale", {"scale": "7"}) is None  # an invalid parameter
        run = browser.start(project, "upscale", {"mode": "fast"}).json()["data"]
        assert run["expectedSeconds"] is not None
        assert browser.watch(project, run)["elapsedSeconds"] > 0
    with Browser(server, server.new_customer()) as other:
        body = {"tool": "upscale", "stepId": step_id, "params": {}}
        assert other.client.post(f"{place}/expectation", json=body).status_code == 404
        assert other.client.post(f"{place}/encoding", json={"stepId": step_id}).status_code == 404


def test_without_credits_a_run_fails_with_the_code(server: RunningServer, coffee: bytes) -> None:
    customer = server.new_customer(credits=0)
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        run = browser.start(project, "bg-removal", {"model": "fast"}).json()["data"]
        ended = browser.watch(project, run)
        assert (ended["status"], ended["error"]["code"]) == ("failed", "INSUFFICIENT_CREDITS")


def test_a_step_is_downloaded_in_any_format_without_a_charge(server: RunningServer, coffee: bytes) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser:
        project = browser.open(coffee, "été.jpg")
        first = project["steps"][0]
        whole = browser.download(project, first)
        assert whole.content == coffee
        assert "filename*=UTF-8''%C3%A9t%C3%A9.jpg" in whole.headers["content-disposition"]
        for format, signature in (("png", b"\x89PNG"), ("webp", b"RIFF"), ("jpg", b"\xff\xd8")):
            answer = browser.download(project, first, format=format)
            assert answer.content.startswith(signature)
            assert open_bytes(answer.content).shape == (400, 600, 3)
        assert browser.download(project, first, format="gif").status_code == 422
        small = browser.download(project, first, format="png", width=300)
        assert open_bytes(small.content).shape == (200, 300, 3)
        for name, value in (("width", "0"), ("width", "x"), ("bg_color", "no colour"), ("quality", 0)):
            refused = browser.download(project, first, format="jpg", **{name: value})
            assert (refused.status_code, refused.json()["error"]["param"]) == (422, name)
    assert server.balance(customer) == (15, 0)


def test_undo_and_branching_move_the_current_step(server: RunningServer, coffee: bytes) -> None:
    with Browser(server, server.new_customer()) as browser:
        project = browser.open(coffee)
        first = project["currentStepId"]
        one = browser.run(project, "crop", {"width": "300"})
        place = f"/editor/projects/{project['id']}/current"
        assert browser.client.put(place, json={"stepId": first}).status_code == 200
        two = browser.run(project, "crop", {"width": "200"}, step_id=first)
        steps = browser.project(project["id"])["steps"]
        assert [(step["id"], step["parentId"]) for step in steps] == [
            (first, None),
            (one["id"], first),
            (two["id"], first),
        ]
        assert browser.client.put(place, json={"stepId": "stp_none"}).status_code == 404


def test_guests_can_use_every_tool_on_samples_without_a_charge(server: RunningServer) -> None:
    with Browser(server) as guest:
        project = guest.open_sample("coffee")
        first = project["currentStepId"]
        trials: list[tuple[str, dict[str, str]]] = [
            ("bg-removal", {}),
            ("upscale", {}),
            ("generative-fill", {"strokes": STROKES}),
            ("generative-expand", {"left": "20"}),
            ("magic-select", {"points": "[[300,150,1]]", "output": "cutout"}),
            ("crop", {"width": "50"}),
            ("brush", {"op": "erase", "strokes": STROKES}),
        ]
        for tool, params in trials:
            step = guest.run(project, tool, params, step_id=first)
            assert guest.client.get(step["previewUrl"]).status_code == 200
        more = (guest.start(project, "crop", {"width": "9"}, step_id=first) for _ in range(200))
        assert any(answer.status_code == 429 for answer in more)


def test_visitors_never_see_each_others_projects(server: RunningServer, coffee: bytes) -> None:
    customer = server.new_customer()
    with (
        Browser(server, customer) as owner,
        Browser(server) as guest,
        Browser(server) as other_guest,
        Browser(server, server.new_customer()) as stranger,
    ):
        for mine, theirs in ((owner, stranger), (guest, other_guest), (owner, guest), (guest, owner)):
            project = mine.open(coffee) if mine is owner else mine.open_sample()
            step = project["steps"][0]
            place = f"/editor/projects/{project['id']}"
            trials: list[httpx.Response] = [
                theirs.client.get(place),
                theirs.client.delete(place),
                theirs.client.put(f"{place}/current", json={"stepId": step["id"]}),
                theirs.download(project, step),
                theirs.start(project, "crop", {"width": "9"}),
                theirs.client.post(f"{place}/overlay", json={"stepId": step["id"], "params": {}}),
                theirs.client.get(f"{place}/runs/run_none"),
                theirs.client.delete(f"{place}/runs", params={"key": "a"}),
                theirs.add_look(project, step, {}),
                theirs.client.post(f"{place}/steps/{step['id']}/rendering"),
                theirs.client.get(f"{place}/cutouts/{step['imageId']}"),
                theirs.client.get(f"{place}/photos/{step['imageId']}"),
                theirs.client.get(f"{place}/steps/{step['id']}/thumbnail"),
            ]
            assert [answer.status_code for answer in trials] == [404] * len(trials)
            own = theirs.client.get("/editor/projects").json()["data"]
            assert project["id"] not in [one["id"] for one in own]


def test_requests_without_the_csrf_token_or_from_another_site_are_refused(
    server: RunningServer, coffee: bytes
) -> None:
    with Browser(server, server.new_customer()) as browser:
        project = browser.open(coffee)
        token = browser.client.headers.pop("X-CSRF-Token")
        changes: list[tuple[str, str, dict[str, Any]]] = [
            ("POST", "/editor/projects", {"json": {"sample": "cat"}}),
            ("DELETE", f"/editor/projects/{project['id']}", {}),
            ("PUT", f"/editor/projects/{project['id']}/current", {"json": {}}),
            ("POST", f"/editor/projects/{project['id']}/runs", {"json": {}}),
            ("DELETE", f"/editor/projects/{project['id']}/runs?key=a", {}),
            ("POST", f"/editor/projects/{project['id']}/overlay", {"json": {}}),
            ("POST", f"/editor/projects/{project['id']}/looks", {"json": {}}),
            ("POST", f"/editor/projects/{project['id']}/steps/stp_1/rendering", {}),
            ("POST", "/editor/keys", {"json": {"name": "a"}}),
            ("POST", "/editor/backgrounds", {"files": {"image": coffee}}),
        ]
        for method, path, options in changes:
            assert browser.client.request(method, path, **options).status_code == 403
            elsewhere = {"X-CSRF-Token": token, "Sec-Fetch-Site": "cross-site"}
            assert browser.client.request(method, path, headers=elsewhere, **options).status_code == 403
        assert browser.project(project["id"])["id"] == project["id"]


def test_a_key_created_in_the_editor_works_for_the_api(server: RunningServer) -> None:
    with Browser(server, server.new_customer()) as browser:
        made = browser.client.post("/editor/keys", json={"name": "Editor"}).json()["data"]["key"]
        account = httpx.get(f"{server.address}/api/account", headers={"X-Api-Key": made})
        assert account.status_code == 200
    with Browser(server) as guest:
        assert guest.client.post("/editor/keys", json={"name": "Editor"}).status_code == 403


def test_the_editor_creates_keys_up_to_the_limit_and_validates_their_names(
    server: RunningServer,
) -> None:
    with Browser(server, server.new_customer()) as browser:

        def make(name: str) -> httpx.Response:
            content = json.dumps({"name": name})  # spells lone surrogates and NUL, as browsers can
            return browser.client.post("/editor/keys", content=content)

        assert make("\ud800").json()["error"]["code"] == "INVALID_REQUEST"  # no text at all
        error = make("a\0b").json()["error"]
        assert (error["code"], error["param"]) == ("INVALID_PARAMETER", "name")
        answers = [make("Editor") for _ in range(api_keys.LIMIT + 1)]
        assert {each.status_code for each in answers[:-2]} == {200}  # the customer has one already
        assert answers[-1].status_code == 422
        assert "at most 100 keys" in answers[-1].json()["error"]["message"]


def test_an_unreadable_image_is_refused_at_once_and_leaves_nothing(
    server: RunningServer, coffee: bytes
) -> None:
    with Browser(server, server.new_customer()) as browser:
        answer = browser.client.post("/editor/projects", files={"image": coffee[:3000]})
        assert answer.json()["error"]["code"] == "UNREADABLE_IMAGE"
        assert browser.client.get("/editor/projects").json()["data"] == []


def test_stored_images_can_be_the_original_and_the_background(server: RunningServer, coffee: bytes) -> None:
    with Browser(server, server.new_customer()) as browser, Browser(server) as guest:
        project = browser.open(coffee)
        first = project["steps"][0]
        erased = browser.run(project, "brush", {"op": "erase", "strokes": STROKES, "format": "png"})
        restore = {"op": "restore", "strokes": STROKES, "original_id": first["imageId"], "format": "png"}
        restored = browser.run(project, "brush", restore, step_id=erased["id"])
        pixels = open_bytes(browser.download(project, restored).content)
        original = open_bytes(coffee)
        assert np.abs(pixels[130, 150, :3].astype(int) - original[130, 150]).max() < 40
        green = jpeg_bytes(np.full((60, 90, 3), (0, 200, 0), np.uint8))
        behind = browser.client.post("/editor/backgrounds", files={"image": green}).json()["data"]
        look = {"bg_image_id": behind["imageId"], "format": "png"}
        cut = browser.run(project, "bg-removal", look, step_id=first["id"])
        corner = open_bytes(browser.download(project, cut).content)[3, 3, :3].astype(int)
        assert np.abs(corner - (0, 200, 0)).max() < 6
        # A guest names only pictures of the same project.
        sample = guest.open_sample()
        refused = guest.start(sample, "bg-removal", look).json()["data"]
        assert guest.watch(sample, refused)["error"]["code"] == "NOT_FOUND"


def test_a_full_project_refuses_a_run_before_anything_is_charged(
    server: RunningServer, coffee: bytes
) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser:
        project = browser.open(coffee)
        with server.database.transaction() as session:
            first = session.get_one(Step, project["currentStepId"])
            for number in range(1, projects.STEPS_MAX - 1):  # one more fits
                session.add(Step(**{**first.model_dump(), "id": f"{first.id}{number}", "number": number}))
        with ThreadPoolExecutor(2) as threads:
            answers = list(
                threads.map(lambda _: browser.start(project, "bg-removal", {"model": "fast"}), range(2))
            )
        assert sorted(answer.status_code for answer in answers) == [200, 422]
        for answer in answers:
            if answer.is_success:
                assert browser.watch(project, answer.json()["data"])["status"] == "done"
            else:
                assert answer.json()["error"]["param"] == "project"
    assert server.balance(customer) == (14, 0)
