"""The errors of this package, and the status and code that every package's errors have for a caller.

ApiError
├── RequestError                    the request itself
│   ├── InvalidRequest              malformed
│   ├── MissingImage · MultipleSources
│   ├── InvalidParameter            names the parameter
│   │   ├── UnusableRemoteUrl       a URL that is not fetched
│   │   └── RemoteFileUnavailable   a URL that does not lead to a picture
│   │       └── RemoteHostUnavailable   not now: its host does not answer, or says so
│   ├── FileTooLarge · StorageFull
│   ├── NotFound · MethodNotAllowed · Expired · Forbidden
├── InvalidApiKey                   missing, unknown or revoked
│   └── NotSignedIn                 a browser's route without a session
├── RateLimited                     rate or concurrency; has a Retry-After
├── IdempotencyInProgress · IdempotencyMismatch
├── StepUnavailable                 a step of a batch needs a checkpoint that is not installed
├── ServerBusy                      too many uploads at once; has a Retry-After
└── ServiceUnavailable              database gone or shutting down; has a Retry-After

NoCreditsForMember is an InsufficientCredits of `billing` for somebody who cannot buy any.

`ERROR_TABLE` alone gives an exception class its status and code; a test fails for a class without a row.
Handlers look a class up along its bases.
"""

import errno

from billing import errors as billing_errors
from ml import errors as ml_errors


class ApiError(Exception):
    """Base of this package's errors. `param` names the form field at fault, if there is one."""

    param: str | None = None
    retry_after_seconds: int | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RequestError(ApiError):
    """The request cannot be served as it was sent."""


class InvalidRequest(RequestError):
    """The request cannot be read: a broken form, a wrong content type."""


class MissingImage(RequestError):
    """The call has no image."""


class MultipleSources(RequestError):
    """The call has more than one image where one is needed."""


class InvalidParameter(RequestError):
    """`param` is unknown, repeated or has an invalid value."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


class UnusableRemoteUrl(InvalidParameter):
    """`param` is a URL that this server does not fetch, whatever is there."""


class RemoteFileUnavailable(InvalidParameter):
    """`param` is a URL whose picture could not be fetched."""


class RemoteHostUnavailable(RemoteFileUnavailable):
    """The host of the URL was not reached, was too slow, or answered that it cannot serve the file now."""


class FileTooLarge(RequestError):
    """A file or the whole request exceeds its limit."""


class StorageFull(RequestError):
    """The account's stored images fill its quota."""


class NotFound(RequestError):
    """It does not exist, or belongs to another account."""


class MethodNotAllowed(RequestError):
    """The route exists, the method does not."""


class Expired(RequestError):
    """A signed URL that has expired."""


class Forbidden(RequestError):
    """An invalid signature, or an action that the caller is not allowed."""


class InvalidApiKey(ApiError):
    """The key is missing, unknown or revoked; the answer does not say which."""


class NotSignedIn(InvalidApiKey):
    """A browser route was called without a valid session."""


class RateLimited(ApiError):
    """Too many calls a minute or at once; a call after `retry_after_seconds` is accepted again."""

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = max(1, retry_after_seconds)


class IdempotencyInProgress(ApiError):
    """The first call with this idempotency key is still running."""

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = max(1, retry_after_seconds)


class IdempotencyMismatch(ApiError):
    """This idempotency key was used for another request."""

    param = "Idempotency-Key"


class ServiceUnavailable(ApiError):
    """The database is locked, full or unreachable, or the server is shutting down. Nothing was charged."""

    def __init__(self, message: str, retry_after_seconds: int = 5) -> None:
        super().__init__(message)
        self.retry_after_seconds = max(1, retry_after_seconds)


class ServerBusy(ApiError):
    """This process has no memory for another upload. Nothing was charged."""

    def __init__(self, message: str, retry_after_seconds: int = 5) -> None:
        super().__init__(message)
        self.retry_after_seconds = max(1, retry_after_seconds)


class StepUnavailable(ApiError):
    """A step of a batch needs a checkpoint or library that is not installed. Nothing was charged."""

    param = "steps"


class NoCreditsForMember(billing_errors.InsufficientCredits):
    """No credit of the account can be spent, which only its owner can change: the caller is a member."""


