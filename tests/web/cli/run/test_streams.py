"""Closed, full and broken standard streams end a run with one line, and cost no result."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli_runs import environment, make_pictures, small_picture, started, tree
from tests.support.ml.photos import open_bytes
from web.cli.run import streams
from web.cli.run.types import RunStopped


def shell(folder: Path, line: str) -> "subprocess.CompletedProcess[str]":
    """A line in which `run` is the command; the status is that of `run`."""
    function = f'run() {{ "{sys.executable}" -m web.cli run "$@"; }}; set -o pipefail; '
    return subprocess.run(
        ["bash", "-c", function + line],
        cwd=folder,
        env=environment(folder / ".data", {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("line", "status", "expected"),
    [
        ("run crop - <&-", 2, "stdin is closed."),
        ("run crop a.jpg -o - >&-", 2, "stdout is closed."),
        ("run crop - <a.jpg >/dev/full", 1, "stdout cannot be written: no space left on device."),
        (
            "run crop a.jpg -o b.png --json >/dev/full",
            1,
            "stdout cannot be written: no space left on device.",
        ),
    ],
)
def test_an_unusable_stream_is_one_line(tmp_path: Path, line: str, status: int, expected: str) -> None:
    (tmp_path / "a.jpg").write_bytes(small_picture(1))
    done = shell(tmp_path, line)
    assert (done.returncode, done.stderr) == (status, f"bgeraser run: {expected}\n")


def test_a_run_that_needs_no_stream_works_with_all_of_them_closed(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(small_picture(1))
    done = shell(tmp_path, "run crop a.jpg -o b.png <&- >&- 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert open_bytes((tmp_path / "b.png").read_bytes()).shape == (40, 60, 3)


def test_without_a_reader_of_its_lines_a_run_stops_and_keeps_whole_results(tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", 100)
    with started(tmp_path, "crop", "in", "-o", "out", "--json", "-p", "width=50%") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        stderr = process.stderr.read().decode()
        assert process.wait(timeout=60) == 1
    stopped, summary = stderr.splitlines()
    assert stopped == "bgeraser run: stdout cannot be written: broken pipe."
    results = tree(tmp_path / "out")
    assert summary.startswith(f"{len(results)} done in ")
    assert 1 <= len(results) < 100
    for name in results:
        assert open_bytes((tmp_path / "out" / name).read_bytes()).shape == (40, 30, 3)


def test_stdin_that_cannot_be_read_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.touch()
    with path.open() as opened, path.open("w") as written_only:
        os.dup2(written_only.fileno(), opened.fileno())
        monkeypatch.setattr(sys, "stdin", opened)
        with pytest.raises(RunStopped, match=r"^stdin cannot be read: bad file descriptor\.$"):
            streams.read_stdin(10)


def test_after_a_failed_write_nothing_is_left_to_fail_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(RunStopped):
            streams.write_stdout(b"line\n")
        streams.write_stdout(b"line\n")
