"""One log line per event, with the request's id in each; JSON for machines, columns for a terminal.

Lines of the libraries (uvicorn, SQLAlchemy, alembic) pass through the same renderer. API keys are never
logged: the last step before rendering masks them in every text.
"""

import logging
import re
import sys
from collections.abc import Sequence
from typing import Any, Literal

import structlog
from structlog.types import EventDict, Processor

# Keeps the key's first characters, enough to recognise it.
_KEY = re.compile(r"(bge_(?:live|test)_[0-9A-Za-z]{4})[0-9A-Za-z]+")


def set_up(
    format: Literal["auto", "json", "console"],
    level: int = logging.INFO,
    processors: Sequence[Processor] = (),
) -> None:
    """Send every log line of this process to stderr in `format`; auto is console on a terminal.

    `processors` add to each line what is known only where they come from.
    """
    as_json = format == "json" or (format == "auto" and not sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        *processors,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
    ]
    rendering: list[Processor] = (
        [structlog.processors.format_exc_info, _hide_keys, structlog.processors.JSONRenderer()]
        if as_json
        else [structlog.processors.format_exc_info, _hide_keys, structlog.dev.ConsoleRenderer(colors=False)]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        library = logging.getLogger(name)
        library.handlers[:] = []
        library.propagate = True
    # Alembic logs every inspection of the schema.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # We log each request ourselves; lines about outgoing requests could contain secrets.
    for name in ("uvicorn.access", "httpx", "httpcore", "mcp", "stripe"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _hide_keys(_logger: Any, _method: str, event: EventDict) -> EventDict:
    return {name: _without_keys(value) for name, value in event.items()}


def _without_keys(value: Any) -> Any:
    if isinstance(value, str):
        return _KEY.sub(r"\1…", value)
    if isinstance(value, dict):
        return {name: _without_keys(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_keys(inner) for inner in value]
    return value if isinstance(value, int | float | bool | None) else _KEY.sub(r"\1…", str(value))
