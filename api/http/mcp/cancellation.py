"""Calls that agents cancel.

In the protocol's versions with a handshake, an agent cancels a call by a notification in another request.
The call is found by its account, the session that the handshake named and the id of its message: ids alone
are numbered from 1 by every agent. Sessions have no state besides. A notification that reaches another
process than its call has no effect, as the protocol allows, and the call is finished.

In the versions without a handshake, an agent cancels by closing the connection of the answer.
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from ml.errors import Cancelled

T = TypeVar("T")

SESSION_HEADER = "mcp-session-id"


def new_session_id() -> str:
    return secrets.token_hex(16)


@dataclass(frozen=True)
class CallName:
    """What a notification names. `message_id` may be sent as a number or as its text."""

    account_id: str
    session_id: str
    message_id: str


class CancellableCalls:
    """This process's running calls that a notification can cancel. For one event loop."""

    def __init__(self) -> None:
        self._cancels: dict[CallName, Callable[[], None]] = {}

    def cancel(self, name: CallName) -> None:
        """Cancel the call, if it runs here."""
        if (cancel := self._cancels.get(name)) is not None:
            cancel()

    async def run(
        self, name: CallName | None, work: Coroutine[Any, Any, T], on_cancel: Callable[[], bool]
    ) -> T:
        """The result of `work`.

        `cancel` calls `on_cancel`, which returns whether it has made `work` end soon. If not, `work` is
        cancelled, and `Cancelled` is raised. Work without a name cannot be cancelled. Of two calls that an
        agent gave one name, the later one can be.
        """
        task = asyncio.create_task(work)
        is_cancelled = False

        def cancel() -> None:
            nonlocal is_cancelled
            if not is_cancelled and not on_cancel():
                is_cancelled = True
                task.cancel()

        if name is not None:
            self._cancels[name] = cancel
        try:
            return await task
        except asyncio.CancelledError:
            waiting = asyncio.current_task()
            if not is_cancelled or (waiting is not None and waiting.cancelling()):
                raise
            raise Cancelled("The agent cancelled the call.") from None
        finally:
            if name is not None and self._cancels.get(name) is cancel:
                del self._cancels[name]
