"""Browsers that signed in to an account before: a signed note in a cookie that outlives the session.

It opens nothing. It only gives the account's owner a bucket of attempts that strangers cannot use up.
"""

import hashlib
import hmac
import secrets

_LENGTH_MAX = 200


def issue(secret: str, email: str) -> str:
    """A note for the browser that has just signed in to the account of `email`."""
    device = secrets.token_urlsafe(16)
    return f"{device}.{_signature(secret, email, device)}"


def known(secret: str, email: str, note: str) -> str | None:
    """The browser's own name if `note` is ours and of this account, else None."""
    device, _, signature = note[:_LENGTH_MAX].partition(".")
    expected = _signature(secret, email, device)
    return device if hmac.compare_digest(expected.encode(), signature.encode()) else None


def _signature(secret: str, email: str, device: str) -> str:
    message = f"bgeraser device\n{email}\n{device}".encode("utf-8", "surrogatepass")
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
