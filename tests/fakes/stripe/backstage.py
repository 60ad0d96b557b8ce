"""A page for the events outside the product: the clock, bank debits, refunds, disputes."""

from datetime import UTC, datetime
from html import escape

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tests.fakes.stripe import lifecycle
from tests.fakes.stripe.pages import amount_text, form_of, page
from tests.fakes.stripe.shapes import Json
from tests.fakes.stripe.world import World

PATH = "/backstage"
_STEPS = {"hour": 3_600, "day": lifecycle.DAY, "week": 7 * lifecycle.DAY, "month": 31 * lifecycle.DAY}


def backstage_routes(world: World) -> list[Route]:
    async def show(_: Request) -> Response:
        with world.lock:
            return page("Backstage", _clock(world) + _payments(world))

    async def act(request: Request) -> Response:
        form = await form_of(request)
        with world.lock:
            try:
                _act(world, form)
            except lifecycle.NotPossible as error:
                return page("Backstage", f'<p class="error" role="alert">{escape(str(error))}</p>', 400)
        return RedirectResponse(PATH, 303)

    return [Route(PATH, show, methods=["GET"]), Route(PATH, act, methods=["POST"])]


def _act(world: World, form: dict[str, str]) -> None:
    if form.get("step") in _STEPS:
        seconds = _STEPS[form["step"]]
        world.ahead_seconds += seconds
        lifecycle.advance(world, seconds)
    elif "arrived" in form or "refused" in form:
        intent = world.get(form.get("arrived") or form["refused"])["payment_intent"]
        session = next(world.all("checkout.session", payment_intent=intent))
        lifecycle.settle_slow_payment(world, session, succeeds="arrived" in form)
    elif "refund" in form:
        lifecycle.refund(world, world.get(form["refund"]))
    elif "dispute" in form:
        lifecycle.open_dispute(world, world.get(form["dispute"]))
    elif "won" in form or "lost" in form:
        lifecycle.close_dispute(world, world.get(form.get("won") or form["lost"]), won="won" in form)


def _clock(world: World) -> str:
    now = datetime.fromtimestamp(world.now, UTC)
    buttons = "".join(f'<button name="step" value="{step}">One {step} later</button> ' for step in _STEPS)
    return f"""<h1>Test clock</h1><p>{now:%-d %B %Y, %H:%M} UTC, at the simulator and in the shop.</p>
    <form method="post">{buttons}</form>
    <p>Renewals, retries and the ends of periods happen at their own moment on the way.
    Sessions end after two weeks, so log in again.</p>"""


def _payments(world: World) -> str:
    rows = "".join(_payment(world, charge) for charge in reversed(list(world.all("charge"))))
    return f"<h1>Payments</h1><form method='post'><ul>{rows or '<li>None yet.</li>'}</ul></form>"


def _payment(world: World, charge: Json) -> str:
    email = world.get(charge["customer"]).get("email") or charge["customer"]
    parts = [f"{amount_text(charge['amount'], charge['currency'])}, {escape(email)}"]
    if charge["amount_refunded"]:
        parts.append(f"{amount_text(charge['amount_refunded'], charge['currency'])} refunded")
    if charge["status"] != "succeeded":
        parts.append(escape(charge["status"]))
    if charge["status"] == "pending":
        parts += [_button("arrived", charge, "The bank pays"), _button("refused", charge, "The bank refuses")]
    disputes = list(world.all("dispute", charge=charge["id"]))
    for dispute in disputes:
        parts.append(f"dispute: {escape(dispute['status'])}")
        if dispute["status"] == "needs_response":
            parts.append(_button("won", dispute, "The shop wins it"))
            parts.append(_button("lost", dispute, "The shop loses it"))
    if charge["status"] == "succeeded" and not disputes and not charge["refunded"]:
        parts.append(_button("refund", charge, "Refund the rest"))
        parts.append(_button("dispute", charge, "Dispute it"))
    return f"<li>{' · '.join(parts)}</li>"


def _button(name: str, thing: Json, words: str) -> str:
    return f'<button name="{name}" value="{escape(thing["id"])}">{words}</button>'
