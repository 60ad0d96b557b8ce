"""Cursors of lists that are ordered by time of creation and id, newest first."""

import base64
import binascii
from datetime import UTC, datetime, timedelta

from api.errors import InvalidParameter

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def encode(created_at: datetime, row_id: str) -> str:
    """The cursor of the page after this row."""
    microseconds = (created_at - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(f"{microseconds}:{row_id}".encode()).decode().rstrip("=")


def decode(cursor: str, kind: str) -> tuple[datetime, str]:
    """What `encode` was given. `kind` names what is listed. Raises `InvalidParameter` for any other text."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        microseconds, _, row_id = text.partition(":")
        created_at = _EPOCH + timedelta(microseconds=int(microseconds))
    except (binascii.Error, ValueError, OverflowError):
        created_at, row_id = _EPOCH, ""
    if not row_id.isprintable() or not row_id:
        raise InvalidParameter("cursor", f"cursor: is not one of a page of {kind}")
    return created_at, row_id
