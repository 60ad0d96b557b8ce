"""A guest's own photo in the editor: previews of what costs a credit, signing up, and the full size."""

import re
import secrets
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage
from tests.support.browser.accessibility import assert_accessible
from tests.support.browser.editing import WORK_MS, Editor
from tests.support.editor_client import refill_previews
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo
from tests.support.server import RunningServer
from tests.support.waiting import wait_until

#: The middle of the red disc in the photo of 1200 x 800 pixels.
X, Y = 1000, 200


@pytest.fixture(scope="module")
def cup() -> bytes:
    picture = Image.fromarray(photo("coffee")).resize((1200, 800))
    ImageDraw.Draw(picture).circle((X, Y), 25, fill="red")
    return jpeg_bytes(np.asarray(picture))


def current(page: Page) -> Any:
    return page.locator(".filmstrip [aria-current]")


def shown_color(editor: Editor, x: float, y: float) -> Any:
    left, top = editor.place(x, y)
    clip = {"x": left - 1, "y": top - 1, "width": 2, "height": 2}
    return open_bytes(editor.page.screenshot(clip=clip))[..., :3].mean(axis=(0, 1))  # type: ignore[arg-type]


def test_a_guest_previews_tools_on_the_own_photo_and_signs_up_for_the_full_size(
    new_page: NewPage, server: RunningServer, cup: bytes
) -> None:
    refill_previews(server)
    page = new_page()
    page.goto(server.address)
    file: Any = {"name": "Morning cup.jpg", "mimeType": "image/jpeg", "buffer": cup}
    page.locator("[data-drop] input").set_input_files(file)
    page.wait_for_url(re.compile("/app/#prj_"), timeout=30_000)
    expect(page.locator(".workplace")).to_be_visible(timeout=30_000)
    project = page.url.partition("#")[2]
    panel = page.locator(".panel")
    editor = Editor(page, server, is_open=True)

    editor.choose("generative-fill")
    expect(panel.get_by_text("Mark")).not_to_have_count(0)
    editor.drag((X - 20, Y), (X, Y), (X + 20, Y))
    expect(panel.get_by_text("A free preview of at most 1024 pixels, with a mark; 5 a day.")).to_be_visible()
    editor.apply("Remove object")
    expect(current(page)).to_have_attribute("title", re.compile(r"\(preview\).*1024 × 683"))
    expect(panel.get_by_text("This is a preview of at most 1024 pixels")).to_be_visible()
    sign_up = panel.get_by_role("link", name="Sign up for the full size")
    href = sign_up.get_attribute("href") or ""
    assert unquote(href) == f"/signup?next=/app/#{project}"
    assert_accessible(page)

    # Another tool works on the photo, not on the preview of the first.
    editor.choose("upscale")
    expect(current(page)).to_have_attribute("title", re.compile("1200 × 800"))
    editor.apply("Enlarge")
    expect(current(page)).to_have_attribute("title", re.compile(r"\(preview\).*1024 × 682"))
    expect(page.get_by_role("button", name="Compare with before")).to_be_enabled()

    # Colours of a cut-out are drawn at once, and take no further preview.
    editor.choose("bg-removal")
    editor.apply("Remove background")
    page.locator(".next-steps").get_by_role("button", name="White").click()
    expect(page.locator(".filmstrip li")).to_have_count(5, timeout=WORK_MS)
    expect(panel.get_by_text("Changes are free. This is a preview")).to_be_visible()
    expect(page.locator(".stage.loading")).to_have_count(0)
    wait_until(lambda: shown_color(editor, 20, 20).min() > 250)
    assert shown_color(editor, 1006, 647).max() < 140  # the plate of the mark
    expect(page.get_by_role("button", name="Compare with before")).to_be_enabled()
    assert_accessible(page)

    # The mailed link is opened in another tab, which knows nothing of the picture.
    sign_up.click()
    page.get_by_label("Email address").fill(f"{secrets.token_hex(5)}@example.com")
    page.get_by_label("Password").fill("seven quiet otters")
    page.get_by_role("main").get_by_role("button", name="Sign up").click()
    link = page.get_by_role("link", name="/verify?token=").get_attribute("href") or ""
    tab = page.context.new_page()
    tab.goto(f"{server.address}{link.removeprefix(server.address)}")
    tab.get_by_role("main").get_by_role("button", name="Confirm").click()
    tab.wait_for_url(f"**/app/#{project}")
    expect(tab.locator(".filmstrip li")).to_have_count(5, timeout=30_000)
    mine = Editor(tab, server, is_open=True)
    mine.choose("generative-fill")
    tab.locator(".filmstrip li button").nth(1).click()
    tab.set_viewport_size({"width": 390, "height": 844})
    expect(tab.locator(".panel").get_by_text("1 credit, 15 left.")).to_be_visible()
    mine.apply("Make it at full size")
    expect(current(tab)).to_have_attribute("title", re.compile("1200 × 800"))
    expect(current(tab)).not_to_have_attribute("title", re.compile("preview"))
    session = tab.evaluate("fetch('/editor/session').then((answer) => answer.json())")
    assert session["data"]["account"]["creditsAvailable"] == 14
    listed = tab.evaluate("fetch('/editor/projects').then((answer) => answer.json())")["data"]
    assert [one["name"] for one in listed] == ["Morning cup.jpg"]
