"""How long calls take here, measured from the calls themselves.

For every tool and kind of call a straight line, seconds = a + b x work, is fitted to the recent calls, each
weighing a tenth less than the next. A plain average of seconds a megapixel would be wrong by a factor of ten
for engines that see every picture at one size: their time hardly depends on the picture.

`work` is the source's megapixels, or what the tool's own `cost(params, megapixels)` says where it has one:
the seconds that it took elsewhere. Until a call has been measured here, those are the estimate.
"""

from dataclasses import dataclass

from ml.backend import ToolCall
from ml.params import Params
from ml.tool import Tool

#: Weight of the past at each new call: about the last ten calls count.
DECAY = 0.9
#: Calls after which an estimate is good enough to refuse a call for it.
ENOUGH_CALLS = 3
#: How far beyond the limit a call must be for being refused by a figure from another machine.
FIRST_FIGURE_SLACK = 2.0


@dataclass(frozen=True)
class Estimate:
    """A fitted line, sent to the worker with the call: it learns the picture's size first."""

    calls: int
    mean_work: float
    mean_seconds: float
    seconds_per_work: float | None  # the slope; None while all calls were about the same size

    def seconds(self, work: float) -> float:
        """Expected seconds of a call of `work`."""
        if self.seconds_per_work is not None:
            return max(0.0, self.mean_seconds + self.seconds_per_work * (work - self.mean_work))
        # Unknown slope: smaller ones take as long, larger ones in proportion. Below one unit nothing is
        # proportional to the size any more.
        return self.mean_seconds * max(1.0, work / max(self.mean_work, 1.0))

    @property
    def is_reliable(self) -> bool:
        return self.calls >= ENOUGH_CALLS

    def exceeds(self, work: float, limit_seconds: float) -> bool:
        """Whether a call of `work` is surely longer than `limit_seconds`."""
        if self.calls == 0:
            return self.seconds(work) > FIRST_FIGURE_SLACK * limit_seconds
        return self.is_reliable and self.seconds(work) > limit_seconds


#: For a tool that states its cost in seconds, before anything was measured.
FIRST_FIGURE = Estimate(calls=0, mean_work=1.0, mean_seconds=1.0, seconds_per_work=1.0)


class _Line:
    """Exponentially weighted least squares over (work, seconds)."""

    def __init__(self) -> None:
        self.calls = 0
        self.latest: Params | None = None
        self._weight = self._x = self._y = self._xx = self._xy = 0.0

    def learn(self, work: float, seconds: float) -> None:
        self.calls += 1
        self._weight = self._weight * DECAY + 1.0
        self._x = self._x * DECAY + work
        self._y = self._y * DECAY + seconds
        self._xx = self._xx * DECAY + work * work
        self._xy = self._xy * DECAY + work * seconds

    def estimate(self) -> Estimate:
        mean_x, mean_y = self._x / self._weight, self._y / self._weight
        variance = self._xx / self._weight - mean_x * mean_x
        slope = None
        if variance > 0.05 * mean_x * mean_x:
            slope = (self._xy / self._weight - mean_x * mean_y) / variance
            # More work never takes less time, and nothing takes less than no time: noise says both at times.
            slope = min(max(slope, 0.0), mean_y / mean_x)
        return Estimate(self.calls, mean_x, mean_y, slope)


class Speeds:
    """The lines of one backend, by tool and kind. Grows only by kinds that ran successfully."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], _Line] = {}

    def learn(self, call: ToolCall, work: float, seconds: float) -> None:
        """Count in a finished call that took `seconds`."""
        line = self._lines.setdefault(kind(call), _Line())
        line.learn(work, seconds)
        line.latest = call.params

    def estimate(self, call: ToolCall) -> Estimate | None:
        """What is known of calls like this one; None before the first."""
        line = self._lines.get(kind(call))
        return None if line is None else line.estimate()

    def seconds_per_megapixel(self, tool: str) -> float | None:
        """Seconds of a picture of one megapixel, by the tool's most used kind; None before the first call.

        Of that kind, the latest call's parameters count.
        """
        from ml.catalogue import TOOLS

        lines = [line for (name, _), line in self._lines.items() if name == tool]
        if not lines:
            return None
        line = max(lines, key=lambda line: line.calls)
        return line.estimate().seconds(work(TOOLS.get(tool), line.latest, 1.0))


def kind(call: ToolCall) -> tuple[str, str]:
    """What besides the size decides how long a call takes: the tool and the engine chosen."""
    if getattr(call.params, "has_prompt", False):  # another engine than without words
        return call.tool, "prompt"
    return call.tool, str(getattr(call.params, "model", getattr(call.params, "mode", "")))


def work(tool: Tool | None, params: Params | None, megapixels: float) -> float:
    """The work of a call: the tool's own `cost`, else the source's megapixels."""
    return megapixels if tool is None or tool.cost is None else tool.cost(params, megapixels)


def first_figure(tool: Tool | None) -> Estimate | None:
    """What is known of a tool's calls before the first; None where the tool says nothing."""
    return None if tool is None or tool.cost is None else FIRST_FIGURE
