"""The errors of the ledger and of payments.

BillingError
├── InsufficientCredits     nothing left to hold
│   ├── BudgetSpent         the API key's limit for this month is reached
│   └── AddressUnverified   the e-mail address was not confirmed, so no credit can be spent
├── AccountClosed           the account was closed
├── AccountSuspended        the operator has suspended the account
├── AccountExists           the e-mail address is taken
├── UnknownAccount          no such account
├── InvalidGrant            an amount that is not a valid number of credits
├── DuplicateReference      an entry or hold with that reference exists
├── HoldSettled             the hold was captured, released or expired before
├── HoldNotCaptured         nothing was charged for this hold, so nothing can be refunded
├── LeaseLost               the hold's lease lapsed before its owner settled it
├── LeaseAlive              the hold's owner still renews its lease, so it cannot be expired
└── PaymentError            Stripe
    ├── BadSignature        a webhook without a valid, recent signature of Stripe
    ├── WrongMode           an event of Stripe's test mode at a live server, or the reverse
    ├── StripeUnavailable   no answer, or try again later
    └── StripeRefused       Stripe rejected the request: a wrong key, a missing price, …
        └── CustomerGone    the customer was deleted at Stripe
"""

from datetime import datetime


class BillingError(Exception):
    """Base of every error this package raises on purpose."""


class InsufficientCredits(BillingError):
    """No grant has a credit left to hold; new ones are granted at `renews_at`, if that is known."""

    def __init__(self, message: str, renews_at: datetime | None = None) -> None:
        super().__init__(message)
        self.renews_at = renews_at


class BudgetSpent(InsufficientCredits):
    """The holds of an API key have reached its limit of credits a month; more credits would not help."""

    def __init__(self, limit: int, renews_at: datetime) -> None:
        super().__init__(f"the limit of {limit} credits a month is reached", renews_at)
        self.limit = limit


class AddressUnverified(InsufficientCredits):
    """Credits are granted and can be spent once the e-mail address is confirmed."""


class AccountClosed(BillingError):
    """The account was closed: its history is kept, but nothing can be done with it."""


class AccountSuspended(BillingError):
    """The operator has suspended the account: nothing can be started until it is restored."""


class AccountExists(BillingError):
    """Another account uses this e-mail address."""


class UnknownAccount(BillingError):
    """No account has this id or e-mail address."""


class InvalidGrant(BillingError):
    """A grant must be a whole number of credits within reason."""


class DuplicateReference(BillingError):
    """This reference was used before, so the operation has been done already."""


class HoldSettled(BillingError):
    """A hold is settled only once, and this one has been."""


class LeaseLost(BillingError):
    """The hold's lease lapsed: another process may have taken the call over, so settling is refused."""


class HoldNotCaptured(BillingError):
    """Only a captured credit can be refunded."""


class LeaseAlive(BillingError):
    """The hold's owner still renews its lease, so the hold cannot be expired."""


class PaymentError(BillingError):
    """Base of the errors of requests to and from Stripe."""


class BadSignature(PaymentError):
    """Not signed with one of our secrets, altered, too old, from the future, or not a Stripe event."""


class WrongMode(PaymentError):
    """A signed event of the other mode, test or live, than the server's key. It changes nothing here."""


class StripeUnavailable(PaymentError):
    """Stripe did not answer or asked to try again later. Nothing was changed here."""

    retry_after_seconds = 30


class StripeRefused(PaymentError):
    """Stripe understood the request and refused it; its message is for the operator's log.

    `code` and `param` are Stripe's, "" where it gave none.
    """

    def __init__(self, message: str, code: str = "", param: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class CustomerGone(StripeRefused):
    """The customer was deleted at Stripe, with its subscriptions."""
