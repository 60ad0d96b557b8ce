"""The process of a server that is connected to a Ray cluster.

Ray ends a process whose node has died, or whose cluster cannot be reached for a minute, and in the mean time
its functions may not return. The server survives that because it has no connection of its own: it starts
another driver (`ml.runtime.cluster.link`). Nor can a replica make the server unpickle anything: what comes
from here is JSON.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from ml.runtime import child_process
from ml.runtime.cluster import connection, deployment
from ml.runtime.cluster.calls import CallSender, Stream
from ml.runtime.cluster.deployment import MISSING, FamilyState
from ml.runtime.cluster.engine_report import EngineReport
from ml.runtime.cluster.messages import DriverConfig, EndCall
from ml.runtime.cluster.turns import TurnsLink
from ml.runtime.messages import StartCall
from ml.runtime.wire import Wire, WireBroken, dump_for_server, load_in_worker

log = logging.getLogger(__name__)

#: Interval at which Serve is asked for its replicas: the shorter one after a change, then longer each time.
#: Once a second, the answers would take a twentieth of a core.
WATCH_SECONDS = 1.0
LONGEST_WATCH_SECONDS = 5.0
#: How often a family's replicas are asked what is installed, and how long they may take to answer.
REPORT_SECONDS = 30.0
REPORT_TIMEOUT_SECONDS = 20.0
#: A driver that has failed for so long leaves: another one finds a new cluster at the same address.
GIVE_UP_SECONDS = 20.0
#: How long the end may take.
LEAVE_SECONDS = 3.0


class _Server:
    """The wire to the server. Used by any thread."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._lock = threading.Lock()

    def tell(self, message: Mapping[str, Any]) -> None:
        body, payloads = dump_for_server(message)
        with self._lock, suppress(WireBroken):  # the reading thread notices it, too
            self._wire.send(body, payloads)


class _LogToServer(logging.Handler):
    def __init__(self, server: _Server) -> None:
        super().__init__()
        self._server = server

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)  # with a traceback, if there is one
        self._server.tell(
            {"kind": "log", "logger": record.name, "level": record.levelno, "text": text[:10_000]}
        )


class _Reports:
    """Asks the replicas of one family what is installed, without waiting: one answers when it is free."""

    def __init__(self, family: str) -> None:
        self._family = family
        self._has_one = False
        self._asked_at = -REPORT_SECONDS
        self._asked: Any = None

    def next(self, handle: Any, running: int) -> EngineReport | None:
        """A new report, if there is one."""
        now = time.monotonic()
        found = None
        if self._asked is not None:
            try:
                found = self._asked.result(timeout_s=0)
            except TimeoutError:
                if now - self._asked_at < REPORT_TIMEOUT_SECONDS:
                    return None
                self._asked.cancel()
            except Exception as error:  # the replica is gone, or its machine
                log.info("No report of %s: %r", self._family, error)
            self._asked = None
            self._has_one = self._has_one or found is not None
        interval = REPORT_SECONDS if self._has_one else WATCH_SECONDS
        if running and now - self._asked_at >= interval:
            self._asked_at = now
            self._asked = handle.report.remote()
        return found


class _Driver:
    def __init__(self, config: DriverConfig, server: _Server) -> None:
        self._config = config
        self._server = server
        self._turns = TurnsLink(config.prefix, config.server)
        self._handles: dict[str, Any] = {}
        self._reports = {family: _Reports(family) for family in config.sizes}
        self.calls = CallSender(self._turns.take, self._open_stream, server.tell)

    def run(self) -> None:
        """Returns when the cluster is lost. Raises Ray's errors."""
        self._wait_for_address()
        connection.connect(self._config.address)
        self._turns.connect()
        self._deploy_missing()
        self._watch()

    def _wait_for_address(self) -> None:
        while True:
            try:
                return connection.check_answers(self._config.address)
            except OSError as error:
                self._server.tell({"kind": "unreachable", "why": str(error)})
            time.sleep(WATCH_SECONDS)

    def _deploy_missing(self) -> None:
        config = self._config
        missing = [name for name, state in self._states().items() if state.status == MISSING]
        deployment.deploy(config.prefix, config.replica, config.sizes, missing)

    def _watch(self) -> None:
        states: dict[str, FamilyState] = {}
        seen_at, interval = time.monotonic(), WATCH_SECONDS
        while time.monotonic() - seen_at < GIVE_UP_SECONDS:
            try:
                seen = self._update()
                interval = WATCH_SECONDS if seen != states else min(1.5 * interval, LONGEST_WATCH_SECONDS)
                states, seen_at = seen, time.monotonic()
            except Exception as error:  # Ray has many kinds
                self._server.tell({"kind": "unreachable", "why": repr(error)})
                interval = WATCH_SECONDS
            time.sleep(interval)

    def _update(self) -> dict[str, FamilyState]:
        states = self._states()
        for family, state in states.items():
            if family not in self._handles and not state.is_broken:
                self._handles[family] = deployment.handle(self._config.prefix, family)
        self._server.tell(
            {"kind": "states", "families": {family: asdict(state) for family, state in states.items()}}
        )
        for family, handle in self._handles.items():
            report = self._reports[family].next(handle, states[family].running)
            if report is not None:
                self._server.tell({"kind": "report", "family": family, "report": report.as_json()})
        sizes = self._config.sizes
        self._turns.renew({family: sizes[family].room(states[family].running) for family in self._handles})
        return states

    def _states(self) -> dict[str, FamilyState]:
        return deployment.states(self._config.prefix, self._config.sizes)

    def _open_stream(self, family: str, work: StartCall, payloads: list[bytes]) -> Stream:
        stream: Stream = (
            self._handles[family].options(stream=True).run.remote(work, self._turns.sender, *payloads)
        )
        return stream


def main() -> None:
    wire = child_process.enter()
    config: DriverConfig = load_in_worker(wire.receive()[0])
    server = _Server(wire)
    logging.basicConfig(level=logging.INFO, handlers=[_LogToServer(server)], format="%(message)s")
    driver = _Driver(config, server)
    threading.Thread(target=_read, args=(wire, driver.calls), name="server", daemon=True).start()
    try:
        driver.run()
    except Exception as error:  # Ray has many kinds
        server.tell({"kind": "unreachable", "why": repr(error)})
        log.info("The cluster cannot be used", exc_info=True)
    _leave()


def _read(wire: Wire, calls: CallSender) -> None:
    """What the server sends, until it has ended or wants this process to end."""
    try:
        while True:
            body, payloads = wire.receive()
            message = load_in_worker(body)
            if isinstance(message, EndCall):
                calls.end(message.id)
            else:
                calls.send(message.id, message.family, message.work, payloads)
            # Otherwise the last call's bytes would stay in memory until the next call.
            del body, payloads, message
    except WireBroken:
        pass
    except BaseException:
        log.exception("The cluster's driver cannot go on")
    _leave()


def _leave() -> None:
    """End this process, and tell Ray if it answers."""
    if "ray" in sys.modules:
        ending = threading.Thread(target=sys.modules["ray"].shutdown, daemon=True)
        ending.start()
        ending.join(LEAVE_SECONDS)
    os._exit(0)


if __name__ == "__main__":
    main()
