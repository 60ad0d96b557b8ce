"""Cancelling a run while the connection fails: it is not charged, also if the page is reloaded meanwhile."""

import re

import pytest
from playwright.sync_api import Request, expect

from tests.browser.conftest import NewPage
from tests.support.browser.editing import WORK_MS, Editor
from tests.support.browser.visitors import sign_in
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import Customer, RunningServer


def opened(new_page: NewPage, server: RunningServer, customer: Customer) -> Editor:
    """A picture in the editor of a page whose requests will fail."""
    page = new_page(expect_errors=True)
    sign_in(page, server, customer)
    editor = Editor(page, server)
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    return editor


@pytest.mark.parametrize("reloads", [False, True])
def test_a_run_that_is_cancelled_without_a_connection_is_never_started(
    new_page: NewPage, server: RunningServer, customer: Customer, reloads: bool
) -> None:
    editor = opened(new_page, server, customer)
    page = editor.page
    page.wait_for_load_state("networkidle")
    if reloads:  # only the runs cannot be reached
        page.route(re.compile("/runs"), lambda route: route.abort())
    else:
        page.context.set_offline(True)
    editor.press("Remove background")
    panel = page.locator(".panel-foot")
    expect(panel.get_by_text("No connection to the server")).to_be_visible(timeout=WORK_MS)
    editor.press("Cancel")
    expect(page.locator(".message p", has_text="it is stopped as soon as the connection")).to_be_visible()
    expect(panel.get_by_role("button", name="Remove background")).to_be_enabled()
    started: list[str] = []
    page.on("request", lambda request: started.append(request.url) if _is_start(request) else None)
    with page.expect_response(lambda answer: "/runs?key=" in answer.url, timeout=30_000) as cancelled:
        if reloads:
            page.unroute(re.compile("/runs"))
            page.reload()
            editor.shown()
        else:
            page.context.set_offline(False)
    assert cancelled.value.ok
    expect(page.locator(".message p", has_text="stopped. Nothing was charged.")).to_be_visible()
    expect(page.locator(".message p", has_text="as soon as the connection")).to_have_count(0)
    page.wait_for_timeout(3000)
    assert (started, editor.steps()) == ([], 1)
    assert server.balance(customer) == (15, 0)
    editor.apply("Remove background")
    assert server.balance(customer) == (14, 0)


def _is_start(request: Request) -> bool:
    return request.method == "POST" and request.url.endswith("/runs")


@pytest.mark.long
@pytest.mark.parametrize("reloads", [False, True])
def test_a_run_is_cancelled_that_was_accepted_before_the_connection_was_lost(
    new_page: NewPage, server: RunningServer, customer: Customer, reloads: bool
) -> None:
    editor = opened(new_page, server, customer)
    page = editor.page
    editor.choose("upscale")
    editor.press("4×")
    editor.press("Quality")
    editor.press("Enlarge")
    expect(page.get_by_text("Upscaling,")).to_be_visible(timeout=WORK_MS)
    if reloads:
        page.route(re.compile("/runs"), lambda route: route.abort())
    else:
        page.context.set_offline(True)
    editor.press("Cancel")
    expect(page.locator(".panel-foot").get_by_text("Stopping …")).to_be_visible()
    page.wait_for_timeout(700)  # the first request to cancel it has failed
    if reloads:
        page.unroute(re.compile("/runs"))
        page.reload()
        editor.shown()
    else:
        page.context.set_offline(False)
    expect(page.locator(".message p", has_text="stopped. Nothing was charged.")).to_be_visible(
        timeout=WORK_MS
    )
    editor.idle()
    assert editor.steps() == 1
    assert server.balance(customer) == (15, 0)
