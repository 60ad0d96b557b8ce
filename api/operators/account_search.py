"""Finds accounts for operators, and reads what one account has. Functions take a session."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, or_, select

from api.auth import api_keys, invitations, members, sessions
from api.auth.members import AccountMember
from api.auth.models import ApiKey, BrowserSession
from api.calls import call_log
from api.calls.models import CallRecord
from api.errors import NotFound
from api.memberships import roles
from api.memberships.models import Invitation
from api.memberships.roles import Place
from billing.errors import UnknownAccount
from billing.ledger import accounts, ledger
from billing.ledger.models import Account, Entry, EntryKind, Grant, Hold, HoldStatus

_GRANTS_MAX = 50
_CALLS_MAX = 50
_ROWS_MAX = 50
#: Greater than every character that an address has.
_LAST_CHARACTER = "\U0010ffff"


@dataclass(frozen=True)
class FoundAccounts:
    """A page of a search. `next_after` is the id of the account that the next page follows."""

    accounts: list[Account]
    next_after: str | None


@dataclass(frozen=True)
class CallLine:
    """A call of the log. `is_charged`: its credit can be given back."""

    call: CallRecord
    is_charged: bool
    is_refunded: bool


@dataclass(frozen=True)
class AccountDetails:
    """What an operator sees of an account; the newest of each."""

    account: Account
    grants: list[Grant]  # with credits that are available or held
    calls: list[CallLine]
    keys: list[ApiKey]  # that work
    sessions: list[BrowserSession]
    members: list[AccountMember]
    invited: list[Invitation]
    places: tuple[Place, ...]  # the accounts of others in which this one may work


def search(session: Session, text: str, limit: int, after: str | None = None) -> FoundAccounts:
    """Accounts whose address begins with `text`, or the one with this id or with a request of this id.

    Sorted by address. Raises NotFound for an `after` that is not an account's id.
    """
    wanted = text.strip()
    if wanted.startswith("acc_"):
        return FoundAccounts(_existing(session, wanted), None)
    if wanted.startswith("req_"):
        call = session.get(CallRecord, wanted)
        return FoundAccounts([] if call is None else _existing(session, call.account_id), None)
    statement = select(Account).order_by(col(Account.email)).limit(limit + 1)
    prefix = accounts.normalise_email(wanted)
    if prefix and session.get_bind().dialect.name == "sqlite":
        # Unlike LIKE, this uses the index there.
        statement = statement.where(
            col(Account.email) >= prefix, col(Account.email) < prefix + _LAST_CHARACTER
        )
    elif prefix:
        statement = statement.where(col(Account.email).startswith(prefix, autoescape=True))
    if after is not None:
        previous = session.get(Account, after)
        if previous is None:
            raise NotFound("This page of the list does not exist any more.")
        statement = statement.where(col(Account.email) > previous.email)
    found = list(session.exec(statement))
    return FoundAccounts(found[:limit], found[limit - 1].id if len(found) > limit else None)


def details(session: Session, account_id: str, now: datetime) -> AccountDetails:
    """The account with its current credits; a write transaction, as its period may have to be granted.

    Raises UnknownAccount.
    """
    account = accounts.lock_even_closed(session, account_id)
    if account.closed_at is None:
        ledger.refresh(session, account, now)
    with_credits = (
        select(Grant)
        .where(Grant.account_id == account_id, or_(col(Grant.available) > 0, col(Grant.held) > 0))
        .order_by(col(Grant.expires_at), col(Grant.created_at), col(Grant.id))
        .limit(_GRANTS_MAX)
    )
    read = AccountDetails(
        account=account,
        grants=list(session.exec(with_credits)),
        calls=_call_lines(session, account_id),
        keys=api_keys.usable(session, account_id, now)[:_ROWS_MAX],
        sessions=sessions.listed(session, account_id, now)[:_ROWS_MAX],
        members=members.listed(session, account_id),
        invited=invitations.pending(session, account_id, now),
        places=roles.places_of(session, account_id),
    )
    session.flush()
    session.expunge_all()
    return read


def _call_lines(session: Session, account_id: str) -> list[CallLine]:
    calls = call_log.latest(session, account_id, _CALLS_MAX)
    references = [f"request:{call.request_id}" for call in calls if call.credits]
    charged = {
        reference.removeprefix("request:"): hold_id
        for hold_id, reference in session.exec(
            select(Hold.id, Hold.reference).where(
                col(Hold.reference).in_(references),
                Hold.account_id == account_id,
                Hold.status == HoldStatus.CAPTURED,
            )
        )
    }
    refunded = set(
        session.exec(
            select(Entry.hold_id).where(
                col(Entry.hold_id).in_(list(charged.values())), Entry.kind == EntryKind.REFUND
            )
        )
    )
    return [
        CallLine(call, call.request_id in charged, charged.get(call.request_id) in refunded) for call in calls
    ]


def _existing(session: Session, account_id: str) -> list[Account]:
    account = session.get(Account, account_id)
    return [] if account is None else [account]


def require(session: Session, account_id: str) -> Account:
    """The account of this id. Raises UnknownAccount."""
    account = session.get(Account, account_id)
    if account is None:
        raise UnknownAccount(f"no account {account_id}")
    return account
