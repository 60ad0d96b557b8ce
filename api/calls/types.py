"""What a caller asks of a tool and what comes back, without HTTP: the terms of `api.calls`."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from ml.backend import Priority, ToolAnswer
from ml.params import Params
from ml.tool import Tool


@dataclass(frozen=True)
class CallRequest:
    """One call of one account. `files` maps form names to bytes; `"image"` is always there."""

    request_id: str  # req_…
    account_id: str
    priority: Priority
    tool: Tool
    params: Params
    files: Mapping[str, bytes]
    base_url: str  # the address at which this server was reached, without a slash at its end
    idempotency_key: str | None = None
    #: The API key that sent it; None for the web editor.
    key_id: str | None = None
    #: The stored picture that `files["image"]` is; None for one that came with the call.
    source_id: str | None = None

    @property
    def is_random(self) -> bool:
        """Whether the same call may answer with another picture each time."""
        return self.tool.is_random(self.params)

    def fingerprint(self) -> str:
        """SHA-256, hex, of what makes two calls the same: tool, parameters as understood, and files."""
        parts = {
            "tool": self.tool.name,
            "params": self.params.model_dump(mode="json"),
            "files": {name: hashlib.sha256(content).hexdigest() for name, content in self.files.items()},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class CallAnswer:
    """What the caller gets. `picture` is at hand only where this process has just made it."""

    status_code: int
    body: bytes  # JSON
    image_id: str | None  # None: `body` tells an error that the work found
    replay_id: str
    is_replay: bool
    picture: ToolAnswer | None = None
