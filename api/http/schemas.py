"""The JSON shapes of answers, for the OpenAPI description and for building larger ones."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ml.backend import BackendState, EngineState
from ml.tool import Tool


class Shape(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")

    def as_data(self) -> dict[str, Any]:
        """The `data` of an answer."""
        return self.model_dump(mode="json", by_alias=True)


class Success(Shape):
    success: bool = Field(True, description="true")
    request_id: str


class ErrorBody(Shape):
    code: str = Field(description="A stable code in capital letters, for programs.")
    message: str = Field(description="What happened, for people; may change.")
    param: str | None = Field(description="The form field or header at fault, if there is one.")
    retryable: bool = Field(description="Whether the same request may succeed later.")
    renews_at: str | None = Field(
        None, description="Only with INSUFFICIENT_CREDITS: when new credits are granted, if that is known."
    )
    top_up_url: str | None = Field(
        None,
        description="Only with INSUFFICIENT_CREDITS, where packs are sold, to the account's owner: the page"
        " that sells them.",
    )


class Failure(Shape):
    success: bool = Field(False, description="false")
    error: ErrorBody
    request_id: str


class ToolData(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="allow")

    image_url: str = Field(description="The result; it needs no key and works until `expiresAt`.")
    width: int = Field(description="Pixels.")
    height: int = Field(description="Pixels.")
    format: str = Field(description="png, jpg, webp or avif.")
    processing_time_ms: int = Field(description="The worker's time.")
    queue_time_ms: int = Field(description="Time in the queue before it.")
    image_id: str = Field(description="May be sent as `image_id` with another call.")
    bytes: int
    expires_at: datetime
    model: str | None = Field(description="The checkpoint that was used; null if none is needed.")
    device: str = Field(description="cpu or cuda.")
    credits_charged: int
    credits_remaining: int
    warnings: list[str]
    precision: str | None = Field(
        description="The arithmetic of `model`: f32, bf16 or int8; null if it is not known."
    )


class ToolSuccess(Success):
    data: ToolData


class JobAccepted(Shape):
    job_id: str
    status: str = Field(description="queued")
    status_url: str = Field(description="Where its state and result are read, with a key of the account.")


class JobAcceptedSuccess(Success):
    data: JobAccepted


class JobSummary(Shape):
    job_id: str
    tool: str
    is_test: bool = Field(description="Asked for with a test key.")
    status: str = Field(description="queued, running, succeeded, failed or cancelled.")
    status_url: str
    stage: str | None = Field(description="What a running job does at the moment.")
    fraction: float = Field(description="0 to 1 of the work.")
    expected_seconds: float | None = Field(description="Of the work, without waiting; null until known.")
    created_at: str
    started_at: str | None
    finished_at: str | None
    expires_at: str = Field(description="When the job is given up; once it has ended, when it is forgotten.")
    error: ErrorBody | None = Field(description="Of a failed job: the `error` of the call.")


class JobData(JobSummary):
    queue_position: int | None = Field(description="Among your waiting jobs, 1 for the next.")
    result: ToolData | None = Field(description="Of a succeeded job: the `data` of the call.")


class JobSuccess(Success):
    data: JobData


class JobPage(Shape):
    jobs: list[JobSummary]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last.")


class JobPageSuccess(Success):
    data: JobPage


class WebhookData(Shape):
    webhook_id: str = Field(description="`callbacks` for the one that signs what is sent to `callback_url`.")
    url: str | None = Field(description="null for `callbacks`.")
    events: list[str]
    enabled: bool
    disabled_reason: str | None
    previous_secret_until: str | None = Field(
        description="Until then messages are signed with the secret before the last rotation too."
    )
    created_at: str


class WebhookSuccess(Success):
    data: WebhookData


class WebhookWithSecret(WebhookData):
    secret: str = Field(description="`whsec_…`, for verifying signatures. It is shown only once.")


class WebhookWithSecretSuccess(Success):
    data: WebhookWithSecret


class WebhookList(Shape):
    webhooks: list[WebhookData]


class WebhookListSuccess(Success):
    data: WebhookList


class DeletedWebhook(Shape):
    webhook_id: str
    deleted: bool


class DeletedWebhookSuccess(Success):
    data: DeletedWebhook


class DeliveryAttempt(Shape):
    at: str
    status_code: int | None = Field(description="The receiver's status; null if there was none.")
    error: str | None = Field(
        description="null after a success, else INVALID_URL, HOST_REFUSED, TIMED_OUT, CONNECTION_FAILED,"
        " REDIRECTED, GONE or ERROR_STATUS."
    )
    duration_ms: int


class DeliveryData(Shape):
    delivery_id: str
    webhook_id: str
    message_id: str = Field(description="The `webhook-id` header of every attempt.")
    event: str
    url: str
    status: str = Field(description="pending, succeeded or failed.")
    attempts: list[DeliveryAttempt]
    next_attempt_at: str | None
    created_at: str
    finished_at: str | None


class DeliverySuccess(Success):
    data: DeliveryData


class DeliveryPage(Shape):
    deliveries: list[DeliveryData]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last.")


class DeliveryPageSuccess(Success):
    data: DeliveryPage


class UploadData(Shape):
    image_id: str
    image_url: str
    preview_url: str = Field(description="A WebP of it, at most 1600 pixels wide.")
    width: int = Field(description="Pixels, upright.")
    height: int = Field(description="Pixels, upright.")
    format: str
    bytes: int
    expires_at: str = Field(description="When the URL expires.")
    warnings: list[str] = Field(description="Which frames or pages of the file were not stored.")


class UploadSuccess(Success):
    data: UploadData


class DeletedImage(Shape):
    image_id: str
    deleted: bool


class DeletedImageSuccess(Success):
    data: DeletedImage


class Credits(Shape):
    available: int
    held: int = Field(description="Held for running calls.")
    renews_at: str | None = Field(description="When this period's credits expire and new ones are granted.")
    pack_credits: int = Field(
        description="The part of `available` from packs, which is spent after the month's own."
    )
    pack_credits_expire_at: str | None = Field(description="When the next of them expire; null without any.")


class UsageEntry(Shape):
    day: str = Field(description="2026-11-22, in UTC.")
    tool: str
    key_id: str | None = Field(description="null for the web editor.")
    calls: int = Field(description="Successful calls (2xx), including replays.")
    credits: int


class PlanLimits(Shape):
    concurrent_calls: int
    calls_per_minute: int


class KeyLimit(Shape):
    credits: int = Field(description="The most that the key may use in a calendar month, in UTC.")
    used: int = Field(description="Of this month, with the keys that it replaced; held ones too.")
    renews_at: str = Field(description="When the next month begins.")


class KeyData(Shape):
    key_id: str
    is_test: bool = Field(description="A sandbox key: its calls cost nothing, its results are marked.")
    tools: list[str] | None = Field(description="The tools that it may use; null: all.")
    expires_at: str | None
    monthly_limit: KeyLimit | None = Field(description="null: no limit of its own.")


class AccountState(Shape):
    email: str
    plan: str
    credits: Credits
    limits: PlanLimits


class AccountData(AccountState):
    key: KeyData = Field(description="The key of this request.")


class AccountSuccess(Success):
    data: AccountData


class UsageSuccess(Success):
    data: list[UsageEntry]


class Engines(Shape):
    installed: list[str] = Field(description="Checkpoints and algorithms that can be requested.")
    missing: list[str] = Field(description="Missing checkpoints and the commands that install them.")
    device: str
    seconds_per_megapixel: float | None = Field(description="Measured here; null before the first call.")
    defaults: dict[str, Any] = Field(description="Defaults that depend on the installed checkpoint.")

    @classmethod
    def of(cls, state: EngineState) -> "Engines":
        return cls(
            installed=list(state.installed),
            missing=list(state.missing),
            device=state.device,
            seconds_per_megapixel=state.seconds_per_megapixel,
            defaults=dict(state.defaults),
        )


class FileFieldData(Shape):
    name: str
    description: str
    id_field: str | None = Field(description="The field that takes the id of a stored image instead.")


class ToolEntry(Shape):
    """One tool of the catalogue. `parameters` is a JSON Schema of its form fields other than files."""

    name: str
    title: str
    summary: str
    path: str
    parameters: dict[str, Any]
    files: list[FileFieldData]
    engines: Engines

    @classmethod
    def of(cls, tool: Tool, backend: BackendState) -> "ToolEntry":
        states = {state.tool: state for state in backend.engines}
        state = states.get(tool.name) or EngineState(tool.name, (), (), backend.device, None)
        return cls(
            name=tool.name,
            title=tool.title,
            summary=tool.summary,
            path=f"/api/tools/{tool.name}",
            parameters=tool.params.model_json_schema(),
            files=[
                FileFieldData(name=field.name, description=field.description, id_field=field.id_field)
                for field in tool.files
            ],
            engines=Engines.of(state),
        )


class ToolsSuccess(Success):
    data: list[ToolEntry]


class Alive(Shape):
    status: str = Field(description="ok")


class AliveSuccess(Success):
    data: Alive


class QueueLength(Shape):
    waiting: int
    running: int


class EnginesOfTool(Engines):
    tool: str


class ReadyData(Shape):
    ready: bool
    database: str = Field(description="ok, read-only or unavailable.")
    storage: str = Field(description="ok or unavailable.")
    device: str
    workers: int
    queue: QueueLength
    engines: list[EnginesOfTool]


class ReadySuccess(Success):
    data: ReadyData


class NotReady(Failure):
    """A failure that says which parts are not ready."""

    data: ReadyData | None = Field(None, description="Absent if another error is answered.")


class ModelsOfTool(Shape):
    name: str
    title: str
    summary: str
    engines: Engines


class CatalogueData(Shape):
    """The tools and their engines, without the parameters."""

    tools: list[ModelsOfTool]

    @classmethod
    def of(cls, entries: Iterable[ToolEntry]) -> "CatalogueData":
        return cls(
            tools=[
                ModelsOfTool(name=each.name, title=each.title, summary=each.summary, engines=each.engines)
                for each in entries
            ]
        )
