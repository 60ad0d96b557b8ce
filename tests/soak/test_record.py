"""What a soak calls a fault of the service, and what it excuses."""

from tests.soak.record import GRACE_SECONDS, MOST_GROWTH_MIB, Fault, Record, Sample, Trouble


def working() -> Record:
    record = Record()
    record.succeeded("calls", "acc_1")
    return record


def test_a_failure_is_excused_during_a_fault_and_shortly_afterwards() -> None:
    record = working()
    record.faults.append(Fault("killed server", 100.0, 110.0))
    excused = [
        Trouble(90.0, 101.0, "sent before it"),
        Trouble(105.0, 106.0, "sent during it"),
        Trouble(110.0 + GRACE_SECONDS, 200.0, "sent just after it"),
    ]
    others = [Trouble(90.0, 99.0, "before"), Trouble(111.0 + GRACE_SECONDS, 200.0, "long after")]
    record.troubles += excused + others
    assert record.unexcused() == others
    assert record.verdicts() == ["outside of faults: before", "outside of faults: long after"]


def test_a_wrong_charge_is_never_excused() -> None:
    record = working()
    assert record.verdicts() == []
    record.faults.append(Fault("killed server", 0.0, 1e9))
    record.wrong.append("Direct has 5 credits instead of 4")
    assert record.verdicts() == ["Direct has 5 credits instead of 4"]


def test_work_that_was_never_done_shows_nothing() -> None:
    assert Record().verdicts() == ["nothing was done"]


def test_growth_is_that_of_the_last_third_over_the_middle_one() -> None:
    record = working()
    # Starting is no growth, and one peak is none either.
    memory = [100.0] * 10 + [500.0] * 10 + [500.0, 900.0] + [500.0] * 8
    record.samples += [Sample(float(at), each, 40) for at, each in enumerate(memory)]
    assert record.growth() == (0.0, 0)
    record.samples[20:] = [Sample(20.0 + at, 501.0 + MOST_GROWTH_MIB, 100) for at in range(10)]
    assert record.verdicts() == [
        f"memory grew by {MOST_GROWTH_MIB + 1:.0f} MiB",
        "60 more descriptors are open",
    ]


def test_the_report_names_what_was_done_and_found() -> None:
    record = working()
    with record.fault("killed worker"):
        pass
    record.wrong.append("a wrong picture")
    report = record.report()
    assert "1 calls" in report
    assert "1 killed worker" in report
    assert "- a wrong picture" in report
    record.wrong.clear()
    assert "All is well." in record.report()
