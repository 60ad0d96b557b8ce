"""Alerts reach a real SMTP server: once, in both forms, also after it was down."""

import re
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlmodel import select

from api.alerts import announcements, preferences
from api.alerts.models import Alert, AlertKind, MailStatus
from api.auth import api_keys
from api.auth.email.alert_runs import GIVEN_UP_AFTER, RETRY_DELAYS, AlertMailRunner
from api.durable.tasks import Task
from billing.ledger import accounts
from billing.ledger.models import Account
from billing.timestamps import utc_now
from tests.support.alert_rows import PAYMENT, make_alert
from tests.support.apps import LocalApi, local_api
from tests.support.calling import small_picture
from tests.support.load import account_with
from tests.support.mailbox import Mailbox, part, running_mailbox
from tests.support.server import ServerFactory, free_port
from tests.support.waiting import wait_until

PUBLIC = "https://pictures.example.com"


class Post:
    """An account of a server with a mail server, whose clock only tests move. Its engine does not run."""

    def __init__(self, api: LocalApi) -> None:
        self.api = api
        self.clock = api.clock
        self.runner = AlertMailRunner(api.services)
        with self.transaction() as session:
            account = account_with(session, credits=5)
            account.email = "ada@example.com"
            self.account_id, self.email = account.id, account.email

    def transaction(self) -> Any:
        return self.api.services.database.transaction()

    def alert(self, cause: str = "sub_1") -> str:
        with self.transaction() as session:
            return make_alert(session, self.account_id, self.clock(), cause).id

    def due(self) -> list[Task]:
        with self.transaction() as session:
            return self.runner.unfinished(session, "", 100)

    def send_due(self) -> int:
        """Make every attempt that is due; their number."""
        with self.transaction() as session:
            rows = {row.id: row.next_attempt_at for row in session.exec(select(Alert))}
        tasks = [task for task in self.due() if rows[task.id.partition(".")[0]] <= self.clock()]
        for task in tasks:
            self.api.call(self.runner.run, task.id)
        return len(tasks)

    def wait_for_next(self) -> datetime:
        with self.transaction() as session:
            self.clock.now = max(self.clock(), *(row.next_attempt_at for row in session.exec(select(Alert))))
        self.send_due()
        return self.clock()

    def statuses(self) -> list[str]:
        with self.transaction() as session:
            return [row.mail_status for row in session.exec(select(Alert).order_by(Alert.id))]


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with running_mailbox() as box:
        yield box


@pytest.fixture
def post(migrated_database_url: str, tmp_path: Path, mailbox: Mailbox) -> Iterator[Post]:
    with local_api(
        tmp_path,
        database_url=migrated_database_url,
        smtp_url=SecretStr(mailbox.url),
        public_url=PUBLIC,
        mail_from="bgeraser <post@pictures.example.com>",
    ) as api:
        yield Post(api)


def test_a_mail_has_both_parts_and_the_headers_of_one_click(post: Post, mailbox: Mailbox) -> None:
    alert_id = post.alert()
    assert post.send_due() == 1
    mail = mailbox.next()
    assert mail.get_content_type() == "multipart/alternative"
    assert [each.get_content_type() for each in mail.iter_parts()] == ["text/plain", "text/html"]
    assert (mail["To"], mail["From"]) == (post.email, "bgeraser <post@pictures.example.com>")
    assert mail["Subject"] == "The payment for your bgeraser Standard plan failed"
    assert mail["Message-ID"] == f"<{alert_id}@pictures.example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    token = re.fullmatch(rf"<{PUBLIC}/unsubscribe\?token=([\w.-]+)>", mail["List-Unsubscribe"])
    assert token is not None, mail["List-Unsubscribe"]
    named = post.api.services.unsubscribe.read(token[1])
    assert named == (post.account_id, AlertKind.PAYMENT_FAILED)
    for subtype in ("plain", "html"):
        assert "29 November 2026, 12:00 UTC" in part(mail, subtype)
        assert token[1] in part(mail, subtype)
    assert post.statuses() == [MailStatus.SENT]
    assert post.due() == []


