"""Every error class has a row with its status and code."""

import json
from datetime import UTC, datetime

import pytest
from fastapi import Request
from starlette.responses import Response

from api import errors, response_bodies
from api.errors import ERROR_TABLE, status_and_code
from api.http import responses
from billing import errors as billing_errors
from ml import errors as ml_errors

#: Base classes that are never raised: each subclass has its own row.
GROUPS = {
    errors.ApiError,
    errors.RequestError,
    billing_errors.BillingError,
    ml_errors.MlError,
    ml_errors.PictureError,
}
CODES_BY_STATUS = {
    400: {"INVALID_REQUEST", "MISSING_IMAGE", "MULTIPLE_SOURCES"},
    401: {"INVALID_API_KEY"},
    402: {"INSUFFICIENT_CREDITS"},
    403: {"FORBIDDEN"},
    404: {"NOT_FOUND"},
    405: {"METHOD_NOT_ALLOWED"},
    409: {"IDEMPOTENCY_IN_PROGRESS"},
    410: {"EXPIRED"},
    413: {"FILE_TOO_LARGE", "STORAGE_FULL"},
    415: {"UNSUPPORTED_FORMAT"},
    422: {
        "INVALID_PARAMETER",
        "UNREADABLE_IMAGE",
        "IMAGE_TOO_LARGE",
        "IDEMPOTENCY_MISMATCH",
        "NOTHING_FOUND",
        "MASK_EMPTY",
    },
    429: {"RATE_LIMITED"},
    500: {"INTERNAL_ERROR", "PROCESSING_FAILED"},
    503: {"MODEL_UNAVAILABLE", "OVERLOADED", "SERVICE_UNAVAILABLE"},
    504: {"PROCESSING_TIMEOUT"},
}


def _below(base: type[Exception]) -> list[type[Exception]]:
    return [base, *(found for child in base.__subclasses__() for found in _below(child))]


RAISED = [
    error
    for base in (errors.ApiError, billing_errors.BillingError, ml_errors.MlError)
    for error in _below(base)
    if error not in GROUPS
]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: error.__name__)
def test_every_error_class_or_one_of_its_bases_has_a_row(error: type[Exception]) -> None:
    assert any(base in ERROR_TABLE for base in error.__mro__)


def test_the_table_has_the_published_statuses_and_codes_and_no_others() -> None:
    found: dict[int, set[str]] = {}
    for status, code in ERROR_TABLE.values():
        found.setdefault(status, set()).add(code)
    assert found == CODES_BY_STATUS


LASTING = [
    ml_errors.ModelUnavailable("isnet", "bgeraser models pull"),
    errors.StepUnavailable("steps: in step 2, isnet is not installed"),
    ml_errors.TooSlow("It takes 839 s."),
]
PASSING = [
    errors.RateLimited("too many", 1),
    errors.IdempotencyInProgress("it runs", 1),
    errors.ServerBusy("full"),
    errors.ServiceUnavailable("no database"),
    errors.RemoteHostUnavailable("image_url", "it does not answer"),
    ml_errors.Overloaded("full", 3),
    ml_errors.NotEnoughMemory("full"),
    ml_errors.TimedOut("stopped after 300 s"),
    ml_errors.WorkerLost("it crashed"),
    billing_errors.LeaseLost("taken over"),
    KeyError("unforeseen"),
]


def answer_to(error: Exception) -> Response:
    request = Request({"type": "http", "headers": [], "state": {"request_id": "req_1"}})
    return responses.error(request, error)


def retryable(error: Exception) -> bool:
    value: bool = json.loads(bytes(answer_to(error).body))["error"]["retryable"]
    return value


@pytest.mark.parametrize("error", LASTING, ids=lambda error: type(error).__name__)
def test_permanent_errors_are_not_retryable(error: Exception) -> None:
    assert retryable(error) is False
    assert "retry-after" not in answer_to(error).headers


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_temporary_errors_are_retryable(error: Exception) -> None:
    assert retryable(error) is True
    answer = answer_to(error)
    assert ("retry-after" in answer.headers) == (answer.status_code in (409, 429, 503))


@pytest.mark.parametrize("error", RAISED, ids=lambda error: error.__name__)
def test_a_request_error_is_not_retryable(error: type[Exception]) -> None:
    raised = error.__new__(error)
    if error is errors.RemoteHostUnavailable:  # The request is right; its file is not there at the moment.
        assert errors.is_retryable(raised) is True
    elif status_and_code(raised)[0] in (400, 401, 402, 403, 404, 405, 410, 413, 415, 422):
        assert errors.is_retryable(raised) is False


def test_an_unexpected_error_has_a_generic_message() -> None:
    assert b'"param":null' in response_bodies.failure(AttributeError("no", name="secret"), "req_1")[1]
    status, body = response_bodies.failure(KeyError("/srv/secret.key"), "req_1")
    assert status_and_code(KeyError()) == (500, "INTERNAL_ERROR")
    assert status == 500
    assert b"secret" not in body


@pytest.mark.parametrize("error", RAISED, ids=lambda error: error.__name__)
def test_the_message_of_an_internal_error_is_not_exposed(error: type[Exception]) -> None:
    if status_and_code(error.__new__(error))[1] == "INTERNAL_ERROR":
        assert b"hold_1234" not in response_bodies.failure(error("hold_1234"), "req_1")[1]


def test_every_parameter_error_names_the_parameter() -> None:
    for error in (
        errors.InvalidParameter("quality", "too much"),
        ml_errors.BadParameter("quality", "too much"),
    ):
        assert b'"param":"quality"' in response_bodies.failure(error, "req_1")[1]
    assert (
        b'"param":"Idempotency-Key"'
        in response_bodies.failure(errors.IdempotencyMismatch("other"), "req_1")[1]
    )
    assert b'"param":null' in response_bodies.failure(errors.NotFound("no"), "req_1")[1]


def test_lone_surrogates_in_an_error_can_be_serialized() -> None:
    status, body = response_bodies.failure(errors.InvalidParameter("\ud800", "\ud800 is unknown"), "req_1")
    assert status == 422
    assert body.isascii()


def test_a_refusal_for_want_of_credits_tells_when_and_where_there_are_some() -> None:
    renews_at = datetime(2026, 12, 1, tzinfo=UTC)
    fields = response_bodies.error_fields(billing_errors.InsufficientCredits("no", renews_at), "https://a/b")
    assert (fields["renewsAt"], fields["topUpUrl"]) == ("2026-12-01T00:00:00Z", "https://a/b")
    fields = response_bodies.error_fields(billing_errors.InsufficientCredits("no"))
    assert fields["renewsAt"] is None
    assert "topUpUrl" not in fields
    assert not {"renewsAt", "topUpUrl"} & set(
        response_bodies.error_fields(errors.NotFound("no"), "https://a/b")
    )
