"""How long calls wait in front of some workers, in closed form.

The model is M/G/c: calls arrive at random (a Poisson process), are served in order of arrival by `workers`
equal workers, and none is refused. It is right for one server whose calls are all short and of one priority,
because `ml.runtime.queue` then serves them in order of arrival. For anything else there is `simulation`.

Sources:

- The probability of waiting with exponential service times: A. K. Erlang, "Solution of some problems in the
  theory of probabilities of significance in automatic telephone exchanges", Elektroteknikeren 13 (1917). It
  is computed by the recursion of his loss formula, which does not overflow.
- The mean wait with other service times, by the coefficients of variation (Allen and Cunneen), and the
  percentiles of waiting, as if waits of those who wait were exponential: A. O. Allen, "Probability,
  Statistics, and Queueing Theory with Computer Science Applications", 2nd edition, Academic Press (1990).
- Other such approximations, and how good they are: T. Kimura, "Approximations for multi-server queues: system
  interpolations", Queueing Systems 17 (1994). All are exact for exponential service times. For others, the
  tests say how far these here are from the simulation.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

_STEPS = 60  # of a bisection: more than a float can tell apart


@dataclass(frozen=True)
class Service:
    """A distribution of service times: its mean, and its variance divided by the square of the mean.

    `squared_variation` is 0 for constant and 1 for exponential times.
    """

    mean_seconds: float
    squared_variation: float

    @classmethod
    def of(cls, seconds: Sequence[float], weights: Sequence[float] | None = None) -> "Service":
        """The service that these times are a sample of, each with its weight."""
        shares = weights or [1.0] * len(seconds)
        mean = statistics.fmean(seconds, shares)
        variance = statistics.fmean([(one - mean) ** 2 for one in seconds], shares)
        return cls(mean, variance / mean**2)

    def longer_by(self, seconds: float) -> "Service":
        """With a constant added to every service time."""
        mean = self.mean_seconds + seconds
        return Service(mean, self.squared_variation * (self.mean_seconds / mean) ** 2)


def probability_of_waiting(workers: int, utilisation: float) -> float:
    """Erlang's C formula. `utilisation` is the share of their time that workers are busy, 0 to below 1."""
    load = workers * utilisation
    loss = 1.0  # Erlang's B formula for 0 workers
    for number in range(1, workers + 1):
        loss = load * loss / (number + load * loss)
    return loss / (1 - utilisation * (1 - loss))


def mean_wait_seconds(workers: int, utilisation: float, service: Service) -> float:
    """By Allen and Cunneen, over all calls, those that do not wait included."""
    exponential = probability_of_waiting(workers, utilisation) * service.mean_seconds
    return exponential / (workers * (1 - utilisation)) * (1 + service.squared_variation) / 2


def wait_percentile_seconds(workers: int, utilisation: float, service: Service, percent: float) -> float:
    """The wait that `percent` of the calls do not exceed. 0 if so many do not wait at all."""
    waiting, beyond = probability_of_waiting(workers, utilisation), 1 - percent / 100
    if waiting <= beyond:
        return 0.0
    return mean_wait_seconds(workers, utilisation, service) / waiting * math.log(waiting / beyond)


def fewest_workers(per_second: float, service: Service, limit_seconds: float, percent: float = 95.0) -> int:
    """The workers with one common queue of whose calls `percent` wait at most `limit_seconds`."""
    offered = per_second * service.mean_seconds
    workers = math.floor(offered) + 1
    while wait_percentile_seconds(workers, offered / workers, service, percent) > limit_seconds:
        workers += 1
    return workers


def highest_utilisation(workers: int, service: Service, limit_seconds: float, percent: float = 95.0) -> float:
    """The utilisation up to which `percent` of the calls wait at most `limit_seconds`."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if wait_percentile_seconds(workers, middle, service, percent) <= limit_seconds:
            low = middle
        else:
            high = middle
    return low
