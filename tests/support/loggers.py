"""Loggers that stay configurable while tests run."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog

__all__ = ["uncached_loggers"]


@pytest.fixture(scope="session", autouse=True)
def uncached_loggers() -> Iterator[None]:
    """A server caches each logger at its first use. If a test sets logging up as a server does, later tests
    could capture nothing of the loggers that were used meanwhile.
    """
    original = structlog.configure

    def configure(**options: Any) -> None:
        original(**{**options, "cache_logger_on_first_use": False})

    structlog.configure = configure  # type: ignore[assignment]  # its keywords, passed on
    yield
    structlog.configure = original
