"""Fixtures that every test may use."""

from tests.support.databases import *  # noqa: F403 - fixtures are found by their names here
from tests.support.server import *  # noqa: F403 - likewise
