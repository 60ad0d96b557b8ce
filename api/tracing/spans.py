"""The spans of this process: their names, and what is said about each piece of work.

Attributes are ids, names that we have given, numbers and error codes. Nothing that a caller has written is
one: file names, prompts, keys, addresses and URLs, which are signed, never reach a collector.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, StatusCode

from api.errors import as_api_error, status_and_code
from ml.backend import ToolAnswer

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})
_BILLION = 1_000_000_000


class RequestSpan:
    """The span of a request, current from its beginning to `end`."""

    def __init__(self, span: Span, method: str) -> None:
        self._span = span
        self._method = method
        self._token = contexts.attach(trace.set_span_in_context(span))

    def end(self, route: str | None, status: int, error_code: str | None) -> None:
        """`route` is the declared path. `status` 0: the client disconnected before an answer."""
        span = self._span
        if route is not None:
            span.update_name(f"{self._method} {route}")
            span.set_attribute("http.route", route)
        if status:
            span.set_attribute("http.response.status_code", status)
        if error_code is not None:
            span.set_attribute("error.type", error_code)
        elif not status:
            span.set_attribute("error.type", "CLIENT_DISCONNECTED")
        if status >= 500:
            span.set_status(StatusCode.ERROR)
        contexts.detach(self._token)
        span.end()


class CallSpan:
    """The span of a tool's call."""

    def __init__(self, tracer: trace.Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span

    @property
    def is_open(self) -> bool:
        return self._span.is_recording()

    def ran(self, answer: ToolAnswer) -> None:
        """A worker has just sent `answer`; what it did becomes spans below this one."""
        span = self._span
        if not span.is_recording():
            return
        attributes: dict[str, str | int | None] = {
            "bgeraser.model": answer.model,
            "bgeraser.precision": answer.precision,
            "bgeraser.device": answer.device,
            "bgeraser.width": answer.width,
            "bgeraser.height": answer.height,
            "bgeraser.format": answer.format,
        }
        span.set_attributes({name: value for name, value in attributes.items() if value is not None})
        run_seconds = answer.processing_seconds - answer.decode_seconds - answer.encode_seconds
        stages = {
            "queue": answer.queue_seconds,
            "decode": answer.decode_seconds,
            "run": max(0.0, run_seconds),
            "encode": answer.encode_seconds,
        }
        parent = trace.set_span_in_context(span)
        began = time.time_ns() - _nanoseconds(sum(stages.values()))
        for stage, seconds in stages.items():
            ended = began + _nanoseconds(seconds)
            self._tracer.start_span(stage, parent, start_time=began).end(ended)
            began = ended

    def settled(self, credits_charged: int, *, is_replay: bool) -> None:
        self._span.set_attributes(
            {
                "bgeraser.credits_charged": credits_charged,
                "bgeraser.outcome": "replayed" if is_replay else "succeeded",
            }
        )

    def failed(self, error: BaseException) -> None:
        _say_error(self._span, error)
        self._span.set_attributes({"bgeraser.credits_charged": 0, "bgeraser.outcome": "failed"})


#: The call in whose context this is read.
_call: ContextVar[CallSpan | None] = ContextVar("call", default=None)


class DeliverySpan:
    """The span of an attempt at delivering a webhook."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def answered(self, status: int | None, problem: str | None) -> None:
        if status is not None:
            self._span.set_attribute("http.response.status_code", status)
        if problem is not None:
            self._span.set_attribute("error.type", problem)
            self._span.set_status(StatusCode.ERROR)


class Tracer:
    """Makes the spans of a process. Safe to use from several threads."""

    def __init__(self, provider: TracerProvider, close: Callable[[], None] = lambda: None) -> None:
        self._tracer = provider.get_tracer("bgeraser")
        self._close = close
        self._propagator = propagate.get_global_textmap()
        self._propagated = {name.encode() for name in self._propagator.fields}

    def close(self) -> None:
        """Send what is left, for some seconds at most."""
        self._close()

    def begin_request(
        self, method: str, headers: Iterable[tuple[bytes, bytes]], request_id: str
    ) -> RequestSpan:
        """The caller's trace goes on if `headers` name one."""
        method = method if method in _METHODS else "_OTHER"
        carrier = {
            name.decode(): value.decode("latin-1") for name, value in headers if name in self._propagated
        }
        span = self._tracer.start_span(
            method,
            self._propagator.extract(carrier, Context()),
            SpanKind.SERVER,
            {"http.request.method": method, "bgeraser.request_id": request_id},
        )
        return RequestSpan(span, method)

    def transaction(self, kind: str, seconds: float) -> None:
        """A transaction that has just ended, if it belongs to something that is traced."""
        if not trace.get_current_span().is_recording():
            return
        ended = time.time_ns()
        self._tracer.start_span(f"database {kind}", start_time=ended - _nanoseconds(seconds)).end(ended)

    def open_call(self) -> CallSpan | None:
        """The call that this is a part of."""
        found = _call.get()
        return found if found is not None and found.is_open else None

    @contextmanager
    def call(self, tool: str, priority: str, **attributes: Any) -> Iterator[CallSpan]:
        with self._current(f"call {tool}", tool=tool, priority=priority, **attributes) as span:
            call = CallSpan(self._tracer, span)
            token = _call.set(call)
            try:
                yield call
            finally:
                _call.reset(token)

    @contextmanager
    def job(self, tool: str, **attributes: Any) -> Iterator[None]:
        """One run of a job: a trace of its own, because the request for it was answered long ago."""
        with self._current(f"job {tool}", Context(), tool=tool, **attributes):
            yield

    def failed(self, error: BaseException) -> None:
        """What the current span is about failed."""
        _say_error(trace.get_current_span(), error)

    @contextmanager
    def webhook(self, event: str, delivery_id: str, attempt: int) -> Iterator[DeliverySpan]:
        """One attempt: a trace of its own too. The receiver, who is a stranger, gets no trace id."""
        with self._current(
            "webhook",
            Context(),
            SpanKind.CLIENT,
            event=event,
            delivery_id=delivery_id,
            attempt=attempt,
        ) as span:
            span.set_attribute("http.request.method", "POST")
            yield DeliverySpan(span)

    @contextmanager
    def _current(
        self,
        name: str,
        parent: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        **attributes: str | int | float | None,
    ) -> Iterator[Span]:
        # Exceptions are not recorded: their texts may repeat what a caller sent.
        with self._tracer.start_as_current_span(
            name,
            parent,
            kind,
            {f"bgeraser.{key}": value for key, value in attributes.items() if value is not None},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield span


def add_ids(_logger: Any, _method: str, event: Any) -> Any:
    """A processor of structlog: the ids of the current trace and span, by which lines are found."""
    current = trace.get_current_span().get_span_context()
    if current.is_valid:
        event["trace_id"] = trace.format_trace_id(current.trace_id)
        event["span_id"] = trace.format_span_id(current.span_id)
    return event


def _say_error(span: Span, error: BaseException) -> None:
    if isinstance(error, Exception):
        status, code = status_and_code(as_api_error(error))
    else:
        status, code = 503, "CANCELLED"
    span.set_attribute("error.type", code)
    if status >= 500:
        span.set_status(StatusCode.ERROR)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * _BILLION)