#: Exception class -> (HTTP status, code).
ERROR_TABLE: dict[type[Exception], tuple[int, str]] = {
    InvalidRequest: (400, "INVALID_REQUEST"),
    MissingImage: (400, "MISSING_IMAGE"),
    MultipleSources: (400, "MULTIPLE_SOURCES"),
    InvalidApiKey: (401, "INVALID_API_KEY"),
    NotSignedIn: (401, "INVALID_API_KEY"),
    billing_errors.InsufficientCredits: (402, "INSUFFICIENT_CREDITS"),
    billing_errors.BudgetSpent: (402, "INSUFFICIENT_CREDITS"),
    billing_errors.AddressUnverified: (402, "INSUFFICIENT_CREDITS"),
    NoCreditsForMember: (402, "INSUFFICIENT_CREDITS"),
    Forbidden: (403, "FORBIDDEN"),
    billing_errors.AccountClosed: (403, "FORBIDDEN"),
    billing_errors.AccountSuspended: (403, "FORBIDDEN"),
    NotFound: (404, "NOT_FOUND"),
    MethodNotAllowed: (405, "METHOD_NOT_ALLOWED"),
    Expired: (410, "EXPIRED"),
    IdempotencyInProgress: (409, "IDEMPOTENCY_IN_PROGRESS"),
    FileTooLarge: (413, "FILE_TOO_LARGE"),
    StorageFull: (413, "STORAGE_FULL"),
    ml_errors.UnsupportedFormat: (415, "UNSUPPORTED_FORMAT"),
    InvalidParameter: (422, "INVALID_PARAMETER"),
    UnusableRemoteUrl: (422, "INVALID_PARAMETER"),
    RemoteFileUnavailable: (422, "INVALID_PARAMETER"),
    RemoteHostUnavailable: (422, "INVALID_PARAMETER"),
    ml_errors.BadParameter: (422, "INVALID_PARAMETER"),
    ml_errors.UnreadablePicture: (422, "UNREADABLE_IMAGE"),
    ml_errors.PictureTooLarge: (422, "IMAGE_TOO_LARGE"),
    ml_errors.NothingFound: (422, "NOTHING_FOUND"),
    ml_errors.EmptyMask: (422, "MASK_EMPTY"),
    IdempotencyMismatch: (422, "IDEMPOTENCY_MISMATCH"),
    RateLimited: (429, "RATE_LIMITED"),
    ml_errors.WorkerLost: (500, "PROCESSING_FAILED"),
    ml_errors.ModelUnavailable: (503, "MODEL_UNAVAILABLE"),
    StepUnavailable: (503, "MODEL_UNAVAILABLE"),
    ml_errors.Overloaded: (503, "OVERLOADED"),
    ServerBusy: (503, "OVERLOADED"),
    ml_errors.OutOfMemory: (503, "SERVICE_UNAVAILABLE"),
    ml_errors.NotEnoughMemory: (503, "SERVICE_UNAVAILABLE"),
    ml_errors.Cancelled: (503, "SERVICE_UNAVAILABLE"),
    ServiceUnavailable: (503, "SERVICE_UNAVAILABLE"),
    ml_errors.TimedOut: (504, "PROCESSING_TIMEOUT"),
    ml_errors.TooSlow: (504, "PROCESSING_TIMEOUT"),
    # Programming errors of the ledger: never the caller's fault, never shown in detail.
    billing_errors.DuplicateReference: (500, "INTERNAL_ERROR"),
    billing_errors.HoldSettled: (500, "INTERNAL_ERROR"),
    billing_errors.HoldNotCaptured: (500, "INTERNAL_ERROR"),
    billing_errors.LeaseAlive: (500, "INTERNAL_ERROR"),
    billing_errors.AccountExists: (422, "INVALID_PARAMETER"),
    billing_errors.UnknownAccount: (404, "NOT_FOUND"),
    billing_errors.InvalidGrant: (422, "INVALID_PARAMETER"),
    billing_errors.BadSignature: (403, "FORBIDDEN"),
    billing_errors.WrongMode: (403, "FORBIDDEN"),
    billing_errors.StripeUnavailable: (503, "SERVICE_UNAVAILABLE"),
    billing_errors.PaymentError: (500, "INTERNAL_ERROR"),
    # The call lost its lease, so another process may own it now: nothing is charged, the caller may retry.
    billing_errors.LeaseLost: (503, "SERVICE_UNAVAILABLE"),
}


#: Statuses of conditions that pass: the same request may succeed later.
_PASSING_STATUSES = frozenset({409, 429, 500, 503, 504})
#: Errors that have such a status, but stay until the operator installs something or the request changes.
_LASTING_ERRORS = (ml_errors.ModelUnavailable, StepUnavailable, ml_errors.TooSlow)
#: Errors that have another status, but pass without a change of the request.
_PASSING_ERRORS = (RemoteHostUnavailable,)


def status_and_code(error: Exception) -> tuple[int, str]:
    """The row of `error`'s nearest base; 500 `INTERNAL_ERROR` for an unforeseen exception."""
    for base in type(error).__mro__:
        if base in ERROR_TABLE:
            return ERROR_TABLE[base]
    return 500, "INTERNAL_ERROR"


def is_retryable(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, _PASSING_ERRORS):
        return True
    return status_and_code(error)[0] in _PASSING_STATUSES and not isinstance(error, _LASTING_ERRORS)


def retryable_codes() -> frozenset[str]:
    """Codes that say by their status that the same request may succeed later, in at least some cases."""
    return frozenset(
        code
        for kind, (status, code) in ERROR_TABLE.items()
        if status in _PASSING_STATUSES and not issubclass(kind, _LASTING_ERRORS)
    )


def as_api_error(error: Exception) -> Exception:
    """A full disk's error and an impossible file name's as errors of this package; others unchanged."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ServiceUnavailable("The server's disk is full. Nothing was charged; please try again later.")
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return NotFound("There is nothing at this address.")
    return error
