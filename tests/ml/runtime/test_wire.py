"""Frames between the server and its workers."""

import socket
import threading
from collections.abc import Iterator

import pytest

from ml.runtime import wire
from ml.runtime.wire import Wire, WireBroken


@pytest.fixture
def ends() -> Iterator[tuple[Wire, Wire]]:
    ours, theirs = (Wire(end) for end in socket.socketpair())
    yield ours, theirs
    ours.close()
    theirs.close()


def test_large_frames_are_exchanged_while_both_sides_write(ends: tuple[Wire, Wire]) -> None:
    ours, theirs = ends
    pictures = [bytes(30 << 20), b"", b"x" * (5 << 20)]
    sender = threading.Thread(target=ours.send, args=(b"there", pictures))
    answerer = threading.Thread(target=theirs.send, args=(b"back", [b"y" * (9 << 20)]))
    sender.start()
    answerer.start()
    assert theirs.receive() == (b"there", pictures)
    assert ours.receive() == (b"back", [b"y" * (9 << 20)])
    sender.join()
    answerer.join()


def test_a_closed_peer_is_reported_when_reading_and_writing(ends: tuple[Wire, Wire]) -> None:
    ours, theirs = ends
    theirs.close()
    with pytest.raises(WireBroken):
        ours.receive()
    with pytest.raises(WireBroken):
        ours.send(b"x", [bytes(1 << 20)])


def test_a_peer_stuck_inside_a_frame_times_out(
    ends: tuple[Wire, Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "STALL_SECONDS", 0.05)
    ours, theirs = ends
    with pytest.raises(WireBroken, match=r"stall|writing failed"):
        ours.send(b"x", [bytes(8 << 20)])  # not read
    with pytest.raises(WireBroken, match=r"stall|writing failed"):
        theirs.receive()  # begun, never ended


def test_bytes_and_numbers_of_a_tool_reach_the_server() -> None:
    import numpy as np

    message = {
        "score": np.float32(0.5),
        "masks": [b"\x00\xff", memoryview(b"ab")],
        "bbox": np.arange(4),
        "seed": 7,
    }
    body, payloads = wire.dump_for_server(message)
    assert wire.load_in_server(body, payloads) == {
        "score": 0.5,
        "masks": [b"\x00\xff", b"ab"],
        "bbox": [0, 1, 2, 3],
        "seed": 7,
    }


@pytest.mark.parametrize(
    "body", [b"", b"\x80\x04K\x01.", b"[1]", b'{"$payload": 3}', b"[" * 100_000, b'{"a": {"$payload": "x"}}']
)
def test_a_malformed_message_is_refused(body: bytes) -> None:
    with pytest.raises(WireBroken):
        wire.load_in_server(body, [b"one"])


def test_a_pickle_from_a_worker_is_never_loaded() -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return pytest.fail, ("it was unpickled",)

    with pytest.raises(WireBroken):
        wire.load_in_server(wire.dump_for_worker(Evil()), [])
