"""The usage chart, read as a browser parses it."""

import xml.etree.ElementTree as ElementTree

import pytest

from web.dashboard import chart
from web.dashboard.queries import UsageBar


def parsed(*bars: UsageBar) -> ElementTree.Element:
    return ElementTree.fromstring(chart.render(list(bars)))


def texts(figure: ElementTree.Element, kind: str) -> list[str]:
    return [span.text or "" for span in figure.findall(f".//div[@class='{kind}']/span")]


def test_days_around_new_year_stay_in_order() -> None:
    days = ("12-31", "01-01", "01-02")
    figure = parsed(*(UsageBar(day, 1, group) for day in days for group in ("Crop", "Brush")))
    assert texts(figure, "days") == list(days)
    bars = figure.findall("./div/svg/rect")
    assert [bar.findtext("title") for bar in bars][:3] == [
        "12-31, Crop: 1 credit",
        "12-31, Brush: 1 credit",
        "01-01, Crop: 1 credit",
    ]
    assert [float(bar.attrib["x"]) for bar in bars] == [0.14, 0.14, 1.14, 1.14, 2.14, 2.14]


def test_bars_of_a_day_are_stacked_to_the_height_of_their_credits() -> None:
    figure = parsed(UsageBar("11-01", 30, "a"), UsageBar("11-01", 20, "b"))
    assert texts(figure, "ticks") == ["50", "40", "30", "20", "10", "0"]
    planes = [(bar.attrib["y"], bar.attrib["height"]) for bar in figure.findall("./div/svg/rect")]
    assert planes == [("40.00", "60.00"), ("0.00", "40.00")]


def test_groups_have_their_colours_and_the_summary_names_the_busiest_day() -> None:
    bars = [UsageBar(day, number, f"key {number}") for day in ("11-01", "11-02") for number in range(10)]
    bars.append(UsageBar("11-02", 1000, "key 9"))
    figure = parsed(*bars)
    legend = [entry.attrib["class"] for entry in figure.findall(".//li/svg/rect")]
    assert legend == [f"series-{number % 8}" for number in range(10)]
    assert figure.findtext("figcaption") == "1,090 credits in 2 days, the most on 11-02: 1,045"


def test_a_period_without_calls_has_an_empty_plane() -> None:
    figure = parsed(UsageBar("11-01", 0, "no calls yet"), UsageBar("11-02", 0, "no calls yet"))
    assert figure.findtext("figcaption") == "0 credits in 2 days"
    assert figure.findall("./div/svg/rect") == []


def test_names_are_escaped() -> None:
    assert parsed(UsageBar("11-01", 1, "<script>&")).findtext(".//li") is not None


def test_few_of_many_days_are_labelled() -> None:
    figure = parsed(*(UsageBar(f"day {number}", 0, "a") for number in range(90)))
    assert 5 <= len(texts(figure, "days")) <= 8


@pytest.mark.parametrize(
    ("largest", "step"),
    [(0, 1), (5, 1), (6, 2), (10, 2), (11, 5), (25, 5), (26, 10), (51, 20), (4_999, 1000)],
)
def test_the_axis_has_round_steps(largest: int, step: int) -> None:
    assert chart.tick_step(largest) == step
