"""Signed URLs of images, which work without a key until they expire.

A signature covers the image's id, the expiry and the preview width exactly as written in the URL, so any
altered byte is refused. `kid` names the secret that signed, so that a secret can be rotated while URLs signed
by the previous one still work.
"""

import base64
import hashlib
import hmac
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from api.errors import Expired, Forbidden

_NAMES = frozenset({"exp", "kid", "sig", "w"})
_UNIX_SECONDS = re.compile(r"[1-9][0-9]{0,10}")


@dataclass(frozen=True)
class SigningKey:
    """A secret and its public name, from which the secret cannot be derived."""

    key_id: str
    secret: bytes

    @classmethod
    def of(cls, secret: str) -> "SigningKey":
        key_id = hashlib.sha256(b"bgeraser signing key id:" + secret.encode()).hexdigest()[:8]
        return cls(key_id, secret.encode())


@dataclass(frozen=True)
class Signer:
    """Signs with `current`; also accepts `previous`, until the operator removes it from the settings."""

    current: SigningKey
    previous: SigningKey | None = None

    @classmethod
    def of(cls, secret: str, previous_secret: str | None = None) -> "Signer":
        previous = SigningKey.of(previous_secret) if previous_secret else None
        return cls(SigningKey.of(secret), previous)

    def sign(self, image_id: str, expires_at: datetime, width: int | None = None) -> str:
        """The query string that gives access to an image until `expires_at`, rounded up to a whole second.

        `width` (pixels) requests a preview of that width.
        """
        expiry = str(unix_seconds(expires_at))
        width_text = "" if width is None else str(width)
        signature = _signature(self.current, image_id, expiry, width_text)
        preview = f"&w={width_text}" if width_text else ""
        return f"exp={expiry}&kid={self.current.key_id}&sig={signature}{preview}"

    def verify(self, image_id: str, query: Sequence[tuple[str, str]], now: datetime) -> int | None:
        """The preview width that `query` (names and values) grants for `image_id`; None: the image itself.

        Raises `Forbidden` for an invalid signature, else `Expired` after the expiry.
        """
        parts = dict(query)
        if len(parts) != len(query) or not _NAMES.issuperset(parts) or parts.get("w") == "":
            raise Forbidden("This URL was altered.")
        expiry, width = parts.get("exp", ""), parts.get("w", "")
        # A dummy key replaces an unknown `kid`, so that every refusal takes the same path.
        key = next((key for key in self._keys() if key.key_id == parts.get("kid")), None)
        expected = _signature(key or SigningKey("", b"-"), image_id, expiry, width)
        matches = hmac.compare_digest(expected.encode(), parts.get("sig", "").encode())
        if key is None or not matches or not _UNIX_SECONDS.fullmatch(expiry):
            raise Forbidden("This URL has no valid signature.")
        if now.timestamp() > int(expiry):
            raise Expired("This URL has expired.")
        return int(width) if width else None

    def _keys(self) -> tuple[SigningKey, ...]:
        return (self.current,) if self.previous is None else (self.current, self.previous)


def unix_seconds(moment: datetime) -> int:
    """Whole Unix seconds, rounded up: a URL never expires earlier than promised."""
    return math.ceil(moment.timestamp())


def _signature(key: SigningKey, image_id: str, expiry: str, width: str) -> str:
    """HMAC-SHA-256 in URL-safe base64. Compared as text, so that no other encoding of it is accepted."""
    message = f"bgeraser picture\n{image_id}\n{expiry}\n{width}".encode()
    digest = hmac.new(key.secret, message, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
