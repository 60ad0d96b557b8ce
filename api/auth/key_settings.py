"""What the owner of an API key chooses: a limit of credits a month, allowed tools, an expiry.

The settings belong to a key and to those that replace it: they share one limit and its count. A key that was
replaced and is in its grace period follows the changes of its successor, but does not live longer by them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, select

from api.auth.models import ApiKey
from api.errors import InvalidParameter
from billing.ledger import budgets
from ml.catalogue import TOOLS

#: In credits a month. No account has more.
LIMIT_MAX = 1_000_000


@dataclass(frozen=True)
class KeySettings:
    """None: no limit, all tools, no expiry. `monthly_limit` in credits a calendar month in UTC."""

    monthly_limit: int | None = None
    tools: frozenset[str] | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True)
class KeyBudget:
    """The limit of a live key, and what it has used this month, with those that it replaced."""

    monthly_limit: int | None
    used: int
    renews_at: datetime


def check(settings: KeySettings, now: datetime, *, is_test: bool) -> None:
    """Raises InvalidParameter."""
    limit = settings.monthly_limit
    if limit is not None and is_test:
        raise InvalidParameter("monthly_limit", "A test key costs nothing, so it has no limit of credits.")
    if limit is not None and not 1 <= limit <= LIMIT_MAX:
        raise InvalidParameter(
            "monthly_limit", f"The limit must be a whole number from 1 to {LIMIT_MAX:,} credits."
        )
    if settings.tools is not None and not settings.tools:
        raise InvalidParameter("tools", "Choose at least one tool that the key may use.")
    if unknown := sorted((settings.tools or frozenset()) - TOOLS.keys()):
        raise InvalidParameter("tools", f"{unknown[0]} is not a tool.")
    if settings.expires_at is not None and settings.expires_at <= now:
        raise InvalidParameter("expires_at", "The last day of the key must not be in the past.")


def of(session: Session, key: ApiKey) -> KeySettings:
    """The settings of a key."""
    limit = None if key.is_test else budgets.limit_of(session, key.family_id)
    return KeySettings(limit, tools_of(key), key.chosen_expires_at)


def budget_of(session: Session, key: ApiKey, now: datetime) -> KeyBudget | None:
    """None for a test key, which has none."""
    if key.is_test:
        return None
    limit = budgets.limit_of(session, key.family_id)
    return KeyBudget(limit, budgets.used(session, key.family_id, now), budgets.renews_at(now))


def tools_of(key: ApiKey) -> frozenset[str] | None:
    """The names of the tools that the key may use; None: all."""
    return None if key.allowed_tools is None else frozenset(key.allowed_tools.split(","))


def stored_tools(tools: Iterable[str] | None) -> str | None:
    """As `ApiKey.allowed_tools` has them."""
    return None if tools is None else ",".join(sorted(tools))


def change(session: Session, key: ApiKey, settings: KeySettings) -> None:
    """Change the checked settings of the key and of those that share them. The account must be locked."""
    if not key.is_test:
        budgets.set_limit(session, key.family_id, settings.monthly_limit)
    family = select(ApiKey).where(ApiKey.account_id == key.account_id, ApiKey.family_id == key.family_id)
    for each in session.exec(family):
        each.allowed_tools = stored_tools(settings.tools)
        each.chosen_expires_at = settings.expires_at
        if each.replaced_at is None:
            each.expires_at = settings.expires_at
        elif settings.expires_at is not None and each.expires_at is not None:
            each.expires_at = min(each.expires_at, settings.expires_at)
        session.add(each)
    session.flush()
