"""Deploys families on Ray Serve: each is an application of its own with one deployment."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ml.checkpoints import registry
from ml.checkpoints.registry import Profile
from ml.runtime.cluster.families import FAMILIES, FamilySize
from ml.runtime.cluster.replica import Replica, ReplicaConfig
from ml.runtime.cluster.turns import Senders

#: A replica runs one call at a time: others wait in the queues of the API servers, which know priorities.
MAX_ONGOING = 1
#: Servers send more calls than replicas run while a family may grow. Those make Serve start further replicas.
TARGET_ONGOING = 1.0
_POLL_SECONDS = 0.2
#: The status of a family that is not deployed.
MISSING = "MISSING"
#: What Serve calls an application that will not become ready by itself.
DEPLOY_FAILED = "DEPLOY_FAILED"
_BROKEN = (DEPLOY_FAILED, "UNHEALTHY", "NOT_STARTED", "DELETING")


@dataclass(frozen=True)
class FamilyState:
    """What Serve says about a family. `running` are replicas that take calls."""

    status: str  # Serve's own word, or MISSING
    running: int
    message: str

    @property
    def is_running(self) -> bool:
        return self.status == "RUNNING"

    @property
    def is_broken(self) -> bool:
        """Whether no replica runs, and none will by itself."""
        return self.running == 0 and (self.status == MISSING or self.status in _BROKEN)


def application_name(prefix: str, family: str) -> str:
    return f"{prefix}-{family}"


def replica_config(common: ReplicaConfig, family: str, size: FamilySize) -> ReplicaConfig:
    """What replicas of the family are made with."""
    tools = FAMILIES.get(family, ())
    wanted = tuple(
        name
        for name, checkpoint in registry.CHECKPOINTS.items()
        if checkpoint.tool in tools and checkpoint.profile is Profile.EMBEDDED
    )
    worker = replace(
        common.worker,
        threads=size.threads,
        warm_up=common.worker.warm_up and family == "cutout",
        # A family that asks for no GPU gets no access to one.
        device=common.worker.device if size.gpus else "cpu",
    )
    return replace(common, worker=worker, checkpoints=wanted if worker.engines else ())


def application(prefix: str, common: ReplicaConfig, family: str, size: FamilySize) -> Any:
    """The Serve application of a family. Imports Ray."""
    from ray import serve

    scaling: dict[str, Any] = {"num_replicas": size.min_replicas}
    if size.min_replicas < size.max_replicas:
        scaling = {
            "autoscaling_config": {
                "min_replicas": size.min_replicas,
                "max_replicas": size.max_replicas,
                "target_ongoing_requests": TARGET_ONGOING,
                "upscale_delay_s": 10.0,
                "downscale_delay_s": 300.0,
            }
        }
    deployment: Any = serve.deployment(
        Replica,
        name=family,
        max_ongoing_requests=MAX_ONGOING,
        ray_actor_options={"num_cpus": size.cpus, "num_gpus": size.gpus},
        health_check_period_s=5.0,
        health_check_timeout_s=30.0,
        # How long a replica that is to end may finish its call.
        graceful_shutdown_timeout_s=60.0,
        graceful_shutdown_wait_loop_s=0.5,
        **scaling,
    )
    return deployment.bind(replica_config(common, family, size), Senders(prefix))


def deploy(
    prefix: str, common: ReplicaConfig, sizes: Mapping[str, FamilySize], families: Iterable[str]
) -> None:
    """Deploy the `families`, or update them: Serve replaces their replicas one after another. Does not wait
    for replicas. The process must be connected to a cluster.
    """
    from ray import serve

    targets = [
        serve.RunTarget(
            target=application(prefix, common, family, sizes[family]),
            name=application_name(prefix, family),
            route_prefix=None,
        )
        for family in families
    ]
    if targets:
        serve.run_many(targets, wait_for_applications_running=False)


def states(prefix: str, families: Iterable[str]) -> dict[str, FamilyState]:
    """The state of each of the `families`. The process must be connected to a cluster."""
    from ray import serve

    applications = serve.status().applications
    return {family: _state(family, applications.get(application_name(prefix, family))) for family in families}


def _state(family: str, application: Any) -> FamilyState:
    if application is None:
        return FamilyState(MISSING, 0, "it is not deployed")
    deployment = application.deployments.get(family)
    found = {} if deployment is None else deployment.replica_states
    running = sum(count for state, count in found.items() if _text(state) == "RUNNING")
    message = " ".join((application.message or "" if deployment is None else deployment.message).split())
    return FamilyState(_text(application.status), running, message)


def handle(prefix: str, family: str) -> Any:
    """Serve's handle of a family's replicas."""
    from ray import serve

    return serve.get_deployment_handle(family, application_name(prefix, family))


def delete(prefix: str, families: Iterable[str], wait_seconds: float = 150.0) -> None:
    """Delete the `families`, and wait for the end of their replicas. Raises TimeoutError."""
    from ray import serve

    names = {application_name(prefix, family) for family in families}
    for name in names & serve.status().applications.keys():
        serve.delete(name, _blocking=False)
    ends_at = time.monotonic() + wait_seconds
    while left := names & serve.status().applications.keys():
        if time.monotonic() >= ends_at:
            raise TimeoutError(f"still there after {wait_seconds:g} s: {', '.join(sorted(left))}")
        time.sleep(_POLL_SECONDS)


def _text(state: Any) -> str:
    return str(getattr(state, "value", state))
