"""Fixtures that every test may use, and the markers that are set from them."""

from tests.support.databases import *  # noqa: F403 - fixtures are found by their names here
from tests.support.selection import pytest_collection_modifyitems  # noqa: F401 - a hook of pytest
from tests.support.server import *  # noqa: F403 - likewise
