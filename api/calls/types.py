"""Requests and results of tool calls, without HTTP."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from api.calls.account_status import AccountStatus
from billing.ledger.plans import PLANS, PlanName
from ml.backend import Chaining, Delivery, Priority, ToolAnswer
from ml.params import Params
from ml.tool import Tool


@dataclass(frozen=True)
class CallRequest:
    """One call by one account. `files` maps form names to bytes and always has `"image"`."""

    request_id: str  # req_…
    account_id: str
    priority: Priority
    tool: Tool
    params: Params
    files: Mapping[str, bytes]
    base_url: str  # where callers reach this server, without a trailing slash
    idempotency_key: str | None = None
    #: The API key that sent it; None for the web editor.
    key_id: str | None = None
    #: The member of the account who uses the web editor or made the key; None: its owner.
    person_id: str | None = None
    #: Where its credit counts; None for the web editor and for test keys.
    budget_id: str | None = None
    #: Sent with a test key: it costs nothing, and its result is small and marked.
    is_test: bool = False
    #: The id of the stored image in `files["image"]`; None if the image came with the call.
    source_id: str | None = None
    #: The ids of all stored images in `files`, by the form name of the file. Only jobs need them.
    stored_ids: Mapping[str, str] = field(default_factory=dict)
    #: URLs from which files are, by the form name of the file.
    urls: Mapping[str, str] = field(default_factory=dict)
    #: The form field of a stored image or URL by the file that it stands for, where an error should name it.
    id_fields: Mapping[str, str] = field(default_factory=dict)
    #: Whether the request has taken its call of the rate already, before it was read in full.
    rate_taken: bool = False
    #: Whether it runs as a job, after the request that asked for it was answered.
    is_job: bool = False
    #: Where the end of a job is announced.
    callback_url: str | None = None
    #: None: the result is delivered as the parameters say.
    delivery: Delivery | None = None
    #: Set for jobs of batches with several steps.
    chaining: Chaining | None = None
    #: A step on the result of another one. It needs no room: if what waits for the next steps fills an
    #: account, only they can empty it.
    goes_on: bool = False

    @property
    def is_random(self) -> bool:
        """Whether the same call may answer with another image each time."""
        return self.tool.is_random(self.params)

    def fingerprint(self) -> str:
        """SHA-256, hex, of the tool, the validated parameters and the files: equal for identical calls.

        With an idempotency key a file that was named by URL counts as its URL, so that a retry is recognised
        before anything is fetched. Without one it counts as its content, which may have changed.
        """
        urls = {} if self.idempotency_key is None else self.urls
        parts: dict[str, Any] = {
            "tool": self.tool.name,
            "params": self.params.model_dump(mode="json"),
            "files": {
                name: hashlib.sha256(content).hexdigest()
                for name, content in self.files.items()
                if name not in urls
            },
        }
        if urls:
            parts["urls"] = dict(urls)
        if self.is_job:
            # Its answer is a job's id, which a call that waits for its result cannot use.
            parts["job"] = True
        if self.callback_url is not None:
            parts["callback_url"] = self.callback_url
        if self.is_test:
            parts["test"] = True
        if self.delivery is not None:
            parts["delivery"] = asdict(self.delivery)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class CallResult:
    """The answer of a call: `data` of a success, or `error` of a replayed failure.

    `body` is the whole JSON body as it is stored for retries. Replays must repeat it byte for byte, so it is
    encoded once, when it is stored.
    """

    status: int
    data: Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    body: bytes
    account_status: AccountStatus
    replay_id: str
    image_id: str | None
    is_replay: bool = False
    #: The image, if this process has just produced it.
    picture: ToolAnswer | None = None


class CallFailed(Exception):
    """A call that was refused or failed with `error`, and the account's status after it."""

    def __init__(self, error: Exception, account_status: AccountStatus) -> None:
        super().__init__(str(error))
        self.error = error
        self.account_status = account_status


def priority_of(plan: PlanName) -> Priority:
    """The queue priority of a plan's calls."""
    return Priority.PAID if PLANS[plan].paid else Priority.FREE
