"""The connection to Stripe: the SDK's clients, the API's version, the keys of writes, errors as ours.

Only this module and the gateway use the SDK, which is imported when first needed.
"""

import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from billing.errors import StripeRefused, StripeUnavailable

if TYPE_CHECKING:
    import stripe
    from stripe import StripeClient

#: Sent with every request, and given to the webhook endpoint, so that neither an upgrade of the SDK nor the
#: account's default changes what is read here.
API_VERSION = "2026-10-28.endive"

_TIMEOUT_SECONDS = 20
_RETRIES = 2
#: While a person waits for a page.
_QUICK_TIMEOUT_SECONDS = 4
#: How often an object is created again, with another key, if the answer was one that is gone by now.
ATTEMPTS_A_DAY_MAX = 10
#: Of the keys of our own; the SDK invents others, which a repeated call would not have.
KEY_PREFIX = "bgeraser-"


class StripeConnection:
    """One Stripe account, by its secret key. `api_base`: another address, for the simulator."""

    def __init__(self, secret_key: str, api_base: str | None = None) -> None:
        self._secret_key = secret_key
        self.api_base = api_base

    @property
    def is_live(self) -> bool:
        """Whether the key moves real money: those of test modes and sandboxes say so."""
        return is_live_key(self._secret_key)

    @cached_property
    def client(self) -> "StripeClient":
        return self._open(_TIMEOUT_SECONDS, _RETRIES)

    @cached_property
    def quick_client(self) -> "StripeClient":
        """Gives up within seconds; for reading only."""
        return self._open(_QUICK_TIMEOUT_SECONDS, 0)

    def _open(self, timeout_seconds: int, retries: int) -> "StripeClient":
        import stripe

        return stripe.StripeClient(
            self._secret_key,
            stripe_version=API_VERSION,
            base_addresses={"api": self.api_base} if self.api_base else {},
            max_network_retries=retries,
            http_client=stripe.RequestsClient(timeout=timeout_seconds),
        )


def is_live_key(secret_key: str) -> bool:
    return not secret_key.strip().startswith(("sk_test_", "rk_test_"))


def new_intent() -> str:
    """Something to be done once, such as one click on a button: a part of the keys of its writes."""
    return secrets.token_hex(8)


def write_options(purpose: str, *parts: object) -> dict[str, Any]:
    """The options of a write with a key of `purpose` and `parts`, which say what is intended.

    Stripe answers a repeated key with the first answer, for a day, even if that was an error. `parts` hold
    everything that makes it another request, and an intent where the same request may be made again.
    """
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]
    return {"idempotency_key": f"{KEY_PREFIX}{purpose}-{digest}"}


def all_of(first_page: Any) -> list[dict[str, Any]]:
    """Every object of a list, page after page, as plain dictionaries."""
    return [each.to_dict() for each in first_page.auto_paging_iter()]


@contextmanager
def errors() -> Iterator[None]:
    """Translate Stripe's errors into ours, none of which contains the secret key."""
    import stripe

    try:
        yield
    except (stripe.APIConnectionError, stripe.RateLimitError) as error:
        raise StripeUnavailable(
            f"Stripe cannot be reached: {error.user_message or type(error).__name__}"
        ) from error
    except stripe.StripeError as error:
        if (error.http_status or 500) >= 500 or error.http_status in (409, 429):
            raise StripeUnavailable("Stripe asks to come back later") from error
        raise StripeRefused(
            str(error.user_message or type(error).__name__),
            str(error.code or ""),
            str(getattr(error, "param", None) or ""),
        ) from error


def invalid_request() -> "type[stripe.InvalidRequestError]":
    import stripe

    return stripe.InvalidRequestError
