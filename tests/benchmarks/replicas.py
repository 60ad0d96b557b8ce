"""Cut-outs by two replicas of a Ray cluster on this machine, beside one; each has one thread.

The floor is as many worker processes of one thread, without a cluster. All take turns.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ml.backend import Backend, Priority, ToolCall
from ml.catalogue import TOOLS
from ml.runtime.cluster.families import FamilySize
from ml.runtime.local import LocalConfig
from tests.benchmarks import load
from tests.benchmarks.load import Measured
from tests.benchmarks.photos import SIZES, jpegs_of
from tests.benchmarks.report import Report
from tests.support.checkpoints import models_dir
from tests.support.ml import backends, clusters

CALLS = 12
TURNS = 2
#: So that no replica waits for a caller.
CALLERS_PER_REPLICA = 3


def main(report: Report) -> None:
    photos = jpegs_of(SIZES["1 MP"])
    calls, turns = (4, 1) if report.quick else (CALLS, TURNS)
    section = report.section(
        "Replicas in a cluster",
        f"cut-outs of 1 MP by replicas of one thread on two nodes of this machine, {calls} calls a turn; the"
        " floor is worker processes of one thread without a cluster",
    )
    with TemporaryDirectory() as folder:
        config = _config(Path(folder))
        works = {
            f"{kind} {count}": partial(_measure, kind, config, count, photos, calls)
            for count in (1, 2)
            for kind in ("local", "ray")
        }
        found = {name: load.merged(parts) for name, parts in load.in_turns(works, turns).items()}
    for count in (1, 2):
        section.add(
            f"{count} replica{'s' * (count > 1)}",
            "images/s",
            found[f"ray {count}"].per_second,
            floor=found[f"local {count}"].per_second,
        )
    ray, local = (found[f"{kind} 2"].per_second / found[f"{kind} 1"].per_second for kind in ("ray", "local"))
    section.note(
        f"Two replicas make {ray:.2f} times as many images a second as one; two worker processes"
        f" {local:.2f} times (bar: 1.7)."
    )


def _config(folder: Path) -> LocalConfig:
    return LocalConfig(models_dir=models_dir(), cache_dir=folder / "cache", threads_per_worker=1)


def _measure(kind: str, config: LocalConfig, count: int, photos: Sequence[bytes], calls: int) -> Measured:
    with _running(kind, config, count) as backend:
        callers = CALLERS_PER_REPLICA * count
        _calls(backend, photos, calls=2 * count, callers=callers)  # every worker has been used
        return _calls(backend, photos, calls=calls * count, callers=callers)


@contextmanager
def _running(kind: str, config: LocalConfig, count: int) -> Iterator[Backend]:
    if kind == "local":
        with backends.running(replace(config, workers=count)) as local:
            yield local
        return
    size = FamilySize(min_replicas=count, max_replicas=count, cpus=1.0)
    in_cluster = clusters.cluster_config(config, sizes={"work": size})
    with clusters.running(in_cluster, count) as backend:
        yield backend


def _calls(backend: Backend, photos: Sequence[bytes], *, calls: int, callers: int) -> Measured:
    params = TOOLS["bg-removal"].params()

    def call(number: int) -> Any:
        files = {"image": photos[number % len(photos)]}
        return backend.submit(ToolCall("bg-removal", params, files, Priority.PAID)).answer.result(600)

    return load.run(call, callers=callers, calls=calls)
