"""What the operator wants of a checkout page: taxes, tax ids and promotion codes, as Stripe's parameters."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CheckoutOptions:
    automatic_tax: bool = False  # Stripe Tax calculates taxes
    promotion_codes: bool = False
    tax_ids: bool = False  # companies can enter a tax id; every customer's billing address is asked for

    def parameters(self) -> dict[str, Any]:
        """Of a new checkout session for a customer that exists.

        Stripe refuses tax ids unless it may replace the customer's name by the company's, and taxes unless
        it may keep the address that they were calculated for.
        """
        chosen: dict[str, Any] = {}
        customer_update: dict[str, str] = {}
        if self.automatic_tax:
            chosen["automatic_tax"] = {"enabled": True}
            customer_update["address"] = "auto"
        if self.tax_ids:
            chosen["tax_id_collection"] = {"enabled": True}
            chosen["billing_address_collection"] = "required"
            customer_update |= {"name": "auto", "address": "auto"}
        if customer_update:
            chosen["customer_update"] = customer_update
        if self.promotion_codes:
            chosen["allow_promotion_codes"] = True
        return chosen


PLAIN = CheckoutOptions()
