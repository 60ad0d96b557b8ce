"""The call log's rows for requests that are refused before they become calls."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import Request
from starlette.requests import ClientDisconnect

from api.auth.authenticator import Caller
from api.calls import call_log
from api.calls.types import CallFailed
from api.http import responses
from api.services import Services
from ml.tool import Tool


@contextmanager
def logged(request: Request, services: Services, caller: Caller, tool: Tool) -> Iterator[None]:
    """Log an error raised inside as a refused call of `tool`; `calls.run` logs all later ones."""
    started_at = services.clock()
    try:
        yield
    except ClientDisconnect:
        raise  # No answer was sent.
    except Exception as error:
        record = call_log.refused(
            responses.as_known_error(error.error if isinstance(error, CallFailed) else error),
            request_id=responses.request_id_of(request),
            account_id=caller.account_id,
            key_id=caller.key_id,
            person_id=caller.person_id,
            tool=tool.name,
            started_at=started_at,
            now=services.clock(),
        )
        services.call_log.enqueue(record, caller.priority)
        raise
