"""A receiver of webhooks: a real TLS server that verifies messages with the specification's own library."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
import standardwebhooks.webhooks
from standardwebhooks import Webhook, WebhookVerificationError

from api.webhooks.sender import WebhookSender
from tests.support.apps import Clock
from tests.support.remote_host import LOOPBACK, Names, RemoteHost, requests_to, running_host

PATH = "/hooks"


@dataclass(frozen=True)
class ReceivedMessage:
    headers: dict[str, str]
    body: bytes
    #: What the library returns; None if it refused the message.
    verified: Any

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> str:
        return self.headers["webhook-event"]


class WebhookReceiver:
    """Answers with `status`, and keeps all messages. While it `is_down` it only hangs up."""

    def __init__(self, host: RemoteHost, path: str = PATH) -> None:
        self.host = host
        self.secret = "whsec_bm90IHlldCBrbm93bg=="
        self.status = "200 OK"
        self.is_down = False
        self.refused_connections = 0
        self.messages: list[ReceivedMessage] = []
        #: Called when a message has come, before it is answered.
        self.before_answer: Callable[[], None] = lambda: None
        self.url = host.respond(path, self._receive)

    def events(self) -> list[str]:
        return [message.event for message in self.messages]

    def verify(self, message: ReceivedMessage, secret: str) -> bool:
        try:
            Webhook(secret).verify(message.body, message.headers)
        except WebhookVerificationError:
            return False
        return True

    def _receive(self, request: bytes, connection: ssl.SSLSocket) -> None:
        if self.is_down:
            self.refused_connections += 1
            return
        before, _, body = request.partition(b"\r\n\r\n")
        lines = before.decode().split("\r\n")[1:]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        try:
            verified = Webhook(self.secret).verify(body, headers)
        except WebhookVerificationError:
            verified = None
        self.messages.append(ReceivedMessage(headers, body, verified))
        self.before_answer()
        connection.sendall(f"HTTP/1.1 {self.status}\r\ncontent-length: 0\r\n\r\n".encode())


@contextmanager
def running_receiver() -> Iterator[WebhookReceiver]:
    with running_host() as host:
        yield WebhookReceiver(host)


def sender_for(
    host: RemoteHost,
    names: Names | None = None,
    *,
    is_allowed: Callable[[str], bool] = lambda address: address == LOOPBACK,
    seconds: float = 15.0,
) -> WebhookSender:
    """A sender to which `host` is public, and nothing else."""
    return WebhookSender(requests_to(host, names, is_allowed=is_allowed), seconds=seconds)


def set_receivers_clock(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """Let the library, which refuses old timestamps, tell the time by `clock`."""

    class Now(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return clock()

    monkeypatch.setattr(standardwebhooks.webhooks, "datetime", Now)
