"""The life cycle of subscriptions, invoices and payments, and the events that each step sends."""

from datetime import UTC, datetime
from typing import Any

from billing.ledger.periods import period_start
from tests.fakes.stripe import billing_shapes as shapes
from tests.fakes.stripe import money_shapes
from tests.fakes.stripe.shapes import Json
from tests.fakes.stripe.world import World

DAY = 86_400
#: A renewal's invoice is a draft for an hour before it is charged.
DRAFT_SECONDS = 3_600
#: Days between attempts at a failed payment; after the last one the subscription is cancelled.
RETRY_DAYS = (3, 5, 7)


class NotPossible(Exception):
    """A request that Stripe refuses, with its error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def item_of(subscription: Json) -> Json:
    item: Json = subscription["items"]["data"][0]
    return item


def subscribe(world: World, customer_id: str, price_id: str, metadata: Json, trial_days: int = 0) -> Json:
    """A new subscription; its first invoice is paid at once, or the subscription stays incomplete."""
    price = world.get(price_id)
    subscription_id = world.new_id("sub")
    end = world.now + trial_days * DAY if trial_days else _later(world.now, 1)
    item = shapes.subscription_item(world.new_id("si"), world.now, subscription_id, price, world.now, end)
    subscription = world.add(shapes.subscription(subscription_id, world.now, customer_id, item, metadata))
    if trial_days:
        subscription |= {
            "status": "trialing",
            "trial_start": world.now,
            "trial_end": end,
            "billing_cycle_anchor": end,
        }
    if (fingerprint := world.cards.get(customer_id)) is not None:
        method = world.add(
            money_shapes.payment_method(world.new_id("pm"), world.now, customer_id, fingerprint)
        )
        subscription["default_payment_method"] = method["id"]
    world.record_event("customer.subscription.created", subscription)
    amount = 0 if trial_days else price["unit_amount"]
    line = _line(world, subscription, price, amount, world.now, end)
    _finalize(world, _invoice(world, subscription, [line], "subscription_create"))
    return subscription


def end_trial(world: World, subscription: Json) -> None:
    """End the trial early: the first period begins now and is charged."""
    subscription |= {"status": "active", "trial_end": world.now, "billing_cycle_anchor": world.now}
    _begin_period(world, subscription, world.now)
    world.record_event("customer.subscription.updated", subscription)
    _finalize(world, _renewal(world, subscription))


def change_price(
    world: World, subscription: Json, price_id: str, proration_behavior: str = "always_invoice"
) -> None:
    """Change the price immediately: the rest of the old price is credited, the new price is charged.

    With "always_invoice" at once; with "create_prorations" both are lines of the next invoice.
    """
    item = item_of(subscription)
    old, new = item["price"], world.get(price_id)
    start, end = item["current_period_start"], item["current_period_end"]
    left = (end - world.now) / (end - start) if subscription["status"] != "trialing" else 0.0
    lines = [
        _line(world, subscription, old, -round(old["unit_amount"] * left), world.now, end, proration=True),
        _line(world, subscription, new, round(new["unit_amount"] * left), world.now, end, proration=True),
    ]
    item |= {"price": new, "plan": shapes.plan(new)}
    _release_schedule(world, subscription)
    world.record_event("customer.subscription.updated", subscription)
    if proration_behavior == "create_prorations":
        world.pending_lines.setdefault(subscription["id"], []).extend(lines)
    elif proration_behavior == "always_invoice":
        _finalize(world, _invoice(world, subscription, lines, "subscription_update"))


def schedule_price(world: World, subscription: Json, price_id: str) -> None:
    """Change the price from the next period on."""
    _release_schedule(world, subscription)
    made = world.add(shapes.schedule(world.new_id("sub_sched"), world.now, subscription, world.get(price_id)))
    subscription["schedule"] = made["id"]
    world.record_event("subscription_schedule.created", made)
    world.record_event("customer.subscription.updated", subscription)


def cancel_at_period_end(world: World, subscription: Json, cancel: bool = True) -> None:
    end = item_of(subscription)["current_period_end"]
    subscription |= {
        "cancel_at_period_end": cancel,
        "cancel_at": end if cancel else None,
        "canceled_at": world.now if cancel else None,
    }
    world.record_event("customer.subscription.updated", subscription)


def cancel_now(world: World, subscription: Json, reason: str = "cancellation_requested") -> None:
    subscription |= {"status": "canceled", "ended_at": world.now, "canceled_at": world.now}
    subscription["cancellation_details"] |= {"reason": reason}
    _release_schedule(world, subscription)
    world.record_event("customer.subscription.deleted", subscription)


def delete_customer(world: World, customer: Json) -> None:
    """Delete a customer, which ends its subscriptions. Stripe then returns only that it was deleted."""
    for subscription in world.all("subscription", customer=customer["id"]):
        if subscription["status"] not in ("canceled", "incomplete_expired"):
            cancel_now(world, subscription)
    world.record_event("customer.deleted", customer)
    customer["deleted"] = True


def pause_collection(world: World, subscription: Json, paused: bool = True) -> None:
    subscription["pause_collection"] = {"behavior": "void", "resumes_at": None} if paused else None
    world.record_event("customer.subscription.updated", subscription)


def resume(world: World, subscription: Json) -> None:
    """Resume after a trial that ended without a card: a period begins and is charged."""
    _begin_period(world, subscription, world.now)
    subscription |= {"status": "active", "billing_cycle_anchor": world.now}
    world.record_event("customer.subscription.resumed", subscription)
    _finalize(world, _renewal(world, subscription))


def advance(world: World, seconds: int) -> None:
    """Advance the test clock. Everything that becomes due happens at its own time."""
    until = world.now + seconds
    while True:
        due = [(moment, number) for number, (moment, _) in enumerate(_coming(world)) if moment <= until]
        if not due:
            break
        moment, number = min(due)
        world.now = max(world.now, moment)
        action, thing = _coming(world)[number][1]
        action(world, thing)
    world.now = until


def _coming(world: World) -> list[tuple[int, tuple[Any, Json]]]:
    coming: list[tuple[int, tuple[Any, Json]]] = []
    for subscription in world.all("subscription"):
        if subscription["status"] in ("active", "trialing", "past_due", "unpaid"):
            coming.append((item_of(subscription)["current_period_end"], (_period_ends, subscription)))
    for invoice in world.all("invoice"):
        if invoice["status"] == "draft":
            coming.append((invoice["automatically_finalizes_at"], (_finalize, invoice)))
        elif invoice["status"] == "open" and invoice["next_payment_attempt"] is not None:
            coming.append((invoice["next_payment_attempt"], (pay, invoice)))
    return coming


def _period_ends(world: World, subscription: Json) -> None:
    if subscription["cancel_at_period_end"]:
        cancel_now(world, subscription)
        return
    if subscription["status"] == "trialing" and subscription["customer"] in world.cardless_customers:
        subscription["status"] = "paused"
        world.record_event("customer.subscription.paused", subscription)
        return
    if subscription["schedule"] is not None:
        price = world.get(world.get(subscription["schedule"])["phases"][1]["items"][0]["price"])
        item_of(subscription).update({"price": price, "plan": shapes.plan(price)})
        _release_schedule(world, subscription)
    if subscription["status"] == "trialing":
        subscription["status"] = "active"
    _begin_period(world, subscription, item_of(subscription)["current_period_end"])
    invoice = _renewal(world, subscription)
    invoice["automatically_finalizes_at"] = world.now + DRAFT_SECONDS
    world.record_event("customer.subscription.updated", subscription)


def _begin_period(world: World, subscription: Json, start: int) -> None:
    anchor = subscription["billing_cycle_anchor"]
    months = next(count for count in range(1, 1_000) if _later(anchor, count) > start)
    end = _later(anchor, months) if start >= anchor else _later(start, 1)
    item_of(subscription).update({"current_period_start": start, "current_period_end": end})


def _renewal(world: World, subscription: Json) -> Json:
    item = item_of(subscription)
    start, end = item["current_period_start"], item["current_period_end"]
    line = _line(world, subscription, item["price"], item["price"]["unit_amount"], start, end)
    # Pending prorations come before the subscription's own line.
    lines = [*world.pending_lines.pop(subscription["id"], []), line]
    return _invoice(world, subscription, lines, "subscription_cycle")


def _finalize(world: World, invoice: Json) -> None:
    invoice |= {"status": "open", "effective_at": world.now, "automatically_finalizes_at": None}
    _name(world, invoice)
    _apply_balance(world, invoice)
    invoice["status_transitions"]["finalized_at"] = world.now
    world.record_event("invoice.finalized", invoice)
    if _subscription_of(world, invoice)["pause_collection"] is not None:
        invoice["status"] = "void"
        invoice["status_transitions"]["voided_at"] = world.now
        world.record_event("invoice.voided", invoice)
        return
    pay(world, invoice)


def _apply_balance(world: World, invoice: Json) -> None:
    """Apply the customer's balance, which is negative for a credit; a negative total is added to it."""
    customer = world.get(invoice["customer"])
    before = customer["balance"]
    due = invoice["total"] + before
    invoice |= {
        "starting_balance": before,
        "ending_balance": min(0, due),
        "amount_due": max(0, due),
        "amount_remaining": max(0, due),
    }
    customer["balance"] = min(0, due)


