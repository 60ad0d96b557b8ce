"""What happened in a soak, and whether it may have.

Errors are excused while a fault lasts and shortly afterwards. Wrong pictures and wrong charges never are.
"""

import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

#: How long what a fault caused may be seen after it was mended: connections that wait, leases that lapse.
GRACE_SECONDS = 15.0
MOST_GROWTH_MIB = 150.0
MOST_MORE_DESCRIPTORS = 50


@dataclass(frozen=True)
class Trouble:
    """A request that failed, from when it was sent until it was answered."""

    began: float
    ended: float
    what: str


@dataclass(frozen=True)
class Fault:
    name: str
    began: float
    ended: float

    def excuses(self, trouble: Trouble) -> bool:
        return trouble.began <= self.ended + GRACE_SECONDS and trouble.ended >= self.began


@dataclass(frozen=True)
class Sample:
    """Of all processes of the server that is never killed."""

    at: float
    memory_mib: float
    descriptors: int


@dataclass
class Record:
    """Filled by several threads."""

    began: float = field(default_factory=time.monotonic)
    requests: int = 0
    done: Counter[str] = field(default_factory=Counter)  # successes by kind of work
    charged: Counter[str] = field(default_factory=Counter)  # what each account has to have paid
    troubles: list[Trouble] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answered(self) -> None:
        with self._lock:
            self.requests += 1

    def failed(self, began: float, what: str) -> None:
        self.troubles.append(Trouble(began, time.monotonic(), what))

    def succeeded(self, kind: str, account_id: str, credits: int = 1) -> None:
        with self._lock:
            self.done[kind] += 1
            self.charged[account_id] += credits

    @contextmanager
    def fault(self, name: str) -> Iterator[None]:
        """The block makes a fault and mends it."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.faults.append(Fault(name, began, time.monotonic()))

    def unexcused(self) -> list[Trouble]:
        """Failures outside of faults."""
        return [each for each in self.troubles if not any(one.excuses(each) for one in self.faults)]

    def growth(self) -> tuple[float, int]:
        """MiB and descriptors that the last third has more than the middle one: the medians of both."""
        third = len(self.samples) // 3
        middle, last = self.samples[third : 2 * third], self.samples[-third:]
        if not middle:
            return 0.0, 0
        memory = statistics.median(s.memory_mib for s in last) - statistics.median(
            s.memory_mib for s in middle
        )
        descriptors = statistics.median(s.descriptors for s in last) - statistics.median(
            s.descriptors for s in middle
        )
        return memory, int(descriptors)

    def verdicts(self) -> list[str]:
        """What must not be, in words; empty if all is well."""
        found = list(self.wrong)
        found += [f"outside of faults: {each.what}" for each in self.unexcused()]
        memory, descriptors = self.growth()
        if memory > MOST_GROWTH_MIB:
            found.append(f"memory grew by {memory:.0f} MiB")
        if descriptors > MOST_MORE_DESCRIPTORS:
            found.append(f"{descriptors} more descriptors are open")
        if not self.done:
            found.append("nothing was done")
        return found

    def report(self) -> str:
        """A short report in Markdown."""
        minutes = (time.monotonic() - self.began) / 60
        memory, descriptors = self.growth()
        faults = Counter(each.name for each in self.faults)
        lines = [
            f"# Soak of {minutes:.0f} minutes",
            "",
            f"- {self.requests:,} requests; done: {_listed(self.done)}",
            f"- faults: {_listed(faults)}",
            f"- failed requests: {len(self.troubles)} in fault windows and the {GRACE_SECONDS:.0f} s after"
            f" them, of which {len(self.unexcused())} outside",
            f"- credits charged: {sum(self.charged.values()):,}",
            f"- the server that was not killed, from the middle third to the last: memory {memory:+.0f} MiB,"
            f" descriptors {descriptors:+d}",
            *(f"- {note}" for note in self.notes),
        ]
        verdicts = self.verdicts()
        lines += ["", "All is well." if not verdicts else f"**{len(verdicts)} faults found:**"]
        lines += [f"- {each}" for each in verdicts[:50]]
        return "\n".join(lines) + "\n"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())) or "none"
