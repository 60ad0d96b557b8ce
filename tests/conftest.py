"""Fixtures that every test may use, and the markers that are set from them."""

from tests.support.databases import *  # noqa: F403 - fixtures are found by their names here
from tests.support.selection import pytest_collection_modifyitems, pytest_ignore_collect  # noqa: F401 - hooks
from tests.support.server import *  # noqa: F403 - likewise
