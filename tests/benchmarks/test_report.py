"""Benchmarks say what they ran on, compare what is comparable, and write what they print."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from ml.device import CpuLimit
from tests.benchmarks import __main__ as bench
from tests.benchmarks import load, machine, page, photos, processes
from tests.benchmarks.machine import Machine, ProcessorClass
from tests.benchmarks.report import Report, Row
from tests.support.ml.photos import png_bytes

IDLE = Machine(
    processor="Example 9000",
    cores=2,
    features=("AVX-512 VNNI", "AVX2"),
    limit=None,
    memory_gib=8.0,
    load=0.1,
    busy_percent=1.0,
    versions={"openvino": "1.2.3"},
)


def measured(on: Machine = IDLE, *, quick: bool = False) -> Report:
    report = Report(on, quick=quick)
    section = report.section("Cut-out", "on the same weights", "rembg s")
    section.add("1 MP, 4 callers", "images/s", 1.5, peer=0.5, floor=2.0)
    section.add("1 MP, p95", "s", 2.0, peer=5.0, floor=1.0, at_most=1.2)
    section.note("The network computed in int8.")
    report.section("Pages", "in a browser").add("editor, usable after", "s", 0.25)
    return report


def test_rates_are_better_if_higher_and_seconds_if_lower() -> None:
    rate = Row("", "images/s", 1.5, peer=0.5, floor=2.0)
    seconds = Row("", "s", 2.0, peer=5.0, floor=1.0)
    assert (rate.times_better, rate.share_of_floor) == (3.0, 0.75)
    assert (seconds.times_better, seconds.share_of_floor) == (2.5, 0.5)
    assert Row("", "s", 2.0).times_better is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.01234, "0.0123"), (1.5, "1.50"), (99.96, "100"), (1234.5, "1,230"), (12, "12"), (0.0, "0")],
)
def test_figures_have_three_digits(value: float, shown: str) -> None:
    assert Row("", "s", value).cells()[2] == shown


def test_a_report_prints_and_writes_each_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = measured()
    report.fail("diffusion", "no memory")
    printed = capsys.readouterr().out
    markdown, data = report.write(tmp_path)
    written = markdown.read_text()
    for figure in ("2.00 (above 1.20)", "Example 9000", "AVX-512 VNNI", "openvino 1.2.3", "computed in int8"):
        assert figure in printed
        assert figure in written
    assert "| 1 MP, 4 callers | images/s | 1.50 | 0.500 | 3.0 | 2.00 | 75 % |" in written.splitlines()
    assert "| editor, usable after | s | 0.250 |" in written.splitlines()
    read = json.loads(data.read_text())
    assert read["machine"]["features"] == ["AVX-512 VNNI", "AVX2"]
    assert read["sections"][0]["rows"][0]["peer"] == 0.5
    assert read["failures"] == {"diffusion": "no memory"}


def test_the_page_gets_the_table_of_this_class_of_processor_only(tmp_path: Path) -> None:
    copy = tmp_path / "performance.md"
    copy.write_text(page.PAGE.read_text())
    page.write_class(measured(), copy)
    before, after = (_parts(one.read_text()) for one in (page.PAGE, copy))
    assert {name for name in before if before[name] != after[name]} == {"vnni"}
    row = "| Cut-out: 1 MP, 4 callers | images/s | 1.50 | 0.500 (rembg s) | 3.0 | 2.00 | 75 % |"
    assert row in after["vnni"].splitlines()
    page.write_class(measured(), copy)
    assert _parts(copy.read_text()) == after


def test_rows_that_were_not_measured_again_stay_on_the_page(tmp_path: Path) -> None:
    copy = tmp_path / "performance.md"
    copy.write_text(page.PAGE.read_text())
    page.write_class(measured(), copy)
    first = _parts(copy.read_text())["vnni"].splitlines()
    other = Report(measured().machine, quick=False)
    other.section("Other", "something else", None).add("rate", "s", 1.0)
    page.write_class(other, copy)
    second = _parts(copy.read_text())["vnni"].splitlines()
    assert [line for line in first if line not in second] == []
    assert "| Other: rate | s | 1.00 |  |  |  |  |" in second


def _parts(text: str) -> dict[str, str]:
    """What is between the marks of each class, and all that is outside of them."""
    pattern = r"<!-- (\w+): written by make bench -->\n(.*?)<!-- end -->\n"
    return {
        **dict(re.findall(pattern, text, flags=re.DOTALL)),
        "": re.sub(pattern, "", text, flags=re.DOTALL),
    }


def test_the_page_has_one_table_for_each_class() -> None:
    assert set(_parts(page.PAGE.read_text())) == {*get_args(ProcessorClass), ""}


def test_the_page_is_not_written_by_runs_that_say_nothing_about_a_class(tmp_path: Path) -> None:
    for report in (measured(quick=True), measured(replace(IDLE, features=()))):
        with pytest.raises(page.NotForThePage):
            page.write_class(report, tmp_path / "missing.md")


@pytest.mark.parametrize(
    ("flags", "limit", "expected"),
    [
        ("avx2 fma", None, "avx2"),
        ("avx2 avx_vnni", None, "vnni"),
        ("avx2 avx512f avx512_vnni", None, "vnni"),
        ("avx2 avx512f avx512_vnni avx512_bf16", None, "bf16"),
        ("avx2 avx512_vnni avx512_bf16 amx_bf16 amx_int8 amx_tile", None, "amx"),
        ("avx2 avx512_vnni avx512_bf16 amx_bf16 amx_int8 amx_tile", "vnni", "vnni"),
        ("avx2 fma", "bf16", "avx2"),
        ("sse4_2", None, None),
    ],
)
def test_the_class_is_that_of_the_processor_under_the_limit(
    flags: str, limit: CpuLimit | None, expected: str | None
) -> None:
    features = machine.features_of(frozenset(flags.split()))
    assert replace(IDLE, features=features, limit=limit).processor_class == expected


def test_a_busy_machine_and_a_limit_are_stated() -> None:
    assert not any("Warning" in line for line in IDLE.lines())
    for busy in (replace(IDLE, load=2.0), replace(IDLE, busy_percent=60.0)):
        assert "Warning: the machine was not idle" in "\n".join(busy.lines())
    assert "peers' libraries do not obey it" in "\n".join(replace(IDLE, limit="avx2").lines())


def test_this_machine_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BGERASER_CPU_LIMIT", "avx2")
    here = machine.describe()
    assert here.processor
    assert here.limit == "avx2"
    assert {"bgeraser", "Python", "openvino"} <= here.versions.keys()
    monkeypatch.setenv("BGERASER_CPU_LIMIT", "avx3")
    with pytest.raises(ValueError, match="avx2, vnni, bf16"):
        machine.cpu_limit()


def test_a_failing_benchmark_is_reported_and_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(report: Report) -> None:
        report.section("Selection", "").add("first click", "s", 0.5)
        raise RuntimeError("no network")

    monkeypatch.setattr("tests.benchmarks.selecting.main", main)
    report = Report(IDLE)
    bench.run("selecting", report)
    assert report.failures == {"selecting": "RuntimeError: no network"}
    assert report.sections[0].rows[0].ours == 0.5


def test_works_take_turns_and_their_calls_are_counted_together() -> None:
    done: list[str] = []

    def two_calls(name: str) -> load.Measured:
        return load.run(lambda _: done.append(name), callers=2, calls=2)

    results = load.in_turns({name: partial(two_calls, name) for name in "AB"}, 2)
    assert done == ["A", "A", "B", "B"] * 2
    both = load.merged(results["A"])
    assert len(both.seconds) == 4
    assert both.took_seconds == sum(one.took_seconds for one in results["A"])


def test_a_failed_call_fails_the_load() -> None:
    def call(number: int) -> None:
        assert number != 3, "refused"

    with pytest.raises(AssertionError, match="refused"):
        load.run(call, callers=2, calls=10)


def test_cutouts_are_compared_by_their_objects() -> None:
    cutout = np.zeros((40, 40, 4), np.uint8)
    cutout[:20, :, 3] = 255
    half = cutout.copy()
    half[:10, :, 3] = 0
    assert photos.iou(png_bytes(cutout), png_bytes(cutout)) == 1.0
    assert photos.iou(png_bytes(cutout), png_bytes(half)) == pytest.approx(0.5)
    assert photos.iou(png_bytes(cutout), png_bytes(cutout[:, :20])) == 0.0


def test_memory_includes_that_of_child_processes() -> None:
    held = "import sys; held = bytearray(b'x') * (64 << 20); print(len(held), flush=True); sys.stdin.read()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {held!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        with processes.watched(process.pid) as peak:
            now = processes.pss_mib(process.pid)
        process.stdin.close()
    assert now > 64
    assert peak.mib > 64
