"""One HTTP request of an agent, as the handlers below the SDK find it again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from starlette.types import Scope

from api.auth.authenticator import Caller
from api.calls.types import CallResult
from api.http.long_texts import LongText
from api.http.mcp.cancellation import SESSION_HEADER, CallName, CancellableCalls
from api.services import Services

_SCOPE_KEY = "bgeraser.mcp"


@dataclass
class Exchange:
    """`long_texts` has the long strings and lists of the body, which the SDK sees as short placeholders."""

    request: Request
    caller: Caller
    services: Services
    long_texts: Mapping[str, LongText]
    calls: CancellableCalls
    #: Answers that may be random. Only those that were not sent in full are repeated to a retry.
    random_results: list[CallResult] = field(default_factory=list)

    def call_name(self, message_id: str | int | None) -> CallName | None:
        """What a notification of this agent calls a message of its session; None outside of a session."""
        session_id = self.request.headers.get(SESSION_HEADER)
        if session_id is None or message_id is None:
            return None
        return CallName(self.caller.account_id, session_id, str(message_id))

    def put_in(self, scope: Scope) -> None:
        scope[_SCOPE_KEY] = self


def exchange_of(scope: Mapping[str, Any]) -> Exchange:
    exchange: Exchange = scope[_SCOPE_KEY]
    return exchange
