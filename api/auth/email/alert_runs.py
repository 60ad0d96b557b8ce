"""Mailing alerts: each attempt is a task, which records its outcome and enqueues the next one.

A mail is sent once, unless a process is killed between the mail server's answer and the record of it: then
the attempt is made again with the same Message-ID.
"""

import asyncio
import json
import random
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlmodel import Session, col, select

from api.alerts import announcements, preferences
from api.alerts.models import Alert, AlertKind, MailStatus
from api.auth.email import alert_mails
from api.auth.email.mailer import Mailer, MailMessage, MailNotSent, MailRefused
from api.durable.tasks import Task, TaskKind, TaskQueue
from api.errors import ServiceUnavailable
from api.services import Services
from billing.ledger.models import Account

#: Pauses after each failed attempt: 11 attempts within a day.
RETRY_DELAYS = (
    timedelta(seconds=10),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=15),
    timedelta(minutes=30),
    timedelta(hours=1),
    timedelta(hours=2),
    timedelta(hours=4),
    timedelta(hours=6),
    timedelta(hours=8),
)
#: What is older when an attempt is due, for example after an outage, is not mailed any more.
GIVEN_UP_AFTER = timedelta(days=1)
_JITTER = 0.1
#: The engine looks a minute ahead, see `TaskKind`.
_SOON = timedelta(minutes=1)
_CONCURRENCY = 4
_CONCURRENCY_OF_ACCOUNT = 2
_OUTAGE_PAUSE_SECONDS = 5.0

log = structlog.get_logger()


@dataclass(frozen=True)
class _Attempt:
    alert_id: str
    number: int
    message: MailMessage


def register(services: Services) -> None:
    """Let the engine of this process mail alerts, if it has a mail server."""
    runner = AlertMailRunner(services)
    services.engine.register(
        TaskKind(announcements.KIND, runner.run, runner.unfinished),
        TaskQueue(
            announcements.QUEUE,
            concurrency=_CONCURRENCY,
            partition_concurrency=_CONCURRENCY_OF_ACCOUNT,
            poll_seconds=2.0,
        ),
    )


class AlertMailRunner:
    """Mails the alerts of one process."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def unfinished(self, session: Session, after: str, limit: int) -> list[Task]:
        """See `TaskKind`. Nothing without a mail server: another process may have one."""
        if self._services.mailer is None:
            return []
        statement = (
            select(Alert.id, Alert.attempts, Alert.account_id)
            .where(
                col(Alert.mail_status) == MailStatus.PENDING,
                col(Alert.id) > after.partition(".")[0],
                col(Alert.next_attempt_at) <= self._services.clock() + _SOON,
            )
            .order_by(col(Alert.id))
            .limit(limit)
        )
        return [announcements.task_of(*row) for row in session.exec(statement)]

    async def run(self, task_id: str) -> None:
        """Make the attempt that the task names, unless it was made already."""
        alert_id, _, number = task_id.partition(".")
        mailer = self._services.mailer
        if mailer is None:
            return  # A process with a mail server finds it by its row.
        while True:
            try:
                attempt = await self._services.database.run(
                    lambda session: self._prepare(session, mailer, alert_id, int(number))
                )
                break
            except ServiceUnavailable:
                await asyncio.sleep(_OUTAGE_PAUSE_SECONDS)
        if attempt is None:
            return
        # A thread cannot be cancelled, so the shutdown of this process waits for the mail server's answer:
        # otherwise the next start would send the mail again.
        work = asyncio.create_task(self._deliver_and_record(mailer, attempt))
        is_cancelled = False
        while not work.done():
            try:
                await asyncio.wait({work})
            except asyncio.CancelledError:
                is_cancelled = True
        work.result()
        if is_cancelled:
            raise asyncio.CancelledError

    async def _deliver_and_record(self, mailer: Mailer, attempt: _Attempt) -> None:
        problem: MailNotSent | None = None
        try:
            await asyncio.to_thread(mailer.deliver, attempt.message)
        except MailNotSent as error:
            problem = error
        while True:
            try:
                await self._services.database.run(lambda session: self._record(session, attempt, problem))
                return
            except ServiceUnavailable:
                if self._services.engine.is_stopping:
                    raise
                await asyncio.sleep(_OUTAGE_PAUSE_SECONDS)

    def _prepare(self, session: Session, mailer: Mailer, alert_id: str, number: int) -> _Attempt | None:
        alert = _locked(session, alert_id, number)
        if alert is None:
            return None
        now = self._services.clock()
        if now - alert.created_at > GIVEN_UP_AFTER:
            _give_up(alert, "it is older than a day")
            return None
        account = session.get_one(Account, alert.account_id, populate_existing=True)
        kind = AlertKind(alert.kind)
        is_wanted = kind not in preferences.muted(session, account.id)
        if account.closed_at is not None or account.verified_at is None or not is_wanted:
            _finish(alert, MailStatus.NONE)
            return None
        services = self._services
        token = None if kind.is_about_security else services.unsubscribe.token(account.id, kind)
        message = alert_mails.compose(
            kind,
            json.loads(alert.facts),
            account.email,
            # A mail server needs a public address (`Settings.refuse_unsafe`).
            public_url=services.public_url or "",
            message_id=mailer.message_id(alert.id),
            unsubscribe_token=token,
        )
        return _Attempt(alert.id, number, message)

    def _record(self, session: Session, attempt: _Attempt, problem: MailNotSent | None) -> None:
        alert = _locked(session, attempt.alert_id, attempt.number)
        if alert is None:
            return  # Deleted, or recorded by another process that made the same attempt.
        now = self._services.clock()
        alert.attempts += 1
        if problem is None:
            _finish(alert, MailStatus.SENT)
            return
        if isinstance(problem, MailRefused):
            _give_up(alert, str(problem))
            return
        if alert.attempts > len(RETRY_DELAYS):
            _give_up(alert, str(problem))
            return
        log.warning(
            "an alert could not be mailed; it is tried again",
            alert_id=alert.id,
            attempt=alert.attempts,
            problem=str(problem),
        )
        delay = RETRY_DELAYS[alert.attempts - 1] * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret
        alert.next_attempt_at = now + delay
        session.flush()
        announcements.enqueue(session, alert, self._services.engine, delay)


def _locked(session: Session, alert_id: str, number: int) -> Alert | None:
    """The alert whose mail waits for this attempt, locked."""
    statement = (
        select(Alert)
        .where(
            col(Alert.id) == alert_id,
            col(Alert.attempts) == number,
            col(Alert.mail_status) == MailStatus.PENDING,
        )
        .with_for_update()
    )
    return session.exec(statement).first()


def _give_up(alert: Alert, problem: str) -> None:
    log.error(
        "an alert was not mailed, and is given up",
        alert_id=alert.id,
        kind=alert.kind,
        attempts=alert.attempts,
        problem=problem,
    )
    _finish(alert, MailStatus.FAILED)


def _finish(alert: Alert, status: MailStatus) -> None:
    alert.mail_status = status.value
    alert.next_attempt_at = None
