"""axe-core on a page: what it calls serious or critical fails the test."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page


def assert_accessible(page: Page) -> None:
    """Fails with each rule that is broken and where."""
    found = Axe().run(page).response["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    told = [f"{one['id']}: {one['help']} at {[node['target'] for node in one['nodes']]}" for one in serious]
    assert told == [], f"{page.url}: {told}"


def assert_fits(page: Page) -> None:
    """Nothing sticks out sideways: at this width the page scrolls down only."""
    wide, room = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= room, f"{page.url} is {wide} px wide in {room} px"
