"""Three times what a server can do, by paid and free callers and hostile guests at once.

The capacity is measured first. Then paid callers send half of it, first alone and then beside free callers
who send two and a half times of it, and guests who take whatever they get. Calls come at random times,
whether earlier ones were answered or not, as those of many customers do.
"""

import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
import numpy as np
import pytest

from billing.ledger.plans import PLANS, PlanName
from tests.benchmarks import processes
from tests.benchmarks.load import percentile
from tests.support.hostile_guests import hostile_guests
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import Customer, RunningServer, StartServer

WORKERS = 2
GUESTS = 2
PAID_SHARE, FREE_SHARE = 0.5, 2.5  # of the capacity
MOST_RATIO = 4.0  # of the paid calls' p95 to their p95 alone
MOST_GROWTH_MIB = 100.0
#: A free caller is served again at the latest after this many seconds of any queue.
LONGEST_PAUSE_SECONDS = 30.0
THREADS = 64
SLOW_CALL = {"scale": "4", "mode": "quality"}


@dataclass
class Answers:
    """What the callers of one kind got. Threads may add to it at the same time."""

    seconds: list[float] = field(default_factory=list)
    served_at: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    refusals_without_time: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, answer: httpx.Response, seconds: float) -> None:
        with self.lock:
            self.statuses[answer.status_code] += 1
            if answer.is_success:
                self.seconds.append(seconds)
                self.served_at.append(time.monotonic())
            elif not answer.headers.get("retry-after", "").isdigit():
                self.refusals_without_time.append(f"{answer.status_code} {answer.text[:200]}")

    @property
    def served(self) -> int:
        return len(self.seconds)

    @property
    def p95(self) -> float:
        return percentile(self.seconds, 95)


class Pictures:
    """Pictures that no earlier call has the answer of."""

    def __init__(self) -> None:
        self._pixels = photo("chelsea")
        self._number = 0
        self._lock = threading.Lock()

    def next(self) -> bytes:
        with self._lock:
            self._number += 1
            number = self._number
        pixels = self._pixels.copy()
        pixels[0, :32] = np.unpackbits(np.array([number], ">u4").view(np.uint8))[:, None] * 255
        return jpeg_bytes(pixels)


class Callers:
    """Accounts of one plan with a common client; they take turns."""

    def __init__(self, server: RunningServer, plan: PlanName, count: int, pictures: Pictures) -> None:
        self.customers = [server.new_customer(plan, credits=5_000) for _ in range(count)]
        self._server = server
        self._pictures = pictures
        self._client = httpx.Client(
            base_url=server.address, timeout=180, limits=httpx.Limits(max_connections=THREADS)
        )
        self._served: Counter[str] = Counter()

    def close(self) -> None:
        self._client.close()

    def call(self, answers: Answers, customer: Customer) -> httpx.Response:
        began = time.perf_counter()
        answer = self._client.post(
            "/api/tools/bg-removal",
            files={"image": self._pictures.next()},
            data={"model": "fast"},
            headers={**customer.headers, "Idempotency-Key": secrets.token_hex(8)},
        )
        answers.add(answer, time.perf_counter() - began)
        if answer.is_success:
            with answers.lock:
                self._served[customer.account_id] += 1
        return answer

    def arrive(self, a_second: float, seconds: float, seed: int) -> Answers:
        """Calls that come independently of each other, `a_second` of them on average."""
        answers, source = Answers(), random.Random(seed)
        began, due, number = time.monotonic(), 0.0, 0
        with ThreadPoolExecutor(THREADS) as pool:
            futures = []
            while (due := due + source.expovariate(a_second)) < seconds:
                time.sleep(max(0.0, began + due - time.monotonic()))
                customer = self.customers[number % len(self.customers)]
                futures.append(pool.submit(self.call, answers, customer))
                number += 1
            for future in futures:
                future.result()
        return answers

    def check_charges(self) -> None:
        """Each account was charged for what it got, and for nothing else."""
        for customer in self.customers:
            expected = (5_000 - self._served[customer.account_id], 0)
            assert self._server.balance(customer) == expected


