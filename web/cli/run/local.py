"""Runs pictures with worker processes of this command: no server, account or credit."""

import asyncio
import math
from pathlib import Path
from typing import Any

from api import response_bodies
from ml import errors
from ml.backend import Priority, ToolAnswer, ToolCall, answer_of
from ml.runtime.local import LocalBackend, LocalConfig
from web.cli.run.parameters import LARGEST_FILE_BYTES, RunParameters
from web.cli.run.types import PictureFailed, Result, RunStopped

#: Nobody waits for an answer over HTTP here, so that calls may take long. A hung one still ends.
_CALL_SECONDS = 3600.0
#: A call whose worker was lost is run again: the worker may have been killed for another reason.
_ATTEMPTS = 3
#: Before a call for which too little memory was free is tried again, several times as long each time.
_MEMORY_PAUSE_SECONDS = 2.0


class LocalRunner:
    """Raises `ml.device.NoCudaDevice` if the requested device is missing."""

    def __init__(self, config: LocalConfig, parameters: RunParameters) -> None:
        self._parameters = parameters
        self._backend = LocalBackend(config)
        self._backend.start()

    @property
    def parallel(self) -> int:
        """One more than there are workers: its file is read while they are busy."""
        return self._backend.worker_count + 1

    @property
    def file_limit_bytes(self) -> int:
        return LARGEST_FILE_BYTES

    async def run(self, content: bytes) -> Result:
        """Raises PictureFailed, RunStopped."""
        call = ToolCall(
            self._parameters.tool.name,
            self._parameters.params,
            {"image": content, **self._parameters.files},
            Priority.PAID,
            _CALL_SECONDS,
        )
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answer = await answer_of(self._backend.submit(call))
            except errors.WorkerLost as error:
                if attempt == _ATTEMPTS:
                    raise _failure(error) from None
            except errors.NotEnoughMemory as error:
                if attempt == _ATTEMPTS:
                    raise _failure(error) from None
                await asyncio.sleep(_MEMORY_PAUSE_SECONDS * 4 ** (attempt - 1))
            except errors.ModelUnavailable as error:
                raise RunStopped(str(error)) from None
            except errors.Overloaded:
                # The queue of a run is never long: no worker could be started.
                raise RunStopped("No worker process can be started; the reason is above.") from None
            except errors.MlError as error:
                raise _failure(error) from None
            except Exception as error:
                raise PictureFailed("INTERNAL_ERROR", str(error)) from None
            else:
                return Result(answer.content, answer.format, _data(answer))
        raise AssertionError("the last attempt raises or returns")

    def start_no_more(self) -> None:
        """Calls cost nothing here, and at most one of them still waits for a worker: let it finish."""

    async def close(self) -> None:
        self._backend.stop(0.0)
        await asyncio.to_thread(self._backend.close)


def config(
    models_dir: Path, cache_dir: Path, workers: int | None, pictures: int | None, **settings: Any
) -> LocalConfig:
    """The backend's configuration for a number of pictures; None: not known. `settings` are its other fields.

    Without `workers` there are as many as the server would have, but no more than there are pictures.
    """
    if workers is not None and pictures is not None:
        workers = max(1, min(workers, pictures))
    elif pictures == 1:
        workers = 1
    return LocalConfig(
        models_dir=models_dir,
        cache_dir=cache_dir,
        workers=workers,
        # The first picture is the warm-up.
        warm_up=False,
        # Nobody else waits for these workers.
        max_wait_seconds=math.inf,
        long_seconds=math.inf,
        **settings,
    )


def _failure(error: errors.MlError) -> PictureFailed:
    fields = response_bodies.error_fields(error)
    return PictureFailed(fields["code"], fields["message"], fields["param"])


def _data(answer: ToolAnswer) -> dict[str, Any]:
    return {
        "width": answer.width,
        "height": answer.height,
        "format": answer.format,
        "bytes": len(answer.content),
        "processingTimeMs": round(answer.processing_seconds * 1000),
        "model": answer.model,
        "device": answer.device,
        "warnings": list(answer.warnings),
        "precision": answer.precision,
        **response_bodies.camel_case(answer.fields),
    }
