"""The editor without a mouse, without TLS, and beside another tab."""

import re
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import NewPage
from tests.support.browser.accessibility import assert_accessible
from tests.support.browser.editing import WORK_MS, Editor
from tests.support.browser.visitors import sign_in
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo
from tests.support.server import Customer, RunningServer

#: The visible controls that Tab must reach, numbered in `data-walk`; returns how many there are.
_NUMBER_CONTROLS = """() => {
    const selector = "a[href], button, input, select, textarea, summary, [tabindex='0']";
    for (const old of document.querySelectorAll("[data-walk]")) old.removeAttribute("data-walk");
    const controls = [...document.querySelectorAll(`.bge-editor :is(${selector})`)]
        .filter((one) => !one.disabled && one.checkVisibility() && !one.closest("[inert]"));
    controls.forEach((one, at) => one.setAttribute("data-walk", at));
    return controls.length;
}"""
_FOCUSED = """() => {
    const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
    const at = document.activeElement.dataset.walk;
    const isVisible = outlineStyle !== "none" && parseFloat(outlineWidth) > 0;
    return at === undefined ? null : [Number(at), isVisible];
}"""
#: What a page has not got that was loaded over plain HTTP from another machine.
_WITHOUT_SECURE_CONTEXT = """
    Object.defineProperty(window, "isSecureContext", { value: false });
    for (const name of ["clipboard", "serviceWorker", "storage", "locks"])
        Object.defineProperty(Navigator.prototype, name, { value: undefined });
    for (const name of ["randomUUID", "subtle"]) delete Crypto.prototype[name];
    for (const name of ["ClipboardItem", "caches", "cookieStore"]) delete window[name];
"""


def test_tab_reaches_every_control_of_every_tool_with_a_visible_focus(editor: Editor) -> None:
    page = editor.page
    expect(page.locator("main")).to_have_count(1)
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    for button in page.locator(".rail button").all():
        button.click()
        expect(page.locator("main")).to_have_count(1)
        page.evaluate("document.querySelectorAll('.panel details').forEach((one) => (one.open = true))")
        assert_accessible(page)
        count = page.evaluate(_NUMBER_CONTROLS)
        page.locator(".stage").focus()
        reached = {}
        for _ in range(count + 3):  # and the browser's own controls between the last and the first
            page.keyboard.press("Tab")
            focused = page.evaluate(_FOCUSED)
            if focused is not None:
                reached[focused[0]] = focused[1]
        names = page.evaluate(
            "(missed) => missed.map((at) => document.querySelector(`[data-walk='${at}']`).outerHTML)",
            [at for at in range(count) if not reached.get(at)],
        )
        assert names == [], f"not reached, or without a visible focus: {names}"


def tab_to(page: Page, name: str, within: str, key: str = "Tab") -> None:
    for _ in range(60):
        page.keyboard.press(key)
        focused = page.evaluate(
            """(within) => {
                const { activeElement: one } = document;
                return one.closest(within) && (one.getAttribute("aria-label") ?? one.textContent);
            }""",
            within,
        )
        if focused is not None and focused.startswith(name):
            return
    raise AssertionError(f"{key} never reaches {name}")


def test_a_picture_is_cut_out_moved_and_saved_by_keyboard_alone(
    new_page: NewPage, server: RunningServer, customer: Customer, tmp_path: Path
) -> None:
    page = new_page(expect_errors=True)  # the browser logs the refusal at the end
    sign_in(page, server, customer)
    editor = Editor(page, server)
    stage, filmstrip = page.locator(".stage"), page.locator(".filmstrip li")
    tab_to(page, "Product picture", ".tasks")
    page.keyboard.press("Enter")
    editor.shown()
    expect(stage).to_be_focused()
    tab_to(page, "Remove background", ".panel-foot")
    page.keyboard.press("Enter")
    expect(filmstrip).to_have_count(2, timeout=WORK_MS)
    editor.idle()
    expect(stage).to_be_focused()
    following = page.get_by_role("group", name="Next steps")
    expect(following).to_be_visible(timeout=WORK_MS)
    tab_to(page, "White", ".next-steps")
    page.keyboard.press("Enter")
    expect(filmstrip).to_have_count(3, timeout=WORK_MS)
    expect(page.locator(".stage.loading")).to_have_count(0)
    expect(following.get_by_role("button", name="White")).to_be_focused()
    before = open_bytes(editor.save(tmp_path, None).read_bytes()).astype(int)
    page.keyboard.press("Shift+Tab")
    expect(stage).to_be_focused()
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowUp")
    expect(filmstrip).to_have_count(4, timeout=WORK_MS)
    after = open_bytes(editor.save(tmp_path, None).read_bytes()).astype(int)
    lefts = [np.flatnonzero((saved < 200).any(axis=(0, 2)))[0] for saved in (before, after)]
    assert abs(lefts[1] - lefts[0] - 0.15 * before.shape[1]) <= 3
    page.keyboard.press("Control+z")
    expect(page.locator(".filmstrip [aria-current]")).to_have_attribute("title", re.compile("^3. "))
    expect(stage).to_be_focused()

    # An error is shown in the dialog that it happened in, not behind it.
    error = {"code": "RATE_LIMITED", "message": "Too many keys were made.", "param": None}
    page.route("**/editor/keys", lambda route: route.fulfill(status=429, json={"error": error}))
    page.get_by_label("The same with the API").press("Enter")
    page.get_by_role("button", name="Make a key").press("Enter")
    alert = page.get_by_role("dialog").get_by_role("alert")
    expect(alert).to_contain_text("Too many keys were made.")
    assert_accessible(page)
    alert.get_by_role("button", name="Close").click()
    expect(alert).to_have_count(0)
    page.get_by_role("button", name="Make a key").press("Enter")
    expect(alert).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("alert")).to_be_visible()
    page.go_back()
    expect(page.locator(".start-screen")).to_be_visible()
    tab_to(page, "Choose a file", ".ways")