def pay(world: World, invoice: Json) -> bool:
    """Charge the customer's card and send the events. Returns whether the payment succeeded."""
    subscription = _subscription_of(world, invoice)
    invoice |= {"attempted": True, "attempt_count": invoice["attempt_count"] + 1}
    unable = world.declined_customers | world.cardless_customers
    if invoice["amount_due"] > 0 and invoice["customer"] in unable:
        _payment_failed(world, invoice, subscription)
        return False
    if invoice["amount_due"] > 0:
        intent_id = world.new_id("pi")
        charge = world.add(money_shapes.charge(world.new_id("ch"), world.now, invoice, intent_id))
        world.add(money_shapes.invoice_payment(world.new_id("inpay"), world.now, invoice, intent_id))
        world.record_event("charge.succeeded", charge)
    invoice |= {
        "status": "paid",
        "amount_paid": invoice["amount_due"],
        "amount_remaining": 0,
        "next_payment_attempt": None,
    }
    invoice["status_transitions"]["paid_at"] = world.now
    still_open = [each for each in world.all("invoice", status="open") if _same(each, invoice)]
    if subscription["status"] == "incomplete" or (
        subscription["status"] in ("past_due", "unpaid") and not still_open
    ):
        subscription["status"] = "active"
        world.record_event("customer.subscription.updated", subscription)
    world.record_event("invoice.paid", invoice)
    world.record_event("invoice.payment_succeeded", invoice)
    return True


