"""Estimates of how long calls take."""

import random

import pytest

from ml.backend import ToolCall
from ml.catalogue import TOOLS
from ml.runtime import duration_model
from ml.runtime.duration_model import FIRST_FIGURE, TRIAL_SECONDS, DurationModel
from tests.support.ml.backends import call

CALL = call("tool")


def learnt(*calls: tuple[float, float]) -> DurationModel:
    speeds = DurationModel()
    for work, seconds in calls:
        speeds.record(CALL, work, seconds)
    return speeds


def expected(speeds: DurationModel, work: float) -> float:
    estimate = speeds.estimate(CALL)
    assert estimate is not None
    return estimate.seconds(work)


def test_there_is_no_estimate_before_the_first_call() -> None:
    assert DurationModel().estimate(CALL) is None
    assert DurationModel().seconds_per_megapixel("tool") is None


def test_fixed_and_proportional_time_are_separated() -> None:
    # An engine that sees every picture at one size: 0.6 s, and 0.1 s a megapixel around it.
    speeds = learnt(*((work, 0.6 + 0.1 * work) for work in (1, 9, 2, 12, 1, 4)))
    assert expected(speeds, 50) == pytest.approx(5.6)
    assert expected(speeds, 0.1) == pytest.approx(0.61)
    assert speeds.seconds_per_megapixel("tool") == pytest.approx(0.7)


def test_the_fit_is_robust_to_noise() -> None:
    noise = random.Random(1)
    speeds = learnt(
        *((w := noise.uniform(1, 12), (0.6 + 0.1 * w) * noise.uniform(0.8, 1.3)) for _ in range(50))
    )
    assert 3 < expected(speeds, 50) < 9


def test_calls_of_one_size_are_extrapolated_in_proportion_to_larger_ones_only() -> None:
    speeds = learnt((2, 1.0), (2, 1.0), (2, 1.0))
    assert expected(speeds, 0.5) == pytest.approx(1.0)
    assert expected(speeds, 20) == pytest.approx(10.0)


def test_tiny_images_do_not_inflate_the_estimate_of_large_ones() -> None:
    speeds = learnt(*((0.01, 0.6) for _ in range(20)))
    assert expected(speeds, 50) == pytest.approx(30.0)


def test_the_estimate_is_never_negative_and_never_decreases_with_size() -> None:
    speeds = learnt((1, 5.0), (10, 1.0), (1, 5.0), (10, 1.0))
    assert expected(speeds, 50) >= expected(speeds, 0.1) >= 0.0


def test_old_measurements_lose_their_weight() -> None:
    speeds = learnt(*[(4, 8.0)] * 10, *[(4, 2.0)] * 40)
    assert expected(speeds, 4) == pytest.approx(2.0, abs=0.2)


def test_an_estimate_refuses_calls_only_after_several_measurements() -> None:
    reliable = []
    for count in range(1, 5):
        estimate = learnt(*[(1, 1.0)] * count).estimate(CALL)
        assert estimate is not None
        reliable.append(estimate.is_reliable)
    assert reliable == [False, False, True, True]


def test_tools_and_engines_are_measured_separately() -> None:
    speeds = learnt((1, 9.0))
    assert speeds.estimate(call("another")) is None


def test_a_stated_cost_alone_refuses_only_calls_far_over_the_limit() -> None:
    assert FIRST_FIGURE.seconds(240) == 240
    assert not FIRST_FIGURE.refuses(500, limit_seconds=300)  # this machine may be quicker than that one
    assert FIRST_FIGURE.refuses(700, limit_seconds=300)


def test_enough_measurements_replace_a_stated_cost() -> None:
    speeds = learnt((10, 5.0), (20, 10.0))
    estimate = speeds.estimate(CALL)
    assert estimate is not None
    assert not estimate.refuses(10_000, limit_seconds=300)
    speeds.record(CALL, 30, 15.0)
    estimate = speeds.estimate(CALL)
    assert estimate is not None
    assert estimate.refuses(650, limit_seconds=300)
    assert not estimate.refuses(550, limit_seconds=300)


