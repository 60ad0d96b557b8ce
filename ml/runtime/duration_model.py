"""Estimates how long calls take, from measurements of previous calls.

For every tool and kind of call, seconds = a + b x work is fitted to the recent calls, with exponentially
decaying weights. A plain average of seconds per megapixel would be wrong by a factor of ten for engines that
resize every picture to one size, because their time hardly depends on the picture.

`work` is the tool's own estimate: the seconds that a call of this size took on a reference machine, including
encoding the result. It is used until a call has been measured here, and afterwards limits extrapolation from
small pictures to large ones. A call that had to load its engine first is not counted as a measurement. A call
is refused only if calls of about its size, or the tool's own estimate, confirm that it takes too long; and
one that would be refused is tried from time to time, so that a wrong estimate gets corrected.
"""

from dataclasses import dataclass

from ml.backend import ToolCall
from ml.errors import MlError
from ml.params import Params
from ml.tool import Tool

Kind = tuple[str, str]  # a tool and the engine chosen

#: Factor applied to earlier calls at each new one: about the last ten count.
DECAY = 0.9
#: Calls needed before an estimate may refuse a call.
ENOUGH_CALLS = 3
#: How far an estimate from the reference machine must exceed the limit for a refusal.
FIRST_FIGURE_SLACK = 2.0
#: Largest slope, in measured seconds per second of the tool's own estimate: more is noise.
MAX_SLOPE = 4.0
#: A refusal may extrapolate up to this many times the largest measured call.
EXTRAPOLATION = 2.0
#: Interval between trials of calls that the estimate would refuse.
TRIAL_SECONDS = 600.0

#: Seconds per megapixel of a tool without a cost function.
USUAL_SECONDS = 0.1
#: Seconds per megapixel of encoding a result, at the settings for large pictures.
ENCODING_SECONDS = {"png": 0.03, "jpg": 0.02, "webp": 0.25, "avif": 0.4, "zip": 0.05, "raw": 0.01}


@dataclass(frozen=True)
class DurationEstimate:
    """A fitted line, sent to the worker with the call, because the worker reads the picture's size."""

    calls: int
    mean_work: float
    mean_seconds: float
    seconds_per_work: float | None  # the slope; None while all calls are of about the same size
    largest_work: float = 0.0  # among the measured calls
    may_refuse: bool = True  # False: the call is a trial and runs whatever the estimate

    def seconds(self, work: float) -> float:
        """Expected seconds of a call of `work`."""
        if self.seconds_per_work is not None:
            return max(0.0, self.mean_seconds + self.seconds_per_work * (work - self.mean_work))
        # Unknown slope: assume the same time for smaller calls and a proportional one for larger calls. Below
        # one unit of work, time is not proportional to size.
        return self.mean_seconds * max(1.0, work / max(self.mean_work, 1.0))

    @property
    def is_reliable(self) -> bool:
        return self.calls >= ENOUGH_CALLS

    def exceeds(self, work: float, limit_seconds: float) -> bool:
        """Whether a call of `work` is expected to take longer than `limit_seconds`, on enough evidence."""
        if self.calls == 0:
            return work > FIRST_FIGURE_SLACK * limit_seconds
        return self.is_reliable and self.seconds(work) > limit_seconds

    def refuses(self, work: float, limit_seconds: float) -> bool:
        """Whether to refuse a call of `work`, because it would certainly exceed `limit_seconds`."""
        if not self.may_refuse or not self.exceeds(work, limit_seconds):
            return False
        is_measured = self.calls > 0 and work <= EXTRAPOLATION * self.largest_work
        return is_measured or work > limit_seconds


#: The estimate before any measurement: the tool's own.
FIRST_FIGURE = DurationEstimate(calls=0, mean_work=1.0, mean_seconds=1.0, seconds_per_work=1.0)


