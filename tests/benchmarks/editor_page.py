"""The pages in Chromium over loopback, with an empty cache: seconds until usable, requests, bytes.

The editor is usable when its start screen answers, which it says with `aria-busy="false"`, the dashboard when
it shows the credits. Bytes are those of the responses as transferred, heads included. The idle tab's share of
a core is that of all of Chromium's processes while nobody touches the page. The visitor is signed in.
"""

import os
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.benchmarks import ours
from tests.benchmarks.report import Report
from tests.browser.conftest import CHROMIUM
from tests.support.browser.visitors import sign_in
from tests.support.server import RunningServer

VISITS = 7
TRANSFER_MS = 1500.0
SETTLING_SECONDS = 5.0
IDLE_SECONDS = 20.0
PATIENCE_MS = 60_000
EDITOR = ("/app/", ".bge-editor[aria-busy=false]")
DASHBOARD = ("/app/dashboard", "#cards .figure")


@dataclass
class Traffic:
    """What a page transferred: its requests and the bytes of the responses."""

    requests: int = 0
    bytes: int = 0
    _ignored: set[str] = field(default_factory=set)

    def watch(self, page: Page) -> None:
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.send("Network.clearBrowserCache")
        session.on("Network.requestWillBeSent", self._on_request)
        session.on("Network.loadingFinished", self._on_finished)

    def _on_request(self, event: dict[str, Any]) -> None:
        if event["request"]["url"].startswith("http"):
            self.requests += 1
        else:
            self._ignored.add(event["requestId"])  # data: and blob: transfer nothing

    def _on_finished(self, event: dict[str, Any]) -> None:
        if event["requestId"] not in self._ignored:
            self.bytes += int(event["encodedDataLength"])


def main(report: Report) -> None:
    section = report.section("Pages", "in Chromium over loopback, with an empty cache, signed in")
    with ours.serving() as server, sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        for name, place in report.cases({"editor": EDITOR, "dashboard": DASHBOARD}.items()):
            _visit(browser, server, *place)  # compiles templates and fills the server's caches
            visits = [_visit(browser, server, *place) for _ in range(report.times(VISITS))]
            traffic = visits[-1][1]
            section.add(f"{name}, usable after", "s", statistics.median(usable for usable, _ in visits))
            section.add(f"{name}, requests", "", traffic.requests)
            section.add(f"{name}, transferred", "KB", traffic.bytes / 1000)
            idle = _idle_percent(browser, server, *place, seconds=2.0 if report.quick else IDLE_SECONDS)
            section.add(f"{name}, idle tab", "% core", idle)
        browser.close()


def _open(browser: Browser, server: RunningServer) -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    sign_in(page, server, server.customer)
    return page


def _visit(browser: Browser, server: RunningServer, path: str, ready: str) -> tuple[float, Traffic]:
    page = _open(browser, server)
    traffic = Traffic()
    traffic.watch(page)
    page.add_init_script(_NOTE_READY % ready)
    page.goto(server.address + path)
    page.wait_for_selector(ready, timeout=PATIENCE_MS)
    seconds = page.evaluate("window.readyAt") / 1000
    page.wait_for_timeout(TRANSFER_MS)  # the dashboard's streams never end, so the network is never idle
    page.context.close()
    return seconds, traffic


#: Notes when the selector first matches, in milliseconds since the navigation began.
_NOTE_READY = """
new MutationObserver((_, observer) => {
  if (!document.querySelector("%s")) return;
  window.readyAt = performance.now();
  observer.disconnect();
}).observe(document, { subtree: true, childList: true, attributes: true });
"""


def _idle_percent(browser: Browser, server: RunningServer, path: str, ready: str, *, seconds: float) -> float:
    page = _open(browser, server)
    page.goto(server.address + path)
    page.wait_for_selector(ready, timeout=PATIENCE_MS)
    time.sleep(SETTLING_SECONDS)
    before = _processor_seconds(browser)
    time.sleep(seconds)
    used = _processor_seconds(browser) - before
    page.context.close()
    return 100 * used / seconds


def _processor_seconds(browser: Browser) -> float:
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    return sum(float(process["cpuTime"]) for process in processes)
