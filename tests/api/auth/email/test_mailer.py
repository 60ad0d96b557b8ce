"""Sending email through real SMTP servers: plain, STARTTLS, TLS, authentication and retries."""

import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from api.auth.email import messages
from api.auth.email.mailer import Mailer, MailMessage, MailNotSent, MailRefused
from billing.timestamps import utc_now
from tests.support.builders import DAY
from tests.support.mailbox import Mailbox, running_mailbox

SENDER = "bgeraser <post@pictures.example.com>"
MESSAGE = MailMessage("ada@example.com", "Grüße", "Ein Link: https://pictures.example.com/verify?token=x\n")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1 (self-signed), in one file."""
    from ipaddress import ip_address

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(utc_now() - DAY)
        .not_valid_after(utc_now() + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(plain + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def client_tls(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with running_mailbox() as box:
        yield box


def send(url: str, message: MailMessage = MESSAGE, tls: ssl.SSLContext | None = None) -> bool:
    mailer = Mailer(url, SENDER, tls=tls, pause_seconds=0.01)
    try:
        return mailer.send(message).result(60)
    finally:
        mailer.close()


def test_a_message_is_delivered_unchanged(mailbox: Mailbox) -> None:
    assert send(mailbox.url)
    got = mailbox.next()
    assert (got["To"], got["From"], got["Subject"]) == ("ada@example.com", SENDER, "Grüße")
    assert got.get_content().splitlines() == MESSAGE.text.splitlines()
    assert got["Auto-Submitted"] == "auto-generated"
    assert got["Message-ID"].endswith("@pictures.example.com>")


def test_starttls_is_used_when_offered(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    with running_mailbox(server_tls, needs_login=True) as box:
        url = box.url.replace("://", "://us%40er:p%40ss%3Aword@")
        assert send(url, tls=client_tls)
        assert box.was_encrypted == [True]
        assert box.logins == ["us@er:p@ss:word"]


def test_implicit_tls_is_supported(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    with running_mailbox(server_tls, is_smtps=True) as box:
        assert send(box.url, tls=client_tls)
        assert box.was_encrypted == [True]


def test_no_message_is_sent_to_a_server_with_an_invalid_certificate(server_tls: ssl.SSLContext) -> None:
    with running_mailbox(server_tls) as box:
        assert not send(box.url)
        assert box.is_empty()


def test_a_password_is_never_sent_in_the_clear(mailbox: Mailbox) -> None:
    assert not send(mailbox.url.replace("://", "://user:secret@"))
    assert mailbox.logins == []
    assert mailbox.is_empty()


def test_a_temporary_smtp_failure_is_retried(mailbox: Mailbox) -> None:
    mailbox.refusals = 2
    assert send(mailbox.url)
    mailbox.refusals = 3
    assert not send(mailbox.url)


def test_a_failed_delivery_is_reported_without_logging_the_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret = MailMessage(
        "ada@example.com", "Subject", "the link is https://x.example/reset?token=very-secret"
    )
    assert not send("smtp://127.0.0.1:9", secret)
    assert "very-secret" not in caplog.text


def deliver(url: str, message: MailMessage = MESSAGE, tls: ssl.SSLContext | None = None) -> None:
    mailer = Mailer(url, SENDER, tls=tls)
    try:
        mailer.deliver(message)
    finally:
        mailer.close()


def test_one_attempt_uses_starttls_and_says_what_it_did(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    with running_mailbox(server_tls, needs_login=True) as box:
        url = box.url.replace("://", "://us%40er:p%40ss%3Aword@")
        deliver(url, replace(MESSAGE, html="<p>Ein <b>Link</b>", message_id="<a@b.example>"), client_tls)
        assert box.was_encrypted == [True]
        got = box.next()
        assert got["Message-ID"] == "<a@b.example>"
        assert [part.get_content_type() for part in got.iter_parts()] == ["text/plain", "text/html"]


def test_what_may_pass_is_told_from_what_will_not(mailbox: Mailbox, server_tls: ssl.SSLContext) -> None:
    mailbox.refusals = 1
    with pytest.raises(MailNotSent) as for_now:
        deliver(mailbox.url)
    with pytest.raises(MailNotSent) as unreachable:
        deliver("smtp://127.0.0.1:9")
    with running_mailbox(server_tls) as box, pytest.raises(MailNotSent) as certificate:
        deliver(box.url)
    with pytest.raises(MailNotSent) as password:
        deliver(mailbox.url.replace("://", "://user:secret@"))
    temporary = (for_now, unreachable, certificate, password)
    assert not any(isinstance(each.value, MailRefused) for each in temporary)
    for message in (replace(MESSAGE, to="a@x.org\r\nBcc: b@x.org"), replace(MESSAGE, subject="a\nb")):
        with pytest.raises(MailRefused):
            deliver(mailbox.url, message)
    assert mailbox.is_empty()
    assert "ada@example.com" not in str(for_now.value)


@pytest.mark.parametrize("url", ["", "http://x", "smtp://", "mail.example.com:25", "smtp:/x"])
def test_an_invalid_smtp_url_is_refused_at_startup(url: str) -> None:
    with pytest.raises(ValueError, match="BGERASER_SMTP_URL"):
        Mailer(url, SENDER)


def test_an_address_cannot_inject_headers(mailbox: Mailbox) -> None:
    assert not send(mailbox.url, messages.reset("a@x.org\r\nBcc: b@x.org", "https://x.example"))
    assert mailbox.is_empty()


def test_every_message_says_what_to_do_if_you_did_not_request_it() -> None:
    link = "https://pictures.example.com/x"
    for message in (
        messages.verify("a@x.org", link),
        messages.address_taken("a@x.org", link, link),
        messages.reset("a@x.org", link),
        messages.password_changed("a@x.org", link),
    ):
        assert link in message.text
        assert "not you" in message.text or "did not request" in message.text
