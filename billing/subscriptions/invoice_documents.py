"""Invoices as their customer reads them: number, purpose, amount, state, and Stripe's pages of them.

The credits that an invoice pays for are a matter of `parsing` and `invoices`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from billing.ledger.plans import PLANS
from billing.subscriptions import packs
from billing.subscriptions.parsing import PACK_METADATA, PlanOfPrice, id_of, is_proration, moment

Json = Mapping[str, Any]

_STRIPE_HOST = "stripe.com"
_PURPOSE_LENGTH_MAX = 200


@dataclass(frozen=True)
class InvoiceDocument:
    """A finalized invoice. Its links are None unless they are of Stripe's own https pages."""

    id: str
    number: str
    issued_at: datetime
    purpose: str
    amount: int  # in the currency's smallest unit; negative for a credit
    currency: str  # ISO 4217, lower case
    status: str  # open, paid, uncollectible or void
    page_url: str | None
    pdf_url: str | None


@dataclass(frozen=True)
class InvoicePage:
    """The newest invoices first. `next_after`: where the following page begins, None on the last one."""

    invoices: tuple[InvoiceDocument, ...]
    next_after: str | None


def document(
    stripe_invoice: Json, plan_of_price: PlanOfPrice, simulator: str | None
) -> InvoiceDocument | None:
    """None for a draft, which has no number yet and may still change.

    `simulator`: the operator's other address of the API, whose links are accepted as well.
    """
    if stripe_invoice["status"] in ("draft", None):
        return None
    finalized_at = (stripe_invoice.get("status_transitions") or {}).get("finalized_at")
    return InvoiceDocument(
        id=stripe_invoice["id"],
        number=stripe_invoice.get("number") or stripe_invoice["id"],
        issued_at=moment(finalized_at or stripe_invoice["created"]),
        purpose=_purpose(stripe_invoice, plan_of_price)[:_PURPOSE_LENGTH_MAX],
        amount=stripe_invoice["total"],
        currency=stripe_invoice["currency"],
        status=stripe_invoice["status"],
        page_url=stripe_link(stripe_invoice.get("hosted_invoice_url"), simulator),
        pdf_url=stripe_link(stripe_invoice.get("invoice_pdf"), simulator),
    )


def stripe_link(url: object, simulator: str | None = None) -> str | None:
    """`url` if it is an https address of Stripe's, or of the simulator; otherwise None."""
    if not isinstance(url, str) or not url.isascii() or any(map(str.isspace, url)) or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if simulator and url.startswith(simulator.rstrip("/") + "/"):
        return url
    host = parts.hostname or ""
    is_stripes = host == _STRIPE_HOST or host.endswith("." + _STRIPE_HOST)
    is_plain = parts.username is None and port in (None, 443)
    return url if parts.scheme == "https" and is_stripes and is_plain else None


def _purpose(stripe_invoice: Json, plan_of_price: PlanOfPrice) -> str:
    """Of the largest line: a pack, a plan and its period, a change of plan, or what the operator wrote."""
    pack = packs.credits_of(packs.lookup_key((stripe_invoice.get("metadata") or {}).get(PACK_METADATA, "")))
    if pack is not None:
        return f"Pack of {pack:,} credits"
    lines = stripe_invoice["lines"]["data"]
    if not lines:
        return stripe_invoice.get("description") or "Invoice"
    line = max(lines, key=lambda each: each["amount"])
    details = (line.get("pricing") or {}).get("price_details")
    plan = plan_of_price(id_of(details["price"])) if details else None
    if plan is None:
        return line.get("description") or stripe_invoice.get("description") or "Invoice"
    title = f"{PLANS[plan].title} plan"
    if is_proration(line):
        return f"Change to the {title}"
    starts_at, ends_at = moment(line["period"]["start"]), moment(line["period"]["end"])
    return f"{title}, {starts_at:%-d %B} to {ends_at:%-d %B %Y}"
