"""The site pages in a real browser: accessible, at any width, in light and dark mode."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, NewPage
from tests.support.browser.accessibility import assert_accessible, assert_fits
from tests.support.server import RunningServer

LOOKS: tuple[dict[str, Any], ...] = ({}, {"viewport": PHONE, "color_scheme": "dark"})


#: Tables that are wider than the page, where nothing scrolls them into view.
_CUT_OFF = """() => [...document.querySelectorAll("table")].filter((table) => {
    if (table.getBoundingClientRect().right <= innerWidth) return false;
    for (let one = table; one; one = one.parentElement)
        if (["auto", "scroll"].includes(getComputedStyle(one).overflowX)) return false;
    return true;
}).map((table) => table.outerHTML.slice(0, 200))"""


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/agents", "/plans"])
def test_a_page_is_accessible_and_fits_its_viewport(
    new_page: NewPage, server: RunningServer, path: str
) -> None:
    for look in LOOKS:
        page = new_page(**look)
        page.goto(f"{server.address}{path}")
        assert_accessible(page)
        assert_fits(page)
        assert page.evaluate(_CUT_OFF) == []
        color = page.evaluate("getComputedStyle(document.body).backgroundColor")
        is_dark = sum(int(part) for part in re.findall(r"\d+", color)[:3]) < 200
        assert is_dark == (look.get("color_scheme") == "dark")


def test_the_404_page_is_accessible_too(new_page: NewPage, server: RunningServer) -> None:
    page = new_page(expect_errors=True)
    page.goto(f"{server.address}/nothing/here")
    assert_accessible(page)
    page.get_by_role("link", name="Go to the front page").click()
    assert page.url == f"{server.address}/"


def test_the_slider_moves_between_before_and_after_by_keyboard(page: Page, server: RunningServer) -> None:
    page.goto(server.address)
    slider = page.get_by_label("Show the photo before or after")
    slider.focus()
    page.keyboard.press("End")
    shown = page.evaluate("document.querySelector('[data-compare]').style.getPropertyValue('--shown')")
    assert shown == "100%"


def test_the_openapi_page_lists_every_route_without_another_host(page: Page, server: RunningServer) -> None:
    page.goto(f"{server.address}/openapi")
    expect(page.get_by_text("/api/tools/bg-removal", exact=True)).to_be_visible(timeout=30_000)
    expect(page.get_by_text("/api/usage", exact=True)).to_be_visible()
