"""The chart of used credits: bars as inline SVG, labels as text around them, so that it fits any width."""

from dataclasses import dataclass

from web.dashboard import words
from web.dashboard.queries import UsageBar
from web.rendering import pages

#: The colours of `app.css`; further groups repeat them.
SERIES_COLORS = 8
_TICKS = 5
_DAY_LABELS_MAX = 8


@dataclass(frozen=True)
class _Bar:
    """A rectangle in a plane of one unit a day and 100 units up."""

    x: int
    y: float
    height: float
    series: int
    label: str


def render(bars: list[UsageBar]) -> str:
    """The chart as HTML. `bars` has every day in order, and each group on every day."""
    days = list(dict.fromkeys(bar.day for bar in bars))
    groups = list(dict.fromkeys(bar.group for bar in bars))
    sums = dict.fromkeys(days, 0)
    for bar in bars:
        sums[bar.day] += bar.credits
    step = tick_step(max(sums.values()))
    top = step * _TICKS
    return pages.fragment(
        "dashboard/chart.html",
        days=days,
        day_labels=days[:: -(-len(days) // _DAY_LABELS_MAX)],
        ticks=[step * number for number in range(_TICKS, -1, -1)],
        bars=_stack(bars, days, groups, top),
        groups=[(number % SERIES_COLORS, group) for number, group in enumerate(groups)],
        summary=_summary(sums),
    )


def tick_step(largest: int) -> int:
    """The distance of the axis's labels: 1, 2, 5, 10, 20, …; five of them reach `largest`."""
    step, factors = 1, (2, 5, 10)
    while True:
        for factor in (1, *factors):
            if step * factor * _TICKS >= largest:
                return step * factor
        step *= 10


def _stack(bars: list[UsageBar], days: list[str], groups: list[str], top: int) -> list[_Bar]:
    reached = dict.fromkeys(days, 0)
    rectangles = []
    for bar in bars:
        if not bar.credits:
            continue
        reached[bar.day] += bar.credits
        rectangles.append(
            _Bar(
                x=days.index(bar.day),
                y=100 - 100 * reached[bar.day] / top,
                height=100 * bar.credits / top,
                series=groups.index(bar.group) % SERIES_COLORS,
                label=f"{bar.day}, {bar.group}: {words.credits(bar.credits)}",
            )
        )
    return rectangles


def _summary(sums: dict[str, int]) -> str:
    total = sum(sums.values())
    text = f"{words.credits(total)} in {len(sums)} days"
    if not total:
        return text
    day = max(sums, key=lambda one: sums[one])
    return f"{text}, the most on {day}: {sums[day]:,}"
