"""A Ray cluster of two nodes on this machine, and backends that run calls in it."""

import contextlib
import importlib
import os
import secrets
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest

from ml.backend import ToolCall
from ml.runtime.cluster import connection, deployment
from ml.runtime.cluster.backend import ClusterBackend, ClusterConfig
from ml.runtime.cluster.families import FamilySize
from ml.runtime.cluster.replica import ReplicaConfig
from ml.runtime.local import LocalConfig
from tests.support.waiting import wait_until

NODE_CPUS = 4
_STORE_BYTES = 256 << 20


@dataclass(frozen=True)
class RayCluster:
    """`cluster` is a `ray.cluster_utils.Cluster`; `environment` is what processes that join it need."""

    cluster: Any
    environment: dict[str, str]

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def replace_node(self) -> None:
        """End the second node at once, with its replicas, and let a new one join."""
        last = self.cluster.list_all_nodes()[-1]
        self.cluster.remove_node(last, allow_graceful=False)
        self.add_node()

    def add_node(self, cpus: float = NODE_CPUS) -> Any:
        return self.cluster.add_node(num_cpus=cpus, object_store_memory=_STORE_BYTES)


@cache
def started() -> RayCluster:
    """Two nodes with a token, to which this process is connected. They end with it."""
    environment = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    os.environ.update(environment)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of Ray's own, at import
        importlib.import_module("ray.serve")
        from ray.cluster_utils import Cluster

    head = {"num_cpus": NODE_CPUS, "include_dashboard": False, "object_store_memory": _STORE_BYTES}
    found = RayCluster(Cluster(initialize_head=True, head_node_args=head), environment)
    found.add_node()
    connection.connect(found.address)  # for those who look into it themselves
    return found


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayCluster]:
    """Every fixture that uses a cluster depends on this one, which is how tests that need one are marked."""
    cluster = started()
    yield cluster
    serve: Any = importlib.import_module("ray.serve")
    serve.shutdown()  # else its threads connect again when Ray has ended


def replica_processes() -> list[psutil.Process]:
    """Ray's processes that are replicas."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if process.name().startswith("ray::") and "ServeReplica" in " ".join(process.cmdline())
    ]


def driver_processes() -> list[psutil.Process]:
    """Those that are connected to a cluster on behalf of this one."""
    return [
        process for process in psutil.Process().children() if "ml.runtime.cluster.driver" in process.cmdline()
    ]


def workload_family(_call: ToolCall) -> str:
    return "work"


def cluster_config(config: LocalConfig, prefix: str | None = None, **changes: Any) -> ClusterConfig:
    """Replicas of one family that do what `config`'s workers do."""
    workers = config.workers or 2
    replica = ReplicaConfig(
        config.worker(config.device, 1),
        calls_per_worker=config.calls_per_worker,
        idle_memory_share=config.idle_memory_share,
        start_seconds=config.start_seconds,
        cancel_grace_seconds=config.cancel_grace_seconds,
    )
    settings: dict[str, Any] = {
        "address": started().address,
        "replica": replica,
        "sizes": {"work": FamilySize(min_replicas=workers, max_replicas=workers, cpus=1.0)},
        "prefix": prefix or f"test-{secrets.token_hex(4)}",
        "queue_size": config.queue_size,
        "max_wait_seconds": config.max_wait_seconds,
        "long_seconds": config.long_seconds,
        "cancel_grace_seconds": config.cancel_grace_seconds,
        "close_seconds": config.close_seconds,
        "family_of": workload_family,
        **changes,
    }
    return ClusterConfig(**settings)


@contextlib.contextmanager
def running(config: ClusterConfig, workers: int) -> Iterator[ClusterBackend]:
    """A started backend whose replicas all run; they are deleted afterwards."""
    backend = ClusterBackend(config)
    backend.start()
    try:
        wait_until(lambda: backend.state().workers == workers)
        yield backend
    finally:
        backend.close()
        with contextlib.suppress(TimeoutError):  # replicas that cannot start are given up slowly
            wait_seconds = 60.0 if workers else 0.0
            deployment.delete(config.prefix, config.sizes, wait_seconds)
