"""Downloads from a real server that disconnects, sends wrong bytes or does not support ranges."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ml.checkpoints import registry
from ml.checkpoints.fetching import downloads, pull
from ml.checkpoints.fetching.downloads import Patience
from ml.checkpoints.registry import CHECKPOINTS, Checkpoint, State
from ml.checkpoints.types import SourceFailed, UrlSource
from tests.support.ml.package_sources import RecordedProgress, make_checkpoint, member

WEIGHTS = bytes(range(256)) * 8000
HALF = len(WEIGHTS) // 2


@dataclass
class Server:
    """Serves `content` at every path. `break_off_after` bytes of it, the connection is cut, once."""

    content: bytes = WEIGHTS
    break_off_after: int | None = None
    knows_ranges: bool = True
    status: int | None = None
    ranges: list[str | None] = field(default_factory=list)  # as asked for
    paths: list[str] = field(default_factory=list)
    address: str = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = request.headers["Range"]
        self.ranges.append(asked)
        self.paths.append(request.path)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.knows_ranges else 0
        if self.status is not None:
            request.send_error(self.status)
            return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        request.send_header("Content-Length", str(len(self.content) - start))
        request.end_headers()
        if self.break_off_after is not None:
            request.wfile.write(self.content[start : self.break_off_after])
            self.break_off_after = None
            request.close_connection = True
            return
        request.wfile.write(self.content[start:])


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        server.address = f"http://127.0.0.1:{listening.server_port}/w.onnx"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()


def _checkpoint(server: Server) -> Checkpoint:
    return make_checkpoint("w", {"w.onnx": WEIGHTS}, UrlSource("a test", member("w.onnx", server.address)))


def test_a_download_is_verified_and_its_bytes_are_reported(tmp_path: Path) -> None:
    with serving(Server()) as server:
        recorded = RecordedProgress()
        [pulled] = pull.pull(tmp_path, [_checkpoint(server)], recorded)
    assert pulled.state is State.INSTALLED, pulled.problems
    assert (tmp_path / "w.onnx").read_bytes() == WEIGHTS
    assert recorded.bytes_seen == sorted(recorded.bytes_seen)
    assert recorded.bytes_seen[-1] == len(WEIGHTS)


def test_an_interrupted_download_is_resumed(tmp_path: Path) -> None:
    with serving(Server(break_off_after=HALF)) as server:
        [broken] = pull.pull(tmp_path, [_checkpoint(server)], RecordedProgress())
        assert broken.state is State.MISSING
        assert "run the command again to resume" in broken.problems[0]
        assert not (tmp_path / "w.onnx").exists()
        [pulled] = pull.pull(tmp_path, [_checkpoint(server)], RecordedProgress())
    assert pulled.state is State.INSTALLED, pulled.problems
    assert server.ranges == [None, f"bytes={HALF}-"]
    assert (tmp_path / "w.onnx").read_bytes() == WEIGHTS
    assert not (tmp_path / ".w.onnx.part").exists()


def test_a_download_restarts_if_the_server_does_not_support_ranges(tmp_path: Path) -> None:
    with serving(Server(break_off_after=HALF, knows_ranges=False)) as server:
        pull.pull(tmp_path, [_checkpoint(server)], RecordedProgress())
        [pulled] = pull.pull(tmp_path, [_checkpoint(server)], RecordedProgress())
    assert pulled.state is State.INSTALLED, pulled.problems
    assert (tmp_path / "w.onnx").read_bytes() == WEIGHTS


def test_a_download_with_a_wrong_hash_is_deleted(tmp_path: Path) -> None:
    with serving(Server(content=WEIGHTS[::-1])) as server:
        [refused] = pull.pull(tmp_path, [_checkpoint(server)], RecordedProgress())
        assert "not the pinned file" in refused.problems[0]
        assert not list(tmp_path.glob("*.onnx"))
        assert not list(tmp_path.glob(".*.part"))
        server.content = WEIGHTS
        [pulled] = pull.pull(tmp_path, [_checkpoint(server)], RecordedProgress())
    assert pulled.state is State.INSTALLED
    assert server.ranges == [None, None]


def test_a_download_larger_than_declared_is_aborted(tmp_path: Path) -> None:
    with serving(Server(content=WEIGHTS * 2)) as server:
        [refused] = pull.pull(tmp_path, [_checkpoint(server)], RecordedProgress())
    assert "more than" in refused.problems[0]
    assert not (tmp_path / "w.onnx").exists()


def test_a_refused_download_reports_the_status(tmp_path: Path) -> None:
    with serving(Server(status=404)) as server:
        [refused] = pull.pull(tmp_path, [_checkpoint(server)], RecordedProgress())
    assert refused.problems == ("a test: the server answers 404",)


def test_an_unreachable_server_is_reported(tmp_path: Path) -> None:
    with serving(Server()) as server:
        checkpoint = _checkpoint(server)
    [refused] = pull.pull(tmp_path, [checkpoint], RecordedProgress())
    assert refused.problems == ("a test: no connection",)
    assert registry.state(tmp_path, checkpoint) is State.MISSING


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (
            "migan",
            "/andraniksargsyan/migan/resolve/1538c135034b8cfe7a8472f34d09c8a5a45b17a7/migan_pipeline_v2.onnx",
        ),
        (
            "lama",
            "/opencv/inpainting_lama/resolve/aee6d22f0a13e5e35af1c9a1c3afd62841fc6f3f/"
            "inpainting_lama_2025jan.onnx",
        ),
    ],
)
def test_the_erasing_networks_come_from_the_hubs_mirror_at_their_revision_and_are_verified(
    name: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the real files' way but their bytes: these have the right number and are refused."""
    [file] = CHECKPOINTS[name].files
    with serving(Server(content=bytes(file.size_bytes))) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address.removesuffix("/w.onnx"))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        [refused] = pull.pull(tmp_path, [CHECKPOINTS[name]], RecordedProgress())
    assert server.paths == [path]
    assert "is not the pinned file (its SHA-256 differs)" in refused.problems[0]
    assert registry.state(tmp_path, CHECKPOINTS[name]) is State.MISSING


def test_a_download_that_takes_too_long_is_given_up_and_resumed_next_time(tmp_path: Path) -> None:
    target = tmp_path / "part"
    times = iter([0.0, 2.0])
    with serving(Server()) as server:
        with pytest.raises(SourceFailed, match="takes more than 1 s"):
            downloads.download(
                server.address,
                target,
                len(WEIGHTS),
                lambda _: None,
                Patience(total_seconds=1.0),
                clock=lambda: next(times),
            )
        kept = target.stat().st_size
        assert 0 < kept < len(WEIGHTS)
        downloads.download(server.address, target, len(WEIGHTS), lambda _: None)
    assert server.ranges == [None, f"bytes={kept}-"]
    assert target.read_bytes() == WEIGHTS
