"""Cursors of pages that list rows by their time, newest first, and by id where the times are equal."""

import base64
import binascii
from datetime import UTC, datetime, timedelta

from api.errors import InvalidParameter

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def after(created_at: datetime, row_id: str) -> str:
    """The cursor of the page that follows this row."""
    microseconds = (created_at - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(f"{microseconds}:{row_id}".encode()).decode().rstrip("=")


def position_of(cursor: str) -> tuple[datetime, str]:
    """The row that a page follows. Raises `InvalidParameter` for a cursor that no page gave."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        microseconds, _, row_id = text.partition(":")
        created_at = _EPOCH + timedelta(microseconds=int(microseconds))
    except (binascii.Error, ValueError, OverflowError):
        row_id = ""
    if not row_id.isprintable() or not row_id:  # PostgreSQL refuses NUL characters.
        raise InvalidParameter("cursor", "cursor: is not the nextCursor of a page")
    return created_at, row_id
