"""Routes of `/packs`: a redirect to Stripe's checkout for a pack, and the page that Stripe returns to.

The page after a payment asks Stripe itself now and then, so that it does not depend on the webhook. Then it
leads back to where the visitor ran out of credits.
"""

from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response

from api.errors import NotFound
from api.http.dependencies import public_base_url
from api.http.routes.get_and_head import add_get
from api.payments import packs
from web.auth import forms, visitor
from web.plans import rendering
from web.rendering import pages

#: How many times the page after a payment polls, every two seconds, and at which of them Stripe is asked.
_POLLS_MAX = 30
_ASKED_EVERY = 5
_CANCELLED = "/plans/cancelled"
_DIGITS_MAX = 7
_SESSION_PREFIX = "cs_"
_SESSION_ID_LENGTH_MAX = 255

log = structlog.get_logger()


def add_to(app: FastAPI) -> None:
    add_get(app, packs.SUCCESS_PATH, success_page, include_in_schema=False)
    app.add_api_route(
        "/packs/{credits_}/checkout",
        checkout,
        methods=["POST"],
        include_in_schema=False,
        response_model=None,
    )


async def checkout(request: Request, credits_: str) -> Response:
    """Go to Stripe's checkout for a pack. The form's `next` is the page to come back to."""
    user, fields = await forms.read_owner(request)
    if not (credits_.isascii() and credits_.isdigit() and len(credits_) <= _DIGITS_MAX):
        raise NotFound("This pack does not exist.")
    services = visitor.services_of(request)
    next_path = forms.local_path(fields["next"]) if fields.get("next") else ""
    opening = packs.checkout_url(
        services,
        user.account_id,
        int(credits_),
        public_base_url(request),
        next_path,
        next_path or _CANCELLED,
    )
    return await rendering.leave_for_checkout(request, "pack", opening)


async def success_page(request: Request) -> Response:
    """Wait for the payment. The address is not trusted: it only says which checkout to look for."""
    user = await visitor.require_owner(request)
    services = visitor.services_of(request)
    session_id = request.query_params.get("session", "")[:_SESSION_ID_LENGTH_MAX]
    wanted = request.query_params.get("next", "")
    next_path = forms.local_path(wanted) if wanted else ""
    polls = rendering.poll_count(request)
    is_asked = polls % _ASKED_EVERY == 0 and polls <= _POLLS_MAX and session_id.startswith(_SESSION_PREFIX)
    find = packs.look_for if is_asked else packs.bought
    bought = await find(services, user.account_id, session_id)
    if bought is not None and next_path and polls == 0:
        return RedirectResponse(next_path, 303)
    next_poll = None
    if bought is None and session_id and polls < _POLLS_MAX:
        query = f"next={quote(next_path, safe='')}&session={quote(session_id, safe='')}&polls={polls + 1}"
        next_poll = f"{packs.SUCCESS_PATH}?{query}"
    return pages.render(
        request, "plans/pack_success.html", bought=bought, next_poll=next_poll, next_path=next_path
    )
