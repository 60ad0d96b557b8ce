"""The list of invoices as text, for the plans page and the page of older ones."""

from dataclasses import dataclass

from api.payments import invoices
from api.services import Services
from billing.errors import StripeUnavailable
from billing.subscriptions import currencies
from billing.subscriptions.invoice_documents import InvoiceDocument, InvoicePage

_STATUSES = {"paid": "Paid", "open": "To be paid", "uncollectible": "Not paid", "void": "Cancelled"}


@dataclass(frozen=True)
class InvoiceRow:
    number: str
    day: str  # "31 January 2026"
    iso_day: str
    purpose: str
    amount: str  # "$9.00"
    status: str
    is_due: bool
    page_url: str | None
    pdf_url: str | None


@dataclass(frozen=True)
class InvoiceList:
    """`older`: the path of the following page, if there is one. `is_unavailable`: Stripe did not answer."""

    rows: tuple[InvoiceRow, ...] = ()
    older: str | None = None
    is_unavailable: bool = False


async def read(services: Services, account_id: str, after: str = "") -> InvoiceList | None:
    """None for an account that has bought nothing. Raises NotFound for an impossible `after`."""
    try:
        page = await invoices.invoice_page(services, account_id, after)
    except StripeUnavailable:
        return InvoiceList(is_unavailable=True)
    return None if page is None else _list(page)


def _list(page: InvoicePage) -> InvoiceList:
    older = f"/plans/invoices?after={page.next_after}" if page.next_after is not None else None
    return InvoiceList(tuple(_row(each) for each in page.invoices), older)


def _row(invoice: InvoiceDocument) -> InvoiceRow:
    return InvoiceRow(
        number=invoice.number,
        day=f"{invoice.issued_at:%-d %B %Y}",
        iso_day=f"{invoice.issued_at:%Y-%m-%d}",
        purpose=invoice.purpose,
        amount=currencies.text(invoice.amount, invoice.currency),
        status=_STATUSES.get(invoice.status, invoice.status),
        is_due=invoice.status in ("open", "uncollectible"),
        page_url=invoice.page_url,
        pdf_url=invoice.pdf_url,
    )
