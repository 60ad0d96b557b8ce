"""`POST /stripe/webhook`: events from Stripe, stored by id, answered at once and handled later."""

import structlog
from fastapi import FastAPI, Request
from starlette.responses import Response

from api.errors import NotFound
from api.http import responses
from api.http.dependencies import ServicesOf
from billing.errors import WrongMode
from billing.subscriptions import events
from billing.subscriptions.gateway import verify_signature

log = structlog.get_logger()


def add_to(app: FastAPI) -> None:
    app.add_api_route("/stripe/webhook", receive, methods=["POST"], include_in_schema=False)


async def receive(request: Request, services: ServicesOf) -> Response:
    """404 without a webhook secret. 2xx means that the event is stored, so that Stripe stops sending it.

    An event of the other mode is refused, so that Stripe shows the mistake among the endpoint's deliveries.
    """
    stripe = services.stripe
    if stripe is None or not stripe.webhook_secrets:
        raise NotFound("There is nothing at this address.")
    payload = await request.body()
    now = services.clock()
    verify_signature(payload, request.headers.get("stripe-signature"), stripe.webhook_secrets, now)
    try:
        event = events.read(payload, is_live=stripe.gateway.is_live)
    except WrongMode as error:
        log.warning("an event of Stripe's other mode was refused", reason=str(error))
        raise
    is_new = await services.database.run(lambda session: events.store(session, event, now))
    stripe.wakeup.set()
    return responses.success(request, {"received": event.id, "new": is_new})
