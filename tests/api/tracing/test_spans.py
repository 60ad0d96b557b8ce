"""What a collector receives from a real server, and what it never does."""

import base64
import itertools
import json
import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from api.tracing.spans import Tracer
from billing.ledger.plans import PlanName
from tests.support.calling import code_of, crop, small_picture
from tests.support.job_calls import crop_later, ended_job, job_of
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import Customer, RunningServer, ServerFactory
from tests.support.trace_collector import ReceivedSpan, TraceCollector, running_collector

#: A call waits for less in tests than the five seconds that are the default.
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "50"}
FILE_NAME = "grandmother-on-the-beach.png"
PROMPT = "a lighthouse in the fog"
RECEIVER = "receiver-of-nobody.invalid"


@pytest.fixture(scope="module")
def collector() -> Iterator[TraceCollector]:
    with running_collector() as running:
        yield running


@pytest.fixture(scope="module")
def traced(
    collector: TraceCollector, tmp_path_factory: pytest.TempPathFactory, server_factory: ServerFactory
) -> Iterator[RunningServer]:
    settings = {
        **SOON,
        "BGERASER_OTLP_ENDPOINT": collector.url,
        "BGERASER_WORKERS": "1",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-collector-key=planted",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=tests",
        # What turns FastAPI's own traces on, which have paths and queries.
        "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
    }
    with server_factory(tmp_path_factory.mktemp("traced"), settings) as running:
        yield running


@pytest.fixture
def customer(traced: RunningServer) -> Customer:
    return traced.new_customer(PlanName.STANDARD)


def request_id_of(response: httpx.Response) -> str:
    return response.headers["x-request-id"]


def names_below(collector: TraceCollector, parent: ReceivedSpan) -> list[str]:
    return [span.name for span in collector.below(parent)]


def test_a_call_is_a_trace_from_the_request_to_its_encoding(
    traced: RunningServer, collector: TraceCollector, customer: Customer
) -> None:
    answer = crop(traced, customer)
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    request = collector.request_span(request_id_of(answer))
    assert (request.name, request.parent_id, request.is_error) == ("POST /api/tools/crop", "", False)
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/api/tools/crop",
        "http.response.status_code": 200,
        "bgeraser.request_id": request_id_of(answer),
    }
    (call,) = [span for span in collector.below(request) if span.name == "call crop"]
    assert call.attributes == {
        "bgeraser.tool": "crop",
        "bgeraser.priority": "paid",
        "bgeraser.request_id": request_id_of(answer),
        "bgeraser.device": data["device"],
        "bgeraser.width": 10,
        "bgeraser.height": 10,
        "bgeraser.format": "png",
        "bgeraser.credits_charged": 1,
        "bgeraser.outcome": "succeeded",
    }
    below = collector.below(call)
    stages = [span for span in below if not span.name.startswith("database")]
    assert [span.name for span in stages] == ["queue", "decode", "run", "encode"]
    assert all(earlier.ended == later.began for earlier, later in itertools.pairwise(stages))
    assert [span.name for span in below if span.name == "database write"] == ["database write"] * 2
    assert {span.trace_id for span in below} == {request.trace_id}
    assert (request.kind, call.kind) == ("SERVER", "INTERNAL")


def test_the_process_names_itself_and_the_collector_gets_its_headers(
    traced: RunningServer, collector: TraceCollector, customer: Customer
) -> None:
    span = collector.request_span(request_id_of(crop(traced, customer)))
    assert span.resource["service.name"] == "bgeraser"
    assert span.resource["service.version"]
    assert span.resource["deployment.environment.name"] == "tests"
    assert set(collector.paths) == {"/v1/traces"}
    assert {headers["x-collector-key"] for headers in collector.headers} == {"planted"}


def test_a_trace_of_the_caller_goes_on_and_its_id_is_in_the_log(
    traced: RunningServer, collector: TraceCollector, customer: Customer
) -> None:
    trace_id, parent_id = secrets.token_hex(16), secrets.token_hex(8)
    answer = crop(traced, customer, headers={"traceparent": f"00-{trace_id}-{parent_id}-01"})
    request = collector.request_span(request_id_of(answer))
    assert (request.trace_id, request.parent_id) == (trace_id, parent_id)
    (line,) = [
        line
        for line in map(_parsed, traced.log_text().splitlines())
        if line.get("event") == "request" and line["request_id"] == request_id_of(answer)
    ]
    assert (line["trace_id"], line["span_id"]) == (trace_id, request.span_id)


def test_a_caller_who_does_not_want_to_be_traced_is_not(
    traced: RunningServer, collector: TraceCollector, customer: Customer
) -> None:
    trace_id = secrets.token_hex(16)
    answer = crop(traced, customer, headers={"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-00"})
    assert answer.status_code == 200
    collector.request_span(request_id_of(crop(traced, customer)))
    assert trace_id not in {span.trace_id for span in collector.spans}


