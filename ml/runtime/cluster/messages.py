"""The messages between a server and its cluster driver.

The server sends `DriverConfig` once, then `SendCall` and `EndCall`, pickled. The driver sends JSON objects;
`kind` is one of

    unreachable  `why`: there is no connection; it tries again
    states       `families`: for each, the fields of `ml.runtime.cluster.deployment.FamilyState`
    report       `family`, `report`: what its machines have installed, see `ml.runtime.cluster.engine_report`
    call         `id`, `message`: what a replica says about a call, see `ml.runtime.cluster.replica`
    gone         `id`, `why`: the call has ended without an answer
    log          `logger`, `level`, `text`
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ml.runtime.cluster.families import FamilySize
from ml.runtime.cluster.replica import ReplicaConfig
from ml.runtime.messages import StartCall


@dataclass(frozen=True)
class DriverConfig:
    address: str  # of the cluster's head, host:port, or auto
    prefix: str  # of the names of the applications
    server: str  # a name of this server that no other has
    replica: ReplicaConfig
    sizes: Mapping[str, FamilySize]


@dataclass(frozen=True)
class SendCall:
    """A call for a family. Its files are the frame's payloads."""

    id: int
    family: str
    work: StartCall


@dataclass(frozen=True)
class EndCall:
    """Call `id` is no longer wanted."""

    id: int
