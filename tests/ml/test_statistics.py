"""What a backend counts."""

from ml.statistics import BOUNDS_SECONDS, Durations, Statistics, WorkerEnd


def test_a_duration_is_in_the_first_bucket_that_is_as_long() -> None:
    durations = Durations()
    for seconds in (0.0, 0.01, 0.011, 300.0, 300.1):
        durations.add(seconds)
    counts = dict(zip((*BOUNDS_SECONDS, "more"), durations.counts, strict=True))
    assert {bound: count for bound, count in counts.items() if count} == {0.01: 2, 0.05: 1, 300: 1, "more": 1}
    assert durations.seconds == 0.0 + 0.01 + 0.011 + 300.0 + 300.1


def test_a_snapshot_does_not_change() -> None:
    statistics = Statistics()
    statistics.waited("paid", 0.2)
    statistics.took("crop", "run", 0.2)
    statistics.worker_ended(WorkerEnd.LOST)
    snapshot = statistics.snapshot({"0": 1}, {})
    statistics.waited("paid", 0.2)
    statistics.took("crop", "run", 0.2)
    statistics.worker_ended(WorkerEnd.LOST)
    assert sum(snapshot.waits["paid"].counts) == sum(snapshot.stages["crop", "run"].counts) == 1
    assert snapshot.worker_ends == {WorkerEnd.LOST: 1}
    assert sum(statistics.snapshot({}, {}).waits["paid"].counts) == 2
