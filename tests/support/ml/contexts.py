"""What a running tool is given, without a worker around it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ml.errors import Cancelled, ModelUnavailable


class NoEngines:
    """A worker on a machine where no checkpoint is installed."""

    def matting(self, checkpoint: str) -> Any:
        raise ModelUnavailable(checkpoint, f"bgeraser models pull {checkpoint}")

    def erasing(self, checkpoint: str) -> Any:
        raise ModelUnavailable(checkpoint, f"bgeraser models pull {checkpoint}")

    def check_erasing(self, checkpoint: str) -> None:
        self.erasing(checkpoint)

    def check_inpainting(self) -> None:
        raise ModelUnavailable("stable-diffusion-inpainting", "bgeraser models pull --profile generative")


@dataclass
class Calm:
    """A context that is never cancelled and records the steps."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    engines: Any = field(default_factory=NoEngines)
    fractions: list[float] = field(default_factory=list)

    def step(self, stage: str, fraction: float) -> None:
        assert stage
        assert 0 <= fraction <= 1
        self.fractions.append(fraction)


@dataclass
class Impatient(Calm):
    """Cancels at the step that passes `limit`."""

    limit: float = 0.5

    def step(self, stage: str, fraction: float) -> None:
        super().step(stage, fraction)
        if fraction >= self.limit:
            raise Cancelled
