"""Sites for the tests of signing in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browsing import Browser, Site, opened_site
from tests.support.mailbox import Mailbox, running_mailbox


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A development site, which shows the links that it would mail."""
    with opened_site(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def browser(site: Site) -> Browser:
    return site.browser()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with running_mailbox() as box:
        yield box


@pytest.fixture
def mailing_site(tmp_path: Path, mailbox: Mailbox) -> Iterator[Site]:
    """A site that mails its links."""
    with opened_site(tmp_path / "data", smtp_url=mailbox.url) as opened:
        yield opened
