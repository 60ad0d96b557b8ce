"""The steps of a batch: tools with their validated parameters, as they are stored in its row."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ml.params import Params
from ml.tool import Tool

STEPS_MAX = 10
#: Of the stored steps of one batch. Each of its waiting jobs has a copy of one of them.
BYTES_MAX = 256 * 1024


@dataclass(frozen=True)
class BatchStep:
    """`stored_ids`: stored images by the form name of the file, the same for every image of the batch."""

    tool: Tool
    params: Params
    stored_ids: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredStep:
    """A step as a job needs it: its parameters as JSON, which the job's run validates again."""

    tool: str
    params: bytes
    stored_ids: Mapping[str, str]


def to_json(steps: Sequence[BatchStep]) -> bytes:
    listed = [
        {
            "tool": step.tool.name,
            "params": json.loads(step.params.stored()),
            "storedIds": dict(step.stored_ids),
        }
        for step in steps
    ]
    return json.dumps(listed, separators=(",", ":")).encode()


def from_json(content: bytes) -> list[StoredStep]:
    listed: list[dict[str, Any]] = json.loads(content)
    return [
        StoredStep(each["tool"], json.dumps(each["params"]).encode(), each["storedIds"]) for each in listed
    ]


def tool_names(content: bytes) -> list[str]:
    return [each["tool"] for each in json.loads(content)]
