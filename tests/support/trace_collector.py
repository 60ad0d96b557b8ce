"""A collector of traces: a real HTTP server that reads OTLP with the protocol's own messages."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.support.waiting import wait_until


@dataclass(frozen=True)
class ReceivedSpan:
    name: str
    trace_id: str
    span_id: str
    #: Empty for the root of a trace.
    parent_id: str
    kind: str  # SERVER, CLIENT, INTERNAL
    attributes: dict[str, Any]
    is_error: bool
    #: Texts: of exceptions, in what was recorded of them, and of the status.
    texts: tuple[str, ...]
    began: int
    ended: int
    #: What the process says about itself.
    resource: dict[str, Any]
    #: The name of the library that made it.
    scope: str


class TraceCollector:
    """`bodies` are the requests as they came, and `spans` what is in them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.spans: list[ReceivedSpan] = []

    def receive(self, path: str, headers: dict[str, str], body: bytes) -> None:
        self.paths.append(path)
        self.headers.append(headers)
        self.bodies.append(body)
        self.spans.extend(_spans_of(ExportTraceServiceRequest.FromString(body)))

    def request_span(self, request_id: str) -> ReceivedSpan:
        """The span of the request that was answered with this `X-Request-Id`, once it has come."""
        return self.first(kind="SERVER", **{"bgeraser.request_id": request_id})

    def first(self, kind: str | None = None, name: str | None = None, **attributes: Any) -> ReceivedSpan:
        """The first such span, once it has come."""
        found: list[ReceivedSpan] = []

        def has_come() -> bool:
            found[:] = [
                span
                for span in list(self.spans)
                if kind in (None, span.kind)
                and name in (None, span.name)
                and attributes.items() <= span.attributes.items()
            ]
            return bool(found)

        wait_until(has_come)
        return found[0]

    def below(self, parent: ReceivedSpan) -> list[ReceivedSpan]:
        """The spans whose parent it is, by the time at which they began.

        Spans are sent in the order in which they end, so those of work that was awaited have come before.
        """
        found = [each for each in list(self.spans) if each.parent_id == parent.span_id]
        return sorted(found, key=lambda span: span.began)


@contextmanager
def running_collector() -> Iterator[TraceCollector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.receive(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Nothing to stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = TraceCollector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def _spans_of(request: ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    for resource_spans in request.resource_spans:
        resource = {each.key: _value(each.value) for each in resource_spans.resource.attributes}
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield ReceivedSpan(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    {each.key: _value(each.value) for each in span.attributes},
                    span.status.code == Status.STATUS_CODE_ERROR,
                    (*(str(event) for event in span.events), *filter(None, [span.status.message])),
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    resource,
                    scope_spans.scope.name,
                )


def _value(value: AnyValue) -> Any:
    return getattr(value, value.WhichOneof("value") or "string_value")
