"""Ctrl-C and SIGTERM, which end a run in order."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """A signal ended the work."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def until_signalled(work: Coroutine[Any, Any, bool]) -> bool:
    """Run `work`, which Ctrl-C and SIGTERM cancel. Raises Interrupted then."""

    async def supervise() -> bool:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(work)
        received: list[int] = []

        def stop(number: int) -> None:
            received.append(number)
            task.cancel()
            for one in _SIGNALS:  # a second signal ends the process as usual
                loop.remove_signal_handler(one)

        for number in _SIGNALS:
            loop.add_signal_handler(number, stop, number)
        try:
            return await task
        except asyncio.CancelledError:
            if received:
                raise Interrupted(received[0]) from None
            raise

    return asyncio.run(supervise())