def test_no_header_is_encoded_that_mail_programs_read(post: Post, mailbox: Mailbox) -> None:
    """As the bytes arrive: a folded or encoded List-Unsubscribe is not understood everywhere."""
    received: list[bytes] = []
    keep = mailbox.handle_DATA

    async def handle(server: Any, session: Any, envelope: Any) -> str:
        received.append(envelope.content)
        return await keep(server, session, envelope)

    mailbox.handle_DATA = handle  # type: ignore[method-assign]
    post.alert()
    post.send_due()
    mailbox.next()
    (content,) = received
    head = content.partition(b"\r\n\r\n")[0].decode("ascii").split("\r\n")
    (unsubscribe,) = (line for line in head if line.startswith("List-Unsubscribe:"))
    assert unsubscribe.startswith(f"List-Unsubscribe: <{PUBLIC}/unsubscribe?token=acc_")
    assert unsubscribe.endswith(">")
    assert max(len(line) for line in content.split(b"\r\n")) < 998
    assert content.isascii()


def test_a_mail_about_security_has_no_one_click(post: Post, mailbox: Mailbox) -> None:
    with post.transaction() as session:
        account = accounts.lock(session, post.account_id)
        facts = {"browser": "Firefox", "address": "::1", "signedInAt": "2026-11-22T12:00:00Z"}
        announcements.record(
            session,
            account,
            AlertKind.SIGN_IN,
            "x",
            facts,
            post.clock(),
            outlet=post.api.services.alerts,
            kept_for=None,
        )
    post.send_due()
    mail = mailbox.next()
    assert mail["List-Unsubscribe"] is mail["List-Unsubscribe-Post"] is None
    assert f"{PUBLIC}/settings#alerts" in part(mail, "plain")


def test_a_refusal_for_now_is_tried_again_with_the_same_message_id(post: Post, mailbox: Mailbox) -> None:
    began = post.clock()
    alert_id = post.alert()
    mailbox.refusals = 2
    assert post.send_due() == 1
    assert post.send_due() == 0  # not before the pause is over
    post.wait_for_next()
    assert mailbox.is_empty()
    assert post.statuses() == [MailStatus.PENDING]
    post.wait_for_next()
    assert mailbox.next()["Message-ID"] == f"<{alert_id}@pictures.example.com>"
    assert post.statuses() == [MailStatus.SENT]
    assert post.clock() - began < 1.2 * (RETRY_DELAYS[0] + RETRY_DELAYS[1])
    assert mailbox.is_empty()


