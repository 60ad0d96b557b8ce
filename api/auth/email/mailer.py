"""Mail over SMTP: `smtp://user:password@host:587` or `smtps://…:465`.

`smtp://` uses STARTTLS where the server offers it, and never sends a password without TLS.
"""

import logging
import smtplib
import ssl
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from time import sleep
from urllib.parse import unquote, urlsplit

from api.settings import Settings

_ATTEMPTS = 3
_PAUSE_SECONDS = 2.0
_TIMEOUT_SECONDS = 20.0
_THREADS = 2
_WAITING_MAX = 1_000
_PERMANENT = 500
#: Headers are not folded below SMTP's limit: a folded URL is encoded, and not understood everywhere.
_POLICY = policy.EmailPolicy(max_line_length=990)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MailMessage:
    """One mail in plain text, and in HTML too if it has `html`."""

    to: str
    subject: str
    text: str
    html: str = ""
    #: The same for every attempt to send it, so that readers show one copy. "" for a new one.
    message_id: str = ""
    #: Where one POST without a session switches off mails of this kind (RFC 8058). "" where none does.
    unsubscribe_url: str = ""


class MailNotSent(Exception):
    """The mail server was not reached or did not take the mail; the message says why, without addresses."""


class MailRefused(MailNotSent):
    """It would not take this mail at another attempt either."""


def mailer_of(settings: Settings) -> "Mailer | None":
    """None without a mail server. Raises ValueError for an invalid address of one."""
    if settings.smtp_url is None:
        return None
    host = urlsplit(settings.public_url or "").hostname or "localhost"
    return Mailer(settings.smtp_url.get_secret_value(), settings.mail_from or f"bgeraser@{host}")


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
        self._domain = sender.rpartition("@")[2].strip("<> ")
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

    def deliver(self, message: MailMessage) -> None:
        """Send the message, once and in this thread, which may take a minute.

        Raises `MailNotSent`, or `MailRefused` if another attempt is pointless.
        """
        try:
            self._deliver(message)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            failure = MailRefused if all(code >= _PERMANENT for code in codes) else MailNotSent
            raise failure(f"the recipient was refused: {codes}") from error
        except smtplib.SMTPDataError as error:
            failure = MailRefused if error.smtp_code >= _PERMANENT else MailNotSent
            raise failure(f"the mail was refused: {error.smtp_code}") from error
        except smtplib.SMTPResponseException as error:
            raise MailNotSent(f"{type(error).__name__}: {error.smtp_code}") from error
        except OSError as error:  # of SMTP, the network and TLS; some of the latter are ValueErrors too
            raise MailNotSent(type(error).__name__) from error
        except ValueError as error:
            raise MailRefused("the mail cannot be written") from error

    def message_id(self, name: str) -> str:
        """The Message-ID of the mail that is called `name` here."""
        return f"<{name}@{self._domain}>"

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
        mime = self._mime_message(message)
        server = self._connection()
        try:
            if self._user:
                server.login(self._user, self._password)
            server.send_message(mime)
        finally:
            # The server has answered: a connection that ends badly afterwards does not undo that.
            with suppress(OSError, smtplib.SMTPException):
                server.quit()
            server.close()

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
        mime = EmailMessage(_POLICY)
        mime["From"] = self._sender
        mime["To"] = message.to
        mime["Subject"] = message.subject
        mime["Date"] = formatdate()
        mime["Message-ID"] = message.message_id or make_msgid(domain=self._domain)
        if message.unsubscribe_url:
            mime["List-Unsubscribe"] = f"<{message.unsubscribe_url}>"
            mime["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        # Prevents out-of-office replies.
        mime["Auto-Submitted"] = "auto-generated"
        mime.set_content(message.text, cte="quoted-printable")
        if message.html:
            mime.add_alternative(message.html, subtype="html", cte="quoted-printable")
        return mime
