"""What an operator's account has at Stripe so that something is sold: products, prices, webhook, portal."""

from collections.abc import Mapping
from typing import Any

from billing.errors import StripeRefused
from billing.subscriptions.connection import (
    ATTEMPTS_A_DAY_MAX,
    StripeConnection,
    all_of,
    errors,
    invalid_request,
    new_intent,
    write_options,
)

Found = list[dict[str, Any]]


class SetUpObjects:
    """Each `kind` is `product`, `price`, `webhook_endpoint`, or `configuration` of the portal.

    Methods raise StripeUnavailable and StripeRefused.
    """

    def __init__(self, connection: StripeConnection) -> None:
        self._connection = connection

    def list(self, kind: str, **params: Any) -> Found:
        """Every `product`, `price`, `webhook_endpoint` or portal `configuration` of the account.

        Raises StripeRefused if one is of the other mode, test or live, than the key.
        """
        with errors():
            return self.of_our_mode(all_of(self._service(kind).list({"limit": 100, **params})))

    def create(self, kind: str, **values: Any) -> dict[str, Any]:
        """Repeated within a day it returns the same object, unless that was archived or replaced since."""
        outdated: list[str] = []
        with errors():
            for _ in range(ATTEMPTS_A_DAY_MAX):
                key = write_options(kind, values, outdated)
                created: dict[str, Any] = self._service(kind).create(values, key).to_dict()
                if self._is_current(kind, created["id"], values):
                    return created
                outdated.append(created["id"])
        raise StripeRefused(f"each new {kind} is archived at Stripe at once")

    def _is_current(self, kind: str, object_id: str, values: Mapping[str, Any]) -> bool:
        """Whether an answer that may be a replay is still true."""
        try:
            found = self._service(kind).retrieve(object_id).to_dict()
        except invalid_request() as error:
            if error.code != "resource_missing":
                raise
            return False
        is_there = not found.get("deleted") and found.get("active", True)
        return is_there and found.get("lookup_key") == values.get("lookup_key")

    def update(self, kind: str, object_id: str, **values: Any) -> dict[str, Any]:
        with errors():
            # An intent of its own, because the same change is made again after another one.
            key = write_options(f"update-{kind}", object_id, new_intent())
            updated: dict[str, Any] = self._service(kind).update(object_id, values, key).to_dict()
            return updated

    def of_our_mode(self, found: Found) -> Found:
        """What was found, all of it of the mode, test or live, of the key. Raises StripeRefused."""
        for each in found:
            if each["livemode"] != self._connection.is_live:
                modes = ("live", "test") if each["livemode"] else ("test", "live")
                raise StripeRefused(
                    f"{each['id']} is of Stripe's {modes[0]} mode, but the secret key is a {modes[1]} key"
                )
        return found

    def _service(self, kind: str) -> Any:
        v1 = self._connection.client.v1
        services: Mapping[str, Any] = {
            "product": v1.products,
            "price": v1.prices,
            "webhook_endpoint": v1.webhook_endpoints,
            "configuration": v1.billing_portal.configurations,
        }
        return services[kind]