def _payment_failed(world: World, invoice: Json, subscription: Json) -> None:
    tries = invoice["attempt_count"]
    is_last = tries > len(RETRY_DAYS)
    invoice["next_payment_attempt"] = None if is_last else world.now + RETRY_DAYS[tries - 1] * DAY
    world.record_event("invoice.payment_failed", invoice)
    if subscription["status"] == "incomplete":
        return
    if is_last:
        cancel_now(world, subscription, "payment_failed")
    elif subscription["status"] != "past_due":
        subscription["status"] = "past_due"
        world.record_event("customer.subscription.updated", subscription)


def pay_once(world: World, session: Json, *, is_slow: bool = False, is_free: bool = False) -> Json:
    """Pay a checkout of the mode `payment` and return its session.

    A slow payment, such as a bank debit, is settled by `settle_slow_payment`; a free one has no charge,
    because a promotion code paid all of it.
    """
    session |= {"status": "complete", "url": None}
    if is_free:
        session |= {"amount_total": 0, "payment_status": "no_payment_required"}
    else:
        session["payment_intent"] = world.new_id("pi")
        payment = {
            "amount_due": session["amount_total"],
            "currency": session["currency"],
            "customer": session["customer"],
        }
        charge = world.add(
            money_shapes.charge(world.new_id("ch"), world.now, payment, session["payment_intent"])
        )
        if is_slow:
            charge |= {"status": "pending", "paid": False, "amount_captured": 0}
        else:
            session["payment_status"] = "paid"
            world.record_event("charge.succeeded", charge)
    if not is_slow:
        _invoice_pack(world, session)
    world.record_event("checkout.session.completed", session)
    return session


def settle_slow_payment(world: World, session: Json, *, succeeds: bool) -> None:
    """The bank pays, or refuses after some days."""
    charge = next(world.all("charge", payment_intent=session["payment_intent"]))
    if succeeds:
        charge |= {"status": "succeeded", "paid": True, "amount_captured": charge["amount"]}
        session["payment_status"] = "paid"
        world.record_event("charge.succeeded", charge)
        _invoice_pack(world, session)
        world.record_event("checkout.session.async_payment_succeeded", session)
    else:
        charge |= {"status": "failed"}
        world.record_event("charge.failed", charge)
        world.record_event("checkout.session.async_payment_failed", session)


