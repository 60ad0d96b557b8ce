"""The checkout and the customer portal as plain forms, clearly marked as a simulation."""

from html import escape
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.fakes.stripe import lifecycle
from tests.fakes.stripe.shapes import Json
from tests.fakes.stripe.world import NotFound, World

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; color: #1c2230; background: #f4f5f8 }
header { background: #7a3b00; color: #fff; padding: .6rem 1rem; font-weight: 600 }
main { max-width: 34rem; margin: 2rem auto; padding: 1.5rem; background: #fff; border-radius: 8px }
button { font: inherit; padding: .5rem 1rem; margin: .2rem 0; min-height: 44px }
fieldset { border: 1px solid #ccd; margin: 1rem 0 } .error { color: #a30000 }
"""
_NO_DECIMALS = ("jpy", "krw", "clp", "vnd", "xaf", "xof")
_THREE_DECIMALS = ("bhd", "jod", "kwd", "omr", "tnd")
_LIVE = ("active", "trialing", "past_due", "unpaid", "paused")


def page_routes(world: World) -> list[Route]:
    pages = _Pages(world)
    return [
        Route("/pay/{session_id}", pages.pay_page, methods=["GET"]),
        Route("/pay/{session_id}", pages.pay, methods=["POST"]),
        Route("/portal/{session_id}", pages.portal_page, methods=["GET"]),
        Route("/portal/{session_id}", pages.portal, methods=["POST"]),
        Route("/i/{invoice_id}", pages.invoice_page, methods=["GET"]),
        Route("/i/{invoice_id}/pdf", pages.invoice_page, methods=["GET"]),
    ]


class _Pages:
    def __init__(self, world: World) -> None:
        self._world = world

    async def pay_page(self, request: Request) -> Response:
        with self._world.lock:
            return self._pay_page(request.path_params["session_id"])

    async def pay(self, request: Request) -> Response:
        form = await form_of(request)
        world = self._world
        with world.lock:
            session = self._session(request.path_params["session_id"])
            if session is None or session["status"] != "open":
                return page("Closed", "<p>This checkout is closed.</p>", 410)
            if form.get("do") == "cancel":
                return RedirectResponse(session["cancel_url"], 303)
            if form.get("card") == "declined":
                return self._pay_page(session["id"], "The card was declined. Nothing was charged.")
            if session["mode"] == "payment":
                lifecycle.pay_once(world, session, is_slow=form.get("card") == "bank")
            else:
                complete(world, session, has_card=form.get("card") != "none")
            back = session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"])
            return RedirectResponse(back, 303)

    async def portal_page(self, request: Request) -> Response:
        with self._world.lock:
            return self._portal_page(request.path_params["session_id"])

    async def portal(self, request: Request) -> Response:
        form = await form_of(request)
        with self._world.lock:
            session = self._session(request.path_params["session_id"])
            if session is None:
                return page("Closed", "<p>This portal is closed.</p>", 410)
            act(self._world, session["customer"], form)
            return RedirectResponse(f"/portal/{session['id']}", 303)

    async def invoice_page(self, request: Request) -> Response:
        with self._world.lock:
            invoice = self._world.objects.get(request.path_params["invoice_id"])
            if invoice is None or invoice["object"] != "invoice":
                return page("Invoice", "<p>There is no such invoice.</p>", 404)
            lines = "".join(
                f"<li>{escape(each['description'] or '')}:"
                f" {amount_text(each['amount'], each['currency'])}</li>"
                for each in invoice["lines"]["data"]
            )
            total = amount_text(invoice["total"], invoice["currency"])
            return page(
                "Invoice",
                f"<h1>Invoice {escape(invoice['number'])}</h1><ul>{lines}</ul>"
                f"<p>{total}, {escape(invoice['status'])}</p>",
            )

    def _session(self, session_id: str) -> Json | None:
        try:
            return self._world.get(session_id)
        except NotFound:
            return None

    def _pay_page(self, session_id: str, error: str = "") -> Response:
        session = self._session(session_id)
        if session is None or session["status"] != "open":
            return page("Closed", "<p>This checkout is closed.</p>", 410)
        order = self._world.orders[session_id]
        price = self._world.get(order["line_items"][0]["price"])
        trial = order.get("subscription_data", {}).get("trial_period_days")
        trial_text = f"<p>The first {escape(trial)} days cost nothing.</p>" if trial else ""
        error_text = f'<p class="error" role="alert">{escape(error)}</p>' if error else ""
        is_once = session["mode"] == "payment"
        bank = (
            '<br><label><input type="radio" name="card" value="bank"> a bank debit, which takes days</label>'
        )
        return page(
            "Pay",
            f"""<h1>{escape(price["nickname"] or "Subscription")}</h1>
            <p>{_money(price)}{"" if is_once else " a month"}</p>{trial_text}{error_text}
            <form method="post">
            <fieldset><legend>Card</legend>
            <label><input type="radio" name="card" value="good" checked> a card that works</label><br>
            <label><input type="radio" name="card" value="declined"> a card that is declined</label>
            {bank if is_once else ""}</fieldset>
            <button name="do" value="pay">{"Pay" if is_once else "Subscribe"}</button>
            <button name="do" value="cancel">Go back without paying</button></form>""",
        )

    def _portal_page(self, session_id: str) -> Response:
        session = self._session(session_id)
        if session is None:
            return page("Closed", "<p>This portal is closed.</p>", 410)
        world, customer_id = self._world, session["customer"]
        order = world.orders[session_id]
        wanted = order.get("flow_data", {}).get("subscription_update_confirm", {}).get("items")
        parts = []
        for subscription in world.all("subscription", customer=customer_id):
            if subscription["status"] in _LIVE:
                parts.append(_subscription_form(world, subscription, wanted[0]["price"] if wanted else None))
        card = "is declined" if customer_id in world.declined_customers else "works"
        rows = "".join(
            f"<li>{escape(each['number'] or 'draft')}: {amount_text(each['amount_due'], each['currency'])},"
            f" {escape(each['status'])}</li>"
            for each in world.all("invoice", customer=customer_id)
        )
        return page(
            "Portal",
            f"""<h1>Your subscription</h1>{"".join(parts) or "<p>None.</p>"}
            <form method="post"><p>Your card {card}.</p>
            <button name="do" value="good-card">Use a card that works</button>
            <button name="do" value="declined-card">Use a card that is declined</button></form>
            <h2>Invoices</h2><ul>{rows}</ul>
            <p><a href="{escape(session["return_url"] or "/")}">Return to the shop</a></p>""",
        )


def complete(world: World, session: Json, *, has_card: bool = True) -> Json:
    """Complete the checkout: start the subscription and return it."""
    order = world.orders[session["id"]]
    data = order.get("subscription_data", {})
    customer_id = session["customer"]
    (world.cardless_customers.discard if has_card else world.cardless_customers.add)(customer_id)
    world.declined_customers.discard(customer_id)
    subscription = lifecycle.subscribe(
        world,
        customer_id,
        order["line_items"][0]["price"],
        data.get("metadata", {}),
        int(data.get("trial_period_days", 0)),
    )
    session |= {
        "status": "complete",
        "payment_status": "paid",
        "subscription": subscription["id"],
        "invoice": subscription["latest_invoice"],
        "url": None,
    }
    world.record_event("checkout.session.completed", session)
    return subscription


def act(world: World, customer_id: str, form: dict[str, str]) -> None:
    """Apply an action of the portal, as the configuration that `stripe-setup` creates allows it."""
    do = form.get("do", "")
    if do in ("good-card", "declined-card"):
        world.cardless_customers.discard(customer_id)
        if do == "declined-card":
            world.declined_customers.add(customer_id)
            return
        world.declined_customers.discard(customer_id)
        for invoice in list(world.all("invoice", customer=customer_id, status="open")):
            lifecycle.pay(world, invoice)
        return
    subscription = world.get(form["subscription"])
    if subscription["customer"] != customer_id or subscription["status"] not in _LIVE:
        return
    if do == "price":
        new, old = world.get(form["price"]), lifecycle.item_of(subscription)["price"]
        if new["unit_amount"] < old["unit_amount"]:
            lifecycle.schedule_price(world, subscription, new["id"])
        else:
            lifecycle.change_price(world, subscription, new["id"])
    elif do in ("cancel", "keep"):
        lifecycle.cancel_at_period_end(world, subscription, do == "cancel")


def _subscription_form(world: World, subscription: Json, wanted_price: str | None) -> str:
    present = lifecycle.item_of(subscription)["price"]
    others = [
        each
        for each in world.all("price", active=True)
        if each["lookup_key"]
        and each["type"] == "recurring"
        and each["id"] != present["id"]
        and wanted_price in (None, each["id"])
    ]
    changes = "".join(
        f"""<button name="do" value="price" formaction="?price={escape(each["id"])}">
        Change to {escape(each["nickname"] or each["id"])} ({_money(each)})</button><br>"""
        for each in others
    )
    cancelled = subscription["cancel_at_period_end"]
    ending = '<button name="do" value="keep">Keep it</button>' if cancelled else ""
    ending = ending or '<button name="do" value="cancel">Cancel at the end of the period</button>'
    scheduled = "<p>A change waits for the end of the period.</p>" if subscription["schedule"] else ""
    return f"""<form method="post"><p><strong>{escape(present["nickname"] or present["id"])}</strong>,
    {_money(present)} a month: {escape(subscription["status"])}{", ends" if cancelled else ""}</p>
    {scheduled}<input type="hidden" name="subscription" value="{escape(subscription["id"])}">
    {changes}{ending}</form>"""


def _money(price: Json) -> str:
    return amount_text(price["unit_amount"], price["currency"])


def amount_text(units: int, currency: str) -> str:
    """As people read it; the places are Stripe's, by its own list of currencies."""
    digits = 0 if currency in _NO_DECIMALS else 3 if currency in _THREE_DECIMALS else 2
    return f"{units / 10**digits:.{digits}f} {escape(currency.upper())}"


def page(title: str, body: str, status: int = 200) -> Response:
    return HTMLResponse(
        f"""<!doctype html><html lang="en"><title>{title} (simulation)</title>
        <meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
        <style>{_STYLE}</style>
        <header>Simulation of Stripe: no real card, no real money</header><main>{body}</main></html>""",
        status,
    )


async def form_of(request: Request) -> dict[str, str]:
    fields: dict[str, Any] = parse_qs((await request.body()).decode())
    fields |= {name: [value] for name, value in request.query_params.items()}
    return {name: values[-1] for name, values in fields.items()}
