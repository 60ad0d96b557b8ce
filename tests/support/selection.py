"""Marks each test by what it needs, taken from its fixtures, and groups tests for pytest-xdist."""

from typing import Any

import pytest

#: A marker and the fixtures whose direct or indirect use sets it.
_MARKERS = {
    "server": {"server_factory"},
    "chromium": {"chromium"},
    "postgres": {"postgres"},
}
#: Fixtures with one variant for each database; the PostgreSQL server is requested inside them.
_DATABASE_FIXTURES = ("database_url", "migrated_database_url")
#: Tests of one group run one after the other in one xdist worker. All tests of the session's server are one
#: group, so that only one of two workers starts it.
_SERVER_GROUP = "server"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        for marker, causes in _MARKERS.items():
            if fixtures & causes:
                item.add_marker(marker)
        if any(_parameters(item).get(name) == "postgresql" for name in _DATABASE_FIXTURES):
            item.add_marker("postgres")
        group = _SERVER_GROUP if "server" in fixtures else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))


def _parameters(item: pytest.Item) -> dict[str, Any]:
    callspec = getattr(item, "callspec", None)
    return callspec.params if callspec is not None else {}
