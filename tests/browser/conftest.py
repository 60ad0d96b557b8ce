"""A real Chromium for tests: `chromium` is one for all of them, `page` a new page with its own cookies.

It is Debian's package, or the executable that BGERASER_CHROMIUM names. Without one the tests are skipped and
say so; with CI=true they fail.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from tests.support.browser.editing import Editor
from tests.support.browser.visitors import sign_in
from tests.support.server import Customer, RunningServer

CHROMIUM = Path(os.environ.get("BGERASER_CHROMIUM", "/usr/bin/chromium"))
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 375, "height": 740}

NewPage = Callable[..., Page]


# Not of session scope: as long as Playwright runs, no other test of this thread can run an event loop.
@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """One browser for the tests of this package. Each page has a context of its own, which isolates them."""
    if not CHROMIUM.is_file():
        reason = f"no browser at {CHROMIUM}: install chromium, or set BGERASER_CHROMIUM to one"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    # Chromium's sandbox refuses to run as root, which is who tests run as in containers.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def new_page(chromium: Browser) -> Iterator[NewPage]:
    """`new_page(viewport=PHONE, color_scheme="dark")`: a page of a new visitor.

    At the end the test fails if a page sent a request to another host or logged an error to its console.
    `expect_errors=True` allows the latter, for pages that the server refuses.
    """
    with ExitStack() as pages:
        watched: list[_Watch] = []

        def new(*, expect_errors: bool = False, **options: object) -> Page:
            context: BrowserContext = chromium.new_context(**({"viewport": DESKTOP} | options))  # type: ignore[arg-type]
            pages.callback(context.close)
            page = context.new_page()
            watched.append(_Watch(page, expect_errors))
            return page

        yield new
        for watch in watched:
            watch.check()


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """A desktop page of a new visitor."""
    return new_page()


class _Watch:
    """Records the requests to other hosts and the console errors of one page."""

    def __init__(self, page: Page, expect_errors: bool) -> None:
        self._foreign: list[str] = []
        self._errors: list[str] = []
        self._expect_errors = expect_errors
        page.context.on("request", self._note_request)
        page.on("console", self._note_message)
        page.on("pageerror", lambda error: self._errors.append(str(error)))

    def check(self) -> None:
        assert self._foreign == [], "a page asked another host"
        if not self._expect_errors:
            assert self._errors == [], "a page's console has errors"

    def _note_request(self, request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "http://localhost:", "data:", "blob:")):
            self._foreign.append(request.url)

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._errors.append(f"{message.text} ({message.location.get('url', '')})")


@pytest.fixture
def customer(server: RunningServer) -> Customer:
    return server.new_customer()


@pytest.fixture
def editor(page: Page, server: RunningServer, customer: Customer) -> Editor:
    """The editor, with a customer signed in."""
    sign_in(page, server, customer)
    return Editor(page, server)
