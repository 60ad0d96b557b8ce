"""Errors of pictures, engines and the backend.

MlError
├── PictureError                the picture or the request is at fault; the answer is stored for retries
│   ├── UnreadablePicture       truncated, damaged, or not the format of its first bytes
│   ├── PictureTooLarge         more pixels than allowed, in or out
│   ├── NothingFound            no object under the click, no foreground
│   └── EmptyMask               the mask marks nothing
├── UnsupportedFormat           not a supported format
├── BadParameter                impossible only for this picture, e.g. a box outside it
├── ModelUnavailable            a checkpoint or library is not installed
├── Overloaded                  the queue is full or too long
├── TooSlow                     the call's expected time is beyond the limit; refused before any work
├── TimedOut                    stopped at its time limit
├── WorkerLost                  the worker crashed, or was killed for its memory
├── OutOfMemory                 the machine is out of memory
│   └── NotEnoughMemory         refused before any work: less memory is free than the call needs
└── Cancelled                   the caller asked to stop

Every error crosses the process boundary by pickle, so each keeps its arguments in `args`.
"""


class MlError(Exception):
    """Base of every error this package raises on purpose."""


class PictureError(MlError):
    """The tool found the request impossible; repeating it gives the same answer."""


class UnreadablePicture(PictureError):
    """The bytes cannot be decoded as the picture they claim to be."""


class PictureTooLarge(PictureError):
    """More pixels than allowed. The message gives the size and the limit."""


class NothingFound(PictureError):
    """The tool found nothing to act on."""


class EmptyMask(PictureError):
    """The mask marks no pixel. `name` is the form field, if it came from one."""

    def __init__(self, message: str, name: str | None = None) -> None:
        super().__init__(message, name)
        self.name = name
        self.message = message

    def __str__(self) -> str:
        return self.message


class UnsupportedFormat(MlError):
    """The first bytes do not match a supported format."""


class BadParameter(MlError):
    """A parameter is impossible for this picture. `name` is the form field."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name, message)
        self.name = name
        self.message = message

    def __str__(self) -> str:
        return self.message


class ModelUnavailable(MlError):
    """`checkpoint` (or library) cannot be used because of `problem`; `command` installs it."""

    def __init__(self, checkpoint: str, command: str, problem: str = "is not installed") -> None:
        super().__init__(checkpoint, command, problem)
        self.checkpoint = checkpoint
        self.command = command
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.checkpoint} {self.problem}. Install it with: {self.command}"


class Overloaded(MlError):
    """The queue is full; retry after `retry_after_seconds` (≥ 1)."""

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message, retry_after_seconds)
        self.message = message
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return self.message


class TooSlow(MlError):
    """Refused before any work: the expected time, given in the message, exceeds the call's limit."""


class TimedOut(MlError):
    """Stopped at the call's time limit."""


class WorkerLost(MlError):
    """The worker died while it ran this call; it has been replaced."""


class OutOfMemory(MlError):
    """The call needed more memory than is available."""


class NotEnoughMemory(OutOfMemory):
    """The machine has too little free memory. Refused before any work, so the worker is kept."""


class Cancelled(MlError):
    """Stopped because the caller asked."""
