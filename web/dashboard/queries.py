"""What the dashboard shows, read for one account at a time; nothing here knows Gradio."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from sqlmodel import Session

from api.auth import api_keys
from api.calls import call_log
from billing.ledger import accounts, ledger, statement
from billing.ledger.plans import PLANS, Plan, PlanName
from ml.catalogue import TOOLS
from web.dashboard.access import shown_time

GroupBy = Literal["tool", "key"]
EDITOR = "web editor"
_ROWS = 200


@dataclass(frozen=True)
class AccountSummary:
    """How the account stands at this moment."""

    plan: Plan
    available: int
    held: int
    renews_at: datetime | None


@dataclass(frozen=True)
class Bar:
    """Credits of one day and one tool or key."""

    day: str
    credits: int
    group: str


def account_summary(session: Session, account_id: str, now: datetime) -> AccountSummary:
    """Raises as `accounts.lock`. A new period's credits come when they are first looked at."""
    account = accounts.lock(session, account_id)
    ledger.refresh(session, account, now)
    plan = PLANS[PlanName(account.plan)]
    return AccountSummary(plan, account.available, account.held, account.period_ends_at)


def bars(session: Session, account_id: str, days: int, group_by: GroupBy, now: datetime) -> list[Bar]:
    """The last `days` days, today the last, those without a call too."""
    last = now.date()
    first = last - timedelta(days=days - 1)
    names = {key.id: key.name for key in api_keys.listed(session, account_id)}
    sums: dict[tuple[date, str], int] = {}
    for used in call_log.usage(session, account_id, first, last):
        group = _tool_title(used.tool) if group_by == "tool" else names.get(used.key_id or "", EDITOR)
        sums[used.day, group] = sums.get((used.day, group), 0) + used.credits
    groups = sorted({group for _, group in sums}) or ["no calls yet"]
    every_day = [first + timedelta(days=number) for number in range(days)]
    return [Bar(f"{day:%m-%d}", sums.get((day, group), 0), group) for day in every_day for group in groups]


def _tool_title(name: str) -> str:
    """Calls of a tool that was renamed or removed stay in the log under its former name."""
    return TOOLS[name].title if name in TOOLS else name


def call_rows(session: Session, account_id: str) -> list[list[str | int]]:
    """The last calls, newest first, as the table's rows."""
    names = {key.id: key.name for key in api_keys.listed(session, account_id)}
    return [
        [
            shown_time(call.started_at),
            call.tool,
            names.get(call.key_id or "", EDITOR),
            f"{call.status_code} {call.code}" if call.code else str(call.status_code),
            call.credits,
            call.duration_ms,
            call.request_id,
        ]
        for call in call_log.latest(session, account_id, _ROWS)
    ]


def statement_rows(session: Session, account_id: str) -> list[list[str | int]]:
    """The last entries of the ledger, newest first, as the table's rows."""
    return [
        [shown_time(line.at), line.kind, f"{line.amount:+,}", line.balance, line.reference]
        for line in statement.statement(session, account_id, _ROWS)
    ]
