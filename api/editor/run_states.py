"""What browsers see of a run."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self


class RunStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({RunStatus.DONE, RunStatus.FAILED, RunStatus.CANCELLED})


@dataclass(frozen=True)
class RunState:
    """A run at one moment. `version` grows with every change.

    `expected_seconds`: how long the work is expected to take once it runs; None if that is unknown.
    `elapsed_seconds`: since it left the queue. `error`: that of the API's bodies, with the status.
    """

    id: str
    tool: str
    status: RunStatus
    stage: str
    fraction: float
    queue_position: int
    version: int
    step_id: str | None
    error: dict[str, Any] | None
    credits_charged: int
    expected_seconds: float | None
    elapsed_seconds: float

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    def as_data(self) -> dict[str, Any]:
        """As the browser gets it."""
        return {
            "id": self.id,
            "status": self.status.value,
            "stage": self.stage,
            "fraction": round(self.fraction, 3),
            "queuePosition": self.queue_position,
            "expectedSeconds": self.expected_seconds,
            "elapsedSeconds": round(self.elapsed_seconds, 2),
            "version": self.version,
            "stepId": self.step_id,
            "error": self.error,
            "creditsCharged": self.credits_charged,
        }

    @classmethod
    def cancelled(cls, run_id: str, tool: str) -> Self:
        """A run that was cancelled before it made any progress that is known."""
        return cls(
            id=run_id,
            tool=tool,
            status=RunStatus.CANCELLED,
            stage="",
            fraction=0.0,
            queue_position=0,
            version=0,
            step_id=None,
            error=None,
            credits_charged=0,
            expected_seconds=None,
            elapsed_seconds=0.0,
        )

    @classmethod
    def done(cls, run_id: str, tool: str, step_id: str | None, credits_charged: int) -> Self:
        """A run that has ended well. `step_id`: None if its step is not stored yet."""
        return replace(
            cls.cancelled(run_id, tool),
            status=RunStatus.DONE,
            fraction=1.0,
            step_id=step_id,
            credits_charged=credits_charged,
        )

    @classmethod
    def of_data(cls, run_id: str, tool: str, data: dict[str, Any]) -> Self:
        return cls(
            id=run_id,
            tool=tool,
            status=RunStatus(data["status"]),
            stage=data["stage"],
            fraction=data["fraction"],
            queue_position=data["queuePosition"],
            version=data["version"],
            step_id=data["stepId"],
            error=data["error"],
            credits_charged=data["creditsCharged"],
            expected_seconds=data["expectedSeconds"],
            elapsed_seconds=data["elapsedSeconds"],
        )
