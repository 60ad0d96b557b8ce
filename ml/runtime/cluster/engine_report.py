"""What is installed on another machine, as it reports it, and the checks made against that here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from ml.checkpoints import registry
from ml.device import Device
from ml.editing.engine_selection import EngineSelection
from ml.engines.installed import InstalledEngines
from ml.engines.network_facts import (
    ERASING_FACTS,
    OWN_SAM,
    SAM_CHECKPOINTS,
    SEGMENTING_FACTS,
    UPSCALING_FACTS,
)
from ml.errors import ModelUnavailable

#: Arguments of `ModelUnavailable`; None: it is installed.
Problem = tuple[str | None, ...] | None


@dataclass(frozen=True)
class EngineReport:
    """`problems` has an entry for each kind of engine and each checkpoint that it can use."""

    device: Device
    problems: Mapping[str, Mapping[str, Problem]]
    selections: Mapping[str, EngineSelection]  # by tool

    @classmethod
    def of(cls, engines: InstalledEngines, selections: Mapping[str, EngineSelection]) -> "EngineReport":
        """Reads files, and hashes those that are new."""
        matting = [name for name, each in registry.CHECKPOINTS.items() if each.tool == "bg-removal"]
        segmenting = [*SAM_CHECKPOINTS, OWN_SAM, *SEGMENTING_FACTS]
        return cls(
            engines.device,
            {
                "matting": {name: _problem(engines.check_matting, name) for name in matting},
                "segmenting": {name: _problem(engines.check_segmenting, name) for name in segmenting},
                "erasing": {name: _problem(engines.check_erasing, name) for name in ERASING_FACTS},
                "upscaling": {name: _problem(engines.check_upscaling, name) for name in UPSCALING_FACTS},
                "inpainting": {"": _problem(lambda _: engines.check_inpainting(), "")},
            },
            selections,
        )

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = _JSON.dump_python(self, mode="json")
        return found

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "EngineReport":
        """Raises ValueError."""
        return _JSON.validate_python(found, strict=False)


_JSON = TypeAdapter(EngineReport)


class ReportedEngines:
    """As `ml.engines.installed.InstalledEngines`, from a report."""

    def __init__(self, report: EngineReport) -> None:
        self.device = report.device
        self._problems = report.problems

    def check_matting(self, checkpoint: str) -> None:
        self._check("matting", checkpoint)

    def check_segmenting(self, checkpoint: str) -> None:
        self._check("segmenting", checkpoint)

    def check_erasing(self, checkpoint: str) -> None:
        self._check("erasing", checkpoint)

    def check_upscaling(self, checkpoint: str) -> None:
        self._check("upscaling", checkpoint)

    def check_inpainting(self) -> None:
        self._check("inpainting", "")

    def _check(self, kind: str, checkpoint: str) -> None:
        problem = self._problems[kind][checkpoint]
        if problem is not None:
            raise ModelUnavailable(*problem)  # type: ignore[arg-type]  # as it was made


def _problem(check: Callable[[str], None], name: str) -> Problem:
    try:
        check(name)
    except ModelUnavailable as error:
        return error.args
    return None
