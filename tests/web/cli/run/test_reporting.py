"""What is printed about a run, and what never reaches the terminal."""

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from web.cli.run.reporting import Report, printable
from web.cli.run.types import Outcome, PictureFailed, Status


def report_on(stream: io.StringIO, *, terminal: bool = False, as_json: bool = False) -> Report:
    console = Console(file=stream, force_terminal=terminal, highlight=False, width=60)
    return Report(console, as_json=as_json, lists_results=False)


def failed(name: str, message: str = "is not a picture") -> Outcome:
    return Outcome(Path(name), Status.FAILED, failure=PictureFailed("UNREADABLE_IMAGE", message))


def test_names_are_shown_without_bytes_that_control_the_terminal() -> None:
    assert printable(Path("Größe 1.jpg")) == "Größe 1.jpg"
    assert printable(Path(os.fsdecode(b"caf\xe9.jpg"))) == "caf\\xe9.jpg"
    assert printable(Path("a\x1b[2J\n.jpg")) == "a\\x1b[2J\\n.jpg"


def test_each_failure_is_one_line_however_long_it_is_and_whatever_is_in_it() -> None:
    stream = io.StringIO()
    report = report_on(stream)
    report.add(failed("[bold]a.jpg", "the server says:\n\x1b[31m[red]" + "x" * 200))
    (line,) = stream.getvalue().splitlines()
    assert line == "[bold]a.jpg: the server says:  [31m[red]" + "x" * 200


def test_the_summary_counts_outcomes_warnings_and_credits() -> None:
    stream = io.StringIO()
    report = report_on(stream)
    for number in range(3):
        data = {"warnings": ["It is small."] if number else [], "creditsCharged": number % 2}
        report.add(Outcome(Path("a.jpg"), Status.DONE, Path("a.png"), data))
    report.add(Outcome(Path("b.jpg"), Status.SKIPPED, Path("b.png")))
    report.add(failed("c.jpg"))
    report.summarize()
    lines = stream.getvalue().splitlines()
    assert lines[:2] == ["c.jpg: is not a picture", "Warning (2 pictures): It is small."]
    assert lines[2].startswith("3 done, 1 skipped, 1 failed in ")
    assert lines[2].endswith(" images/s), 1 credit")


def test_json_lines_go_to_stdout_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    report = report_on(io.StringIO(), as_json=True)
    report.add(Outcome(Path("a.jpg"), Status.DONE, Path("a.png"), {"width": 3}))
    report.add(failed(os.fsdecode(b"\xff.jpg")))
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"input": "a.jpg", "output": "a.png", "status": "done", "width": 3}
    assert second == {
        "input": "\\xff.jpg",
        "output": None,
        "status": "failed",
        "error": {"code": "UNREADABLE_IMAGE", "message": "is not a picture", "param": None},
    }


def test_a_terminal_has_a_progress_bar_and_a_pipe_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    for terminal in (True, False):
        stream = io.StringIO()
        report = report_on(stream, terminal=terminal, as_json=True)
        with report.progress(2):
            report.add(Outcome(Path("a.jpg"), Status.DONE, Path("a.png")))
            report.add(failed("b.jpg"))
        assert "b.jpg: is not a picture" in stream.getvalue()
        assert ("2/2" in stream.getvalue()) is terminal
        assert "images/s" in stream.getvalue() or not terminal
        # Not captured by the bar: it may be a file.
        assert len(capsys.readouterr().out.splitlines()) == 2
