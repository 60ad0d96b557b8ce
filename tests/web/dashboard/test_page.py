"""The dashboard's usage plot."""

from web.dashboard.page import usage_chart
from web.dashboard.queries import UsageBar


def test_days_around_new_year_stay_in_order() -> None:
    bars = [UsageBar(day, 1, group) for day in ("12-31", "01-01", "01-02") for group in ("Crop", "Brush")]
    chart = usage_chart(bars)
    assert chart.sort == ["12-31", "01-01", "01-02"]
    assert list(chart.constructor_args["value"]["day"].unique()) == ["12-31", "01-01", "01-02"]
