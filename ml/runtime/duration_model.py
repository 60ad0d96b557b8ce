"""How long calls take here, measured from the calls themselves.

For every tool and kind of call a straight line, seconds = a + b x work, is fitted to the recent calls, each
weighing a tenth less than the next. A plain average of seconds a megapixel would be wrong by a factor of ten
for engines that see every picture at one size: their time hardly depends on the picture.

`work` is the tool's own figure: the seconds that a call of this size took elsewhere, with encoding its
answer in the answer's format. Until a call has been measured here, that is the estimate; afterwards it bounds
what is concluded from small pictures for large ones. A call that had to load its engine first is no
measurement. A refusal needs more than an extrapolation: calls of about this size, or the tool's own figure,
must say the same; and what is refused is tried now and then, so that a wrong estimate is corrected.
"""

from dataclasses import dataclass

from ml.backend import ToolCall
from ml.params import Params
from ml.tool import Tool

Kind = tuple[str, str]  # a tool and the engine chosen

#: Weight of the past at each new call: about the last ten calls count.
DECAY = 0.9
#: Calls after which an estimate is good enough to refuse a call for it.
ENOUGH_CALLS = 3
#: How far beyond the limit a call must be for being refused by a figure from another machine.
FIRST_FIGURE_SLACK = 2.0
#: Measured seconds for each second of the tool's own figure, at most: a slope beyond it is noise.
MAX_SLOPE = 4.0
#: Up to how many times the largest measured call a refusal may rest on the measured line.
EXTRAPOLATION = 2.0
#: Between calls that are tried though the estimate would refuse them.
TRIAL_SECONDS = 600.0

#: Seconds a megapixel of a tool that states no cost.
USUAL_SECONDS = 0.1
#: Seconds a megapixel of encoding an answer, at the settings that large pictures get.
ENCODING_SECONDS = {"png": 0.03, "jpg": 0.02, "webp": 0.25, "avif": 0.4}


@dataclass(frozen=True)
class DurationEstimate:
    """A fitted line, sent to the worker with the call: it learns the picture's size first."""

    calls: int
    mean_work: float
    mean_seconds: float
    seconds_per_work: float | None  # the slope; None while all calls were about the same size
    largest_work: float = 0.0  # of the calls that were measured
    may_refuse: bool = True  # False: a call is tried whatever is expected of it

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
        """Whether a call of `work` is expected to be longer than `limit_seconds`, by more than one call."""
        if self.calls == 0:
            return work > FIRST_FIGURE_SLACK * limit_seconds
        return self.is_reliable and self.seconds(work) > limit_seconds

    def refuses(self, work: float, limit_seconds: float) -> bool:
        """Whether a call of `work` is refused, because it would surely be stopped at `limit_seconds`."""
        if not self.may_refuse or not self.exceeds(work, limit_seconds):
            return False
        is_measured = self.calls > 0 and work <= EXTRAPOLATION * self.largest_work
        return is_measured or work > limit_seconds


#: Of any tool before anything was measured: its own figure.
FIRST_FIGURE = DurationEstimate(calls=0, mean_work=1.0, mean_seconds=1.0, seconds_per_work=1.0)


class _Line:
    """Exponentially weighted least squares over (work, seconds)."""

    def __init__(self) -> None:
        self.calls = 0  # warm ones
        self.latest: Params | None = None
        self.next_trial_at: float | None = None  # set by the first refusal
        self._largest = 0.0
        self._weight = self._x = self._y = self._xx = self._xy = 0.0

    def learn(self, work: float, seconds: float, is_cold: bool) -> None:
        """A cold call stands for the kind until the first warm one, which replaces it."""
        if is_cold and self.calls:
            return
        if self.calls == 0:
            self._weight = self._x = self._y = self._xx = self._xy = 0.0
        self.calls += not is_cold
        self._largest = max(self._largest, work)
        self._weight = self._weight * DECAY + 1.0
        self._x = self._x * DECAY + work
        self._y = self._y * DECAY + seconds
        self._xx = self._xx * DECAY + work * work
        self._xy = self._xy * DECAY + work * seconds

    def estimate(self, now: float) -> DurationEstimate:
        mean_x, mean_y = self._x / self._weight, self._y / self._weight
        variance = self._xx / self._weight - mean_x * mean_x
        slope = None
        if variance > 0.05 * mean_x * mean_x:
            slope = (self._xy / self._weight - mean_x * mean_y) / variance
            # More work never takes less time, and nothing takes less than no time: noise says both at times.
            slope = min(max(slope, 0.0), mean_y / mean_x, MAX_SLOPE)
        is_trial = self.next_trial_at is not None and now >= self.next_trial_at
        return DurationEstimate(self.calls, mean_x, mean_y, slope, self._largest, not is_trial)


class DurationModel:
    """The lines of one backend, by tool and kind. Grows only by kinds that ran successfully."""

    def __init__(self) -> None:
        self._lines: dict[Kind, _Line] = {}

    def learn(self, call: ToolCall, work: float, seconds: float, *, is_cold: bool = False) -> None:
        """Count in a call that took `seconds`, or was stopped after them.

        `is_cold`: its worker had done none of this kind before, so that it also loaded the engine.
        """
        line = self._lines.setdefault(kind(call), _Line())
        line.learn(work, seconds, is_cold)
        line.latest = call.params

    def refused(self, call: ToolCall, now: float) -> None:
        """A call was refused for its estimate at `now`, monotonic seconds; some time later one is tried."""
        line = self._lines.get(kind(call))
        if line is not None and line.next_trial_at is None:
            line.next_trial_at = now + TRIAL_SECONDS

    def tried(self, call: ToolCall, now: float) -> None:
        """A call that would have been refused is tried: none of its kind is for a while."""
        line = self._lines.get(kind(call))
        if line is not None:
            line.next_trial_at = now + TRIAL_SECONDS

    def estimate(self, call: ToolCall, now: float = 0.0) -> DurationEstimate | None:
        """What is known of calls like this one at `now`, monotonic seconds; None before the first."""
        line = self._lines.get(kind(call))
        return None if line is None else line.estimate(now)

    def seconds_per_megapixel(self, tool: str) -> float | None:
        """Seconds of a picture of one megapixel, by the tool's most used kind; None before the first call.

        Of that kind, the latest call's parameters count.
        """
        from ml.catalogue import TOOLS

        lines = [line for (name, _), line in self._lines.items() if name == tool]
        if not lines:
            return None
        line = max(lines, key=lambda line: line.calls)
        return line.estimate(0.0).seconds(work(TOOLS.get(tool), line.latest, 1.0))


def kind(call: ToolCall) -> Kind:
    """What besides the size decides how long a call takes: the tool and the engine chosen."""
    if getattr(call.params, "has_prompt", False):  # another engine than without words
        return call.tool, "prompt"
    return call.tool, str(getattr(call.params, "model", getattr(call.params, "mode", "")))


def work(
    tool: Tool | None,
    params: Params | None,
    megapixels: float,
    answer_megapixels: float = 0.0,
    answer_format: str = "png",
) -> float:
    """The work of a call: the tool's own `cost` of the source's megapixels, and encoding the answer."""
    if tool is None:  # of no catalogue: nothing but the picture is known
        return megapixels
    own = USUAL_SECONDS * megapixels if tool.cost is None else tool.cost(params, megapixels)
    return own + ENCODING_SECONDS[answer_format] * answer_megapixels
