"""Runs of one process: their limits, and stopping abandoned unbilled ones."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.editor.models import Project, Step
from api.editor.owners import ProjectOwner
from api.editor.run import Run
from api.editor.run_states import RunStatus
from api.editor.runs import Done, Runs
from api.errors import RateLimited
from ml.errors import Cancelled
from tests.support.apps import LocalApi, local_api
from tests.support.builders import NOON

OWNER = ProjectOwner("acc_1")
PROJECT = Project(
    id="prj_1",
    account_id="acc_1",
    name="a",
    current_step_id="stp_1",
    created_at=NOON,
    used_at=NOON,
    expires_at=NOON,
)
STEP = Step(
    id="stp_2",
    project_id="prj_1",
    number=1,
    image_id="img",
    width=1,
    height=1,
    format="png",
    created_at=NOON,
)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[LocalApi]:
    with local_api(tmp_path) as opened:
        yield opened


async def at_once(_: Run) -> Done:
    return Done(STEP, 0)


async def until_stopped(run: Run) -> Done:
    stopped = asyncio.Event()
    run.stop = stopped.set
    await stopped.wait()
    raise Cancelled("The run was stopped.")


async def ended(run: Run) -> None:
    while not run.has_ended:
        await run.changed_since(run.version, 10)


def test_ended_runs_do_not_count_towards_the_limit(api: LocalApi) -> None:
    async def main() -> None:
        registry = Runs(api.services)
        for number in range(2000):
            run = registry.start(OWNER, PROJECT, f"key {number}", "crop", at_once, is_billed=True)
            await ended(run)
            await asyncio.sleep(0)
        assert registry.active_in(PROJECT) == 0
        assert len(registry._runs) == len(registry._by_key) <= 64
        assert registry.of_key(PROJECT, "key 1999") is not None

    api.call(main)


def test_concurrent_billed_runs_are_limited_by_the_plan(api: LocalApi) -> None:
    async def main() -> None:
        registry = Runs(api.services)
        first, second = (
            registry.start(OWNER, PROJECT, key, "crop", until_stopped, is_billed=True) for key in ("a", "b")
        )
        with pytest.raises(RateLimited):
            registry.start(OWNER, PROJECT, "c", "crop", until_stopped, is_billed=True)
        registry.start(ProjectOwner("acc_2"), PROJECT, "d", "crop", at_once, is_billed=True)
        assert registry.active_in(PROJECT) == 3
        active = registry.active_of(PROJECT.id)
        assert active is not None
        assert active.key == "d"
        await asyncio.sleep(0)
        first.cancel()
        await ended(first)
        await asyncio.sleep(0)
        registry.start(OWNER, PROJECT, "c", "crop", at_once, is_billed=True)
        second.cancel()
        await ended(second)

    api.call(main)


def test_an_abandoned_run_is_stopped_if_unbilled_and_continues_if_billed(
    api: LocalApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.editor.run.UNWATCHED_SECONDS", 0.05)

    async def main() -> None:
        registry = Runs(api.services)
        watched = registry.start(OWNER, PROJECT, "watched", "crop", until_stopped, is_billed=False)
        left = registry.start(OWNER, PROJECT, "left", "crop", until_stopped, is_billed=False)
        billed = registry.start(OWNER, PROJECT, "billed", "crop", until_stopped, is_billed=True)
        with watched.watched():
            await ended(left)
            assert left.status is RunStatus.CANCELLED
            # Begun later than the watched one and stopped: that one's time without a browser would be over.
            later = registry.start(OWNER, PROJECT, "later", "crop", until_stopped, is_billed=False)
            await ended(later)
            assert not watched.has_ended
        await ended(watched)
        assert watched.status is RunStatus.CANCELLED
        assert not billed.has_ended
        billed.cancel()
        await ended(billed)

    api.call(main)
