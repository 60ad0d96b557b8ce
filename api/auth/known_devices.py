"""Recognises browsers that signed in to an account before, by a signed cookie that outlives the session.

The cookie grants no access. It gives the browser its own throttle bucket, which others cannot exhaust.
"""

import hashlib
import secrets

from itsdangerous import BadSignature, Signer

_LENGTH_MAX = 200


def issue_cookie(secret: str, email: str) -> str:
    """A cookie for the browser that has just signed in to the account of `email`."""
    return _signer(secret, email).sign(secrets.token_urlsafe(16)).decode()


def device_id(secret: str, email: str, cookie: str) -> str | None:
    """The browser's id; None unless `cookie` was issued here for this account."""
    try:
        # Surrogates come from bytes that are not UTF-8; a signature never matches them.
        content = cookie[:_LENGTH_MAX].encode("utf-8", "surrogatepass")
        return _signer(secret, email).unsign(content).decode()
    except BadSignature:
        return None


def _signer(secret: str, email: str) -> Signer:
    salt = f"bgeraser device\n{email}".encode("utf-8", "surrogatepass")
    return Signer(secret, salt=salt, key_derivation="hmac", digest_method=hashlib.sha256)
