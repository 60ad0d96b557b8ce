"""Leader election for periodic work."""

import asyncio
from datetime import timedelta

from api.db import leader
from api.db.database import Database
from tests.support.builders import NOON


async def turns(database: Database, *seconds: float) -> list[bool]:
    hour = timedelta(hours=1)
    return [
        await leader.try_claim(database, "work", hour, NOON + timedelta(seconds=each)) for each in seconds
    ]


def test_periodic_work_runs_once_per_interval(database: Database) -> None:
    assert asyncio.run(turns(database, 0, 0, 3_599, 3_600, 3_600, 7_300)) == [
        True,
        False,
        False,
        True,
        False,
        True,
    ]


def test_a_clock_that_was_set_back_does_not_stop_periodic_work(database: Database) -> None:
    assert asyncio.run(turns(database, 0, -10)) == [True, True]
