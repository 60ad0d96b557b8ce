"""The editor on a phone, operated with a finger."""

from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, NewPage
from tests.support.browser.accessibility import assert_fits
from tests.support.browser.editing import WORK_MS, Editor
from tests.support.browser.visitors import sign_in
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import Customer, RunningServer
from tests.support.waiting import wait_until

#: How many pixels are drawn over the picture.
_DRAWN_OVER = """() => {
    const canvas = document.querySelectorAll(".stage canvas")[1];
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.reduce((count, value, at) => count + (at % 4 === 3 && value > 0), 0);
}"""
#: Whether an element is in front of everything else.
_IS_IN_FRONT = """(element) => {
    const box = element.getBoundingClientRect();
    return element.contains(document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2));
}"""

_IS_STAGE = "([x, y]) => document.elementFromPoint(x, y).closest('.stage') !== null"


def touch(page: Page, *places: tuple[float, float]) -> None:
    """Drag a finger from the first place of the page to the last."""
    session = page.context.new_cdp_session(page)
    for number, (x, y) in enumerate(places):
        event = {"type": "touchMove" if number else "touchStart", "touchPoints": [{"x": x, "y": y}]}
        session.send("Input.dispatchTouchEvent", event)
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_a_cutouts_subject_shows_its_handles_and_is_moved_with_a_finger(
    new_page: NewPage, server: RunningServer, customer: Customer
) -> None:
    page = new_page(viewport=PHONE, has_touch=True, is_mobile=True, expect_errors=True)
    sign_in(page, server, customer)
    editor = Editor(page, server)
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    expect(page.locator(".stage.loading")).to_have_count(0)
    assert page.evaluate(_DRAWN_OVER) == 0
    editor.apply("Remove background")
    expect(page.get_by_role("group", name="Next steps")).to_be_visible(timeout=WORK_MS)
    wait_until(lambda: page.evaluate(_DRAWN_OVER) > 0)
    # The row covers no handle, wherever in the picture the subject is.
    wait_until(lambda: all(page.evaluate(_IS_STAGE, editor.place(x, 397)) for x in (3, 300, 597)))
    # Right after the result, while a notice is shown above the picture.
    expect(page.locator(".message")).to_be_visible()
    touch(page, *(editor.place(300 + 10 * step, 150) for step in range(7)))
    expect(page.locator(".filmstrip li")).to_have_count(3, timeout=WORK_MS)
    editor.press("Color")
    expect(page.locator(".filmstrip li")).to_have_count(4, timeout=WORK_MS)
    touch(page, editor.place(3, 3))  # beside the subject
    wait_until(lambda: page.evaluate(_DRAWN_OVER) == 0)
    touch(page, editor.place(330, 150))
    wait_until(lambda: page.evaluate(_DRAWN_OVER) > 0)
    # A menu is above the page, and so is what it has to say.
    page.locator(".downloader").click()
    busy = {"code": "OVERLOADED", "message": "Workers are busy.", "param": None}
    page.route("**/file?*", lambda route: route.fulfill(status=503, json={"error": busy}))
    page.locator(".menu").get_by_role("button", name="Copy").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The server is busy.")
    wait_until(lambda: alert.evaluate(_IS_IN_FRONT))
    assert_fits(page)
