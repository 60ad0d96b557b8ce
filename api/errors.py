"""What can go wrong on the paid path, and what each error of every package looks like to a caller.

ApiError
├── RequestError                    the request itself
│   ├── InvalidRequest              not readable as a request of ours
│   ├── MissingImage · MultipleSources
│   ├── InvalidParameter            names the parameter
│   ├── FileTooLarge · StorageFull
│   ├── NotFound · MethodNotAllowed · Expired · Forbidden
├── InvalidApiKey                   none, unknown or revoked
│   └── NotSignedIn                 a browser's route without a session
├── RateLimited                     rate or concurrency; says when
├── IdempotencyInProgress · IdempotencyMismatch
├── ServerBusy                      too many uploads at once; says when
└── ServiceUnavailable              database gone or shutting down; says when

`ERROR_TABLE` is the one place that gives an exception class its status and code; a test fails for a class
without a row. Handlers look a class up along its bases.
"""

from billing import errors as billing_errors
from ml import errors as ml_errors


class ApiError(Exception):
    """Base of this package's errors. `param` names the form field at fault, if one is."""

    param: str | None = None
    retry_after_seconds: int | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RequestError(ApiError):
    """The caller sent something that cannot be served."""


class InvalidRequest(RequestError):
    """The request cannot be read: a broken form, a wrong content type."""


class MissingImage(RequestError):
    """No picture came with the call."""


class MultipleSources(RequestError):
    """More than one picture came where one is needed."""


class InvalidParameter(RequestError):
    """`param` is unknown, repeated or has an impossible value."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


class FileTooLarge(RequestError):
    """A file or the whole request is over its limit."""


class StorageFull(RequestError):
    """The account's stored pictures fill its quota."""


class NotFound(RequestError):
    """Nothing here under this name, or it is another account's."""


class MethodNotAllowed(RequestError):
    """The route exists, the method does not."""


class Expired(RequestError):
    """A signed address past its time."""


class Forbidden(RequestError):
    """A signature that is not ours."""


class InvalidApiKey(ApiError):
    """No key, an unknown one or a revoked one; which of them is not told."""


class NotSignedIn(InvalidApiKey):
    """A browser's route, and no session: none was begun, or it ended."""


class RateLimited(ApiError):
    """Too many calls in a minute or at once; a call after `retry_after_seconds` is in order again."""

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = max(1, retry_after_seconds)


class IdempotencyInProgress(ApiError):
    """The first call of this idempotency key still runs."""

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = max(1, retry_after_seconds)


class IdempotencyMismatch(ApiError):
    """This idempotency key was used for another request."""

    param = "Idempotency-Key"


class ServiceUnavailable(ApiError):
    """The database is locked, full or gone, or the server is shutting down. Nothing was charged."""

    def __init__(self, message: str, retry_after_seconds: int = 5) -> None:
        super().__init__(message)
        self.retry_after_seconds = max(1, retry_after_seconds)


class ServerBusy(ApiError):
    """This process takes in as many uploads as it has memory for. Nothing was charged."""

    def __init__(self, message: str, retry_after_seconds: int = 5) -> None:
        super().__init__(message)
        self.retry_after_seconds = max(1, retry_after_seconds)


#: Exception class -> (HTTP status, code of the error shape).
ERROR_TABLE: dict[type[Exception], tuple[int, str]] = {
    InvalidRequest: (400, "INVALID_REQUEST"),
    MissingImage: (400, "MISSING_IMAGE"),
    MultipleSources: (400, "MULTIPLE_SOURCES"),
    InvalidApiKey: (401, "INVALID_API_KEY"),
    NotSignedIn: (401, "INVALID_API_KEY"),
    billing_errors.InsufficientCredits: (402, "INSUFFICIENT_CREDITS"),
    billing_errors.AddressUnverified: (402, "INSUFFICIENT_CREDITS"),
    Forbidden: (403, "FORBIDDEN"),
    billing_errors.AccountClosed: (403, "FORBIDDEN"),
    NotFound: (404, "NOT_FOUND"),
    MethodNotAllowed: (405, "METHOD_NOT_ALLOWED"),
    Expired: (410, "EXPIRED"),
    IdempotencyInProgress: (409, "IDEMPOTENCY_IN_PROGRESS"),
    FileTooLarge: (413, "FILE_TOO_LARGE"),
    StorageFull: (413, "STORAGE_FULL"),
    ml_errors.UnsupportedFormat: (415, "UNSUPPORTED_FORMAT"),
    InvalidParameter: (422, "INVALID_PARAMETER"),
    ml_errors.BadParameter: (422, "INVALID_PARAMETER"),
    ml_errors.UnreadablePicture: (422, "UNREADABLE_IMAGE"),
    ml_errors.PictureTooLarge: (422, "IMAGE_TOO_LARGE"),
    ml_errors.NothingFound: (422, "NOTHING_FOUND"),
    ml_errors.EmptyMask: (422, "MASK_EMPTY"),
    IdempotencyMismatch: (422, "IDEMPOTENCY_MISMATCH"),
    RateLimited: (429, "RATE_LIMITED"),
    ml_errors.WorkerLost: (500, "PROCESSING_FAILED"),
    ml_errors.ModelUnavailable: (503, "MODEL_UNAVAILABLE"),
    ml_errors.Overloaded: (503, "OVERLOADED"),
    ServerBusy: (503, "OVERLOADED"),
    ml_errors.OutOfMemory: (503, "SERVICE_UNAVAILABLE"),
    ml_errors.NotEnoughMemory: (503, "SERVICE_UNAVAILABLE"),
    ml_errors.Cancelled: (503, "SERVICE_UNAVAILABLE"),
    ServiceUnavailable: (503, "SERVICE_UNAVAILABLE"),
    ml_errors.TimedOut: (504, "PROCESSING_TIMEOUT"),
    ml_errors.TooSlow: (504, "PROCESSING_TIMEOUT"),
    # Programming errors of the ledger: never a caller's fault, never shown in detail.
    billing_errors.DuplicateReference: (500, "INTERNAL_ERROR"),
    billing_errors.HoldSettled: (500, "INTERNAL_ERROR"),
    billing_errors.HoldNotCaptured: (500, "INTERNAL_ERROR"),
    billing_errors.LeaseAlive: (500, "INTERNAL_ERROR"),
    billing_errors.AccountExists: (422, "INVALID_PARAMETER"),
    billing_errors.UnknownAccount: (404, "NOT_FOUND"),
    billing_errors.InvalidGrant: (422, "INVALID_PARAMETER"),
    billing_errors.BadSignature: (403, "FORBIDDEN"),
    billing_errors.StripeUnavailable: (503, "SERVICE_UNAVAILABLE"),
    billing_errors.PaymentError: (500, "INTERNAL_ERROR"),
    # The call lost its lease, so another process may own it now: nothing is charged, the caller may retry.
    billing_errors.LeaseLost: (503, "SERVICE_UNAVAILABLE"),
}


def status_and_code(error: Exception) -> tuple[int, str]:
    """The row of `error`'s nearest base; 500 `INTERNAL_ERROR` for anything nobody foresaw."""
    for base in type(error).__mro__:
        if base in ERROR_TABLE:
            return ERROR_TABLE[base]
    return 500, "INTERNAL_ERROR"
