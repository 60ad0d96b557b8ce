from structlog.testing import capture_logs

from api.outage_log import REPEAT_AFTER_SECONDS, OutageLog


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_outage_is_logged_once_a_minute_with_the_number_of_suppressed_entries() -> None:
    seconds = Seconds()
    outages = OutageLog("disk", seconds)
    with capture_logs() as logged:
        for number in range(100):
            outages.report(OSError(28, "No space left on device", f"img_{number}"))
        seconds.now = REPEAT_AFTER_SECONDS
        outages.report(OSError(28, "No space left on device", "img_last"))
    assert [line["event"] for line in logged] == ["the disk cannot be used"] * 2
    assert "No space left on device: 'img_0'" in logged[0]["reason"]
    assert [line["repeated"] for line in logged] == [0, 99]


def test_a_different_cause_is_logged_at_once() -> None:
    outages = OutageLog("disk", Seconds())
    with capture_logs() as logged:
        outages.report(OSError(28, "No space left on device"))
        outages.report(OSError(5, "Input/output error"))
    assert len(logged) == 2
