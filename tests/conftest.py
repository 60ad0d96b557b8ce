"""Fixtures that every test may use, and the markers that are set from them."""

from tests.support.databases import *  # noqa: F403 - fixtures are found by their names here
from tests.support.loggers import *  # noqa: F403 - likewise
from tests.support.selection import (  # noqa: F401 - hooks
    pytest_collection_modifyitems,
    pytest_ignore_collect,
    pytest_make_parametrize_id,
)
from tests.support.server import *  # noqa: F403 - likewise