def test_the_editor_works_without_a_secure_context(
    new_page: NewPage, server: RunningServer, customer: Customer
) -> None:
    page = new_page()
    page.context.add_init_script(_WITHOUT_SECURE_CONTEXT)
    sign_in(page, server, customer)
    editor = Editor(page, server)
    page.get_by_role("button", name="Paste").click()
    expect(page.locator(".message")).to_contain_text("Press Ctrl+V")
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.choose("crop")
    editor.press("1:1")
    editor.apply("Crop & rotate")
    page.get_by_label("The same with the API").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Download", exact=True).click()
    page.locator(".menu").get_by_role("button", name="Copy").click()
    expect(page.locator(".message")).to_contain_text("Copied.")


def test_back_reload_and_another_tab_keep_the_work(
    editor: Editor, server: RunningServer, customer: Customer
) -> None:
    page = editor.page
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator(".workplace")).to_be_visible(timeout=30_000)
    editor.choose("generative-expand")
    editor.apply("Extend")
    expect(other.locator(".filmstrip li")).to_have_count(2)
    expect(other.locator(".filmstrip li").first.locator("[aria-current]")).to_be_visible()
    other.close()
    page.reload()
    editor.shown()
    expect(page.locator("[data-tool=generative-expand]")).to_have_attribute("aria-pressed", "true")
    # No further extension is armed, which a click would pay for.
    expect(page.locator(".panel").get_by_role("button", name="Extend")).to_be_disabled()
    page.go_back()
    expect(page.get_by_role("heading", name="Open a picture")).to_be_visible()
    page.go_forward()
    editor.shown()
    assert editor.steps() == 2
    assert server.balance(customer) == (14, 0)


def test_nothing_else_is_applied_until_the_result_of_a_lost_run_is_known(
    new_page: NewPage, server: RunningServer, customer: Customer
) -> None:
    page = new_page(expect_errors=True)
    sign_in(page, server, customer)
    editor = Editor(page, server)
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    attempts = 0

    def lose(route: Route) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            route.fetch()  # the server starts the run, but its answer does not arrive
            route.abort()
        else:
            error = {"code": "RATE_LIMITED", "message": "At most 60 a minute."}
            route.fulfill(status=429, headers={"Retry-After": "30"}, json={"success": False, "error": error})

    place = re.compile("/runs$")
    page.route(place, lose)
    editor.press("Remove background")
    panel = page.locator(".panel-foot")
    expect(panel.get_by_role("button", name="Look for the result")).to_be_visible(timeout=WORK_MS)
    editor.choose("crop")
    expect(panel.get_by_role("button")).to_have_count(1)  # Crop cannot be applied either
    page.unroute(place)
    panel.get_by_role("button", name="Look for the result").click()
    expect(page.locator(".filmstrip li")).to_have_count(2, timeout=WORK_MS)
    expect(panel.get_by_role("button", name="Crop & rotate")).to_be_visible()
    assert server.balance(customer) == (14, 0)


def test_the_keyboard_keeps_its_place_when_controls_are_built_again(editor: Editor) -> None:
    page = editor.page
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    panel = page.locator(".panel")
    editor.choose("brush")
    panel.get_by_role("button", name="Restore").press("Enter")
    expect(panel.get_by_text("nothing to restore from").first).to_be_visible()
    expect(panel.get_by_role("button", name="Restore")).to_be_focused()
    editor.choose("crop")
    editor.press("1:1")
    panel.get_by_role("button", name="Crop & rotate").focus()
    page.keyboard.down("Enter")
    expect(page.locator(".filmstrip li")).to_have_count(2, timeout=WORK_MS)
    editor.idle()
    expect(page.locator(".stage")).to_be_focused()
    page.keyboard.down("Enter")  # still held: it repeats, now on the stage
    expect(page.locator(".bge-editor.busy")).to_have_count(0)
    page.keyboard.up("Enter")
    page.get_by_role("button", name="1. Original").press("Enter")
    expect(page.get_by_role("button", name="1. Original")).to_have_attribute("aria-current", "step")
    expect(page.get_by_role("button", name="1. Original")).to_be_focused()
    assert editor.steps() == 2
    page.get_by_label("Open another picture").click()
    page.get_by_role("button", name="Delete cup.jpg").press("Enter")
    expect(page.get_by_role("button", name="Keep")).to_be_focused()
    page.get_by_role("button", name="Delete", exact=True).press("Enter")
    expect(page.locator(".recents")).to_have_count(0)
    expect(page.get_by_role("button", name="Choose a file")).to_be_focused()
