"""The JSON bodies of answers. They are stored for retries, so they belong to calls and not only to HTTP."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from api.errors import NoCreditsForMember, is_retryable, status_and_code
from billing import errors as billing_errors
from billing.ledger.plans import PLANS, PlanName
from ml import errors as ml_errors
from ml.backend import ToolAnswer

if TYPE_CHECKING:  # The command line makes such bodies without a database.
    from billing.ledger.grants import PackCredits
    from billing.ledger.models import Account

#: Messages for callers; those of the exceptions themselves are for the log.
_MESSAGES: dict[type[Exception], str] = {
    billing_errors.AddressUnverified: "Confirm your e-mail address first; the link was mailed to you.",
    NoCreditsForMember: "No credits can be spent in this account. Ask its owner for more.",
    billing_errors.InsufficientCredits: "No credits are left.",
    billing_errors.AccountClosed: "This account was closed.",
    billing_errors.AccountSuspended: (
        "This account is suspended. Nothing was charged. Ask whoever runs this server."
    ),
    billing_errors.UnknownAccount: "There is no such account.",
    billing_errors.LeaseLost: "The call was interrupted. Nothing was charged; please try again.",
    billing_errors.BadSignature: "This request has no valid and recent Stripe signature.",
    billing_errors.StripeUnavailable: "Stripe cannot be reached at the moment. Please try again.",
    ml_errors.Cancelled: "The call was stopped. Nothing was charged; please try again.",
}
_INTERNAL_ERROR = "Something went wrong on our side. Nothing was charged."


def success(data: Any, request_id: str) -> bytes:
    return encode({"success": True, "data": data, "requestId": request_id})


def tool_data(
    answer: ToolAnswer,
    *,
    image_id: str,
    image_url: str,
    url_expires_at: datetime,
    credits_charged: int,
    credits_remaining: int,
) -> dict[str, Any]:
    """The `data` of a successful call; the tool's own fields come last."""
    return {
        "imageUrl": image_url,
        "width": answer.width,
        "height": answer.height,
        "format": answer.format,
        "processingTimeMs": round(answer.processing_seconds * 1000),
        "queueTimeMs": round(answer.queue_seconds * 1000),
        "imageId": image_id,
        "bytes": len(answer.content),
        "expiresAt": timestamp(url_expires_at),
        "model": answer.model,
        "device": answer.device,
        "creditsCharged": credits_charged,
        "creditsRemaining": credits_remaining,
        "warnings": list(answer.warnings),
        "precision": answer.precision,
        **_own_fields(answer, image_id),
    }


def picture_data(answer: ToolAnswer, image_id: str) -> dict[str, Any]:
    """The part of `tool_data` that an unbilled result has: no address and no credits."""
    return {
        "processingTimeMs": round(answer.processing_seconds * 1000),
        "model": answer.model,
        "device": answer.device,
        "warnings": list(answer.warnings),
        "precision": answer.precision,
        **_own_fields(answer, image_id),
    }


def _own_fields(answer: ToolAnswer, image_id: str) -> dict[str, Any]:
    return {**({"maskId": image_id} if answer.mask_mode else {}), **camel_case(answer.fields)}


def account_data(account: "Account", of_packs: "PackCredits") -> dict[str, Any]:
    """The `data` of an account, whose credits were refreshed."""
    plan = PLANS[PlanName(account.plan)]
    return {
        "email": account.email,
        "plan": account.plan,
        "credits": {
            "available": account.available,
            "held": account.held,
            "renewsAt": timestamp_or_none(account.period_ends_at),
            "packCredits": of_packs.available,
            "packCreditsExpireAt": timestamp_or_none(of_packs.expire_at),
        },
        "limits": {"concurrentCalls": plan.concurrent_calls, "callsPerMinute": plan.calls_per_minute},
    }


def failure(
    error: Exception, request_id: str, data: Any = None, *, top_up_url: str | None = None
) -> tuple[int, bytes]:
    """Status and body for `error`. An unforeseen exception gets a general message, never its own."""
    body = {
        "success": False,
        "error": error_fields(error, top_up_url),
        **({} if data is None else {"data": data}),
        "requestId": request_id,
    }
    return status_and_code(error)[0], encode(body)


def error_fields(error: Exception, top_up_url: str | None = None) -> dict[str, Any]:
    """The `error` object of a failure's body. `top_up_url`: where credits are sold, if they help."""
    _, code = status_and_code(error)
    is_internal = code == "INTERNAL_ERROR"
    fields = {
        "code": code,
        "message": _INTERNAL_ERROR if is_internal else _message(error) or code,
        # Some built-in exceptions have a `name` too, which is not a parameter.
        "param": None if is_internal else parameter_at_fault(error),
        "retryable": is_retryable(error),
    }
    if isinstance(error, billing_errors.InsufficientCredits):
        fields["renewsAt"] = timestamp_or_none(error.renews_at)
        if top_up_url is not None and not isinstance(error, billing_errors.BudgetSpent):
            fields["topUpUrl"] = top_up_url
    return fields


def parameter_at_fault(error: Exception) -> str | None:
    """The form field that `error` names: `param` of API errors, `name` of a tool's errors."""
    named = getattr(error, "param", None) or getattr(error, "name", None)
    return named if isinstance(named, str) and named else None


def _message(error: Exception) -> str:
    if isinstance(error, billing_errors.BudgetSpent):
        renews = "" if error.renews_at is None else f" It renews at {timestamp(error.renews_at)}."
        credits = "1 credit" if error.limit == 1 else f"{error.limit:,} credits"
        return (
            f"This API key has reached its limit of {credits} a month.{renews}"
            " It can be raised on the dashboard, by the account's owner or who made the key."
        )
    for kind, message in _MESSAGES.items():
        if isinstance(error, kind):
            return message
    return str(getattr(error, "message", None) or error)


def timestamp(moment: datetime) -> str:
    """`2026-11-23T15:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def timestamp_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else timestamp(moment)


def encode(body: Any) -> bytes:
    # ASCII with escapes, so that no text sent by a caller can make the encoding fail.
    return json.dumps(body, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def camel_case(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A tool's own fields under the names that callers see."""
    return {re.sub(r"_([a-z0-9])", lambda m: m[1].upper(), name): value for name, value in fields.items()}