def refund(world: World, charge: Json, amount: int | None = None, *, is_pending: bool = False) -> Json:
    """Refund the rest of a charge, or `amount`. A pending refund is not yet in `amount_refunded`."""
    counted = [each for each in world.all("refund", charge=charge["id"]) if each["status"] != "failed"]
    left = charge["amount"] - sum(each["amount"] for each in counted)
    if left == 0:
        raise NotPossible("charge_already_refunded", f"Charge {charge['id']} has already been refunded.")
    if any(each["status"] != "won" for each in world.all("dispute", charge=charge["id"])):
        raise NotPossible("charge_disputed", f"Charge {charge['id']} has been charged back; cannot refund.")
    if (amount or left) > left:
        raise NotPossible("amount_too_large", f"Refund amount is greater than unrefunded amount ({left}).")
    made = world.add(money_shapes.refund(world.new_id("re"), world.now, charge, amount or left))
    if is_pending:
        made["status"] = "pending"
        world.record_event("refund.created", made)
        return made
    charge["amount_refunded"] += made["amount"]
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    world.record_event("refund.created", made)
    world.record_event("charge.refunded", charge)
    return made


def fail_refund(world: World, made: Json) -> None:
    charge = world.get(made["charge"])
    if made["status"] == "succeeded":
        charge["amount_refunded"] -= made["amount"]
    charge["refunded"] = False
    made["status"] = "failed"
    world.record_event("refund.failed", made)


def open_dispute(world: World, charge: Json) -> Json:
    made = world.add(money_shapes.dispute(world.new_id("du"), world.now, charge))
    made["amount"] -= charge["amount_refunded"]  # refunded money cannot be disputed
    charge["disputed"] = True
    world.record_event("charge.dispute.created", made)
    world.record_event("charge.dispute.funds_withdrawn", made)
    return made


def close_dispute(world: World, made: Json, *, won: bool) -> None:
    made["status"] = "won" if won else "lost"
    world.record_event("charge.dispute.closed", made)


def charges_of(world: World, customer_id: str) -> list[Json]:
    return list(world.all("charge", customer=customer_id))


def _invoice(world: World, subscription: Json, lines: list[Json], reason: str) -> Json:
    invoice = world.add(shapes.invoice(world.new_id("in"), world.now, subscription, lines, reason))
    for line in lines:
        line["invoice"] = invoice["id"]
    subscription["latest_invoice"] = invoice["id"]
    world.record_event("invoice.created", invoice)
    return invoice


def _invoice_pack(world: World, session: Json) -> None:
    """The paid invoice that `invoice_creation` asks for."""
    order = world.orders[session["id"]]
    if order.get("invoice_creation", {}).get("enabled") != "true":
        return
    price = world.get(order["line_items"][0]["price"])
    line = shapes.pack_line(world.new_id("il"), world.now, price, world.get(price["product"])["name"])
    invoice = world.add(shapes.pack_invoice(world.new_id("in"), world.now, session, line))
    line["invoice"] = session["invoice"] = invoice["id"]
    _name(world, invoice)
    invoice |= {
        "status": "paid",
        "amount_paid": invoice["amount_due"],
        "amount_remaining": 0,
        "effective_at": world.now,
    }
    invoice["status_transitions"] |= {"finalized_at": world.now, "paid_at": world.now}
    if session["payment_intent"] is not None:
        world.add(
            money_shapes.invoice_payment(world.new_id("inpay"), world.now, invoice, session["payment_intent"])
        )
    world.record_event("invoice.paid", invoice)


def _name(world: World, invoice: Json) -> None:
    """The number and the pages of a finalized invoice."""
    invoice |= {
        "number": invoice["id"].upper(),
        "hosted_invoice_url": f"{world.address}/i/{invoice['id']}",
        "invoice_pdf": f"{world.address}/i/{invoice['id']}/pdf",
    }


def _line(
    world: World,
    subscription: Json,
    price: Json,
    amount: int,
    start: int,
    end: int,
    *,
    proration: bool = False,
) -> Json:
    return shapes.invoice_line(world.new_id("il"), subscription, price, amount, start, end, proration)


def _release_schedule(world: World, subscription: Json) -> None:
    if subscription["schedule"] is not None:
        schedule = world.get(subscription["schedule"])
        schedule |= {"status": "released", "released_at": world.now}
        subscription["schedule"] = None


def _subscription_of(world: World, invoice: Json) -> Json:
    return world.get(invoice["parent"]["subscription_details"]["subscription"])


def _same(one: Json, other: Json) -> bool:
    return bool(one["parent"] == other["parent"])


def _later(moment: int, months: int) -> int:
    return int(period_start(datetime.fromtimestamp(moment, UTC), months).timestamp())
