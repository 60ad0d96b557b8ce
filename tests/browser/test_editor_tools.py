"""What the panel of a tool shows while somebody works with it."""

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.editing import WORK_MS, Editor
from tests.browser.visitors import sign_in
from tests.ml.photos import jpeg_bytes, photo
from tests.server import RunningServer


@pytest.fixture
def editor(page: Page, server: RunningServer) -> Editor:
    sign_in(page, server, server.new_customer())
    return Editor(page, server)


def test_escape_while_a_click_is_answered_drops_the_question(editor: Editor) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    editor.page.route("**/overlay", hold)
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.choose("magic-select")
    looking = editor.page.locator(".panel").get_by_text("Looking …")
    editor.click(300, 150)
    expect(looking.first).to_be_visible()
    editor.page.keyboard.press("Escape")
    expect(looking).to_have_count(0)
    expect(editor.page.get_by_text("Select something first.")).to_be_visible()
    editor.page.unroute("**/overlay")
    editor.click(300, 150)
    expect(editor.page.get_by_text("% sure")).to_be_visible(timeout=WORK_MS)


def test_the_mirror_buttons_show_what_is_chosen(editor: Editor) -> None:
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.choose("crop")
    sideways = editor.page.get_by_label("Mirror sideways")
    upside_down = editor.page.get_by_label("Mirror upside down")
    sideways.click()
    expect(sideways).to_have_attribute("aria-pressed", "true")
    upside_down.click()
    expect(upside_down).to_have_attribute("aria-pressed", "true")
    expect(sideways).to_have_attribute("aria-pressed", "false")
    upside_down.click()
    expect(upside_down).to_have_attribute("aria-pressed", "false")
