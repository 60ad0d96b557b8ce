"""Which responses count as endless event streams."""

import pytest

from api.http.streams import is_endless, mark_endless


@pytest.mark.parametrize(
    ("name", "value", "endless"),
    [
        (b"content-type", b"text/event-stream", True),
        (b"Content-Type", b"text/event-stream; charset=utf-8", True),
        (b"content-type", b"Text/Event-Stream", True),
        (b"content-type", b"application/json", False),
        (b"x-content-type", b"text/event-stream", False),
    ],
)
def test_only_event_streams_are_endless(name: bytes, value: bytes, endless: bool) -> None:
    scope = {"type": "http"}
    mark_endless(scope, {"type": "http.response.start", "headers": [(name, value)]})
    assert is_endless(scope) is endless


def test_a_response_without_headers_is_not_endless() -> None:
    scope = {"type": "http"}
    mark_endless(scope, {"type": "http.response.start"})
    assert not is_endless(scope)


def test_the_stream_of_an_agents_call_ends_with_its_answer() -> None:
    scope = {"type": "http", "path": "/mcp"}
    mark_endless(scope, {"type": "http.response.start", "headers": [(b"content-type", b"text/event-stream")]})
    assert not is_endless(scope)