def capacity_of(callers: Callers, seconds: float) -> float:
    """Calls a second, while as many callers as there are workers, and as many again, never pause."""
    answers = Answers()
    ends_at = time.monotonic() + seconds

    def work() -> None:
        while time.monotonic() < ends_at:
            callers.call(answers, callers.customers[0]).raise_for_status()

    with ThreadPoolExecutor(2 * WORKERS) as pool:
        for future in [pool.submit(work) for _ in range(2 * WORKERS)]:
            future.result()
    return answers.served / seconds


def in_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@dataclass
class Outcome:
    alone: Answers
    paid: Answers
    free: Answers
    slow: list[httpx.Response]
    growth_mib: float


def overload(server: RunningServer, seconds: float, slow_calls: int = 0) -> Outcome:
    pictures = Pictures()
    paid = Callers(server, PlanName.BUSINESS, 2, pictures)
    capacity_of(paid, 2.0)  # loads the engine
    capacity = capacity_of(paid, min(20.0, seconds / 3))
    # As many accounts as it takes for the server's capacity, not their plan's rate, to be the limit.
    count = 2 + int(60 * FREE_SHARE * capacity / PLANS[PlanName.FREE].calls_per_minute)
    free = Callers(server, PlanName.FREE, count, pictures)
    slow: list[httpx.Response] = []
    customers = [server.new_customer(credits=1) for _ in range(slow_calls)]
    alone = paid.arrive(PAID_SHARE * capacity, seconds / 3, seed=1)
    results: dict[str, Answers] = {}

    def call_slowly(customer: Customer) -> None:
        with server.client(customer) as client:
            client.timeout = 600
            slow.append(client.post("/api/tools/upscale", files={"image": pictures.next()}, data=SLOW_CALL))

    with hostile_guests(server.address, GUESTS) as allowed:
        allowed.set()
        threads = [in_background(lambda one=one: call_slowly(one)) for one in customers]  # type: ignore[misc]
        threads.append(
            in_background(lambda: results.update(free=free.arrive(FREE_SHARE * capacity, seconds, seed=2)))
        )
        warm = paid.arrive(PAID_SHARE * capacity, seconds / 4, seed=3)
        before = processes.pss_mib(server.process.pid)
        rest = paid.arrive(PAID_SHARE * capacity, seconds * 3 / 4, seed=4)
        for thread in threads:
            thread.join()
        growth = processes.pss_mib(server.process.pid) - before
    loaded = Answers(
        warm.seconds + rest.seconds,
        warm.served_at + rest.served_at,
        warm.statuses + rest.statuses,
        warm.refusals_without_time + rest.refusals_without_time,
    )
    for callers in (paid, free):
        callers.close()
        callers.check_charges()
    return Outcome(alone, loaded, results["free"], slow, growth)


def check(server: RunningServer, outcome: Outcome) -> None:
    """What holds in any time and on any machine."""
    for answers in (outcome.alone, outcome.paid, outcome.free):
        assert set(answers.statuses) <= {200, 429, 503}
        assert answers.refusals_without_time == []
    assert set(outcome.alone.statuses) == {200}
    assert outcome.free.statuses[503] + outcome.free.statuses[429] > 0, "it was not overloaded"
    assert outcome.paid.served > 0
    assert outcome.free.served > 0
    assert {answer.status_code for answer in outcome.slow} <= {200, 429, 503}
    assert "Traceback" not in server.log_text()
    assert server.process.poll() is None
    assert server.drifts() == []


def test_beyond_its_capacity_a_server_refuses_with_a_time_and_charges_for_what_it_served(
    start_server: StartServer,
) -> None:
    server = start_server(BGERASER_WORKERS=str(WORKERS))
    check(server, overload(server, 8.0))


@pytest.mark.long
def test_paid_calls_are_hardly_slower_at_three_times_the_capacity(start_server: StartServer) -> None:
    server = start_server(BGERASER_WORKERS=str(WORKERS))
    outcome = overload(server, 300.0, slow_calls=2)
    check(server, outcome)
    # The second one may be refused, because it would wait for the first.
    assert 200 in [answer.status_code for answer in outcome.slow]
    assert outcome.paid.statuses[200] >= 0.99 * outcome.paid.statuses.total()
    assert outcome.paid.p95 <= MOST_RATIO * outcome.alone.p95
    pauses = [b - a for a, b in zip(outcome.free.served_at, outcome.free.served_at[1:], strict=False)]
    assert max(pauses) <= LONGEST_PAUSE_SECONDS
    assert outcome.growth_mib <= MOST_GROWTH_MIB
