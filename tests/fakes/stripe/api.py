"""The simulator's REST API, as far as the product uses it: form-encoded requests, JSON, paginated lists."""

import asyncio
import copy
import hashlib
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from billing.subscriptions.connection import KEY_PREFIX
from tests.fakes.stripe import lifecycle, shapes
from tests.fakes.stripe.backstage import backstage_routes
from tests.fakes.stripe.pages import page_routes
from tests.fakes.stripe.shapes import Json
from tests.fakes.stripe.world import SECRET_KEY, WEBHOOK_SECRET, LoggedRequest, NotFound, World

Create = Callable[[World, Json], Json]

#: Path of a collection -> the `object` of its members.
_COLLECTIONS = {
    "customers": "customer",
    "products": "product",
    "prices": "price",
    "subscriptions": "subscription",
    "invoices": "invoice",
    "invoice_payments": "invoice_payment",
    "charges": "charge",
    "refunds": "refund",
    "disputes": "dispute",
    "events": "event",
    "webhook_endpoints": "webhook_endpoint",
    "checkout/sessions": "checkout.session",
    "billing_portal/configurations": "billing_portal.configuration",
}
#: An invoice contains this many of its lines; the others are fetched from its list of lines.
_LINES_SHOWN = 10
_ENDED = ("canceled", "incomplete_expired")


class Refusal(Exception):
    """An error response: HTTP status, Stripe's error type and message."""

    def __init__(
        self, status: int, kind: str, message: str, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"type": kind, "message": message, "param": param, "code": code}}


def create_app(world: World) -> Starlette:
    """The simulator as an ASGI application."""
    answers: dict[str, tuple[str, int, Json]] = {}  # by idempotency key

    async def answer(request: Request) -> Response:
        body = await request.body()
        path = request.path_params["path"]
        gate = world.gates.get(f"{request.method} /v1/{path}")
        if gate is not None:
            await asyncio.to_thread(gate.wait)
        with world.lock:
            world.calls.append(f"{request.method} /v1/{path}")
            world.requests.append(
                LoggedRequest(
                    request.method,
                    f"/v1/{path}",
                    request.headers.get("idempotency-key"),
                    request.headers.get("stripe-version"),
                )
            )
            try:
                _check(world, request)
                _check_key(request)
                form = nested(parse_qsl(body.decode() or request.url.query, keep_blank_values=True))
                key = request.headers.get("idempotency-key") if request.method == "POST" else None
                digest = hashlib.sha256(f"{path}?".encode() + body).hexdigest()
                if key is not None and key in answers:
                    if answers[key][0] != digest:
                        raise Refusal(400, "idempotency_error", "This key was used with another request.")
                    headers = {"Idempotent-Replayed": "true"}
                    return JSONResponse(answers[key][2], answers[key][1], headers)
                result = _act(world, request.method, path, form)
                if key is not None:
                    answers[key] = (digest, 200, copy.deepcopy(result))
                return JSONResponse(result)
            except NotFound as missing:
                refusal = Refusal(
                    missing.status, "invalid_request_error", str(missing), missing.param, "resource_missing"
                )
                return JSONResponse(refusal.body, refusal.status)
            except lifecycle.NotPossible as error:
                refusal = Refusal(400, "invalid_request_error", str(error), None, error.code)
                return JSONResponse(refusal.body, 400)
            except Refusal as refusal:
                return JSONResponse(refusal.body, refusal.status)

    methods = ["GET", "POST", "DELETE"]
    pages = [*page_routes(world), *backstage_routes(world)]
    return Starlette(routes=[Route("/v1/{path:path}", answer, methods=methods), *pages])


def nested(pairs: list[tuple[str, str]]) -> Json:
    """`a[b][0]=c` as `{"a": {"b": ["c"]}}`."""
    root: Json = {}
    for name, value in pairs:
        steps = re.findall(r"[^\[\]]+", name)
        place = root
        for step in steps[:-1]:
            place = place.setdefault(step, {})
        place[steps[-1]] = value
    return {name: _as_lists(value) for name, value in root.items()}


def _as_lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {name: _as_lists(each) for name, each in value.items()}
    return list(inner.values()) if inner and all(name.isdigit() for name in inner) else inner


def _check(world: World, request: Request) -> None:
    if world.is_down:
        raise Refusal(503, "api_error", "The simulator simulates an outage.")
    if request.headers.get("authorization") != f"Bearer {SECRET_KEY}":
        raise Refusal(401, "invalid_request_error", "Invalid API Key provided.")


