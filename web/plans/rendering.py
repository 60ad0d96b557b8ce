"""Renders the plans page, with the packs of credits on it, and the redirect to Stripe."""

from collections.abc import Awaitable

import structlog
from fastapi import Request
from starlette.responses import Response

from api.errors import InvalidParameter
from api.payments import packs, plans
from api.payments.plans import BillingState
from api.services import Services
from billing.errors import AddressUnverified, StripeRefused, StripeUnavailable
from billing.ledger.plans import PLANS, PlanName
from web.auth import visitor
from web.plans import invoices, messages
from web.rendering import pages

log = structlog.get_logger()


async def show_plans(
    request: Request,
    status_code: int = 200,
    *,
    problem: str = "",
    notice: str = "",
    plan_to_confirm: PlanName | None = None,
) -> Response:
    """`plan_to_confirm` is a plan whose purchase has to be confirmed first."""
    user = await visitor.require_owner(request)
    services = visitor.services_of(request)
    state = await billing_state(services, user.account_id)
    return pages.render(
        request,
        "plans/plans.html",
        status_code,
        problem=problem,
        notice=notice,
        plan_to_confirm=PLANS[plan_to_confirm] if plan_to_confirm is not None else None,
        is_on=plans.is_on(services),
        offers=await plans.plan_offers(services),
        packs=await packs.pack_offers(services),
        pack_months=messages.months(services.stripe.pack_months) if services.stripe is not None else "",
        state=state,
        invoices=await invoices.read(services, user.account_id) if status_code == 200 else None,
        current_plan=PLANS[state.plan],
        plan_status=messages.plan_status(state),
    )


async def leave_for_checkout(request: Request, what: str, opening: Awaitable[str]) -> Response:
    """Redirect to the checkout of a plan or pack whose address `opening` returns, or say why it cannot be."""
    try:
        url = await opening
    except AddressUnverified:
        return await show_plans(
            request, 422, problem="Confirm your email address first. See your account page."
        )
    except StripeUnavailable:
        return await show_plans(
            request, 503, problem="Stripe is unavailable. Nothing was charged. Try again later."
        )
    except (InvalidParameter, StripeRefused) as error:
        log.warning(f"a {what} could not be bought", path=request.url.path, reason=str(error))
        return await show_plans(
            request, 422, problem=f"This {what} cannot be bought right now. Nothing was charged."
        )
    return redirect_to_stripe(request, url)


def redirect_to_stripe(request: Request, url: str) -> Response:
    """A page that redirects to Stripe.

    An HTTP redirect would have to be allowed by the `form-action` policy of each page with such a form,
    including the dashboard and the editor, and Stripe may serve its pages at a custom domain.
    """
    return pages.render(request, "plans/leaving.html", url=url)


async def billing_state(services: Services, account_id: str) -> BillingState:
    return await services.database.read(
        lambda session: plans.billing_state(session, account_id, services.clock())
    )


def poll_count(request: Request) -> int:
    """How often the page after a payment has polled."""
    polls = request.query_params.get("polls", "0")
    return int(polls) if polls.isascii() and polls.isdigit() and len(polls) < 4 else 0
