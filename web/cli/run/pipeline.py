"""Takes sources through the runner, several at a time, and writes the results."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from web.cli.run import outputs, parameters
from web.cli.run.outputs import Target
from web.cli.run.types import (
    UNREADABLE_FILE,
    Outcome,
    PictureFailed,
    Result,
    Runner,
    RunStopped,
    Source,
    Status,
)

OnOutcome = Callable[[Outcome], None]


@dataclass(frozen=True)
class Skipping:
    """Whether sources with a result are skipped, and the formats that a result may have."""

    is_wanted: bool
    formats: Sequence[str]


async def process(
    targets: AsyncIterator[Target], runner: Runner, skipping: Skipping, on_outcome: OnOutcome
) -> None:
    """Process every target. At most `runner.parallel` pictures are in memory at once.

    Cancelling this leaves no half-written file. Raises RunStopped, after the calls that were running have
    finished and their results, which may have been paid, are written.
    """
    taking = asyncio.Lock()
    waiting: set[asyncio.Task[None]] = set()  # for a target, which may take for ever in watched folders
    reasons: list[RunStopped] = []

    async def take() -> Target | None:
        task = asyncio.current_task()
        assert task is not None
        waiting.add(task)
        try:
            async with taking:
                return await anext(targets, None)
        finally:
            waiting.discard(task)

    async def work() -> None:
        while not reasons and (target := await take()) is not None:
            try:
                on_outcome(await _outcome(target, runner, skipping))
            except RunStopped as stopped:
                reasons.append(stopped)
                runner.start_no_more()
                for task in waiting:
                    task.cancel()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(runner.parallel):
            tasks.create_task(work())
    if reasons:
        # One reason is enough; usually all of them are the same.
        raise reasons[0]


async def process_one(source: Path, content: bytes, runner: Runner) -> tuple[Outcome, Result | None]:
    """Process a picture that is in memory already; its result is not written. Raises RunStopped."""
    try:
        result = await runner.run(content)
    except PictureFailed as failure:
        return Outcome(source, Status.FAILED, failure=failure), None
    return Outcome(source, Status.DONE, data=result.data), result


async def _outcome(target: Target, runner: Runner, skipping: Skipping) -> Outcome:
    source = target.source.path
    try:
        if skipping.is_wanted:
            existing = await asyncio.to_thread(target.existing, skipping.formats)
            if existing is not None:
                return Outcome(source, Status.SKIPPED, existing)
        content = await asyncio.to_thread(read, target.source, runner.file_limit_bytes)
        result = await runner.run(content)
        path = target.path(result.format)
        await asyncio.to_thread(outputs.write, path, result.content)
    except PictureFailed as failure:
        return Outcome(source, Status.FAILED, failure=failure)
    return Outcome(source, Status.DONE, path, result.data)


def read(source: Source, limit_bytes: int) -> bytes:
    """The content of a source's file. Raises PictureFailed."""
    try:
        content = parameters.read_file(source.path, limit_bytes)
    except (OSError, ValueError) as error:
        message = parameters.reason(error) if isinstance(error, OSError) else str(error)
        raise PictureFailed(UNREADABLE_FILE, message) from None
    require_content(content)
    return content


def require_content(content: bytes) -> None:
    """Raises PictureFailed for an empty file, which a form cannot tell from one that is missing."""
    if not content:
        raise PictureFailed(UNREADABLE_FILE, "is empty")
