"""What is learnt of how long calls take."""

import random

import pytest

from ml import speed
from ml.backend import ToolCall
from ml.catalogue import TOOLS
from ml.speed import Speeds, first_figure
from tests.ml.backends import call

CALL = call("tool")


def learnt(*calls: tuple[float, float]) -> Speeds:
    speeds = Speeds()
    for work, seconds in calls:
        speeds.learn(CALL, work, seconds)
    return speeds


def expected(speeds: Speeds, work: float) -> float:
    estimate = speeds.estimate(CALL)
    assert estimate is not None
    return estimate.seconds(work)


def test_nothing_is_known_before_the_first_call() -> None:
    assert Speeds().estimate(CALL) is None
    assert Speeds().seconds_per_megapixel("tool") is None


def test_a_fixed_share_of_the_time_is_told_from_the_share_that_grows() -> None:
    # An engine that sees every picture at one size: 0.6 s, and 0.1 s a megapixel around it.
    speeds = learnt(*((work, 0.6 + 0.1 * work) for work in (1, 9, 2, 12, 1, 4)))
    assert expected(speeds, 50) == pytest.approx(5.6)
    assert expected(speeds, 0.1) == pytest.approx(0.61)
    assert speeds.seconds_per_megapixel("tool") == pytest.approx(0.7)


def test_noise_does_not_spoil_the_line() -> None:
    noise = random.Random(1)
    speeds = learnt(
        *((w := noise.uniform(1, 12), (0.6 + 0.1 * w) * noise.uniform(0.8, 1.3)) for _ in range(50))
    )
    assert 3 < expected(speeds, 50) < 9


def test_calls_of_one_size_say_nothing_of_smaller_ones_and_larger_ones_grow_in_proportion() -> None:
    speeds = learnt((2, 1.0), (2, 1.0), (2, 1.0))
    assert expected(speeds, 0.5) == pytest.approx(1.0)
    assert expected(speeds, 20) == pytest.approx(10.0)


def test_tiny_pictures_do_not_make_large_ones_look_hopeless() -> None:
    speeds = learnt(*((0.01, 0.6) for _ in range(20)))
    assert expected(speeds, 50) == pytest.approx(30.0)


def test_an_expected_time_is_never_negative_and_never_falls_with_the_size() -> None:
    speeds = learnt((1, 5.0), (10, 1.0), (1, 5.0), (10, 1.0))
    assert expected(speeds, 50) >= expected(speeds, 0.1) >= 0.0


def test_what_was_long_ago_is_forgotten() -> None:
    speeds = learnt(*[(4, 8.0)] * 10, *[(4, 2.0)] * 40)
    assert expected(speeds, 4) == pytest.approx(2.0, abs=0.2)


def test_a_few_calls_are_needed_before_an_estimate_may_refuse_any() -> None:
    reliable = []
    for count in range(1, 5):
        estimate = learnt(*[(1, 1.0)] * count).estimate(CALL)
        assert estimate is not None
        reliable.append(estimate.is_reliable)
    assert reliable == [False, False, True, True]


def test_tools_and_engines_are_measured_apart() -> None:
    speeds = learnt((1, 9.0))
    assert speeds.estimate(call("another")) is None


def test_before_anything_is_measured_a_stated_cost_refuses_only_what_is_far_too_long() -> None:
    estimate = first_figure(TOOLS["upscale"])
    assert estimate is not None
    assert estimate.seconds(240) == 240
    assert not estimate.exceeds(500, limit_seconds=300)  # this machine may be quicker than that one
    assert estimate.exceeds(700, limit_seconds=300)
    assert first_figure(TOOLS["crop"]) is None


def test_measured_calls_replace_a_stated_cost_once_there_are_enough() -> None:
    speeds = learnt((10, 5.0), (20, 10.0))
    estimate = speeds.estimate(CALL)
    assert estimate is not None
    assert not estimate.exceeds(10_000, limit_seconds=300)
    speeds.learn(CALL, 30, 15.0)
    estimate = speeds.estimate(CALL)
    assert estimate is not None
    assert estimate.exceeds(650, limit_seconds=300)
    assert not estimate.exceeds(550, limit_seconds=300)


def test_seconds_a_megapixel_are_those_of_a_picture_whatever_the_unit_of_work() -> None:
    params = TOOLS["upscale"].params.model_validate({"mode": "quality", "scale": "4"})
    upscale = ToolCall("upscale", params, {})
    speeds = Speeds()
    for megapixels in (0.5, 1.0, 2.0):
        speeds.learn(upscale, speed.work(TOOLS["upscale"], params, megapixels), 30 * megapixels)
    assert speeds.seconds_per_megapixel("upscale") == pytest.approx(30, rel=0.01)