class _Line:
    """Exponentially weighted least squares over (work, seconds)."""

    def __init__(self) -> None:
        self.calls = 0  # without cold ones
        self.latest: Params | None = None
        self.next_trial_at: float | None = None  # set at the first refusal
        self._largest = 0.0
        self._weight = self._x = self._y = self._xx = self._xy = 0.0

    def record(self, work: float, seconds: float, is_cold: bool) -> None:
        """Add a measurement. Cold calls count only until the first warm one."""
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
            # Time grows with work and is never negative; noise can suggest otherwise.
            slope = min(max(slope, 0.0), mean_y / mean_x, MAX_SLOPE)
        is_trial = self.next_trial_at is not None and now >= self.next_trial_at
        return DurationEstimate(self.calls, mean_x, mean_y, slope, self._largest, not is_trial)


class DurationModel:
    """The fitted lines of one backend, by tool and kind."""

    def __init__(self) -> None:
        self._lines: dict[Kind, _Line] = {}

    def record(self, call: ToolCall, work: float, seconds: float, *, is_cold: bool = False) -> None:
        """Add a call that took `seconds`, or was stopped after them.

        `is_cold`: it was the first of its kind in its worker and also had to load the engine.
        """
        line = self._lines.setdefault(kind(call), _Line())
        line.record(work, seconds, is_cold)
        line.latest = call.params

    def record_refusal(self, call: ToolCall, now: float) -> None:
        """Schedule a trial after a refusal at `now`, monotonic seconds."""
        line = self._lines.get(kind(call))
        if line is not None and line.next_trial_at is None:
            line.next_trial_at = now + TRIAL_SECONDS

    def record_trial(self, call: ToolCall, now: float) -> None:
        """Schedule the next trial after one at `now`, monotonic seconds."""
        line = self._lines.get(kind(call))
        if line is not None:
            line.next_trial_at = now + TRIAL_SECONDS

    def estimate(self, call: ToolCall, now: float = 0.0) -> DurationEstimate | None:
        """The estimate for calls of this kind at `now`, monotonic seconds.

        None before the first measurement.
        """
        line = self._lines.get(kind(call))
        return None if line is None else line.estimate(now)

    def seconds_per_megapixel(self, tool: str) -> float | None:
        """Seconds for a picture of one megapixel, for the tool's most used kind; None before the first call.

        Uses the parameters of the latest call of that kind.
        """
        from ml.catalogue import TOOLS

        lines = [line for (name, _), line in self._lines.items() if name == tool]
        if not lines:
            return None
        line = max(lines, key=lambda line: line.calls)
        return line.estimate(0.0).seconds(work(TOOLS.get(tool), line.latest, 1.0))

    def expected_seconds(self, call: ToolCall, source: tuple[int, int]) -> float | None:
        """Expected seconds of `call`, without its files, on a picture of `source` (width, height).

        None before the first measurement if the tool has no figure of its own, and for parameters that are
        impossible for this size.
        """
        from ml.catalogue import TOOLS

        tool = TOOLS.get(call.tool)
        estimate = self.estimate(call)
        if estimate is None and (tool is None or tool.cost is None):
            return None
        try:
            answer = None if tool is None else tool.answer_size(call.params, source)
        except MlError:
            return None
        width, height = answer or source
        format = "png" if call.params.format == "auto" else call.params.format
        amount = work(tool, call.params, source[0] * source[1] / 1e6, width * height / 1e6, format)
        return (estimate or FIRST_FIGURE).seconds(amount)


def kind(call: ToolCall) -> Kind:
    """The tool and the engine, which determine the duration together with the size."""
    if getattr(call.params, "has_prompt", False):  # uses another engine than without a prompt
        return call.tool, "prompt"
    return call.tool, str(getattr(call.params, "model", getattr(call.params, "mode", "")))


def work(
    tool: Tool | None,
    params: Params | None,
    megapixels: float,
    answer_megapixels: float = 0.0,
    answer_format: str = "png",
) -> float:
    """The work of a call: the tool's `cost` for the source's megapixels, plus encoding the result."""
    if tool is None:  # not in the catalogue
        return megapixels
    own = USUAL_SECONDS * megapixels if tool.cost is None else tool.cost(params, megapixels)
    return own + ENCODING_SECONDS[answer_format] * answer_megapixels
