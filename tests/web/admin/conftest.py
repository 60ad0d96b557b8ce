"""A site with the operator's panel, its operator, and a customer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session

from billing.ledger import accounts, ledger
from billing.ledger.models import Account, Hold
from tests.support.browsing import Browser, Site, opened_site
from tests.support.builders import OWNER, make_hold
from tests.support.operator_rows import make_operator
from web.admin import routes as admin

OPERATOR_EMAIL, CUSTOMER_EMAIL = "operator@example.com", "customer@example.com"


class Panel:
    """Browsers of an operator and of a customer, both signed in just now."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.operator = site.browser().join(OPERATOR_EMAIL)
        self.customer = site.browser().join(CUSTOMER_EMAIL)
        self.operator_id, self.customer_id = (
            self.run(lambda session, email=email: accounts.find_by_email(session, email).id)
            for email in (OPERATOR_EMAIL, CUSTOMER_EMAIL)
        )
        self.run(
            lambda session: make_operator(session, session.get_one(Account, self.operator_id), site.clock())
        )
        self.here = f"/app/admin/accounts/{self.customer_id}"

    def run(self, work: Any) -> Any:
        """The result of a transaction's function."""
        return self.site.api.services.database.submit(work).result()

    def account(self) -> Account:
        account: Account = self.run(lambda session: session.get_one(Account, self.customer_id))
        return account

    def charge(self, call_id: str) -> None:
        """A call of the customer's that was charged."""

        def work(session: Session) -> Hold:
            account = accounts.lock(session, self.customer_id)
            ledger.refresh(session, account, self.site.clock())
            held = make_hold(session, account, reference=f"request:{call_id}", now=self.site.clock())
            return ledger.capture(session, held.id, lease_owner=OWNER, now=self.site.clock())

        self.run(work)

    def act(self, act: str, browser: Browser | None = None, **fields: str) -> int:
        """Send a form of the customer's page; the status of the answer."""
        sender = browser or self.operator
        sender.get(self.here)
        fields = {"form_token": act, "reason": "for a test", **fields}
        return sender.post(f"{self.here}/{act}", **fields).status_code


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Panel]:
    with opened_site(tmp_path / "data") as site:
        admin.add_to(site.api.app)
        yield Panel(site)
