"""`/plans`: what can be bought, the way to Stripe's pages, and what is shown to those who come back.

Coming back proves nothing, so the page after a payment waits until the webhook has brought the plan.
"""

from datetime import datetime

import structlog
from fastapi import FastAPI, Request
from sqlmodel import Session
from starlette.responses import Response

from api.errors import InvalidParameter, NotFound
from api.http.dependencies import public_base_url
from api.http.routes.get_and_head import add_get
from api.payments import plans
from api.payments.plans import BillingState
from api.services import Services
from billing.errors import AddressUnverified, StripeRefused, StripeUnavailable
from billing.ledger.plans import PLANS, PlanName
from billing.subscriptions import events
from web.auth import forms, visitor
from web.plans import messages
from web.site import pages

#: The page after a payment loads itself again so often, each time after two seconds; then it stops.
_LOOKS_MAX = 30
log = structlog.get_logger()

_BUYABLE = frozenset(name for name, plan in PLANS.items() if plan.paid)


def add_to(app: FastAPI) -> None:
    add_get(app, "/plans", plans_page, include_in_schema=False)
    add_get(app, "/plans/success", success_page, include_in_schema=False)
    add_get(app, "/plans/cancelled", cancelled_page, include_in_schema=False)
    add_get(app, "/plans/return", return_page, include_in_schema=False)
    for path, form in (("/plans/portal", portal), ("/plans/{plan}/checkout", checkout)):
        app.add_api_route(path, form, methods=["POST"], include_in_schema=False, response_model=None)
    app.state.people.before_deletion.append(stop_paying)


async def plans_page(request: Request) -> Response:
    await visitor.signed_in(request)
    return await _show(request)


async def checkout(request: Request, plan: str) -> Response:
    """To Stripe's checkout, or to its portal for one who has subscribed already."""
    who, fields = await forms.read_signed_in(request)
    assert who.account_id is not None
    if plan not in _BUYABLE:
        raise NotFound("There is no such plan.")
    services = visitor.services_of(request)
    state = await _state(services, who.account_id)
    if plans.is_on(services) and _gains_nothing(state, PlanName(plan)) and fields.get("sure") != "yes":
        return await _show(request, asked=PlanName(plan))
    try:
        url = await plans.checkout_url(services, who.account_id, PlanName(plan), _address(request))
    except AddressUnverified:
        return await _show(request, 422, problem="Confirm your e-mail address first: see your account page.")
    except StripeUnavailable:
        return await _show(request, 503, problem="Stripe cannot be reached now. Nothing was charged.")
    except (InvalidParameter, StripeRefused) as error:
        log.warning("a plan could not be bought", plan=plan, reason=str(error))
        return await _show(request, 422, problem="This plan cannot be bought now. Nothing was charged.")
    return _leave(request, url)


async def portal(request: Request) -> Response:
    who, _ = await forms.read_signed_in(request)
    assert who.account_id is not None
    services = visitor.services_of(request)
    try:
        url = await plans.portal_url(services, who.account_id, _address(request))
    except StripeUnavailable:
        return await _show(request, 503, problem="Stripe cannot be reached now. Nothing was changed.")
    except StripeRefused as error:
        log.warning("the portal could not be opened", reason=str(error))
        return await _show(request, 422, problem="Stripe's page cannot be opened now. Nothing was changed.")
    return _leave(request, url)


async def success_page(request: Request) -> Response:
    """Waits for the webhook: what the address says is believed by nobody."""
    who = await visitor.signed_in(request)
    assert who.account_id is not None
    state = await _state(visitor.services_of(request), who.account_id)
    wanted = request.query_params.get("plan", "")
    has_arrived = state.status in ("active", "trialing", "ending") and state.plan == wanted
    looks = request.query_params.get("looks", "0")
    number = int(looks) if looks.isascii() and looks.isdigit() and len(looks) < 4 else 0
    again = None
    if not has_arrived and wanted in _BUYABLE and number < _LOOKS_MAX:
        again = f"/plans/success?plan={wanted}&looks={number + 1}"
    return pages.render(
        request,
        "plans/success.html",
        plan=PLANS[state.plan],
        has_arrived=has_arrived,
        again=again,
    )


async def cancelled_page(request: Request) -> Response:
    await visitor.signed_in(request)
    return await _show(request, notice="Nothing was bought and nothing was charged.")


async def return_page(request: Request) -> Response:
    await visitor.signed_in(request)
    return await _show(request, notice="What you changed at Stripe shows here within a few seconds.")


def stop_paying(session: Session, account_id: str, now: datetime) -> None:
    """An account that is deleted shall not go on being charged: its subscription is looked at at once."""
    customer_id = plans.customer_id_of(session, account_id)
    if customer_id is not None:
        events.enqueue_sync(session, customer_id, "account.closed", now)


def _gains_nothing(state: BillingState, plan: PlanName) -> bool:
    """Whether the operator gave a plan that is no smaller: buying this one is rarely meant."""
    return state.status == "given" and PLANS[state.plan].monthly_credits >= PLANS[plan].monthly_credits


async def _show(
    request: Request,
    status_code: int = 200,
    *,
    problem: str = "",
    notice: str = "",
    asked: PlanName | None = None,
) -> Response:
    """`asked`: a plan whose purchase is to be confirmed first."""
    who = await visitor.signed_in(request)
    assert who.account_id is not None
    services = visitor.services_of(request)
    state = await _state(services, who.account_id)
    return pages.render(
        request,
        "plans/plans.html",
        status_code,
        problem=problem,
        notice=notice,
        asked=PLANS[asked] if asked is not None else None,
        is_on=plans.is_on(services),
        offers=await plans.plan_offers(services),
        state=state,
        given=PLANS[state.plan],
        sentence=messages.sentence(state),
    )


def _leave(request: Request, url: str) -> Response:
    """On to Stripe, by a page that goes there itself.

    A plain redirect would have to be named in the policy (`form-action`) of every page with such a form, the
    dashboard's among them, and a Stripe account may have its pages at an address of its own.
    """
    return pages.render(request, "plans/leaving.html", url=url)


async def _state(services: Services, account_id: str) -> BillingState:
    return await services.database.read(
        lambda session: plans.billing_state(session, account_id, services.clock())
    )


def _address(request: Request) -> str:
    """Where Stripe sends people back to, without a slash at its end."""
    return public_base_url(request)
