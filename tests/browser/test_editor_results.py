"""From marking to waiting, the result and its download, with the real models and a real browser."""

import re
from pathlib import Path

import numpy as np
from playwright.sync_api import Route, expect

from tests.browser.conftest import NewPage
from tests.support.browser.editing import WORK_MS, Editor
from tests.support.browser.visitors import sign_in
from tests.support.editor_client import refill_previews
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo
from tests.support.server import Customer, RunningServer
from tests.support.waiting import wait_until

#: The upper left corner of a visible element; null without one.
_CORNER = """(selector) => {
  const box = document.querySelector(selector)?.getBoundingClientRect();
  return box?.width ? [box.x, box.y] : null;
}"""
#: The colour that the stage shows at a place of the page, as text.
_SHOWN_CORNER = """([x, y]) => {
    const canvas = document.querySelector(".stage canvas");
    const box = canvas.getBoundingClientRect();
    const ratio = canvas.width / box.width;
    const { data } = canvas.getContext("2d").getImageData((x - box.x) * ratio, (y - box.y) * ratio, 1, 1);
    return data.join();
}"""


def test_a_cutout_is_swept_once_and_downloaded_as_chosen(
    editor: Editor, server: RunningServer, customer: Customer, tmp_path: Path
) -> None:
    page = editor.page
    editor.open("Morning cup.jpg", jpeg_bytes(photo("coffee")))
    editor.press("Remove background")
    shimmer = page.locator(".shimmer")
    corner: list[float] = []

    def is_measured() -> bool:
        """In one step with being visible, because a quick run may end between two."""
        corner.extend(page.evaluate(_CORNER, ".shimmer") or [])
        return bool(corner)

    wait_until(is_measured)
    place = editor.place(0, 0)
    assert abs(corner[0] - place[0]) + abs(corner[1] - place[1]) < 4  # over the picture
    following = page.get_by_role("group", name="Next steps")
    expect(following).to_be_visible(timeout=WORK_MS)
    expect(shimmer).to_be_hidden()
    compare = page.get_by_role("button", name="Compare with before")
    expect(compare).to_have_attribute("aria-pressed", "false")  # the clean result
    # The stage draws the end of the sweep in the next frame.
    page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    result = page.evaluate(_SHOWN_CORNER, editor.place(4, 4))
    page.keyboard.down("o")  # the original, as long as the key is held
    wait_until(lambda: page.evaluate(_SHOWN_CORNER, editor.place(4, 4)) != result)
    page.keyboard.up("o")
    wait_until(lambda: page.evaluate(_SHOWN_CORNER, editor.place(4, 4)) == result)
    following.get_by_role("button", name="Shadow").click()
    drop = page.locator(".panel").get_by_role("button", name="Drop")
    expect(drop).to_have_attribute("aria-pressed", "true")
    menu = page.locator(".menu")
    page.locator(".downloader").click()
    expect(menu.get_by_label("Name")).to_have_value("Morning cup-cutout")
    expect(menu.locator(".sizes")).to_have_text(re.compile(r"^600 × 400, \d+ KB$"))
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    following.get_by_role("button", name="Download").click()
    expect(menu.get_by_label("Name")).to_have_value("Morning cup-cutout")
    menu.get_by_role("button", name="JPEG").click()
    menu.get_by_role("button", name="512 px").click()
    expect(menu.locator(".sizes")).to_have_text(re.compile(r"^512 × 341, \d+ KB$"))
    menu.get_by_label("Color behind the cut-out").fill("#ff0000")
    menu.get_by_label("Name").fill("Shop")
    expect(menu.locator(".sizes")).to_have_text(re.compile(r"^512 × 341, \d+ KB$"))
    with page.expect_download(timeout=WORK_MS) as started:
        menu.get_by_role("button", name="Download").click()
    assert started.value.suggested_filename == "Shop.jpg"
    started.value.save_as(tmp_path / "shop.jpg")
    saved = open_bytes((tmp_path / "shop.jpg").read_bytes()).astype(int)
    assert saved.shape == (341, 512, 3)
    assert abs(saved[3, 3] - (255, 0, 0)).max() < 12
    assert server.balance(customer) == (14, 0)
    # The time of the next one is known from the one before.
    page.get_by_label("Open another picture").click()
    editor.open("cat.jpg", jpeg_bytes(photo("chelsea")))
    expect(page.locator(".cost")).to_contain_text(re.compile("Takes about [0-9]+ s"))


def test_clicks_and_strokes_mark_together_and_another_version_is_one_click_away(
    editor: Editor, server: RunningServer, customer: Customer
) -> None:
    page = editor.page
    scene = np.full((480, 640, 3), (90, 140, 90), np.uint8)
    scene += np.random.default_rng(3).integers(0, 24, scene.shape, np.uint8)
    rows, columns = np.ogrid[:480, :640]
    scene[(rows - 240) ** 2 + (columns - 220) ** 2 < 60**2] = (200, 30, 30)
    scene[60:90, 480:510] = (30, 30, 200)
    editor.open("ball.jpg", jpeg_bytes(scene))
    with page.expect_response(re.compile("/encoding$")) as prepared:  # before anything is clicked
        editor.choose("generative-fill")
    assert prepared.value.ok
    editor.drag((482, 64), (508, 64), (508, 86), (482, 86), (482, 75), (508, 75))
    editor.press("Click or box")
    waiting: list[Route] = []

    def hold(route: Route) -> None:
        waiting.append(route)

    page.route("**/overlay", hold)
    editor.click(220, 240)
    spinner = page.locator(".spinner")
    expect(spinner).to_be_visible()
    box, place = spinner.bounding_box(), editor.place(220, 240)
    assert box is not None
    assert abs(box["x"] + box["width"] / 2 - place[0]) < 4
    wait_until(lambda: bool(waiting))
    waiting[0].continue_()
    expect(spinner).to_be_hidden(timeout=WORK_MS)
    page.unroute("**/overlay")
    editor.apply("Remove object")

    def shown() -> np.ndarray:
        source = page.locator(".filmstrip [aria-current] img").get_attribute("src")
        assert source is not None
        return open_bytes(page.request.get(server.address + source).body()).astype(int)

    first = shown()
    assert (abs(first[..., 0] - first[..., 2]) > 60).mean() < 0.002  # neither ball nor square is left
    page.get_by_role("button", name="Another version (1 credit)").click()
    expect(page.locator(".filmstrip li")).to_have_count(3, timeout=WORK_MS)
    expect(page.get_by_role("button", name="3. Remove object, from step 1")).to_be_visible()
    assert not np.array_equal(shown(), first)
    assert server.balance(customer) == (13, 0)


