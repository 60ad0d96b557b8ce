"""What an operator does to an account: one transaction for the act and its entry in the audit log.

Functions take a session and never commit. Every act locks the accounts of the operator and of the customer
first. So an operator whose mark was just taken away acts no more, and a form that is sent twice acts once.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, select

from api import response_bodies
from api.auth import api_keys, sessions
from api.errors import InvalidParameter, NotFound
from api.operators import audit_log
from api.operators.audit_log import Actor
from api.operators.models import Act
from billing.errors import AccountClosed, DuplicateReference, HoldNotCaptured, InvalidGrant
from billing.identifiers import new_id
from billing.ledger import accounts, ledger
from billing.ledger.models import Account, GrantKind, Hold
from billing.ledger.plans import PlanName
from billing.ledger.takeback import take_back
from billing.subscriptions import subscriptions
from billing.text import is_storable_text

REASON_LENGTH_MIN, REASON_LENGTH_MAX = 3, 500
_FORM_TOKEN_LENGTH_MAX = 100
_Values = Mapping[str, Any]


@dataclass(frozen=True)
class ActRequest:
    """What every act needs. `form_token` names the form that asks for it; None on the command line."""

    actor: Actor
    account_id: str
    reason: str
    now: datetime
    form_token: str | None = None


@dataclass(frozen=True)
class ActDone:
    """What was done, as it is in the log. `is_repeated`: an earlier copy of the form did it, not this one."""

    act: Act
    before: _Values
    after: _Values
    is_repeated: bool = False


def grant_credits(
    session: Session, request: ActRequest, *, amount: int, expires_at: datetime | None
) -> ActDone:
    """Grant goodwill credits, which end at `expires_at` or never. Raises InvalidParameter and as all acts."""

    def change(account: Account) -> tuple[_Values, _Values]:
        before = _credits(session, account, request.now)
        try:
            grant = ledger.grant(
                session,
                account,
                kind=GrantKind.GOODWILL,
                amount=amount,
                reference=new_id("operator"),
                expires_at=expires_at,
                now=request.now,
            )
        except InvalidGrant as error:
            raise InvalidParameter("amount", f"This cannot be done: {error}.") from None
        granted = {
            "granted": amount,
            "grant": grant.id,
            "expiresAt": response_bodies.timestamp_or_none(expires_at),
        }
        return before, {**_counts(account), **granted}

    return _perform(session, request, Act.GRANT_CREDITS, change)


def take_back_credits(session: Session, request: ActRequest, *, amount: int) -> ActDone:
    """Take back up to `amount` available credits. Raises InvalidParameter if there are none; as all acts."""

    def change(account: Account) -> tuple[_Values, _Values]:
        before = _credits(session, account, request.now)
        try:
            taken = take_back(session, account, amount=amount, reference=new_id("operator"), now=request.now)
        except InvalidGrant as error:
            raise InvalidParameter("amount", f"This cannot be done: {error}.") from None
        if taken == 0:
            held = f"; {account.held:,} are held by calls that have not ended" if account.held else ""
            raise InvalidParameter("amount", f"There are no credits to take back{held}.")
        return before, {**_counts(account), "taken": taken, "asked": amount}

    return _perform(session, request, Act.TAKE_BACK_CREDITS, change)


def change_plan(session: Session, request: ActRequest, *, plan: PlanName | None) -> ActDone:
    """Set the plan whatever Stripe says; None: let it follow Stripe again. Raises as all acts."""

    def change(account: Account) -> tuple[_Values, _Values]:
        before = _plan(account)
        subscriptions.set_operator_plan(session, account, plan)
        after = _plan(account)
        if before == after:
            raise InvalidParameter("plan", "The account has this plan already.")
        return before, after

    return _perform(session, request, Act.CHANGE_PLAN, change)


def suspend(session: Session, request: ActRequest) -> ActDone:
    """Let nothing new start. Raises InvalidParameter for oneself or twice, and as all acts."""

    def change(account: Account) -> tuple[_Values, _Values]:
        if account.id == request.actor.operator_id:
            raise InvalidParameter("account", "You cannot suspend your own account.")
        if account.suspended_at is not None:
            raise InvalidParameter("account", "The account is suspended already.")
        accounts.suspend(session, account, now=request.now)
        return {"suspended": False}, {"suspended": True}

    return _perform(session, request, Act.SUSPEND, change)


def restore(session: Session, request: ActRequest) -> ActDone:
    """End a suspension. Raises InvalidParameter if there is none, and as all acts."""

    def change(account: Account) -> tuple[_Values, _Values]:
        if account.suspended_at is None:
            raise InvalidParameter("account", "The account is not suspended.")
        before = {"suspended": True, "since": response_bodies.timestamp(account.suspended_at)}
        accounts.restore(session, account)
        return before, {"suspended": False}

    return _perform(session, request, Act.RESTORE, change)


def end_sessions(session: Session, request: ActRequest, *, but: str | None) -> ActDone:
    """Sign out every browser of the account, except the session `but`. Raises as all acts."""

    def change(account: Account) -> tuple[_Values, _Values]:
        open_sessions = [each.id for each in sessions.listed(session, account.id, request.now)]
        sessions.end_all(session, account.id, but=but)
        kept = sum(each == but for each in open_sessions)
        return {"sessions": len(open_sessions)}, {"sessions": kept}

    return _perform(session, request, Act.END_SESSIONS, change)


def revoke_keys(session: Session, request: ActRequest, *, key_id: str | None) -> ActDone:
    """Revoke one key, or with None all of them. Raises NotFound, InvalidParameter, and as all acts."""

    def change(account: Account) -> tuple[_Values, _Values]:
        usable = [each.id for each in api_keys.usable(session, account.id, request.now)]
        revoked = usable if key_id is None else [key_id]
        if not usable or (key_id is not None and key_id not in usable):
            raise InvalidParameter("key", "This key does not exist, or has ended.")
        for each in revoked:
            api_keys.revoke(session, account.id, each, request.now)
        return {"keys": len(usable)}, {"keys": len(usable) - len(revoked), "revoked": revoked}

    return _perform(session, request, Act.REVOKE_KEYS, change)


def refund_call(session: Session, request: ActRequest, *, call_id: str) -> ActDone:
    """Give the credit of a charged call back, once. `call_id` is its request's id.

    Raises InvalidParameter for a call that was not charged, is still running or was refunded before, and as
    all acts.
    """

    def change(account: Account) -> tuple[_Values, _Values]:
        before = _credits(session, account, request.now)
        hold_id = session.exec(
            select(Hold.id).where(Hold.reference == f"request:{call_id}", Hold.account_id == account.id)
        ).one_or_none()
        if hold_id is None:
            raise InvalidParameter("call", "The account has no charged call of this id.")
        try:
            entry = ledger.refund(session, hold_id, now=request.now)
        except HoldNotCaptured:
            raise InvalidParameter("call", "This call was not charged, or has not ended yet.") from None
        except DuplicateReference:
            raise InvalidParameter("call", "This call was refunded before.") from None
        return before, {**_counts(account), "refunded": entry.amount, "call": call_id, "hold": hold_id}

    return _perform(session, request, Act.REFUND_CALL, change)


def grant_operator(session: Session, request: ActRequest) -> ActDone:
    """Let the account use the operator's panel. Raises InvalidParameter, and as all acts."""

    def change(account: Account) -> tuple[_Values, _Values]:
        if account.suspended_at is not None:
            raise InvalidParameter("account", "The account is suspended. Restore it first.")
        if account.operator_since is not None:
            raise InvalidParameter("account", "The account is an operator's already.")
        accounts.mark_operator(session, account, now=request.now)
        return {"operator": False}, {"operator": True}

    return _perform(session, request, Act.GRANT_OPERATOR, change)


