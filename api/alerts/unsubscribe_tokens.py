"""Signed tokens of mails, with which their kind can be switched off without signing in.

A token only switches off mails of one kind of one account, so it needs no expiry and may be used twice.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass

from api.alerts.models import AlertKind

_CONTEXT = b"bgeraser unsubscribe\n"
_SIGNATURE_BYTES = 20
_LENGTH_MAX = 200


@dataclass(frozen=True)
class UnsubscribeTokens:
    """`secrets`: the server's current secret, then earlier ones that are still accepted."""

    secrets: tuple[str, ...]

    def token(self, account_id: str, kind: AlertKind) -> str:
        named = f"{account_id}.{kind.value}"
        return f"{named}.{_signature(self.secrets[0], named)}"

    def read(self, token: str) -> tuple[str, AlertKind] | None:
        """The account's id and the kind; None for a token that was not signed here.

        None too for a kind about security, which no mail switches off.
        """
        if len(token) > _LENGTH_MAX or not token.isascii():
            return None
        named, _, signature = token.rpartition(".")
        if not any(hmac.compare_digest(_signature(each, named), signature) for each in self.secrets):
            return None
        account_id, _, name = named.partition(".")
        if name not in set(AlertKind) or AlertKind(name).is_about_security:
            return None
        return account_id, AlertKind(name)


def _signature(secret: str, named: str) -> str:
    digest = hmac.new(secret.encode(), _CONTEXT + named.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest[:_SIGNATURE_BYTES]).rstrip(b"=").decode()
