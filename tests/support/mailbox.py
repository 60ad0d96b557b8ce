"""A real SMTP server that keeps what it gets."""

import asyncio
import queue
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

_PATIENCE_SECONDS = 20.0


class Mailbox:
    """The delivered messages. `refusals`: how many messages are refused at first, with a temporary error."""

    def __init__(self) -> None:
        self.url = ""
        self.refusals = 0
        self.was_encrypted: list[bool] = []
        self.logins: list[str] = []
        self._messages: queue.Queue[EmailMessage] = queue.Queue()

    def next(self) -> EmailMessage:
        """The next message. Waits until it has arrived."""
        return self._messages.get(timeout=_PATIENCE_SECONDS)

    def link(self, kind: str) -> str:
        """The link in the next message whose path begins with `kind`."""
        words = part(self.next(), "plain").split()
        return next(word for word in words if f"/{kind}" in word and "token=" in word)

    def is_empty(self) -> bool:
        return self._messages.empty()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Called by aiosmtpd under this name."""
        if self.refusals:
            self.refusals -= 1
            return "451 Come back later"
        assert server.transport is not None
        self.was_encrypted.append(server.transport.get_extra_info("ssl_object") is not None)
        content = envelope.content
        assert isinstance(content, bytes)
        self._messages.put(message_from_bytes(content, policy=policy.default))
        return "250 OK"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword
    ) -> AuthResult:
        self.logins.append(f"{data.login.decode()}:{data.password.decode()}")
        return AuthResult(success=data.password == b"p@ss:word")


@contextmanager
def running_mailbox(
    tls: ssl.SSLContext | None = None, *, is_smtps: bool = False, needs_login: bool = False
) -> Iterator[Mailbox]:
    """A server on a free port. `tls`: offered by STARTTLS, or from the first byte with `is_smtps`."""
    box = Mailbox()
    options: dict[str, Any] = (
        {"authenticator": box.authenticate, "auth_required": True} if needs_login else {}
    )
    controller = _Controller(
        box,
        hostname="127.0.0.1",
        port=0,
        ssl_context=tls if is_smtps else None,
        tls_context=None if is_smtps else tls,
        **options,
    )
    controller.start()
    try:
        box.url = f"{'smtps' if is_smtps else 'smtp'}://127.0.0.1:{controller.port}"
        yield box
    finally:
        controller.stop()


class _Controller(Controller):
    """Reads its assigned port before it checks that the server answers."""

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


def part(message: EmailMessage, subtype: str) -> str:
    """The text of a mail's only part of this kind: plain or html."""
    (found,) = (each for each in message.walk() if each.get_content_type() == f"text/{subtype}")
    assert isinstance(found, EmailMessage)
    return str(found.get_content())