def revoke_operator(session: Session, request: ActRequest) -> ActDone:
    """Take the operator's mark away. Raises InvalidParameter for oneself, and as all acts."""

    def change(account: Account) -> tuple[_Values, _Values]:
        if account.id == request.actor.operator_id:
            raise InvalidParameter("account", "You cannot take away your own mark.")
        if account.operator_since is None:
            raise InvalidParameter("account", "The account is not an operator's.")
        accounts.unmark_operator(session, account)
        return {"operator": True}, {"operator": False}

    return _perform(session, request, Act.REVOKE_OPERATOR, change)


def checked_reason(reason: str) -> str:
    """The reason without spaces around it. Raises InvalidParameter."""
    text = reason.strip()
    if not REASON_LENGTH_MIN <= len(text) <= REASON_LENGTH_MAX or not is_storable_text(text):
        raise InvalidParameter(
            "reason", f"Say why, in one line of {REASON_LENGTH_MIN} to {REASON_LENGTH_MAX} characters."
        )
    return text


def _perform(
    session: Session,
    request: ActRequest,
    act: Act,
    change: Callable[[Account], tuple[_Values, _Values]],
) -> ActDone:
    """Do `change` and log it.

    Raises InvalidParameter without a reason, NotFound for an operator who is none any more, UnknownAccount,
    AccountClosed.
    """
    reason = checked_reason(request.reason)
    actor, token = request.actor, request.form_token
    if token is not None and not 1 <= len(token) <= _FORM_TOKEN_LENGTH_MAX:
        raise InvalidParameter("form", "This form is invalid. Reload the page.")
    # In one order, so that two operators who act on each other do not wait for each other.
    locked = {
        account_id: accounts.lock_even_closed(session, account_id)
        for account_id in sorted({request.account_id, actor.operator_id or request.account_id})
    }
    if actor.operator_id is not None and not is_operator(locked[actor.operator_id]):
        raise NotFound("This address does not exist.")
    earlier = audit_log.find_form(session, actor.operator_id, token) if token is not None else None
    if earlier is not None:
        return ActDone(
            Act(earlier.act), json.loads(earlier.before), json.loads(earlier.after), is_repeated=True
        )
    account = locked[request.account_id]
    if account.closed_at is not None:
        raise AccountClosed("this account was closed")
    before, after = change(account)
    audit_log.append(
        session,
        actor,
        act,
        account_id=account.id,
        reason=reason,
        now=request.now,
        before=before,
        after=after,
        form_token=token,
    )
    return ActDone(act, before, after)


def is_operator(account: Account) -> bool:
    """Whether the account may use the panel now."""
    return account.operator_since is not None and account.closed_at is None and account.suspended_at is None


def _credits(session: Session, account: Account, now: datetime) -> _Values:
    ledger.refresh(session, account, now)
    return _counts(account)


def _counts(account: Account) -> _Values:
    return {"available": account.available, "held": account.held}


def _plan(account: Account) -> _Values:
    return {"plan": account.plan, "setByOperator": account.operator_plan is not None}
