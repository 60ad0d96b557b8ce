"""Two servers that share PostgreSQL, a bucket and a Ray cluster of two nodes, and lose parts of all of it."""

import json
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import BytesIO

import httpx
import pytest
from PIL import Image

from billing.ledger.plans import PlanName
from ml.runtime.cluster import deployment
from ml.runtime.cluster.families import DEFAULT_SIZES
from tests.support.databases import Postgres
from tests.support.ml.clusters import RayCluster, ray_cluster, replica_processes
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.s3 import running_s3
from tests.support.server import Customer, RunningServer, ServerFactory
from tests.support.waiting import wait_until

__all__ = ["ray_cluster"]

PHOTO = jpeg_bytes(photo("chelsea"))
#: Tools of different families, and the sizes of their answers for this photo.
CALLS: list[tuple[str, dict[str, str], tuple[int, int]]] = [
    ("crop", {"width": "50", "height": "40"}, (50, 40)),
    ("bg-removal", {}, (451, 300)),
    ("crop", {"width": "200", "height": "100", "format": "webp"}, (200, 100)),
]
_FAMILIES = {
    "cutout": {"min_replicas": 2, "max_replicas": 2, "cpus": 1},
    "edit": {"min_replicas": 2, "max_replicas": 2, "cpus": 0.5},
    "select": {"min_replicas": 0},
    "erase": {"min_replicas": 0},
    "upscale": {"min_replicas": 0},
}


@pytest.fixture(scope="module")
def settings(
    ray_cluster: RayCluster, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    with running_s3(tmp_path_factory.mktemp("s3") / "log") as s3:
        bucket = s3.new_bucket()
        yield {
            "BGERASER_DATABASE_URL": postgres.url(postgres.create_database()),
            "BGERASER_STORAGE_URL": bucket.url,
            "BGERASER_SECRET_KEY": secrets.token_hex(32),
            "BGERASER_ML_BACKEND": "ray",
            "BGERASER_RAY_ADDRESS": ray_cluster.address,
            "BGERASER_RAY_FAMILIES": json.dumps(_FAMILIES),
            **bucket.environment,
        }
        deployment.delete("bgeraser", DEFAULT_SIZES)


@dataclass
class Load:
    """Callers that go on until told to stop, each with an account of its own, and what they were answered.

    As a client would, they repeat a call under its key at the next server until it is answered for good.
    """

    servers: list[RunningServer]
    customers: list[Customer]
    is_over: threading.Event = field(default_factory=threading.Event)
    successes: dict[str, int] = field(default_factory=dict)  # calls by account
    refusals: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def run(self, customer: Customer) -> None:
        number = 0
        while not self.is_over.is_set():
            tool, fields, size = CALLS[number % len(CALLS)]
            number += 1
            if self._call(customer, tool, fields, size):
                self.successes[customer.account_id] = self.successes.get(customer.account_id, 0) + 1

    def _call(self, customer: Customer, tool: str, fields: dict[str, str], size: tuple[int, int]) -> bool:
        headers = {**customer.headers, "Idempotency-Key": secrets.token_hex(8), "Accept": "image/*"}
        for attempt in range(200):
            server = self.servers[attempt % len(self.servers)]
            try:
                answer = httpx.post(
                    f"{server.address}/api/tools/{tool}",
                    data=fields,
                    files={"image": PHOTO},
                    headers=headers,
                    timeout=120,
                )
            except httpx.TransportError:  # the server was killed
                time.sleep(0.1)
                continue
            if answer.status_code == 200:
                found = Image.open(BytesIO(answer.content)).size
                if found != size:
                    self.wrong.append(f"{tool} of {found} instead of {size}")
                return True
            self.refusals.append(f"{answer.status_code} {answer.text[:200]}")
            if answer.status_code not in (409, 429, 503):
                self.wrong.append(self.refusals[-1])
                return False
            time.sleep(0.2)
        self.wrong.append("never answered")
        return False


def test_the_books_are_exact_while_a_replica_a_node_and_a_server_are_killed(
    ray_cluster: RayCluster,
    settings: dict[str, str],
    server_factory: ServerFactory,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(server_factory(tmp_path_factory.mktemp(name), settings))
            for name in ("one", "other")
        )
        customers = [one.new_customer(PlanName.BUSINESS, credits=5000) for _ in range(4)]
        load = Load([one, other], customers)
        with ThreadPoolExecutor(len(customers)) as callers:
            running = [callers.submit(load.run, customer) for customer in customers]

            def wait_for_more(calls: int) -> None:
                goal = sum(load.successes.values()) + calls
                wait_until(lambda: sum(load.successes.values()) >= goal or load.wrong != [])

            try:
                wait_for_more(20)
                for process in replica_processes()[:2]:
                    process.send_signal(signal.SIGKILL)
                wait_for_more(20)
                ray_cluster.replace_node()
                wait_for_more(20)
                one.process.kill()
                one.process.wait()
                wait_for_more(20)
            finally:
                load.is_over.set()
            for each in running:
                each.result()
        assert load.wrong == [], load.refusals
        for customer in customers:
            wait_until(lambda: other.balance(customer)[1] == 0)  # noqa: B023 (waited for here)
            assert other.balance(customer) == (5000 - load.successes[customer.account_id], 0)
        assert other.drifts() == []
        assert "Traceback" not in other.log_text()