def _check_key(request: Request) -> None:
    """Stricter than Stripe, so that every test of a write fails that would be made twice by a retry.

    The SDK invents a key for each call, which a repeated call would not have: only keys of the product's own
    are accepted. Stripe ignores those of deletions.
    """
    if request.method == "POST" and not request.headers.get("idempotency-key", "").startswith(KEY_PREFIX):
        raise Refusal(400, "idempotency_error", "This write has no idempotency key of the product's own.")


def _act(world: World, method: str, path: str, form: Json) -> Json:
    if path in _COLLECTIONS:
        return _list(world, path, form) if method == "GET" else _create(world, path, form)
    if path == "billing_portal/sessions" and method == "POST":
        return _portal_session(world, form)
    if (lines := re.fullmatch(r"invoices/(\w+)/lines", path)) is not None:
        return _page_of(world.get(lines[1])["lines"]["data"], path, form)
    collection, _, object_id = path.rpartition("/")
    if collection in _COLLECTIONS:
        thing = world.get(object_id)
        if method == "DELETE" and thing["object"] == "subscription":
            if thing["status"] in _ENDED:
                raise NotFound("subscription", object_id, "id")
            lifecycle.cancel_now(world, thing)
        elif method == "DELETE" and thing["object"] == "customer":
            lifecycle.delete_customer(world, thing)
            return {"id": object_id, "object": "customer", "deleted": True}
        elif thing.get("deleted"):
            return {"id": object_id, "object": thing["object"], "deleted": True}
        elif method == "POST":
            _update(world, thing, form)
        return _expanded(world, thing, form.get("expand", []))
    if (expire := re.fullmatch(r"checkout/sessions/(\w+)/expire", path)) is not None:
        session = world.get(expire[1])
        if session["status"] != "open" or session["id"] in world.sessions_being_paid:
            raise Refusal(
                400,
                "invalid_request_error",
                'Only Checkout Sessions with a status in ["open"] can be expired.'
                f" This Checkout Session has a status of {session['status']}.",
                "session",
            )
        session |= {"status": "expired", "url": None}
        return session
    raise Refusal(404, "invalid_request_error", f"Unrecognized request URL ({method}: /v1/{path}).")


def _list(world: World, path: str, form: Json) -> Json:
    if "customer" in form:
        world.customer(form["customer"])
    found = [each for each in reversed(list(world.all(_COLLECTIONS[path]))) if _fits(each, form)]
    if path == "events":
        found = list(reversed(world.events))
    inner = [each.removeprefix("data.") for each in form.get("expand", [])]
    page = _page_of(found, path, form)
    return {**page, "data": [_expanded(world, each, inner) for each in page["data"]]}


def _page_of(found: list[Json], path: str, form: Json) -> Json:
    if (after := form.get("starting_after")) is not None:
        ids = [each["id"] for each in found]
        if after not in ids:
            raise NotFound(path.removesuffix("s"), after, "starting_after")
        found = found[ids.index(after) + 1 :]
    limit = int(form.get("limit", 10))
    return shapes.collection(found[:limit], f"/v1/{path}", len(found) > limit)


def _fits(thing: Json, form: Json) -> bool:
    for name in ("customer", "subscription", "charge", "payment_intent", "invoice", "product"):
        if name in form and thing.get(name) != form[name]:
            return False
    if "created" in form and thing["created"] < int(form["created"].get("gte", 0)):
        return False
    if "lookup_keys" in form and thing.get("lookup_key") not in form["lookup_keys"]:
        return False
    if "type" in form and thing.get("type") != form["type"]:
        return False
    if "active" in form and thing["active"] != (form["active"] in ("true", "True")):
        return False
    wanted = form.get("status")
    if thing["object"] == "subscription" and wanted is None:
        return thing["status"] not in _ENDED
    return wanted in (None, "all", thing.get("status"))


def _expanded(world: World, thing: Json, wanted: list[str]) -> Json:
    """A copy in which the ids that `expand` names are replaced by their objects."""
    answer = copy.deepcopy(thing)
    if thing["object"] == "invoice" and "payments" in wanted:
        payments = list(world.all("invoice_payment", invoice=thing["id"]))
        answer["payments"] = shapes.collection(
            copy.deepcopy(payments), f"/v1/invoice_payments?invoice={thing['id']}"
        )
    if thing["object"] == "invoice":
        lines = thing["lines"]["data"]
        answer["lines"]["data"] = copy.deepcopy(lines[:_LINES_SHOWN])
        answer["lines"]["has_more"] = len(lines) > _LINES_SHOWN
    if thing["object"] == "charge" and "refunds" in wanted:
        refunds = list(reversed(list(world.all("refund", charge=thing["id"]))))
        answer["refunds"] = shapes.collection(
            copy.deepcopy(refunds[:10]), f"/v1/charges/{thing['id']}/refunds", len(refunds) > 10
        )
    for name in wanted:
        if isinstance(thing.get(name), str):
            answer[name] = copy.deepcopy(world.get(thing[name]))
    return answer


