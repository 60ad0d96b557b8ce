"""axe-core on a page: what it calls serious or critical fails the test."""

from collections.abc import Callable

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

# A part that fades in or finds its width is faint or wide for a moment; what stays so is a fault.
_LOOKS = 4
_PAUSE_MS = 700


def assert_accessible(page: Page) -> None:
    """Fails with each rule that is broken and where."""
    found = _settled(page, lambda: _serious(page))
    assert found == [], f"{page.url}: {found}"


def assert_fits(page: Page) -> None:
    """Nothing sticks out sideways: at this width the page scrolls down only."""
    found = _settled(page, lambda: _too_wide(page))
    assert found == [], f"{page.url}: {found}"


def _settled(page: Page, faults: Callable[[], list[str]]) -> list[str]:
    """The faults that are still there when the page has come to rest."""
    found = faults()
    for _ in range(_LOOKS - 1):
        if not found:
            break
        page.wait_for_timeout(_PAUSE_MS)
        found = faults()
    return found


def _serious(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    return [f"{one['id']}: {one['help']} at {[node['target'] for node in one['nodes']]}" for one in serious]


def _too_wide(page: Page) -> list[str]:
    wide, room = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    return [f"{wide} px wide in {room} px"] if wide > room else []
