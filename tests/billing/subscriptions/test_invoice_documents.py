"""What a customer reads of an invoice, and which links are followed."""

from typing import Any

import pytest

from billing.ledger.plans import PlanName
from billing.subscriptions.invoice_documents import document, stripe_link

SIMULATOR = "http://127.0.0.1:12111"
START, END = 1_769_860_800, 1_772_280_000  # 31 January and 28 February 2026


def plan_of_price(price_id: str) -> PlanName | None:
    return {"price_standard": PlanName.STANDARD, "price_business": PlanName.BUSINESS}.get(price_id)


def line(amount: int, price: str | None = "price_standard", **values: Any) -> dict[str, Any]:
    details = {"price_details": {"price": price, "product": "prod_1"}} if price else None
    return {
        "amount": amount,
        "description": "1 × bgeraser",
        "period": {"start": START, "end": END},
        "pricing": details,
        "parent": None,
        **values,
    }


def invoice(*lines: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {
        "id": "in_1",
        "number": "AB-0001",
        "created": START,
        "status": "paid",
        "total": sum(each["amount"] for each in lines),
        "currency": "usd",
        "description": None,
        "metadata": {},
        "lines": {"data": list(lines)},
        "status_transitions": {"finalized_at": START + 3_600},
        "hosted_invoice_url": "https://invoice.stripe.com/i/acct_1/test_1?s=ap",
        "invoice_pdf": "https://pay.stripe.com/invoice/acct_1/test_1/pdf?s=ap",
        **values,
    }


PRORATION = {"invoice_item_details": {"proration": True}}


@pytest.mark.parametrize(
    ("lines", "values", "purpose"),
    [
        ([line(900)], {}, "Standard plan, 31 January to 28 February 2026"),
        (
            [line(-400, parent=PRORATION), line(2_200, "price_business", parent=PRORATION)],
            {},
            "Change to the Business plan",
        ),
        ([line(500, "price_x")], {"metadata": {"bgeraser_pack_credits": "1000"}}, "Pack of 1,000 credits"),
        ([line(500, "price_x")], {"metadata": {"bgeraser_pack_credits": "1e3"}}, "1 × bgeraser"),
        ([line(500, None)], {}, "1 × bgeraser"),
        ([line(500, None, description=None)], {"description": "By hand"}, "By hand"),
        ([line(500, None, description=None)], {}, "Invoice"),
        ([], {}, "Invoice"),
        ([line(500, None, description="x" * 1_000)], {}, "x" * 200),
    ],
)
def test_an_invoice_says_what_it_is_for(
    lines: list[dict[str, Any]], values: dict[str, Any], purpose: str
) -> None:
    found = document(invoice(*lines, **values), plan_of_price, None)
    assert found is not None
    assert found.purpose == purpose


def test_an_invoice_has_its_number_day_amount_and_links() -> None:
    found = document(invoice(line(-400)), plan_of_price, None)
    assert found is not None
    assert (found.number, found.amount, found.currency, found.status) == ("AB-0001", -400, "usd", "paid")
    assert found.issued_at.timestamp() == START + 3_600
    assert found.page_url == "https://invoice.stripe.com/i/acct_1/test_1?s=ap"
    assert found.pdf_url == "https://pay.stripe.com/invoice/acct_1/test_1/pdf?s=ap"


def test_a_draft_is_not_shown_and_a_lost_number_is_replaced() -> None:
    assert document(invoice(line(900), status="draft"), plan_of_price, None) is None
    found = document(invoice(line(900), number=None), plan_of_price, None)
    assert found is not None
    assert found.number == "in_1"


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        7,
        "http://pay.stripe.com/a",
        "https://stripe.com.evil.example/a",
        "https://evilstripe.com/a",
        "https://evil.example/https://pay.stripe.com/",
        "https://pay.stripe.com@evil.example/",
        "https://user@pay.stripe.com/",
        "https://pay.stripe.com:8443/",
        "https://pay.stripe.com:x/",
        "https://evil.example\\.stripe.com/",
        "https://pay.stripe.com/ a",
        "https://pay.stripe.com/\n",
        "https://[stripe.com/",
        "//pay.stripe.com/a",
        "javascript:alert(1)//.stripe.com",
        "data:text/html,stripe.com",
        "https://pаy.stripe.com/",  # noqa: RUF001 - the Cyrillic letter is the attack
        f"{SIMULATOR}0/i/in_1",
        SIMULATOR,
    ],
)
def test_a_link_elsewhere_is_left_out(url: object) -> None:
    assert stripe_link(url, SIMULATOR) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://invoice.stripe.com/i/acct_1/test_1?s=ap",
        "https://pay.stripe.com/invoice/acct_1/live_1/pdf?s=ap",
        "https://stripe.com/a",
        f"{SIMULATOR}/i/in_1/pdf",
    ],
)
def test_stripes_links_are_kept(url: str) -> None:
    assert stripe_link(url, SIMULATOR) == url


def test_the_simulators_links_are_only_accepted_where_it_is_the_operators_choice() -> None:
    assert stripe_link(f"{SIMULATOR}/i/in_1", None) is None
