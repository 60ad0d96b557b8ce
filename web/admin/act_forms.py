"""The panel's forms: each is one act on one account, with a reason."""

from datetime import timedelta

from fastapi import Request
from sqlmodel import Session
from starlette.responses import RedirectResponse, Response

from api.editor.owners import GUESTS_EMAIL
from api.errors import InvalidParameter, NotFound
from api.http import dependencies, responses
from api.operators import account_search, acts
from api.operators.acts import ActDone, ActRequest
from api.operators.audit_log import Actor
from api.operators.models import Act
from api.payments.checkout import customer_id_of
from billing.errors import AccountClosed, UnknownAccount
from billing.ledger.plans import PlanName
from billing.subscriptions import events
from web.admin.account_pages import ACCOUNT_PATH, REPEATED, show_account
from web.auth import visitor
from web.auth.visitor import SignedInVisitor

_DIGITS_MAX = 7
_FOLLOW_STRIPE = "stripe"
#: What the field `expires` of a grant may be, in days; "" is never.
EXPIRIES = {"": None, "30": 30, "90": 90, "365": 365}

#: The acts of the panel; the last part of the address of each is its name.
FORMS = (
    Act.GRANT_CREDITS,
    Act.TAKE_BACK_CREDITS,
    Act.CHANGE_PLAN,
    Act.SUSPEND,
    Act.RESTORE,
    Act.END_SESSIONS,
    Act.REVOKE_KEYS,
    Act.REFUND_CALL,
    Act.REVOKE_OPERATOR,
)


async def perform(request: Request, operator: SignedInVisitor, fields: dict[str, str], act: Act) -> Response:
    """Do one act and go back to the account's page. Raises NotFound."""
    services, account_id = visitor.services_of(request), request.path_params["account_id"]
    wanted = ActRequest(
        actor=Actor(operator.account_id, responses.request_id_of(request), dependencies.address_of(request)),
        account_id=account_id,
        reason=fields.get("reason", ""),
        now=services.clock(),
        form_token=fields.get("form_token", ""),
    )

    def work(session: Session) -> ActDone:
        if account_search.require(session, account_id).email == GUESTS_EMAIL:
            raise InvalidParameter("account", "All guests share this account. It cannot be changed.")
        return _do(session, wanted, act, fields, operator.session_id)

    try:
        done = await services.database.run(work)
    except UnknownAccount:
        raise NotFound("There is no such account.") from None
    except AccountClosed:
        return await show_account(request, 422, problem="This account was deleted.")
    except InvalidParameter as error:
        return await show_account(request, 422, problem=error.message, opened=act.value, sent=fields)
    if services.stripe is not None and act is Act.CHANGE_PLAN:
        services.stripe.wakeup.set()
    outcome = REPEATED if done.is_repeated else act.value
    return RedirectResponse(f"{ACCOUNT_PATH.format(account_id=account_id)}?done={outcome}", 303)


def _do(session: Session, request: ActRequest, act: Act, fields: dict[str, str], session_id: str) -> ActDone:
    """`session_id`: the browser that sent the form, which stays signed in."""
    match act:
        case Act.GRANT_CREDITS:
            days = EXPIRIES.get(fields.get("expires", ""))
            expires_at = None if days is None else request.now + timedelta(days=days)
            return acts.grant_credits(session, request, amount=_amount(fields), expires_at=expires_at)
        case Act.TAKE_BACK_CREDITS:
            return acts.take_back_credits(session, request, amount=_amount(fields))
        case Act.CHANGE_PLAN:
            return _change_plan(session, request, fields.get("plan", ""))
        case Act.SUSPEND:
            return acts.suspend(session, request)
        case Act.RESTORE:
            return acts.restore(session, request)
        case Act.END_SESSIONS:
            return acts.end_sessions(session, request, but=session_id)
        case Act.REVOKE_KEYS:
            return acts.revoke_keys(session, request, key_id=fields.get("key") or None)
        case Act.REFUND_CALL:
            return acts.refund_call(session, request, call_id=fields.get("call", ""))
        case Act.REVOKE_OPERATOR:
            return acts.revoke_operator(session, request)
        case _:
            raise NotFound("The panel has no such act.")


def _change_plan(session: Session, request: ActRequest, wanted: str) -> ActDone:
    if wanted != _FOLLOW_STRIPE and wanted not in set(PlanName):
        raise InvalidParameter("plan", "Choose a plan.")
    plan = None if wanted == _FOLLOW_STRIPE else PlanName(wanted)
    done = acts.change_plan(session, request, plan=plan)
    customer_id = customer_id_of(session, request.account_id)
    if plan is None and customer_id is not None and not done.is_repeated:
        events.enqueue_sync(session, customer_id, "plan.released", request.now)
    return done


def _amount(fields: dict[str, str]) -> int:
    text = fields.get("amount", "").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise InvalidParameter("amount", "Say how many credits, in digits.")
    return int(text)
