"""The JSON shapes of batches."""

from pydantic import Field

from api.http.schemas import ErrorBody, Shape, Success


class BatchCounts(Shape):
    total: int
    queued: int
    running: int = Field(description="Those that have a step that waits for a worker or runs.")
    succeeded: int
    failed: int
    cancelled: int


class BatchData(Shape):
    batch_id: str
    status: str = Field(description="queued, running, paused, blocked, completed or cancelled.")
    is_test: bool = Field(description="Asked for with a test key.")
    steps: list[str] = Field(description="The tools, in order.")
    counts: BatchCounts = Field(description="Images by status.")
    retryable: int = Field(description="The failed images that `retry` would run again.")
    credits_charged: int = Field(description="One for each step that has succeeded.")
    status_url: str
    items_url: str
    results_url: str
    manifest_url: str
    created_at: str
    started_at: str | None
    finished_at: str | None
    expires_at: str = Field(description="When it is given up; once it has ended, when its results expire.")


class BatchSuccess(Success):
    data: BatchData


class BatchPage(Shape):
    batches: list[BatchData]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last.")


class BatchPageSuccess(Success):
    data: BatchPage


class BatchResult(Shape):
    image_id: str
    image_url: str
    width: int | None
    height: int | None
    format: str
    bytes: int
    expires_at: str


class BatchItemData(Shape):
    position: int = Field(description="From 1, in the order of the request.")
    name: str
    status: str = Field(description="queued, running, succeeded, failed or cancelled.")
    steps_done: int
    credits_charged: int
    result: BatchResult | None = Field(description="Of the last step; null until then.")
    error: ErrorBody | None = Field(description="Of a failed image: the `error` of the call.")


class BatchItemPage(Shape):
    items: list[BatchItemData]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last.")


class BatchItemPageSuccess(Success):
    data: BatchItemPage
