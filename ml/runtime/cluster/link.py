"""A server's link to a cluster: it keeps a driver process running, and speaks with it.

Calls sent while there is no driver are reported as gone, and so are the calls of a driver that ends.
"""

import itertools
import logging
import queue
import re
import select
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from ml.runtime import child_process
from ml.runtime.cluster.deployment import FamilyState
from ml.runtime.cluster.engine_report import EngineReport
from ml.runtime.cluster.messages import DriverConfig, EndCall, SendCall
from ml.runtime.cluster.replica import LAST_KINDS
from ml.runtime.messages import StartCall
from ml.runtime.wakeup import Wakeup
from ml.runtime.wire import WireBroken, dump_for_worker, load_in_server

log = logging.getLogger(__name__)

#: A driver that says nothing for so long is replaced: some function of Ray's does not return. It may take
#: longer to connect.
SILENT_SECONDS = 25.0
CONNECT_SECONDS = 90.0
#: Pause before the next driver: doubled after each that never reached the cluster.
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
#: How long a driver may take to leave the cluster.
LEAVE_SECONDS = 5.0
#: A line of Ray's own log: `[2026-01-31 12:00:00,000 E 1 2] (core_worker) file.cc:1: text`.
_RAY_LINE = re.compile(r"\[[\d\- :,]+ ([A-Z]) \d+ \d+\] (.*)", re.DOTALL)
_LEVELS = {"D": logging.DEBUG, "I": logging.INFO, "W": logging.WARNING}


class LinkEvents(Protocol):
    """Called in the link's thread."""

    def saw(self, states: dict[str, FamilyState]) -> None:
        """The state of all families."""

    def reported(self, family: str, report: EngineReport) -> None: ...

    def lost(self) -> None:
        """There is no connection any more. The calls that were sent are gone after this."""


class LinkedCall:
    """A call on its way. `on_message` gets what its replica says (`ml.runtime.cluster.replica`), or, once,
    `gone` with `why`; it is called in the link's thread or in that which sends.
    """

    def __init__(
        self, link: "ClusterLink", number: int, family: str, on_message: Callable[[dict[str, Any]], None]
    ) -> None:
        self.number = number
        self.family = family
        self.on_message = on_message
        self.is_ended = False
        self._link = link

    def send(self, work: StartCall, payloads: list[bytes]) -> None:
        """Does not wait."""
        if not self._link.post(self, work, payloads):
            self.on_message(_gone("the cluster cannot be reached"))

    def end(self) -> None:
        """The call is no longer wanted: no more messages about it. Does not wait; may be called again."""
        self._link.drop(self)


