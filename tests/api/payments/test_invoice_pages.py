"""Pages of invoices while Stripe is slow, silent or strange, and customers who ask for many."""

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from api.payments.invoice_pages import InvoicePages
from billing.errors import StripeUnavailable
from billing.subscriptions.invoice_documents import InvoicePage
from tests.support.builders import NOON

T = TypeVar("T")
EMPTY = InvoicePage((), None)


class Asked:
    """Counts what is asked, and answers by `answer`."""

    def __init__(self, answer: Callable[[], InvoicePage]) -> None:
        self.gateway: Any = self
        self.count = self.at_once = self.most_at_once = 0
        self._answer = answer
        self._lock = threading.Lock()

    def invoice_page(self, customer_id: str, after: str | None, size: int) -> InvoicePage:
        return self._answer()

    async def ask(self, question: Callable[..., T], *arguments: Any, **named: Any) -> T:
        self.count += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0.01)
            return question(*arguments, **named)
        finally:
            self.at_once -= 1


async def read(pages: InvoicePages, asked: Asked, customer: str, after: str) -> str:
    try:
        await pages.read(asked, customer, after, NOON)
    except StripeUnavailable:
        return "refused"
    return "read"


def test_requests_for_one_page_are_one_question() -> None:
    async def test() -> list[str]:
        return await asyncio.gather(*(read(pages, asked, "cus_1", "") for _ in range(8)))

    pages, asked = InvoicePages(), Asked(lambda: EMPTY)
    assert asyncio.run(test()) == ["read"] * 8
    assert asked.most_at_once <= 2
    assert asked.count <= 2


def test_a_customer_reads_a_bounded_number_of_pages_a_minute_and_others_go_on() -> None:
    async def test() -> list[str]:
        found = [await read(pages, asked, "cus_1", f"in_{number}") for number in range(30)]
        return [*found, await read(pages, asked, "cus_2", "")]

    pages, asked = InvoicePages(), Asked(lambda: EMPTY)
    assert asyncio.run(test()) == ["read"] * 20 + ["refused"] * 10 + ["read"]
    assert asked.count == 21


def test_few_wait_for_a_slow_stripe_and_a_silent_one_is_left_alone_for_a_while() -> None:
    def fail() -> InvoicePage:
        raise StripeUnavailable("no answer")

    async def test() -> list[str]:
        waiting = (read(pages, asked, f"cus_{number}", "") for number in range(50))
        return await asyncio.gather(*waiting)

    pages, asked = InvoicePages(), Asked(fail)
    assert asyncio.run(test()) == ["refused"] * 50
    assert asked.count == 2

    async def later() -> None:
        with pytest.raises(StripeUnavailable):
            await pages.read(asked, "cus_1", "another", NOON + timedelta(seconds=20))

    asyncio.run(later())
    assert asked.count == 3


def test_an_invoice_that_cannot_be_understood_is_as_one_that_cannot_be_read() -> None:
    def strange() -> InvoicePage:
        raise TypeError("total is None")

    pages, asked = InvoicePages(), Asked(strange)
    assert asyncio.run(read(pages, asked, "cus_1", "")) == "refused"