def test_another_version_replaces_what_a_selection_marked(
    new_page: NewPage, server: RunningServer, customer: Customer
) -> None:
    page = new_page(expect_errors=True)  # the browser logs the refusal below
    sign_in(page, server, customer)
    editor = Editor(page, server)
    scene = np.full((300, 400, 3), (90, 140, 90), np.uint8)
    scene += np.random.default_rng(5).integers(0, 24, scene.shape, np.uint8)
    rows, columns = np.ogrid[:300, :400]
    scene[(rows - 150) ** 2 + (columns - 140) ** 2 < 40**2] = (200, 30, 30)
    editor.open("ball.jpg", jpeg_bytes(scene))
    refused = 0

    def refuse_once(route: Route) -> None:
        nonlocal refused
        refused += 1
        if refused > 1:
            return route.continue_()
        error = {"code": "RATE_LIMITED", "message": "At most 60 a minute.", "param": None}
        headers = {"Retry-After": "1"}
        return route.fulfill(status=429, headers=headers, json={"success": False, "error": error})

    page.route("**/overlay", refuse_once)
    editor.choose("magic-select")
    editor.click(140, 150)
    # A click that comes too soon after others is repeated, not lost.
    expect(page.get_by_text("% sure")).to_be_visible(timeout=WORK_MS)
    expect(page.get_by_role("alert")).to_have_count(0)
    assert refused == 2
    editor.apply("Remove object")
    page.get_by_role("button", name="Another version (1 credit)").click()
    expect(page.locator(".filmstrip li")).to_have_count(3, timeout=WORK_MS)
    expect(page.get_by_role("button", name="3. Remove object, from step 1")).to_be_visible()
    assert server.balance(customer) == (13, 0)
    # A file that cannot be made is explained, whichever way it was asked for.
    busy = {"code": "OVERLOADED", "message": "Workers are busy.", "param": None}
    page.route("**/file?*", lambda route: route.fulfill(status=503, json={"success": False, "error": busy}))
    page.keyboard.press("Control+s")
    expect(page.get_by_role("alert")).to_contain_text("The server is busy.")


def test_a_refused_run_can_be_changed_and_guests_at_a_limit_may_sign_up(
    new_page: NewPage, server: RunningServer
) -> None:
    refill_previews(server)
    page = new_page(expect_errors=True)  # the browser logs the refusal
    editor = Editor(page, server)
    editor.open_sample("A cup of espresso")
    error = {"code": "RATE_LIMITED", "message": "Your network has had its free previews.", "param": None}
    refusal = {"success": False, "error": error}
    page.route(
        "**/runs", lambda route: route.fulfill(status=429, headers={"Retry-After": "7200"}, json=refusal)
    )
    editor.press("Remove background")
    alert = page.get_by_role("alert")
    expect(alert.locator("p")).to_have_text("Your network has had its free previews.")  # without its code
    expect(alert.get_by_role("link", name="Sign up")).to_have_attribute("href", "/signup?next=/app/")
    # Nothing was accepted, so there is nothing to look for, and other settings can be tried.
    panel = page.locator(".panel")
    expect(panel.get_by_role("button", name="Remove background")).to_be_enabled()
    expect(panel.get_by_text("its result has not arrived")).to_have_count(0)
    # Of the own picture, nothing is said to be free any more today.
    page.get_by_role("button", name="Open another picture").click()
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    apply = panel.get_by_role("button", name="Remove background")
    expect(apply).to_have_text(re.compile("free$"))
    apply.click()
    expect(apply).to_have_text(re.compile("none left today$"))
    expect(panel.get_by_text("5 a day, and none is left today. Sign up")).to_be_visible()
    editor.choose("upscale")
    expect(panel.get_by_role("button", name="Enlarge")).to_have_text(re.compile("none left today$"))


def test_a_guest_whose_network_has_no_previews_left_sees_so_before_the_first_one(
    new_page: NewPage, server: RunningServer
) -> None:
    page = new_page()
    page.route("**/editor/session", lambda route: _answer_with(route, previews={"waitSeconds": 7200}))
    editor = Editor(page, server)
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    apply = page.locator(".panel").get_by_role("button", name="Remove background")
    expect(apply).to_have_text(re.compile("none left today$"))


def _answer_with(route: Route, **changes: dict[str, object]) -> None:
    """The server's own answer with some fields changed."""
    answer = route.fetch()
    data = answer.json()["data"]
    for name, fields in changes.items():
        data[name] |= fields
    route.fulfill(response=answer, json={"success": True, "data": data})
