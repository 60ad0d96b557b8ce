"""Mail over SMTP: `smtp://user:password@host:587` or `smtps://…:465`.

`smtp://` uses STARTTLS where the server offers it, and never sends a password without TLS.
"""

import logging
import smtplib
import ssl
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from time import sleep
from urllib.parse import unquote, urlsplit

_ATTEMPTS = 3
_PAUSE_SECONDS = 2.0
_TIMEOUT_SECONDS = 20.0
_THREADS = 2
_WAITING_MAX = 1_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MailMessage:
    """One mail in plain text."""

    to: str
    subject: str
    text: str


class Mailer:
    """Sends mail in its own threads, so that responses neither wait for the mail server nor leak by timing.

    Raises ValueError for an address that is not smtp:// or smtps://. A message that fails three times is
    dropped and logged without its text.
    """

    def __init__(
        self,
        url: str,
        sender: str,
        *,
        tls: ssl.SSLContext | None = None,
        pause_seconds: float = _PAUSE_SECONDS,
    ) -> None:
        address = urlsplit(url)
        if address.scheme not in ("smtp", "smtps") or not address.hostname:
            raise ValueError("BGERASER_SMTP_URL must be smtp://host:port or smtps://host:port")
        self._is_tls = address.scheme == "smtps"
        self._host = address.hostname
        self._port = address.port or (465 if self._is_tls else 587)
        self._user = unquote(address.username or "")
        self._password = unquote(address.password or "")
        self._sender = sender
        self._tls = tls or ssl.create_default_context()
        self._pause_seconds = pause_seconds
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="mail")
        self._waiting: set[Future[bool]] = set()

    def send(self, message: MailMessage) -> Future[bool]:
        """Queue the message; the future resolves to whether the mail server accepted it."""
        if len(self._waiting) >= _WAITING_MAX:
            _log.error("a mail was dropped: %d are queued already", len(self._waiting))
            dropped: Future[bool] = Future()
            dropped.set_result(False)
            return dropped
        sending = self._pool.submit(self._try_to_send, message)
        self._waiting.add(sending)
        sending.add_done_callback(self._waiting.discard)
        return sending

    def close(self) -> None:
        """Wait for mails being sent; queued ones are dropped."""
        self._pool.shutdown(cancel_futures=True)

    def _try_to_send(self, message: MailMessage) -> bool:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._deliver(message)
            except (OSError, smtplib.SMTPException, ValueError) as error:
                _log.warning("attempt %d to send a mail failed: %s", attempt, type(error).__name__)
                # An invalid message or recipient would fail again.
                if isinstance(error, smtplib.SMTPRecipientsRefused | ValueError) or attempt == _ATTEMPTS:
                    break
                sleep(self._pause_seconds * attempt)
            else:
                return True
        _log.error("a mail could not be sent", extra={"subject": message.subject})
        return False

    def _deliver(self, message: MailMessage) -> None:
        with self._connection() as server:
            if self._user:
                server.login(self._user, self._password)
            server.send_message(self._mime_message(message))

    def _connection(self) -> smtplib.SMTP:
        if self._is_tls:
            return smtplib.SMTP_SSL(self._host, self._port, timeout=_TIMEOUT_SECONDS, context=self._tls)
        server = smtplib.SMTP(self._host, self._port, timeout=_TIMEOUT_SECONDS)
        try:
            server.ehlo()
            if server.has_extn("starttls"):
                server.starttls(context=self._tls)
                server.ehlo()
            elif self._user:
                raise smtplib.SMTPNotSupportedError("no STARTTLS, so the password is not sent")
        except BaseException:
            server.close()
            raise
        return server

    def _mime_message(self, message: MailMessage) -> EmailMessage:
        mime = EmailMessage()
        mime["From"] = self._sender
        mime["To"] = message.to
        mime["Subject"] = message.subject
        mime["Date"] = formatdate()
        mime["Message-ID"] = make_msgid(domain=self._sender.rpartition("@")[2].strip("<> "))
        # Prevents out-of-office replies.
        mime["Auto-Submitted"] = "auto-generated"
        mime.set_content(message.text)
        return mime