class ClusterLink:
    """May be started once."""

    def __init__(self, config: DriverConfig, events: LinkEvents) -> None:
        self._config = config
        self._events = events
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._calls: dict[int, LinkedCall] = {}  # that the current driver has
        self._driver: _Driver | None = None
        self._wakeup = Wakeup()
        self._is_closing = threading.Event()
        # Drivers end with the thread that started them.
        self._thread = threading.Thread(target=self._run, name="bgeraser-cluster", daemon=True)
        self._outage: str | None = None  # what was logged last

    def start(self) -> None:
        """Start a driver, which connects. Returns at once."""
        self._wakeup.open()
        self._thread.start()

    def close(self) -> None:
        """Let the driver leave, and wait for its end. Calls that are still there are gone."""
        self._is_closing.set()
        self._wakeup.wake()
        if self._thread.ident is not None:
            self._thread.join()
        self._wakeup.close()

    def new_call(self, family: str, on_message: Callable[[dict[str, Any]], None]) -> LinkedCall:
        return LinkedCall(self, next(self._numbers), family, on_message)

    def post(self, call: LinkedCall, work: StartCall, payloads: list[bytes]) -> bool:
        """Give a call to the driver. False if there is none."""
        with self._lock:
            if call.is_ended:
                return True
            if self._driver is None:
                return False
            self._calls[call.number] = call
            self._driver.put(SendCall(call.number, call.family, work), payloads)
        return True

    def drop(self, call: LinkedCall) -> None:
        with self._lock:
            call.is_ended = True
            if self._calls.pop(call.number, None) is not None and self._driver is not None:
                self._driver.put(EndCall(call.number), [])

    # In the link's thread

    def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._is_closing.is_set():
            has_reached_it = False
            try:
                has_reached_it = self._use_one_driver()
            except Exception:
                log.exception("The supervisor of the cluster's driver failed")
            pause = FIRST_PAUSE_SECONDS if has_reached_it else min(2 * pause, LONGEST_PAUSE_SECONDS)
            self._is_closing.wait(pause)

    def _use_one_driver(self) -> bool:
        """Returns, once it has ended, whether it ever reached the cluster."""
        driver = _Driver(self._config)
        with self._lock:
            self._driver = driver
        has_reached_it = False
        silent_at = time.monotonic() + CONNECT_SECONDS
        try:
            while not self._is_closing.is_set() and time.monotonic() < silent_at:
                if self._sleep(1.0, driver):
                    kind = self._handle(driver.receive())
                    has_reached_it = has_reached_it or kind == "states"
                    if kind in ("states", "unreachable"):
                        silent_at = time.monotonic() + (SILENT_SECONDS if has_reached_it else CONNECT_SECONDS)
            if not self._is_closing.is_set():
                self._note_outage("the driver says nothing, and is replaced")
        except WireBroken as error:
            self._note_outage(f"its driver ended: {error}")
        finally:
            with self._lock:
                self._driver = None
                gone = list(self._calls.values())
                self._calls.clear()
            self._events.lost()
            for call in gone:
                call.on_message(_gone("the connection to the cluster broke"))
            how = driver.close()
            log.info("The cluster's driver has ended (%s)", how)
        return has_reached_it

    def _sleep(self, seconds: float, driver: "_Driver") -> bool:
        """Wait for a message of the driver (then True), until woken or until `seconds` have passed."""
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        poll.register(driver, select.POLLIN)
        return driver.fileno() in {descriptor for descriptor, _ in poll.poll(seconds * 1000)}

    def _handle(self, message: dict[str, Any]) -> str:
        """Returns its kind."""
        kind = str(message["kind"])
        match kind:
            case "call":
                self._pass_on(message["id"], message["message"])
            case "gone":
                self._pass_on(message["id"], _gone(message["why"]))
            case "states":
                self._outage = None
                self._events.saw(
                    {family: FamilyState(**found) for family, found in message["families"].items()}
                )
            case "report":
                self._events.reported(message["family"], EngineReport.from_json(message["report"]))
            case "unreachable":
                self._note_outage(message["why"])
            case "log":
                logging.getLogger(message["logger"]).log(message["level"], "%s", message["text"])
            case _:
                raise WireBroken(f"an unknown message {kind!r}")
        return kind

    def _pass_on(self, number: int, message: dict[str, Any]) -> None:
        is_last = message.get("kind") in ("gone", *LAST_KINDS)
        with self._lock:
            call = self._calls.pop(number, None) if is_last else self._calls.get(number)
        if call is not None:
            call.on_message(message)

    def _note_outage(self, why: str) -> None:
        if why != self._outage:
            self._outage = why
            log.error("The cluster cannot be reached: %s", why)


class _Driver:
    """A driver's process. Used by the link's thread, except for `put`."""

    def __init__(self, config: DriverConfig) -> None:
        self._process, self._wire = child_process.start(
            "ml.runtime.cluster.driver", child_process.environment("RAY_"), subprocess.PIPE
        )
        self._outbox: queue.SimpleQueue[tuple[Any, list[bytes]] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=work, name=f"bgeraser-cluster-{name}", daemon=True)
            for name, work in (("sending", self._send_all), ("log", self._log_errors))
        ]
        self.put(config, [])
        for thread in self._threads:
            thread.start()

    def fileno(self) -> int:
        return self._wire.fileno()

    def put(self, message: Any, payloads: list[bytes]) -> None:
        """Send a message, later. Called by any thread."""
        self._outbox.put((message, payloads))

    def receive(self) -> dict[str, Any]:
        """Raises WireBroken."""
        return load_in_server(*self._wire.receive())

    def close(self) -> str:
        """Send what is left, let the process leave, and return how it ended."""
        self._outbox.put(None)
        self._threads[0].join(LEAVE_SECONDS)
        self._wire.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(LEAVE_SECONDS)
        how = child_process.kill(self._process)
        self._threads[1].join(LEAVE_SECONDS)
        return how

    def _send_all(self) -> None:
        try:
            while (item := self._outbox.get()) is not None:
                message, payloads = item
                self._wire.send(dump_for_worker(message), payloads)
                payloads.clear()
                del item, message, payloads
        except WireBroken:
            self._process.kill()  # which the link's thread notices

    def _log_errors(self) -> None:
        """Ray writes some of its log to the error output, and so does a process that crashes."""
        output = self._process.stderr
        if output is None:
            return
        with output:
            for line in iter(lambda: output.readline(10_000), b""):
                level, text = parse_log_line(line.decode(errors="replace").strip())
                if text:
                    logging.getLogger("ray").log(level, "%s", text)


def parse_log_line(line: str) -> tuple[int, str]:
    """Level and text of a line of a driver's error output, which may come from Ray's own log."""
    found = _RAY_LINE.fullmatch(line)
    if found is None:
        return logging.WARNING, line
    return _LEVELS.get(found[1], logging.ERROR), found[2]


def _gone(why: str) -> dict[str, Any]:
    return {"kind": "gone", "why": why}