class TestBigPicturesAfterThumbnails:
    """A cold call and a few thumbnails made a picture of 48 megapixels look like 839 seconds, for good."""

    LIMIT_SECONDS = 300.0

    def thumbnails(self, cold_seconds: float, *warm: tuple[float, float]) -> DurationModel:
        speeds = DurationModel()
        speeds.record(CALL, 0.0135, cold_seconds, is_cold=True)
        for work, seconds in warm:
            speeds.record(CALL, work, seconds)
        return speeds

    def test_a_cold_call_is_not_a_measurement(self) -> None:
        speeds = self.thumbnails(30.0)
        cold = speeds.estimate(CALL)
        assert cold is not None
        assert not cold.is_reliable
        assert expected(self.thumbnails(30.0, (0.001, 0.5), (0.002, 0.5), (0.003, 0.5)), 0.002) < 1.0
        assert expected(self.thumbnails(30.0, (0.001, 0.5)), 0.001) == pytest.approx(0.5)

    def test_extrapolation_from_small_sizes_is_bounded_by_the_stated_cost(self) -> None:
        speeds = self.thumbnails(9.0, (0.0135, 2.0), (0.0004, 0.5), (0.0006, 0.5), (0.012, 1.9))
        assert expected(speeds, 4.8) < 25

    def test_measurements_of_small_calls_alone_do_not_refuse_a_large_one(self) -> None:
        speeds = learnt(*((work, 100 * work) for work in (0.1, 1.0, 2.0, 0.5)))
        estimate = speeds.estimate(CALL)
        assert estimate is not None
        assert estimate.seconds(200.0) > self.LIMIT_SECONDS
        assert not estimate.refuses(200.0, self.LIMIT_SECONDS)
        assert estimate.refuses(310.0, self.LIMIT_SECONDS)  # the tool's own figure says it too
        speeds.record(CALL, 190.0, self.LIMIT_SECONDS)  # one that large was stopped
        measured = speeds.estimate(CALL)
        assert measured is not None
        assert measured.refuses(250.0, self.LIMIT_SECONDS)

    def test_refused_calls_are_probed_occasionally_and_update_the_estimate(self) -> None:
        speeds = learnt(*[(400.0, 400.0)] * 4)

        def refuses(now: float) -> bool:
            estimate = speeds.estimate(CALL, now)
            assert estimate is not None
            return estimate.refuses(400.0, self.LIMIT_SECONDS)

        assert refuses(now=0.0)
        speeds.record_refusal(CALL, now=0.0)
        assert refuses(now=TRIAL_SECONDS - 1)
        speeds.record_refusal(CALL, now=TRIAL_SECONDS - 1)  # does not put the trial off
        assert not refuses(now=TRIAL_SECONDS)
        speeds.record_trial(CALL, now=TRIAL_SECONDS)
        assert refuses(now=TRIAL_SECONDS + 1)  # one at a time
        for _ in range(20):
            speeds.record(CALL, 400.0, 5.0)
        assert not refuses(now=TRIAL_SECONDS + 2)


def test_the_format_and_size_of_the_result_count_as_work() -> None:
    tool, params = TOOLS["crop"], TOOLS["crop"].params()
    small = duration_model.work(tool, params, 0.01, 0.01, "png")
    assert duration_model.work(tool, params, 0.01, 32.0, "png") > 10 * small
    assert duration_model.work(tool, params, 0.01, 32.0, "avif") > 5 * duration_model.work(
        tool, params, 0.01, 32.0, "png"
    )


def test_seconds_per_megapixel_refer_to_the_image_whatever_the_unit_of_work() -> None:
    params = TOOLS["upscale"].params.model_validate({"mode": "quality", "scale": "4"})
    upscale = ToolCall("upscale", params, {})
    speeds = DurationModel()
    for megapixels in (0.5, 1.0, 2.0):
        speeds.record(upscale, duration_model.work(TOOLS["upscale"], params, megapixels), 30 * megapixels)
    assert speeds.seconds_per_megapixel("upscale") == pytest.approx(30, rel=0.01)


def test_a_call_is_expected_to_take_as_long_as_earlier_ones_of_its_kind_and_size() -> None:
    params = TOOLS["upscale"].params.model_validate({"mode": "quality", "scale": "4"})
    upscale = ToolCall("upscale", params, {})
    speeds = DurationModel()
    assert speeds.expected_seconds(upscale, (1000, 1000)) is not None  # the tool's own figure
    for megapixels in (0.5, 1.0, 2.0):
        work = duration_model.work(TOOLS["upscale"], params, megapixels, 16 * megapixels)
        speeds.record(upscale, work, 30 * megapixels)
    assert speeds.expected_seconds(upscale, (1000, 1000)) == pytest.approx(30, rel=0.02)
    assert speeds.expected_seconds(upscale, (1000, 2000)) == pytest.approx(60, rel=0.02)


def test_nothing_is_expected_of_an_unmeasured_tool_without_figures_or_of_an_impossible_call() -> None:
    crop = TOOLS["crop"].params
    speeds = DurationModel()
    assert speeds.expected_seconds(ToolCall("crop", crop(), {}), (10, 10)) is None
    speeds.record(ToolCall("crop", crop(), {}), 1.0, 1.0)
    beyond = ToolCall("crop", crop.model_validate({"x": "50", "width": "10"}), {})
    assert speeds.expected_seconds(beyond, (20, 20)) is None
    assert speeds.expected_seconds(beyond, (100, 20)) is not None
