"""Visitors who are signed in already, for tests of pages that need a login."""

from playwright.sync_api import Page

from api.auth import sessions
from billing.timestamps import utc_now
from tests.support.server import Customer, RunningServer


def sign_in(page: Page, server: RunningServer, customer: Customer) -> None:
    """Gives the page's browser a session of the customer's account."""
    with server.database.transaction() as session:
        made = sessions.create(session, customer.account_id, now=utc_now())
    cookie = {"name": "bgeraser_session", "value": made.token, "url": server.address}
    page.context.add_cookies([cookie])  # type: ignore[list-item]  # Playwright's own dictionary type