@pytest.mark.parametrize("header", ["00-0-0-00", "x" * 5000, "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_a_damaged_traceparent_begins_a_new_trace(
    traced: RunningServer, collector: TraceCollector, customer: Customer, header: str
) -> None:
    answer = crop(traced, customer, headers={"traceparent": header})
    assert answer.status_code == 200
    assert collector.request_span(request_id_of(answer)).parent_id == ""


def test_a_refused_call_says_why(traced: RunningServer, collector: TraceCollector) -> None:
    broke = traced.new_customer(credits=0)
    answer = crop(traced, broke)
    assert (answer.status_code, code_of(answer)) == (402, "INSUFFICIENT_CREDITS")
    request = collector.request_span(request_id_of(answer))
    assert request.attributes["http.response.status_code"] == 402
    assert request.attributes["error.type"] == "INSUFFICIENT_CREDITS"
    (call,) = [span for span in collector.below(request) if span.name == "call crop"]
    assert call.attributes == {
        "bgeraser.tool": "crop",
        "bgeraser.priority": "free",
        "bgeraser.request_id": request_id_of(answer),
        "bgeraser.credits_charged": 0,
        "bgeraser.outcome": "failed",
        "error.type": "INSUFFICIENT_CREDITS",
    }
    # The caller's error, not the server's.
    assert not request.is_error
    assert not call.is_error


def test_a_failed_call_has_the_error_that_its_worker_found(
    traced: RunningServer, collector: TraceCollector, customer: Customer
) -> None:
    answer = crop(traced, customer, small_picture()[:100])
    assert (answer.status_code, code_of(answer)) == (422, "UNREADABLE_IMAGE")
    request = collector.request_span(request_id_of(answer))
    (call,) = [span for span in collector.below(request) if span.name == "call crop"]
    assert call.attributes["error.type"] == request.attributes["error.type"] == "UNREADABLE_IMAGE"
    assert "queue" not in names_below(collector, call)


def test_a_replay_is_named_and_costs_nothing(
    traced: RunningServer, collector: TraceCollector, customer: Customer
) -> None:
    picture = small_picture()
    crop(traced, customer, picture)
    request = collector.request_span(request_id_of(crop(traced, customer, picture)))
    (call,) = [span for span in collector.below(request) if span.name == "call crop"]
    assert call.attributes["bgeraser.outcome"] == "replayed"
    assert call.attributes["bgeraser.credits_charged"] == 0


def test_a_request_for_nothing_is_named_without_its_path(
    traced: RunningServer, collector: TraceCollector
) -> None:
    for method, named in (("GET", "GET"), ("PROPFIND", "_OTHER")):
        with traced.client() as client:
            answer = client.request(method, "/api/planted-path/1?planted-query=2")
        request = collector.request_span(request_id_of(answer))
        assert request.name == named
        assert "http.route" not in request.attributes
    assert not any(b"planted-path" in body or b"PROPFIND" in body for body in collector.bodies)


def test_a_job_has_a_trace_of_its_own_with_the_id_of_its_request(
    traced: RunningServer, collector: TraceCollector, customer: Customer
) -> None:
    accepted = crop_later(traced, customer)
    job_id = job_of(accepted)
    assert ended_job(traced, customer, job_id)["status"] == "succeeded"
    job = collector.first(**{"bgeraser.job_id": job_id})
    assert (job.name, job.parent_id) == ("job crop", "")
    assert job.attributes["bgeraser.request_id"] == request_id_of(accepted)
    assert job.attributes["bgeraser.run"] == 1
    assert "bgeraser.batch_id" not in job.attributes
    (call,) = [span for span in collector.below(job) if span.name == "call crop"]
    assert call.attributes["bgeraser.credits_charged"] == 1
    assert set(names_below(collector, call)) >= {"queue", "decode", "run", "encode", "database write"}
    request = collector.request_span(request_id_of(accepted))
    assert request.attributes["http.response.status_code"] == 202
    assert request.trace_id != job.trace_id


def test_a_failed_job_says_why(traced: RunningServer, collector: TraceCollector, customer: Customer) -> None:
    job_id = job_of(crop_later(traced, customer, x="0", width="10", height="90000"))
    assert ended_job(traced, customer, job_id)["status"] == "failed"
    job = collector.first(**{"bgeraser.job_id": job_id})
    (call,) = [span for span in collector.below(job) if span.name == "call crop"]
    assert job.attributes["error.type"] == call.attributes["error.type"] == "INVALID_PARAMETER"
    assert not job.is_error


@pytest.mark.parametrize(
    ("status", "problem", "said"),
    [
        (200, None, {"http.response.status_code": 200}),
        (500, "ERROR_STATUS", {"http.response.status_code": 500, "error.type": "ERROR_STATUS"}),
        (None, "TIMED_OUT", {"error.type": "TIMED_OUT"}),
    ],
)
def test_an_attempt_at_a_webhook_has_its_outcome(
    status: int | None, problem: str | None, said: dict[str, Any]
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with Tracer(provider).webhook("job.failed", "dlv_1", 2) as span:
        span.answered(status, problem)
    (made,) = exporter.get_finished_spans()
    assert made.attributes == {
        "bgeraser.event": "job.failed",
        "bgeraser.delivery_id": "dlv_1",
        "bgeraser.attempt": 2,
        "http.request.method": "POST",
        **said,
    }
    assert made.status.is_ok == (problem is None)


def test_the_items_of_a_batch_name_it(
    traced: RunningServer, collector: TraceCollector, customer: Customer
) -> None:
    with traced.client(customer) as client:
        answer = client.post(
            "/api/batches",
            files=[("images", (FILE_NAME, small_picture(), "image/png")) for _ in range(2)],
            data={"tool": "crop", "width": "5"},
        )
    assert answer.status_code == 202, answer.text
    batch_id = answer.json()["data"]["batchId"]
    job = collector.first(name="job crop", **{"bgeraser.batch_id": batch_id})
    assert job.attributes["bgeraser.batch_item_id"]


def test_a_call_of_an_agent_is_below_its_message(
    traced: RunningServer, collector: TraceCollector, customer: Customer
) -> None:
    arguments = {"image": {"base64": base64.b64encode(small_picture()).decode()}, "width": 10, "height": 10}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    with traced.client(customer) as client:
        answer = client.post(
            "/mcp",
            headers={"Accept": "application/json, text/event-stream"},
            json={**message, "params": {"name": "crop", "arguments": arguments}},
        )
    assert answer.status_code == 200, answer.text
    request = collector.request_span(request_id_of(answer))
    call = next(span for span in collector.below(request) if span.name == "call crop")
    assert call.attributes["bgeraser.outcome"] == "succeeded"


def test_work_on_an_upload_is_a_call_that_is_not_charged(
    traced: RunningServer, collector: TraceCollector, customer: Customer
) -> None:
    without_end = jpeg_bytes(photo("chelsea"))[:-2]  # only a worker can repair it
    with traced.client(customer) as client:
        stored = client.post("/api/images", files={"image": (FILE_NAME, without_end, "image/jpeg")})
    assert stored.status_code in (200, 201), stored.text
    request = collector.request_span(request_id_of(stored))
    (call,) = [span for span in collector.below(request) if span.name.startswith("call ")]
    assert call.attributes["bgeraser.credits_charged"] == 0
    assert [name for name in names_below(collector, call) if "database" not in name] == [
        "queue",
        "decode",
        "run",
        "encode",
    ]


def test_nothing_that_a_caller_wrote_reaches_the_collector(
    traced: RunningServer, collector: TraceCollector, customer: Customer
) -> None:
    callback = f"https://{RECEIVER}/hook?token=planted-token"
    with traced.client(customer) as client:
        image = {"image": (FILE_NAME, small_picture(), "image/png")}
        called = client.post("/api/tools/crop", files=image, data={"width": "7"})
        failed = client.post("/api/tools/crop", files=image, data={"x": "0", "width": "9", "height": "90000"})
        refused = client.post(
            "/api/tools/generative-fill", files=image, data={"prompt": PROMPT, "surplus": "planted-value"}
        )
        accepted = client.post(
            "/api/tools/crop",
            files={"image": (FILE_NAME, small_picture(), "image/png")},
            data={"width": "8", "callback_url": callback},
            headers={"Prefer": "respond-async", "User-Agent": "planted-agent"},
        )
        image_url = called.json()["data"]["imageUrl"]
        assert client.get(image_url).status_code == 200
        damaged = client.get(image_url + "tampered")
        page = client.get("/app/planted?token=planted")
        signing_up = client.post("/signup", data={"email": "planted@example.org", "password": "planted-pw"})
    statuses = [response.status_code for response in (called, failed, refused, accepted)]
    assert statuses == [200, 422, 422, 202]
    webhook = collector.first(name="webhook", **{"bgeraser.event": "job.succeeded"})
    assert (webhook.kind, webhook.parent_id) == ("CLIENT", "")
    assert webhook.attributes["error.type"] == "HOST_REFUSED"
    assert webhook.attributes["bgeraser.attempt"] == 1
    for response in (called, failed, refused, accepted, damaged, page, signing_up):
        collector.request_span(request_id_of(response))
    image_id = called.json()["data"]["imageId"]
    signature = httpx.URL(image_url).params["sig"]
    content = b"".join(collector.bodies)
    assert request_id_of(called).encode() in content
    # The text of an exception may repeat what a caller sent.
    assert [span.name for span in collector.spans if span.texts] == []
    # No library sends spans of its own.
    assert {span.scope for span in collector.spans} == {"bgeraser"}
    for secret in (
        customer.key,
        customer.key[:16],
        customer.email,
        customer.account_id,
        FILE_NAME,
        PROMPT,
        RECEIVER,
        image_id,
        signature,
        "sig=",
        "planted",
        "127.0.0.1",
        "python-httpx",
    ):
        assert secret.encode() not in content, secret


def _parsed(line: str) -> dict[str, Any]:
    try:
        parsed: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return parsed
