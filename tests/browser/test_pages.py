"""The browser fixtures themselves."""

from playwright.sync_api import Page

from tests.browser.conftest import NewPage
from tests.support.browser.visitors import sign_in
from tests.support.server import RunningServer


def test_the_browser_reaches_the_server_and_its_cookie_is_accepted(page: Page, server: RunningServer) -> None:
    customer = server.new_customer()
    sign_in(page, server, customer)
    answer = page.goto(f"{server.address}/healthz")
    assert answer is not None
    assert answer.status == 200
    assert [cookie["name"] for cookie in page.context.cookies()] == ["bgeraser_session"]


def test_separate_browser_contexts_are_separate_visitors(new_page: NewPage, server: RunningServer) -> None:
    first, second = new_page(), new_page()
    sign_in(first, server, server.new_customer())
    assert second.context.cookies() == []