def test_a_server_that_is_down_for_a_day_is_given_up_with_a_log_line(
    migrated_database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"smtp://127.0.0.1:{closed.getsockname()[1]}"  # bound, but nobody listens
        with local_api(
            tmp_path, database_url=migrated_database_url, smtp_url=SecretStr(url), public_url=PUBLIC
        ) as api:
            post = Post(api)
            began = post.clock()
            post.alert()
            post.send_due()
            while post.statuses() == [MailStatus.PENDING]:
                post.wait_for_next()
            assert timedelta(hours=18) < post.clock() - began <= GIVEN_UP_AFTER * 1.1
            assert post.statuses() == [MailStatus.FAILED]
            assert post.due() == []
    logged = capsys.readouterr().out
    assert "an alert was not mailed, and is given up" in logged
    assert post.email not in logged


def test_an_alert_that_waited_longer_than_a_day_is_not_mailed(post: Post, mailbox: Mailbox) -> None:
    post.alert()
    post.clock.now += GIVEN_UP_AFTER + timedelta(seconds=1)
    post.send_due()
    assert post.statuses() == [MailStatus.FAILED]
    assert mailbox.is_empty()


@pytest.mark.parametrize("code", [b"550 no such person", b"554 refused"])
def test_a_refusal_for_good_is_not_tried_again(post: Post, mailbox: Mailbox, code: bytes) -> None:
    async def refuse(*_: Any) -> str:
        return code.decode()

    mailbox.handle_RCPT = refuse  # type: ignore[attr-defined]
    post.alert()
    post.send_due()
    assert post.statuses() == [MailStatus.FAILED]


def test_greylisting_is_tried_again(post: Post, mailbox: Mailbox) -> None:
    answers = iter(["450 come back later"])

    async def answer(_server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        refusal = next(answers, None)
        if refusal is None:
            envelope.rcpt_tos.append(address)
        return refusal or "250 OK"

    mailbox.handle_RCPT = answer  # type: ignore[attr-defined]
    post.alert()
    post.send_due()
    assert post.statuses() == [MailStatus.PENDING]
    post.wait_for_next()
    assert post.statuses() == [MailStatus.SENT]


def test_a_task_that_is_run_again_sends_nothing_again(post: Post, mailbox: Mailbox) -> None:
    post.alert()
    (task,) = post.due()
    for _ in range(3):
        post.api.call(post.runner.run, task.id)
    mailbox.next()
    assert mailbox.is_empty()
    post.api.call(post.runner.run, f"{task.id.partition('.')[0]}.7")
    post.api.call(post.runner.run, "alr_unknown.0")
    assert mailbox.is_empty()


@pytest.mark.parametrize("change", ["muted", "closed", "unverified"])
def test_who_wants_no_mail_when_it_is_due_gets_none(post: Post, mailbox: Mailbox, change: str) -> None:
    post.alert()
    with post.transaction() as session:
        account = session.get_one(Account, post.account_id)
        if change == "muted":
            preferences.mute(session, account.id, AlertKind.PAYMENT_FAILED)
        elif change == "closed":
            account.closed_at = post.clock()
        else:
            account.verified_at = None
    post.send_due()
    assert post.statuses() == [MailStatus.NONE]
    assert mailbox.is_empty()


def test_without_a_mail_server_nothing_waits(migrated_database_url: str, tmp_path: Path) -> None:
    with local_api(tmp_path, database_url=migrated_database_url, public_url=PUBLIC) as api:
        post = Post(api)
        with post.transaction() as session:
            account = accounts.lock(session, post.account_id)
            kind, outlet = AlertKind.PAYMENT_FAILED, api.services.alerts
            announcements.record(
                session, account, kind, "x", PAYMENT, post.clock(), outlet=outlet, kept_for=None
            )
        assert post.statuses() == [MailStatus.NONE]
        # One that another process left is not taken by this one.
        alert_id = post.alert("other")
        assert post.due() == []
        post.api.call(post.runner.run, f"{alert_id}.0")
        assert sorted(post.statuses()) == [MailStatus.NONE, MailStatus.PENDING]


def test_fifty_parallel_calls_over_both_limits_send_one_mail_each(
    tmp_path: Path, server_factory: ServerFactory, mailbox: Mailbox
) -> None:
    """A real server with its engine, and a real mail server that refuses at first."""
    port = free_port()
    settings = {
        "BGERASER_SMTP_URL": mailbox.url,
        "BGERASER_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "BGERASER_WORKERS": "1",
    }
    mailbox.refusals = 1
    with server_factory(tmp_path, settings, port) as server:
        with server.database.transaction() as session:
            poor = account_with(session, credits=25, now=utc_now())
            plain = api_keys.create(session, poor.id, "test", utc_now())[1]

        def call(number: int) -> int:
            with httpx.Client(base_url=server.address, timeout=120) as client:
                answer = client.post(
                    "/api/tools/crop",
                    headers={"X-Api-Key": plain, "Idempotency-Key": f"{number}"},
                    files={"image": small_picture()},
                    data={"rotate": "90"},
                )
                return answer.status_code

        with ThreadPoolExecutor(50) as threads:
            answers = Counter(threads.map(call, range(50)))
        assert answers == {200: 25, 402: 25}
        subjects = sorted(mailbox.next()["Subject"] for _ in range(2))
        assert subjects[1] == "Your bgeraser account has no credits left"
        assert subjects[0] == "5 credits are left in your bgeraser account"

        def is_sent() -> bool:
            with server.database.transaction() as session:
                return {row.mail_status for row in session.exec(select(Alert))} == {MailStatus.SENT}

        wait_until(is_sent)
        assert mailbox.is_empty()
        assert server.drifts() == []
