"""One HTTP request of an agent, as the handlers below the SDK find it again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from starlette.types import Scope

from api.auth.authenticator import Caller
from api.calls.types import CallResult
from api.http.long_texts import LongText
from api.services import Services

_SCOPE_KEY = "bgeraser.mcp"


@dataclass
class Exchange:
    """`long_texts` has the long strings and lists of the body, which the SDK sees as short placeholders."""

    request: Request
    caller: Caller
    services: Services
    long_texts: Mapping[str, LongText]
    #: Answers that may be random. Only those that were not sent in full are repeated to a retry.
    random_results: list[CallResult] = field(default_factory=list)

    def put_in(self, scope: Scope) -> None:
        scope[_SCOPE_KEY] = self


def exchange_of(scope: Mapping[str, Any]) -> Exchange:
    exchange: Exchange = scope[_SCOPE_KEY]
    return exchange
