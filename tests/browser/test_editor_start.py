"""The start screen and what leads to it: tasks, recent pictures, dropped files, previews, presets, scenes."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from ml.imaging import scenes
from tests.browser.conftest import PHONE, NewPage
from tests.support.browser.accessibility import assert_accessible, assert_fits
from tests.support.browser.editing import WORK_MS, Editor
from tests.support.browser.visitors import sign_in
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo
from tests.support.server import RunningServer


@pytest.fixture(scope="module")
def cup() -> bytes:
    return jpeg_bytes(photo("coffee"))


def drop(page: Page, *names: str) -> None:
    """Drop small pictures of these names on the page."""
    page.evaluate(
        """async (names) => {
            const canvas = new OffscreenCanvas(60, 40);
            canvas.getContext("2d").fillRect(5, 5, 30, 20);
            const content = await canvas.convertToBlob({ type: "image/png" });
            const data = new DataTransfer();
            for (const name of names) {
                const type = name.endsWith(".png") ? "image/png" : "text/plain";
                data.items.add(new File([content], name, { type }));
            }
            window.dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
        }""",
        list(names),
    )


def saved(editor: Editor, folder: Path) -> Any:
    return open_bytes(editor.save(folder, "PNG").read_bytes()).astype(int)


def test_recent_pictures_have_name_and_expiry_and_can_be_deleted(
    page: Page, server: RunningServer, cup: bytes
) -> None:
    sign_in(page, server, server.new_customer())
    editor = Editor(page, server)
    editor.open("Holiday.jpg", cup)
    page.goto(f"{server.address}/app/")
    editor.shown()  # Until then the tab may still note which picture it has reopened.
    page.evaluate("sessionStorage.clear()")
    page.goto(f"{server.address}/app/?again")
    recent = page.locator(".recent-picture")
    expect(recent).to_have_count(1, timeout=20_000)
    expect(recent.locator(".name")).to_have_text("Holiday.jpg")
    expect(recent.locator(".expiry")).to_have_text(re.compile("kept 2[45] h"))
    recent.get_by_role("button", name="Delete Holiday.jpg").click()
    expect(recent.get_by_role("button", name="Keep")).to_be_focused()
    assert_accessible(page)
    recent.get_by_role("button", name="Delete", exact=True).click()
    expect(recent).to_have_count(0)
    assert page.evaluate("fetch('/editor/projects').then((answer) => answer.json())")["data"] == []


def test_several_dropped_pictures_become_a_batch_of_which_one_can_be_opened(
    page: Page, server: RunningServer
) -> None:
    sign_in(page, server, server.new_customer())
    editor = Editor(page, server)
    drop(page, "first.png", "second.png", "notes.txt", "third.png")
    expect(page.locator(".batch-item .name")).to_have_text(["first.png", "second.png", "third.png"])
    expect(page.locator(".start-screen")).to_be_hidden()
    page.get_by_role("button", name="Open only second.png in the editor").click()
    editor.shown()
    expect(page.locator(".batch")).to_be_hidden()
    listed = page.evaluate("fetch('/editor/projects').then((answer) => answer.json())")["data"]
    assert [project["name"] for project in listed] == ["second.png"]


def test_several_pictures_dropped_on_the_front_page_become_a_batch(page: Page, server: RunningServer) -> None:
    page.goto(server.address)
    expect(page.get_by_role("link", name="Get an API key")).to_have_attribute(
        "href", "/signup?next=/app/dashboard"
    )
    expect(page.get_by_role("link", name="Choose Standard")).to_have_attribute("href", "/signup?next=/plans")
    drop(page, "first.png", "second.png")
    page.wait_for_url(re.compile("/app/#batch$"))
    expect(page.locator(".batch-item .name")).to_have_text(["first.png", "second.png"], timeout=20_000)


def test_tasks_open_their_sample_with_their_tool(new_page: NewPage, server: RunningServer) -> None:
    for look in ({}, {"viewport": PHONE, "color_scheme": "dark"}):
        page = new_page(**look)
        editor = Editor(page, server)
        expect(page.locator(".task")).to_have_count(4)
        assert_accessible(page)
        assert_fits(page)
    editor.open_sample("Outdoors")
    expect(page.locator("[data-tool=generative-fill]")).to_have_attribute("aria-pressed", "true")


def test_presets_reset_what_they_rule_and_scenes_and_own_colors_are_drawn(
    page: Page, server: RunningServer, tmp_path: Path
) -> None:
    editor = Editor(page, server)
    editor.open_sample("Product picture")
    editor.apply("Remove background")
    editor.press("Color")
    page.get_by_label("Another color").first.fill("#123456")
    editor.press("Keep color")
    kept = page.get_by_role("group", name="My colors").first
    expect(kept.get_by_role("button", name="Background #123456")).to_be_visible()
    editor.press("Drop")
    # A marketplace's picture has neither that colour nor a shadow.
    page.locator("[data-preset=ebay]").click()
    expect(page.locator("[data-preset=ebay]")).to_have_attribute("aria-pressed", "true")
    page.locator(".bge-editor[aria-busy=false]").wait_for()
    expect(page.locator(".filmstrip [aria-current]")).to_have_attribute(
        "title", re.compile("1600 × 1600"), timeout=WORK_MS
    )
    white = saved(editor, tmp_path)
    assert white.shape == (1600, 1600, 3)
    assert (white[:60] == 255).all()
    assert (white[-60:] == 255).all()
    page.locator("[data-preset=ebay]").click()  # the photo's own frame again
    editor.press("Scene")
    page.get_by_role("button", name="Scene Oak table").click()
    expect(page.get_by_role("button", name="Scene Oak table")).to_have_attribute("aria-pressed", "true")
    scene = saved(editor, tmp_path)
    height, width = scene.shape[:2]
    side = scenes.SIDE
    expected = scenes.read("oak-table")[(side - side * height // width) // 2, side // 2].astype(int)
    assert np.abs(scene[0, width // 2] - expected).max() <= 6
