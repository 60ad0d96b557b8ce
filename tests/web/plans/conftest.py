"""The pages of plans for a `shop`, which each file of tests opens as it needs it."""

from collections.abc import Iterator

import pytest

from tests.support.browsing import Browser, Site
from tests.support.shop import Shop
from web.plans import routes as plans


@pytest.fixture
def site(shop: Shop) -> Iterator[Site]:
    opened = Site(shop.api)
    plans.add_to(shop.api.app)
    yield opened
    opened.auth.close()


@pytest.fixture
def ada(site: Site) -> Browser:
    return site.browser().join("ada@example.com")
