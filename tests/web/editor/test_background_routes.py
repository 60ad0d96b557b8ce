"""Backgrounds: scenes, presets, brand colours, recently used images."""

import numpy as np

from tests.support.editor_client import Browser
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo
from tests.support.server import RunningServer


def test_every_offered_scene_can_be_fetched(server: RunningServer) -> None:
    with Browser(server) as guest:
        offered = guest.session["scenes"]
        assert len(offered) >= 20
        for scene in offered[:3]:
            for name in ("url", "thumbnailUrl"):
                answer = guest.client.get(scene[name])
                assert answer.headers["content-type"] == "image/webp"
                assert "max-age" in answer.headers["cache-control"]
                assert answer.content[8:12] == b"WEBP"
        assert guest.client.get("/editor/scenes/none.webp").status_code == 404
        assert guest.client.get("/editor/scenes/..%2Fscenes.py").status_code == 404


def test_presets_say_what_they_rule(server: RunningServer) -> None:
    with Browser(server) as guest:
        presets = {preset["name"]: preset for preset in guest.session["presets"]}
    assert presets["amazon"]["background"] == "#ffffff"
    assert presets["amazon"]["fields"]["output_size"] == "2000x2000"
    assert presets["story"]["background"] is None


def test_brand_colours_are_kept_per_account(server: RunningServer) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as browser:
        assert browser.session["account"]["brandColors"] == []
        saved = browser.client.put("/editor/brand-colors", json={"colors": ["#1F3A5F", "#ffd84d", "#1f3a5f"]})
        assert saved.json()["data"]["colors"] == ["#1f3a5f", "#ffd84d"]
        again = browser.client.put("/editor/brand-colors", json={"colors": ["#ffd84d"]})
        assert again.status_code == 200
    with Browser(server, customer) as browser:
        assert browser.session["account"]["brandColors"] == ["#ffd84d"]
    with Browser(server, server.new_customer()) as other:
        assert other.session["account"]["brandColors"] == []


def test_invalid_brand_colours_are_refused(server: RunningServer) -> None:
    with Browser(server, server.new_customer()) as browser:
        for colors in ("red", ["red"], ["#fff"], [3], [f"#0000{number:02x}" for number in range(13)], None):
            answer = browser.client.put("/editor/brand-colors", json={"colors": colors})
            assert answer.status_code == 422, colors
            assert answer.json()["error"]["param"] == "colors"
        assert browser.client.get("/editor/session").json()["data"]["account"]["brandColors"] == []
    with Browser(server) as guest:
        assert guest.client.put("/editor/brand-colors", json={"colors": ["#ffffff"]}).status_code == 403


def test_backgrounds_used_before_are_offered_again_to_their_owner_only(server: RunningServer) -> None:
    with Browser(server, server.new_customer()) as browser, Browser(server, server.new_customer()) as other:
        project = browser.open(jpeg_bytes(photo("coffee")))
        cut = browser.run(project, "bg-removal", {"model": "fast"})
        files = {"image": jpeg_bytes(photo("astronaut"))}
        stored = browser.client.post("/editor/backgrounds", files=files).json()["data"]
        assert browser.client.get("/editor/backgrounds").json()["data"] == []
        browser.look(project, cut, {"bg_image_id": stored["imageId"]})
        listed = browser.client.get("/editor/backgrounds").json()["data"]
        assert [one["imageId"] for one in listed] == [stored["imageId"]]
        assert browser.client.get(listed[0]["thumbnailUrl"]).status_code == 200
        assert_served_without_loss(browser, listed[0], files["image"])
        assert other.client.get("/editor/backgrounds").json()["data"] == []


def assert_served_without_loss(browser: Browser, stored: dict[str, str], content: bytes) -> None:
    """At the address of its preview, and only there."""
    behind = f"/editor/backgrounds/{stored['imageId']}"
    query = stored["previewUrl"].partition("?")[2]
    answer = browser.client.get(f"{behind}?{query}")
    assert answer.headers["content-type"] == "image/png"
    assert np.array_equal(open_bytes(answer.content), open_bytes(content))
    of_thumbnail = stored["thumbnailUrl"].partition("?")[2]
    for refused in ("", query.replace("sig=", "sig=A"), of_thumbnail):
        assert browser.client.get(f"{behind}?{refused}").status_code == 403, refused


def test_a_scene_is_drawn_behind_a_cutout(server: RunningServer) -> None:
    with Browser(server, server.new_customer()) as browser:
        project = browser.open(jpeg_bytes(photo("coffee")))
        cut = browser.run(project, "bg-removal", {"model": "fast"})
        look = browser.look(project, cut, {"bg_scene": "oak-table", "preset": "ebay"})
        drawn = browser.client.post(f"/editor/projects/{project['id']}/steps/{look['id']}/rendering")
        step = drawn.json()["data"]["step"]
        assert (step["width"], step["height"]) == (1600, 1600)
        both = browser.add_look(project, cut, {"bg_scene": "oak-table", "bg_color": "red"})
        assert both.json()["error"]["param"] == "bg_scene"
