"""Calendar periods: month after month counted from an account's anchor, in UTC."""

from calendar import monthrange
from datetime import UTC, datetime


def period_start(anchor: datetime, months: int) -> datetime:
    """The anchor moved by whole months, earlier ones negative, at the anchor's time of day in UTC.

    Counted from the anchor itself, so that a period anchored on the 31st starts on the last day of a short
    month and on the 31st again after it.
    """
    anchor = anchor.astimezone(UTC)
    year, month_index = divmod(anchor.year * 12 + anchor.month - 1 + months, 12)
    last_day = monthrange(year, month_index + 1)[1]
    return anchor.replace(year=year, month=month_index + 1, day=min(anchor.day, last_day))


def period_containing(anchor: datetime, now: datetime) -> tuple[datetime, datetime]:
    """Start (inclusive) and end (exclusive) of the period that contains `now`."""
    anchor, now = anchor.astimezone(UTC), now.astimezone(UTC)
    months = (now.year - anchor.year) * 12 + now.month - anchor.month
    # Exactly one period starts in the calendar month of `now`; before that the previous one is current.
    if now < period_start(anchor, months):
        months -= 1
    return period_start(anchor, months), period_start(anchor, months + 1)
