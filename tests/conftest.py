"""Fixtures that every test may use."""

from tests.databases import *  # noqa: F403 - fixtures are found by their names here
from tests.server import *  # noqa: F403 - likewise