def _create(world: World, path: str, form: Json) -> Json:
    makers: dict[str, Create] = {
        "customers": _customer,
        "products": lambda w, f: w.add(shapes.product(w.new_id("prod"), w.now, f)),
        "prices": _price,
        "webhook_endpoints": _webhook_endpoint,
        "checkout/sessions": _checkout_session,
        "billing_portal/configurations": lambda w, f: w.add(
            shapes.portal_configuration(w.new_id("bpc"), w.now, f)
        ),
        "refunds": _refund,
    }
    if path not in makers:
        raise Refusal(404, "invalid_request_error", f"The simulator does not create {path}.")
    return makers[path](world, form)


def _refund(world: World, form: Json) -> Json:
    charge = next(
        each
        for each in world.all("charge")
        if form.get("charge") == each["id"] or form.get("payment_intent") == each["payment_intent"]
    )
    return lifecycle.refund(world, charge, int(form["amount"]) if "amount" in form else None)


def _customer(world: World, form: Json) -> Json:
    made = world.add(shapes.customer(world.new_id("cus"), world.now, form))
    world.record_event("customer.created", made)
    return made


def _price(world: World, form: Json) -> Json:
    world.get(form["product"])
    for other in world.all("price", lookup_key=form.get("lookup_key")):
        if form.get("lookup_key") is not None:
            if form.get("transfer_lookup_key") != "true":
                raise Refusal(400, "invalid_request_error", "A price already uses that lookup key.")
            other["lookup_key"] = None
    return world.add(shapes.price(world.new_id("price"), world.now, form))


def _webhook_endpoint(world: World, form: Json) -> Json:
    made = world.add(shapes.webhook_endpoint(world.new_id("we"), world.now, form))
    return {**made, "secret": WEBHOOK_SECRET}  # Stripe returns it only on creation


def _checkout_session(world: World, form: Json) -> Json:
    world.customer(form["customer"])
    price = world.get(form["line_items"][0]["price"])
    if not price["active"]:
        raise Refusal(
            400,
            "invalid_request_error",
            "The price specified is inactive. This field only accepts active prices.",
            "line_items[0][price]",
        )
    session_id = world.new_id("cs_test")
    url = f"{world.address}/pay/{session_id}"
    if (price["type"] == "recurring") != (form["mode"] == "subscription"):
        raise Refusal(400, "invalid_request_error", "The price's type does not fit the mode.", "mode")
    if (wrong := _wrong_options(form)) is not None:
        raise Refusal(400, "invalid_request_error", wrong)
    amount, currency = price["unit_amount"], price["currency"]
    world.orders[session_id] = form
    return world.add(shapes.checkout_session(session_id, world.now, form, url, amount, currency))


def _wrong_options(form: Json) -> str | None:
    """What Stripe says about options that do not fit each other, for a customer that exists."""
    update = form.get("customer_update", {})
    if form.get("tax_id_collection", {}).get("enabled") == "true" and update.get("name") != "auto":
        return (
            "Tax ID collection requires updating business name on the customer. To enable tax ID collection"
            " for an existing customer, please set `customer_update[name]` to `auto`."
        )
    if form.get("automatic_tax", {}).get("enabled") == "true" and update.get("address") != "auto":
        return (
            "Automatic tax calculation in Checkout requires a valid address on the Customer. Add a valid"
            " address to the Customer or set `customer_update[address]` to 'auto'."
        )
    if "invoice_creation" in form and form["mode"] != "payment":
        return "You can only enable invoice creation when `mode` is set to `payment`."
    return None


def _portal_session(world: World, form: Json) -> Json:
    world.customer(form["customer"])
    session_id = world.new_id("bps")
    made = shapes.portal_session(session_id, world.now, form, f"{world.address}/portal/{session_id}")
    world.orders[session_id] = form
    return world.add(made)


def _update(world: World, thing: Json, form: Json) -> None:
    kind = thing["object"]
    if kind == "webhook_endpoint":
        thing |= {"enabled_events": form["enabled_events"], "status": "enabled"}
    elif kind == "billing_portal.configuration":
        made = shapes.portal_configuration(thing["id"], thing["created"], {**thing, **form})
        thing["features"] = made["features"]
    elif kind == "subscription" and form == {"trial_end": "now"}:
        lifecycle.end_trial(world, thing)
    elif kind == "price":
        thing["active"] = form["active"] in ("true", "True")
    elif kind == "customer":
        thing |= {name: value for name, value in form.items() if name in ("email", "metadata", "name")}
    else:
        raise Refusal(400, "invalid_request_error", f"The simulator does not change a {kind}.")
