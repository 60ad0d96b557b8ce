"""Requests to Stripe, as plain values.

It takes and returns plain values and raises only this package's errors. Every method may block for seconds,
so none is called on an event loop or inside a transaction. Every write has an idempotency key.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from billing.errors import BadSignature, CustomerGone, StripeRefused, StripeUnavailable
from billing.ledger.plans import PLANS, PlanName
from billing.subscriptions import invoice_documents, parsing
from billing.subscriptions.checkout_options import PLAIN, CheckoutOptions
from billing.subscriptions.connection import (
    ATTEMPTS_A_DAY_MAX,
    StripeConnection,
    all_of,
    errors,
    invalid_request,
    new_intent,
    write_options,
)
from billing.subscriptions.invoice_documents import InvoicePage
from billing.subscriptions.setup_objects import SetUpObjects
from billing.subscriptions.types import (
    ChargeFacts,
    CustomerFacts,
    PackPriceFacts,
    PriceFacts,
    ReversalFacts,
)

if TYPE_CHECKING:
    from stripe import StripeClient

#: Largest difference between a signature's time and ours, in either direction.
SIGNATURE_TOLERANCE = timedelta(minutes=5)
#: How far back invoices are read. A card payment can be disputed for 120 days, and the credits of an
#: older one have long expired. Packs are read for as long as their credits last.
HORIZON = timedelta(days=130)
#: How far back packs are looked for whose customers are not known here.
PACKS_OF_STRANGERS = timedelta(days=30)


@dataclass(frozen=True)
class PriceChange:
    """The change that the portal asks the customer to confirm."""

    subscription_id: str
    item_id: str
    price_id: str


def verify_signature(payload: bytes, header: str | None, secrets: tuple[str, ...], now: datetime) -> None:
    """Raise BadSignature unless one of our secrets signed exactly `payload`, within the tolerance of `now`.

    The SDK accepts times in the future, so both directions are checked here.
    """
    import stripe

    if not any(_is_signed(stripe.WebhookSignature, payload, header, secret) for secret in secrets if secret):
        raise BadSignature("this is not signed by Stripe with a secret of ours")
    times = [part[2:] for part in (header or "").split(",") if part.startswith("t=")]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdigit()) or len(times[0]) > 12:
        raise BadSignature("the signature must have one time")
    if abs(int(times[0]) - now.timestamp()) > SIGNATURE_TOLERANCE.total_seconds():
        raise BadSignature("the signature's time is too far from ours")


def _is_signed(signature: Any, payload: bytes, header: str | None, secret: str) -> bool:
    import stripe

    try:
        signature.verify_header(payload, header, secret, tolerance=None)
    except (stripe.SignatureVerificationError, ValueError, TypeError):
        # The last two are raised for a body that is not UTF-8 and a header that is not ASCII.
        return False
    return True


class StripeGateway:
    """One Stripe account, by its secret key. `api_base`: another address, for the simulator."""

    def __init__(self, secret_key: str, api_base: str | None = None) -> None:
        self._connection = StripeConnection(secret_key, api_base)
        self._plan_by_price: dict[str, PlanName | None] = {}
        self.setup = SetUpObjects(self._connection)  # what the operator's set-up makes

    @property
    def is_live(self) -> bool:
        """Whether real money is moved."""
        return self._connection.is_live

    @property
    def _client(self) -> "StripeClient":
        return self._connection.client

    # Reading customers.

    def customer_facts(
        self, customer_id: str, now: datetime, packs_since: datetime | None = None
    ) -> CustomerFacts:
        """Everything about a customer that plan and credits depend on, as it is now. Raises CustomerGone.

        `packs_since`: when the oldest pack was ordered that still matters, if that is longer ago than the
        horizon.
        """
        since = int((now - HORIZON).timestamp())
        oldest = min(since, int(packs_since.timestamp())) if packs_since is not None else since
        with errors():
            self._require_customer(customer_id)
            invoices = all_of(
                self._client.v1.invoices.list(
                    {
                        "customer": customer_id,
                        "created": {"gte": since},
                        "limit": 100,
                        "expand": ["data.payments"],
                    }
                )
            )
            subscriptions = all_of(
                self._client.v1.subscriptions.list(
                    {
                        "customer": customer_id,
                        "status": "all",
                        "limit": 100,
                        "expand": ["data.schedule", "data.default_payment_method"],
                    }
                )
            )
            for each in invoices:
                self._complete(each["lines"], self._client.v1.invoices.line_items, each["id"])
            sessions = all_of(
                self._client.v1.checkout.sessions.list(
                    {
                        "customer": customer_id,
                        "status": "complete",
                        "created": {"gte": oldest},
                        "limit": 100,
                    }
                )
            )
            # After the sessions, so that the charge of every paid one is among them.
            charges = self._charges(customer_id, oldest)
            reversals: dict[str, list[ReversalFacts]] = {}
            for charge in charges:
                reversals.setdefault(charge.payment, []).extend(charge.reversals)
            anchors = {each["id"]: parsing.moment(each["billing_cycle_anchor"]) for each in subscriptions}
            read_subscriptions = [
                parsing.subscription(each, invoices, self._plan_of_price) for each in subscriptions
            ]
            read_invoices = [
                parsing.paid_invoice(
                    each,
                    self._plan_of_price,
                    [
                        one
                        for payment in sorted(parsing.payments_of(each))
                        for one in reversals.get(payment, [])
                    ],
                    anchors,
                )
                for each in invoices
            ]
            read_packs = [parsing.paid_pack(each, charges) for each in sessions]
        return CustomerFacts(
            id=customer_id,
            subscriptions=tuple(each for each in read_subscriptions if each is not None),
            invoices=tuple(each for each in read_invoices if each is not None),
            packs=tuple(each for each in read_packs if each is not None),
        )

    def _charges(self, customer_id: str, since: int) -> list[ChargeFacts]:
        """All charges, with their refunds and disputes in effect."""
        found: list[ChargeFacts] = []
        charges = self._client.v1.charges.list(
            {
                "customer": customer_id,
                "created": {"gte": since},
                "limit": 100,
                # The charge's own total may exclude pending refunds.
                "expand": ["data.refunds"],
            }
        )
        for charge in all_of(charges):
            refunds = charge.get("refunds") or {"data": [], "has_more": False}
            if refunds["has_more"]:
                refunds["data"] = all_of(self._client.v1.refunds.list({"charge": charge["id"], "limit": 100}))
            reversals: list[ReversalFacts | None] = [parsing.refund(each) for each in refunds["data"]]
            if charge["disputed"]:
                disputes = all_of(self._client.v1.disputes.list({"charge": charge["id"], "limit": 100}))
                reversals += [parsing.dispute(each) for each in disputes]
            found.append(parsing.charge(charge, [each for each in reversals if each is not None]))
        return found

    def _complete(self, lines: dict[str, Any], service: Any, invoice_id: str) -> None:
        """Load all lines: an invoice contains only the first ten, and prorations come first."""
        if lines["has_more"]:
            lines["data"] = all_of(service.list(invoice_id, {"limit": 100}))

    def _require_customer(self, customer_id: str) -> None:
        try:
            found = self._client.v1.customers.retrieve(customer_id).to_dict()
        except invalid_request() as error:
            if error.code == "resource_missing":
                raise CustomerGone(f"Stripe has no customer {customer_id}", error.code) from error
            raise
        if found.get("deleted"):
            raise CustomerGone(f"{customer_id} was deleted at Stripe")

    def customer_of_charge(self, charge_id: str) -> str | None:
        with errors():
            customer = self._client.v1.charges.retrieve(charge_id).customer
            return parsing.id_of(customer) if customer else None

    def account_of_customer(self, customer_id: str) -> str | None:
        """The account that a customer of ours was created for; None for any other customer."""
        with errors():
            metadata = self._client.v1.customers.retrieve(customer_id).to_dict().get("metadata") or {}
            account_id: str | None = metadata.get(parsing.ACCOUNT_METADATA)
            return account_id

    def subscribed_customers(self) -> set[str]:
        """Every customer with a subscription to one of our plans that has not ended."""
        with errors():
            subscriptions = all_of(self._client.v1.subscriptions.list({"limit": 100}))
        return {
            parsing.id_of(each["customer"])
            for each in subscriptions
            if any(parsing.plan_of(item["price"]) for item in each["items"]["data"])
        }

    def pack_customers(self, now: datetime) -> set[str]:
        """Every customer who has recently paid for a pack."""
        since = int((now - PACKS_OF_STRANGERS).timestamp())
        with errors():
            sessions = all_of(
                self._client.v1.checkout.sessions.list(
                    {"status": "complete", "created": {"gte": since}, "limit": 100}
                )
            )
        return {
            parsing.id_of(each["customer"])
            for each in sessions
            if each.get("customer") and parsing.sells_pack(each)
        }

    def invoice_page(self, customer_id: str, after: str | None, limit: int) -> InvoicePage:
        """`limit` of a customer's invoices, newest first, that are older than the invoice `after`.

        Gives up within seconds, because somebody waits for it.
        """
        client = self._connection.quick_client
        params: dict[str, Any] = {"customer": customer_id, "limit": limit}
        if after is not None:
            params["starting_after"] = after
        with errors():
            found = client.v1.invoices.list(params).to_dict()  # type: ignore[arg-type]
            documents = [
                invoice_documents.document(
                    each, lambda price_id: self._plan_of_price(price_id, client), self._connection.api_base
                )
                for each in found["data"]
            ]
        return InvoicePage(
            tuple(each for each in documents if each is not None),
            found["data"][-1]["id"] if found["has_more"] else None,
        )

    def _plan_of_price(self, price_id: str, client: "StripeClient | None" = None) -> PlanName | None:
        if price_id not in self._plan_by_price:
            found = (client or self._client).v1.prices.retrieve(price_id).to_dict()
            self._plan_by_price[price_id] = parsing.plan_of(found)
        return self._plan_by_price[price_id]

    # Actions of an account's owner.

    def prices(self, *, is_quick: bool = False) -> dict[PlanName, PriceFacts]:
        """The current prices, found by lookup key; a plan without one cannot be bought.

        Raises StripeRefused if one is of the other mode. `is_quick`: give up within seconds.
        """
        client = self._connection.quick_client if is_quick else self._client
        keys = [plan.price_lookup_key for plan in PLANS.values() if plan.price_lookup_key]
        with errors():
            found = self.setup.of_our_mode(
                all_of(client.v1.prices.list({"lookup_keys": keys, "active": True}))
            )
        prices = [parsing.price(each) for each in found]
        return {each.plan: each for each in prices if each is not None}

    def pack_prices(self) -> dict[int, PackPriceFacts]:
        """The packs on sale, by their credits, smallest first."""
        with errors():
            found = all_of(self._client.v1.prices.list({"active": True, "type": "one_time", "limit": 100}))
        ours = [parsing.pack_price(each) for each in self.setup.of_our_mode(found)]
        packs = [each for each in ours if each is not None]
        return {each.credits: each for each in sorted(packs, key=lambda one: one.credits)}

    def create_customer(self, account_id: str, email: str) -> str:
        """Create the customer of an account; repeated within a day it returns the same one."""
        # The address is part of the key, because a key must not be reused for a different request.
        deleted: list[str] = []
        with errors():
            for _ in range(ATTEMPTS_A_DAY_MAX):
                customer_id = self._client.v1.customers.create(
                    {"email": email, "metadata": {parsing.ACCOUNT_METADATA: account_id}},
                    write_options("customer", account_id, email, deleted),  # type: ignore[arg-type]
                ).id
                try:
                    self._require_customer(customer_id)
                except CustomerGone:
                    # The answer was a replay, and the customer has been deleted since.
                    deleted.append(customer_id)
                else:
                    return customer_id
        raise StripeRefused("the account's customer is deleted at Stripe again and again")

    def checkout_url(
        self,
        *,
        customer_id: str,
        account_id: str,
        price_id: str,
        success_url: str,
        cancel_url: str,
        intent: str,
        options: CheckoutOptions = PLAIN,
        trial_days: int = 0,
    ) -> str:
        """The address of a new checkout page for a plan. Earlier pages of the customer are closed.

        `intent`: of the click that opens it.
        """
        subscription_data: dict[str, Any] = {"metadata": {parsing.ACCOUNT_METADATA: account_id}}
        if trial_days:
            subscription_data["trial_period_days"] = trial_days
        params: dict[str, Any] = {
            "mode": "subscription",
            "customer": customer_id,
            "client_reference_id": account_id,
            "line_items": [{"price": price_id, "quantity": 1}],
            "success_url": success_url,
            "cancel_url": cancel_url,
            "subscription_data": subscription_data,
        }
        return self._open_checkout(params | options.parameters(), intent)

    def pack_checkout_url(
        self,
        *,
        customer_id: str,
        account_id: str,
        price: PackPriceFacts,
        success_url: str,
        cancel_url: str,
        intent: str,
        options: CheckoutOptions = PLAIN,
    ) -> str:
        """The address of a new checkout page for a pack. Earlier pages of the customer are closed.

        Stripe puts the session's id in place of `{CHECKOUT_SESSION_ID}` in `success_url`.
        """
        metadata = {parsing.ACCOUNT_METADATA: account_id, parsing.PACK_METADATA: str(price.credits)}
        params: dict[str, Any] = {
            "mode": "payment",
            "customer": customer_id,
            "client_reference_id": account_id,
            "line_items": [{"price": price.id, "quantity": 1}],
            "success_url": success_url,
            "cancel_url": cancel_url,
            "metadata": metadata,
            "payment_intent_data": {"metadata": metadata},
            # Without this, Stripe makes invoices for subscriptions only.
            "invoice_creation": {"enabled": True, "invoice_data": {"metadata": metadata}},
        }
        return self._open_checkout(params | options.parameters(), intent)

    def _open_checkout(self, params: dict[str, Any], intent: str) -> str:
        # Two pages open at once could both be paid.
        self.close_checkouts(params["customer"])
        # Not the parameters alone: a second click would get the first one's page, which was closed above.
        key = write_options("checkout", intent, params)
        with errors():
            created = self._client.v1.checkout.sessions.create(params, key)  # type: ignore[arg-type]  # plain
            url = created.url
        if url is None:
            raise StripeRefused("Stripe gave no address for the checkout")
        return url

    def close_checkouts(self, customer_id: str) -> None:
        """End the customer's open checkout pages. Raises StripeUnavailable if one is being paid just now."""
        sessions = self._client.v1.checkout.sessions
        # A refusal, because the page is being paid just now, must not be replayed to the next attempt.
        intent = new_intent()
        with errors():
            for earlier in all_of(sessions.list({"customer": customer_id, "status": "open", "limit": 100})):
                try:
                    key = write_options("expire", earlier["id"], intent)
                    sessions.expire(earlier["id"], {}, key)  # type: ignore[arg-type]
                except invalid_request() as error:
                    if sessions.retrieve(earlier["id"]).status == "open":
                        raise StripeUnavailable("a payment is being made on an earlier page") from error
                    # It was paid or has expired since; the next sync of the customer shows which.

    def portal_url(
        self,
        *,
        customer_id: str,
        return_url: str,
        configuration_id: str | None = None,
        change: PriceChange | None = None,
    ) -> str:
        """The URL of the customer's portal; with `change`, of its page that confirms another price."""
        params: dict[str, Any] = {"customer": customer_id, "return_url": return_url}
        if configuration_id is not None:
            params["configuration"] = configuration_id
        if change is not None:
            item = {"id": change.item_id, "price": change.price_id, "quantity": 1}
            params["flow_data"] = {
                "type": "subscription_update_confirm",
                "subscription_update_confirm": {
                    "subscription": change.subscription_id,
                    "items": [item],
                },
                "after_completion": {"type": "redirect", "redirect": {"return_url": return_url}},
            }
        with errors():
            key = write_options("portal", new_intent())
            return self._client.v1.billing_portal.sessions.create(params, key).url  # type: ignore[arg-type]

    def cancel_now(self, subscription_id: str) -> None:
        """Cancel at once, without further charges; ended subscriptions are ignored.

        Stripe takes no key for a deletion: repeated, it finds nothing more to delete.
        """
        with errors():
            try:
                self._client.v1.subscriptions.cancel(subscription_id)
            except invalid_request() as error:
                if error.code != "resource_missing":
                    raise

    def end_trial(self, subscription_id: str) -> None:
        """Begin and charge the first paid period now."""
        with errors():
            key = write_options("end-trial", subscription_id)
            self._client.v1.subscriptions.update(subscription_id, {"trial_end": "now"}, key)  # type: ignore[arg-type]

    def refund(self, payment_intent_id: str) -> bool:
        """Refund what is left of a payment; False if nothing is left or it is disputed."""
        with errors():
            try:
                self._client.v1.refunds.create(
                    {"payment_intent": payment_intent_id, "metadata": {parsing.REFUND_METADATA: "surplus"}},
                    write_options("refund", payment_intent_id),  # type: ignore[arg-type]
                )
            except invalid_request() as error:
                if error.code not in ("charge_already_refunded", "charge_disputed"):
                    raise
                return False
        return True
