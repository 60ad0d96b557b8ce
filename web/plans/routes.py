"""Routes of `/plans`: the plans on offer, redirects to Stripe's pages, and the pages that Stripe returns to.

Returning from Stripe does not prove a payment, so the page after a payment waits for the webhook.
"""

from datetime import datetime

import structlog
from fastapi import FastAPI, Request
from sqlmodel import Session
from starlette.responses import Response

from api.errors import NotFound
from api.http.dependencies import public_base_url
from api.http.routes.get_and_head import add_get
from api.payments import checkout as checkouts
from api.payments import plans
from api.payments.plans import BillingState
from billing.errors import StripeRefused, StripeUnavailable
from billing.ledger.plans import PLANS, PlanName
from billing.subscriptions import events
from web.auth import forms, visitor
from web.plans import invoices, pack_routes, rendering
from web.plans.invoices import InvoiceList
from web.rendering import pages

#: How many times the page after a payment polls, every two seconds.
_POLLS_MAX = 30
log = structlog.get_logger()

_BUYABLE = frozenset(name for name, plan in PLANS.items() if plan.paid)


def add_to(app: FastAPI) -> None:
    add_get(app, "/plans", plans_page, include_in_schema=False)
    add_get(app, "/plans/invoices", invoices_page, include_in_schema=False)
    add_get(app, "/plans/success", success_page, include_in_schema=False)
    add_get(app, "/plans/cancelled", cancelled_page, include_in_schema=False)
    add_get(app, "/plans/return", return_page, include_in_schema=False)
    for path, form in (("/plans/portal", portal), ("/plans/{plan}/checkout", checkout)):
        app.add_api_route(path, form, methods=["POST"], include_in_schema=False, response_model=None)
    pack_routes.add_to(app)
    app.state.auth.before_deletion.append(enqueue_cancellation)


async def plans_page(request: Request) -> Response:
    await visitor.require_owner(request)
    return await rendering.show_plans(request)


async def invoices_page(request: Request) -> Response:
    """The newest invoices, or those older than the invoice `after`."""
    user = await visitor.require_owner(request)
    services = visitor.services_of(request)
    if not plans.is_on(services):
        raise NotFound("Nothing can be bought here.")
    after = request.query_params.get("after", "")
    found = await invoices.read(services, user.account_id, after) or InvoiceList()
    status_code = 503 if found.is_unavailable else 200
    return pages.render(request, "plans/invoices.html", status_code, invoices=found, is_older=bool(after))


async def checkout(request: Request, plan: str) -> Response:
    """Go to Stripe's checkout, or to its portal if the account has a subscription already."""
    user, fields = await forms.read_owner(request)
    if plan not in _BUYABLE:
        raise NotFound("This plan does not exist.")
    services = visitor.services_of(request)
    state = await rendering.billing_state(services, user.account_id)
    if plans.is_on(services) and _is_no_upgrade(state, PlanName(plan)) and fields.get("sure") != "yes":
        return await rendering.show_plans(request, plan_to_confirm=PlanName(plan))
    opening = plans.checkout_url(services, user.account_id, PlanName(plan), public_base_url(request))
    return await rendering.leave_for_checkout(request, "plan", opening)


async def portal(request: Request) -> Response:
    user, _ = await forms.read_owner(request)
    services = visitor.services_of(request)
    try:
        url = await plans.portal_url(services, user.account_id, public_base_url(request))
    except StripeUnavailable:
        return await rendering.show_plans(
            request, 503, problem="Stripe is unavailable. Nothing was changed. Try again later."
        )
    except StripeRefused as error:
        log.warning("the portal could not be opened", reason=str(error))
        return await rendering.show_plans(
            request, 422, problem="Stripe's page cannot be opened right now. Nothing was changed."
        )
    return rendering.redirect_to_stripe(request, url)


async def success_page(request: Request) -> Response:
    """Wait for the webhook. The address is not trusted."""
    user = await visitor.require_owner(request)
    state = await rendering.billing_state(visitor.services_of(request), user.account_id)
    bought = request.query_params.get("plan", "")
    is_active = state.status in ("active", "trialing", "ending") and (state.plan == bought or state.is_fixed)
    poll_count = rendering.poll_count(request)
    next_poll = None
    if not is_active and bought in _BUYABLE and poll_count < _POLLS_MAX:
        next_poll = f"/plans/success?plan={bought}&polls={poll_count + 1}"
    return pages.render(
        request,
        "plans/success.html",
        plan=PLANS[state.plan],
        is_active=is_active,
        next_poll=next_poll,
    )


async def cancelled_page(request: Request) -> Response:
    await visitor.require_owner(request)
    return await rendering.show_plans(request, notice="Checkout cancelled. Nothing was charged.")


async def return_page(request: Request) -> Response:
    await visitor.require_owner(request)
    return await rendering.show_plans(
        request, notice="Changes made on Stripe's page appear here within a few seconds."
    )


def enqueue_cancellation(session: Session, account_id: str, now: datetime) -> None:
    """Queue a sync of a deleted account's customer, which cancels its subscription."""
    customer_id = checkouts.customer_id_of(session, account_id)
    if customer_id is not None:
        events.enqueue_sync(session, customer_id, "account.closed", now)


def _is_no_upgrade(state: BillingState, plan: PlanName) -> bool:
    """Whether the operator assigned a plan as large as this one, so that buying it is likely a mistake."""
    return state.status == "given" and PLANS[state.plan].monthly_credits >= PLANS[plan].monthly_credits
