"""Database queries of the dashboard, each for one account. Independent of Gradio."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from sqlmodel import Session

from api.auth import api_keys, key_settings, members
from api.calls import call_log
from api.editor import run_names
from billing.ledger import accounts, grants, ledger, statement
from billing.ledger.grants import PackCredits
from billing.ledger.models import EntryKind, GrantKind
from billing.ledger.plans import PLANS, Plan, PlanName
from billing.ledger.statement import Line
from web.dashboard import words
from web.dashboard.events import format_time

GroupBy = Literal["tool", "key"]
EDITOR_LABEL = "Editor"
_ROWS_MAX = 200
#: Entries of a statement in words. Those of calls are named by what the tool does, as long as
#: the call log knows it.
_ENTRY_LABELS = {
    EntryKind.GRANT: "Credits granted",
    EntryKind.CAPTURE: "Call",
    EntryKind.REFUND: "Credit returned",
    EntryKind.EXPIRY: "Unused credits expired",
    EntryKind.REVOCATION: "Credits taken back",
}
#: Likewise for credits of packs, where it differs.
_PACK_LABELS = {
    EntryKind.GRANT: "Credit pack",
    EntryKind.EXPIRY: "Unused credits of a pack expired",
    EntryKind.REVOCATION: "Credits of a pack taken back",
}
_RETURNED = ": credit returned"


@dataclass(frozen=True)
class AccountSummary:
    """The plan and the credits of an account."""

    plan: Plan
    available: int
    held: int
    renews_at: datetime | None
    of_packs: PackCredits  # the part of `available` from packs


@dataclass(frozen=True)
class KeyUsage:
    """What one key did this month, or the editor; also a key that was revoked meanwhile."""

    name: str
    is_test: bool
    calls: int  # successful ones
    credits: int
    limit: int | None  # credits a month; None: no limit of its own


@dataclass(frozen=True)
class UsageBar:
    """Credits of one day and one tool or key."""

    day: str
    credits: int
    group: str


def account_summary(session: Session, account_id: str, now: datetime) -> AccountSummary:
    """Raises what `accounts.lock` raises. Grants the credits of a new period."""
    account = accounts.lock(session, account_id)
    ledger.refresh(session, account, now)
    plan = PLANS[PlanName(account.plan)]
    of_packs = grants.pack_credits(session, account_id)
    return AccountSummary(plan, account.available, account.held, account.period_ends_at, of_packs)


def usage_bars(
    session: Session, account_id: str, days: int, group_by: GroupBy, now: datetime
) -> list[UsageBar]:
    """The last `days` days including today, also days without calls."""
    last = now.date()
    first = last - timedelta(days=days - 1)
    keys = api_keys.listed(session, account_id)
    names = {key.id: key.name for key in keys}
    of_tests = {key.id for key in keys if key.is_test}
    sums: dict[tuple[date, str], int] = {}
    for row in call_log.usage(session, account_id, first, last):
        if row.key_id in of_tests:
            continue
        group = words.action(row.tool) if group_by == "tool" else names.get(row.key_id or "", EDITOR_LABEL)
        sums[row.day, group] = sums.get((row.day, group), 0) + row.credits
    groups = sorted({group for _, group in sums}) or ["no calls yet"]
    every_day = [first + timedelta(days=number) for number in range(days)]
    return [
        UsageBar(f"{day:%m-%d}", sums.get((day, group), 0), group) for day in every_day for group in groups
    ]


def usage_by_key(session: Session, account_id: str, now: datetime) -> list[KeyUsage]:
    """This month's usage in UTC of each key that was used, most credits first."""
    today = now.astimezone(UTC).date()
    sums: dict[str | None, tuple[int, int]] = {}
    for row in call_log.usage(session, account_id, today.replace(day=1), today):
        calls, credits = sums.get(row.key_id, (0, 0))
        sums[row.key_id] = calls + row.calls, credits + row.credits
    keys = {key.id: key for key in api_keys.listed(session, account_id)}
    sums.pop(None, None)  # the editor's, which have rows of their own

    def described(key_id: str | None, calls: int, credits: int) -> KeyUsage:
        key = keys.get(key_id or "")
        if key is None:
            return KeyUsage(key_id or EDITOR_LABEL, False, calls, credits, None)
        name = f"{key.name} ({key.first_characters}…)" + (", revoked" if key.revoked_at else "")
        limit = key_settings.of(session, key).monthly_limit
        return KeyUsage(name, key.is_test, calls, credits, limit)

    found = [described(key_id, *counts) for key_id, counts in sums.items()]
    of_editor = call_log.usage_of_editor(session, account_id, today.replace(day=1), today)
    people = members.names_of(session, {person_id for person_id, _, _ in of_editor if person_id})
    for person_id, calls, credits in of_editor:
        name = _editor_label(people.get(person_id or ""))
        found.append(KeyUsage(name, False, calls, credits, None))
    return sorted(found, key=lambda usage: (-usage.credits, -usage.calls, usage.name))


def call_rows(session: Session, account_id: str) -> list[list[str | int]]:
    """Table rows of the latest calls, newest first."""
    names = {key.id: key.name for key in api_keys.listed(session, account_id)}
    calls = call_log.latest(session, account_id, _ROWS_MAX)
    pictures = run_names.picture_names(session, account_id, {call.request_id for call in calls})
    people = members.names_of(session, {call.person_id for call in calls if call.person_id})
    return [
        [
            format_time(call.started_at),
            words.action(call.tool, pictures.get(call.request_id)),
            names.get(call.key_id or "", _editor_label(people.get(call.person_id or ""))),
            words.outcome(call),
            call.credits,
            f"{call.duration_ms / 1000:.2f} s",
            call.request_id,
        ]
        for call in calls
    ]


def statement_rows(session: Session, account_id: str) -> list[list[str | int]]:
    """Table rows of the latest ledger entries, newest first. A call is named by its tool and picture."""
    lines = statement.statement(session, account_id, _ROWS_MAX)
    references = statement.references_of_holds(session, {line.hold_id for line in lines if line.hold_id})
    requests = {hold_id: text.removeprefix("request:") for hold_id, text in references.items()}
    tools = call_log.tools_of(session, set(requests.values()))
    pictures = run_names.picture_names(session, account_id, set(requests.values()))

    def row(line: Line) -> list[str | int]:
        request = requests.get(line.hold_id or "", "")
        kind = EntryKind(line.kind)
        label = _ENTRY_LABELS[kind]
        if line.grant_kind == GrantKind.PACK:
            label = _PACK_LABELS.get(kind, label)
        if request in tools:
            label = words.action(tools[request], pictures.get(request))
            if line.kind == EntryKind.REFUND:
                label += _RETURNED
        return [format_time(line.at), label, f"{line.amount:+,}", line.balance, request]

    return [row(line) for line in lines]


def _editor_label(email: str | None) -> str:
    """The editor, and the member who used it; None: the account's owner."""
    return EDITOR_LABEL if email is None else f"{EDITOR_LABEL}, {email}"
