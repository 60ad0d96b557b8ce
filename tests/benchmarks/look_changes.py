"""Looks of a cut-out of 12 megapixels in Chromium: milliseconds from a click to its frame; an idle tab.

A click is timed from its event to the end of the frame in which the stage is drawn with another picture, by
marks in the page. `first` is the first click of its kind, the others are the median and the slowest of those
after it. The idle tab is the editor with the finished cut-out while nobody touches it: the processor time of
the page's own process and of all of Chromium's.
"""

import os
import statistics
import time
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from tests.benchmarks import ours
from tests.benchmarks.report import Report
from tests.browser.conftest import CHROMIUM
from tests.support.browser.editing import Editor
from tests.support.browser.visitors import sign_in
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import RunningServer

SIZE = (4000, 3000)
CLICKS = 20
RECORDED_MS = 1200  # a look becomes a step meanwhile, whose thumbnail is drawn
SETTLING_SECONDS = 10.0
IDLE_SECONDS = 60.0

#: The buttons of the panel that are pressed in turn, by the kind of look.
KINDS: dict[str, tuple[str, ...]] = {
    "color": ("Background #1f3a5f", "Background #ffd84d", "Background #cfe8d5"),
    "gradient": ("Gradient Sky", "Gradient Mint", "Gradient Sand"),
    "blur": ("Blur", "None"),
    "shadow": ("Drop", "Contact"),
    "preset": ("Amazon", "Etsy", "Story"),
}
#: What is pressed before a kind, so that its buttons are there.
BEFORE = {"color": "Color", "gradient": "Gradient", "shadow": "Color"}


def main(report: Report) -> None:
    section = report.section("Looks", "of a cut-out of 12 MP in Chromium, from a click to its frame")
    with ours.serving() as server, sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = _cut_out(browser, server)
        for kind, buttons in report.cases(KINDS.items()):
            first, *others = _times(page, buttons, BEFORE.get(kind), report.times(CLICKS))
            section.add(f"{kind}, first", "ms", first)
            section.add(f"{kind}, median", "ms", statistics.median(others))
            section.add(f"{kind}, slowest", "ms", max(others))
        own, all_of_it = _idle_percents(browser, page, 2.0 if report.quick else IDLE_SECONDS)
        section.add("idle tab, the page's process", "% core", own)
        section.add("idle tab, all of Chromium", "% core", all_of_it)
        browser.close()


def _cut_out(browser: Browser, server: RunningServer) -> Page:
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.add_init_script(_TIME_CLICKS)
    sign_in(page, server, server.customer)
    editor = Editor(page, server)
    large = Image.fromarray(photo("coffee")).resize(SIZE, Image.Resampling.LANCZOS)
    editor.open("cup.jpg", jpeg_bytes(np.asarray(large)))
    editor.apply("Remove background")
    # The first look waits for the layers.
    page.evaluate("void (window.frameDrawn = new Promise((drawn) => (window.onFrameDrawn = drawn)))")
    editor.press("Color")
    page.evaluate("window.frameDrawn")
    page.wait_for_load_state("networkidle")
    time.sleep(SETTLING_SECONDS)
    return page


def _times(page: Page, buttons: tuple[str, ...], before: str | None, clicks: int) -> list[float]:
    panel = page.locator(".panel")
    if before is not None:
        panel.get_by_role("button", name=before, exact=True).first.click()
        page.wait_for_timeout(RECORDED_MS)
    times = []
    for count in range(clicks + 1):
        page.evaluate("void (window.frameDrawn = new Promise((drawn) => (window.onFrameDrawn = drawn)))")
        panel.get_by_role("button", name=buttons[count % len(buttons)], exact=True).first.click()
        times.append(float(page.evaluate("window.frameDrawn")))
        page.wait_for_timeout(RECORDED_MS)
    return times


#: Resolves `frameDrawn` with the milliseconds from a click until the stage is drawn with another picture.
_TIME_CLICKS = """
let shown = null;
const draw = CanvasRenderingContext2D.prototype.drawImage;
CanvasRenderingContext2D.prototype.drawImage = function (image, ...place) {
  draw.call(this, image, ...place);
  if (!this.canvas.closest?.(".stage") || image === shown) return;
  shown = image;
  const resolve = window.onFrameDrawn;
  window.onFrameDrawn = null;
  if (!resolve) return;
  const channel = new MessageChannel(); // its task follows the frame's
  channel.port1.onmessage = () => resolve(performance.measure("look", "click").duration);
  channel.port2.postMessage(null);
};
addEventListener("click", () => performance.mark("click"), { capture: true });
"""


def _idle_percents(browser: Browser, page: Page, seconds: float) -> tuple[float, float]:
    """Of a core: what the page's process uses, and all of Chromium's."""
    page.mouse.move(5, 5)
    time.sleep(SETTLING_SECONDS)
    before = _processor_seconds(browser)
    time.sleep(seconds)
    after = _processor_seconds(browser)
    used = {kind: after[kind] - before.get(kind, 0.0) for kind in after}
    return 100 * used["renderer"] / seconds, 100 * sum(used.values()) / seconds


def _processor_seconds(browser: Browser) -> dict[str, float]:
    """By the type of process."""
    session = browser.new_browser_cdp_session()
    processes: list[dict[str, Any]] = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    seconds: dict[str, float] = {}
    for process in processes:
        seconds[process["type"]] = seconds.get(process["type"], 0.0) + float(process["cpuTime"])
    return seconds
