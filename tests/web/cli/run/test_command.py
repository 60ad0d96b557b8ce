"""`bgeraser run` as a user runs it: its files, its lines and its exit status."""

import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from typer.testing import CliRunner

from tests.support.cli_runs import lines, make_pictures, run, small_picture, started, tree
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo, png_bytes
from tests.support.waiting import wait_until
from web.cli import main
from web.cli.run.watching import POLL_SECONDS

HALF = ("-p", "width=50%")


def test_a_folder_is_processed_with_its_structure_and_one_line_a_failure(tmp_path: Path) -> None:
    make_pictures(tmp_path / "in/2024", 2)
    picture = small_picture(9)
    (tmp_path / "in/a.jpg").write_bytes(picture)
    (tmp_path / "in/a.png").write_bytes(png_bytes(photo("coffee")[:20, :20]))
    (tmp_path / "in/no-picture.jpg").write_text("not a picture")
    (tmp_path / "in" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(picture)
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    # The output folder is inside the input folder.
    for attempt in range(2):
        done = run(tmp_path, "crop", "in", "typo.jpg", "--out", "in/cut", *HALF)
        assert done.returncode == 1
        assert done.stdout == b""
        typo, text, summary = done.stderr.decode().splitlines()
        assert typo == "typo.jpg: no such file or directory"
        assert text.startswith("in/no-picture.jpg: Not a JPEG")
        assert summary.startswith("5 done, 2 failed in ")
        names = {"a.jpg.jpg", "a.png.png", os.fsdecode(b"caf\xe9.jpg"), "2024/p000.jpg", "2024/p001.jpg"}
        assert set(tree(tmp_path / "in/cut")) == names, attempt
    assert open_bytes((tmp_path / "in/cut/2024/p000.jpg").read_bytes()).shape == (40, 30, 3)
    assert (tmp_path / "in/a.jpg").read_bytes() == picture
    skipping = run(tmp_path, "crop", "in", "-o", "in/cut", "--skip-existing", "--json", *HALF)
    statuses = {line["input"]: line["status"] for line in lines(skipping)}
    assert statuses == {
        "in/2024/p000.jpg": "skipped",
        "in/2024/p001.jpg": "skipped",
        "in/a.jpg": "skipped",
        "in/a.png": "skipped",
        "in/caf\\xe9.jpg": "skipped",
        "in/no-picture.jpg": "failed",
    }


def test_real_models_cut_out_the_same_as_the_worker_of_a_server(tmp_path: Path) -> None:
    (tmp_path / "astronaut.jpg").write_bytes(jpeg_bytes(photo("astronaut")[:256, :256]))
    done = run(
        tmp_path, "bg-removal", "astronaut.jpg", "--json", "-p", "bg_color=#00ff00", "-p", "format=png"
    )
    assert done.returncode == 0, done.stderr
    (line,) = lines(done)
    assert (line["status"], line["output"]) == ("done", "bg-removal/astronaut.png")
    assert line["model"] == "isnet-general-use"
    assert line["foreground"]["height"] > 150
    result = open_bytes((tmp_path / line["output"]).read_bytes())
    assert result.shape == (256, 256, 3)
    assert tuple(result[2, 2]) == (0, 255, 0)
    assert line["bytes"] == (tmp_path / line["output"]).stat().st_size


def test_stdin_goes_to_stdout(tmp_path: Path) -> None:
    done = run(tmp_path, "crop", "-", *HALF, sent=small_picture(1))
    assert (done.returncode, done.stderr) == (0, b"")
    assert open_bytes(done.stdout).shape == (40, 30, 3)
    failed = run(tmp_path, "crop", "-", *HALF, sent=b"text")
    assert (failed.returncode, failed.stdout) == (1, b"")
    assert failed.stderr.startswith(b"stdin: Not a ")
    assert failed.stderr.count(b"\n") == 1
    empty = run(tmp_path, "crop", "-", *HALF)
    assert (empty.returncode, empty.stdout, empty.stderr) == (1, b"", b"stdin: is empty\n")


def test_waiting_for_stdin_can_be_interrupted(tmp_path: Path) -> None:
    with started(tmp_path, "crop", "-") as process:
        assert process.stdin is not None
        process.stdin.write(b"\xff\xd8")
        process.stdin.flush()
        # When it reads, its own modules are loaded: it is not the interpreter that is interrupted.
        pipe = process.stdin.fileno()
        wait_until(lambda: _unread_bytes(pipe) == 0)
        # A signal just before the next read is noticed only after it: users press the keys again.
        wait_until(lambda: _interrupted(process))
        assert process.returncode == 130


def _interrupted(process: "subprocess.Popen[bytes]") -> bool:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return False
    return True


def _unread_bytes(pipe: int) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4), sys.byteorder)


def test_warnings_of_one_picture_are_shown(tmp_path: Path) -> None:
    transparent = np.zeros((20, 20, 4), np.uint8)
    transparent[5:15, 5:15] = 255
    (tmp_path / "a.png").write_bytes(png_bytes(transparent))
    done = run(tmp_path, "crop", "a.png", "-o", "a.jpg")
    assert done.returncode == 0
    assert done.stderr.startswith(b"Warning (1 picture): JPEG does not support transparency")


def test_one_picture_may_have_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "-a.jpg").write_bytes(small_picture(1))
    done = run(tmp_path, "crop", "--out", "new/half.webp", *HALF, "--", "-a.jpg")
    assert (done.returncode, tree(tmp_path / "new")) == (0, ["half.webp"])
    assert (tmp_path / "new/half.webp").read_bytes()[8:12] == b"WEBP"


def test_a_slash_at_the_end_names_a_folder_whatever_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(small_picture(1))
    done = run(tmp_path, "crop", "a.jpg", "--out", "new.png/", *HALF)
    assert (done.returncode, tree(tmp_path / "new.png")) == (0, ["a.jpg"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("crop", "", "-o", "out"), "FILES: an argument is empty"),
        (("crop", "in", "", "-o", "out"), "FILES: an argument is empty"),
        (("crop", "in", "--out", ""), "--out: an argument is empty"),
        (("", "in"), "TOOL: an argument is empty"),
        (("crop", "in", "--url", "", "--key", ""), "--url: an argument is empty"),
        (("crop", "in", "--url", "http://127.0.0.1:9", "--key="), "--key: an argument is empty"),
        (("crop", "in", "-p", "widht=50%"), "widht is not a parameter of crop."),
        (("crop", "in", "-p", "width=wide"), "width: must be pixels"),
        (("cut", "in"), "There is no tool 'cut'."),
        (("crop", "in", "-o", "in"), "The output folder is the input folder"),
        (("crop", "in", "-o", "a.png"), "--out a.png is a file, and there may be several results"),
        (("crop", "in/p000.jpg", "-o", "a.gif"), "--out a.gif: the suffix of a result is one of .png"),
        (("crop", "in", "-o", "A.TIFF"), "--out A.TIFF: the suffix of a result"),
        (("crop", "in", "-o", "a.pdf"), "--out a.pdf: the suffix of a result"),
        (("crop", "in", "-o", "/proc/out"), "/proc/out cannot be written"),
        (("crop", "in/p000.jpg", "-o", "in/p000.jpg"), "in/p000.jpg is the input itself."),
        (
            ("crop", "in/p000.jpg", "-o", "a.png", "-p", "format=jpg"),
            "a.png would not be a jpg file.",
        ),
        (("crop", "in", "-o", "-"), "--out - is for one picture."),
        (("crop", "-", "-o", "out"), "For stdin, --out names the file of the result"),
        (("crop", "-", "in"), "- for stdin is the only picture of a run."),
        (("crop", "in/p000.jpg", "--watch"), "--watch is for folders."),
        (("crop", "-", "--json"), "--json and the picture would both go to stdout"),
        (("crop", "in", "--url", "http://127.0.0.1:9"), "set BGERASER_KEY (or --key) too"),
        (("crop", "in", "--key", "bge_live_x"), "set BGERASER_URL (or --url) too"),
        (("crop", "in", "--fresh"), "--fresh is for calls of a server."),
    ],
)
def test_a_wrong_command_line_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], expected: str
) -> None:
    make_pictures(tmp_path / "in", 1)
    before = tree(tmp_path)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main.app, ["run", *arguments])
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("bgeraser run: ")
    assert expected in line
    assert tree(tmp_path) == before


def test_what_is_missing_on_this_machine_is_said_once(tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", 5)
    models = {"BGERASER_MODELS_DIR": str(tmp_path / "models")}
    done = run(tmp_path, "bg-removal", "in", "-o", "out", settings=models)
    stopped, summary = done.stderr.decode().splitlines()
    assert (done.returncode, summary[:7]) == (1, "0 done ")
    assert stopped.startswith("bgeraser run: isnet-general-use is not installed. Install it with: bgeraser ")
    done = run(tmp_path, "crop", "in", "-o", "out", settings={"BGERASER_DATA_DIR": "/proc/data"})
    assert done.returncode == 1
    assert done.stderr.startswith(
        b"bgeraser run: BGERASER_DATA_DIR is /proc/data: /proc/data/cache cannot be"
    )
    assert tree(tmp_path / "out") == []


def test_an_empty_folder_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    done = run(tmp_path, "crop", "in")
    assert (done.returncode, done.stderr) == (0, b"There are no pictures in in.\n")


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_an_interrupted_run_leaves_only_whole_files_and_is_continued(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    make_pictures(tmp_path / "in", 150)
    out = tmp_path / "out"
    with started(tmp_path, "crop", "in", "-o", "out", *HALF) as process:
        wait_until(lambda: len(list(out.glob("[!.]*"))) >= 3)
        children = psutil.Process(process.pid).children()
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == status
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
    results = list(out.glob("[!.]*"))
    assert 3 <= len(results) < 150
    for path in results:
        assert open_bytes(path.read_bytes()).shape == (40, 30, 3)
    if number is not signal.SIGKILL:
        assert tree(out) == sorted(path.name for path in results)
        return
    kept = {path.name: path.stat().st_ino for path in results}
    done = run(tmp_path, "crop", "in", "-o", "out", "--skip-existing", *HALF)
    assert done.returncode == 0
    assert f"{150 - len(kept)} done, {len(kept)} skipped in ".encode() in done.stderr
    assert len(list(out.glob("[!.]*"))) == 150
    assert {name: (out / name).stat().st_ino for name in kept} == kept


def test_a_watched_folder_gives_pictures_until_it_is_stopped(tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", 1)
    out = tmp_path / "in/out"
    with started(tmp_path, "crop", "in", "-o", "in/out", "--watch", *HALF) as process:
        wait_until((out / "p000.jpg").exists)
        (tmp_path / "in/new.jpg").write_bytes(small_picture(5))
        wait_until((out / "new.jpg").exists)
        (tmp_path / "in/bad.jpg").write_bytes(b"text")
        (tmp_path / "in/more").mkdir()
        (tmp_path / "in/more/new.jpg").write_bytes(small_picture(6))
        wait_until((out / "more/new.jpg").exists)
        # A folder that is lost for a moment brings nothing that was done already.
        (tmp_path / "in").rename(tmp_path / "away")
        time.sleep(2 * POLL_SECONDS)
        (tmp_path / "away").rename(tmp_path / "in")
        (tmp_path / "in/late.jpg").write_bytes(small_picture(7))
        wait_until((out / "late.jpg").exists)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    assert tree(out) == ["late.jpg", "more/new.jpg", "new.jpg", "p000.jpg"]
    assert "in/p000.jpg -> in/out/p000.jpg" in stderr.decode().splitlines()
    assert "in/bad.jpg: Not a " in stderr.decode()
    assert stderr.decode().splitlines()[-1].startswith("4 done, 1 failed in ")


def test_working_on_this_machine_needs_neither_web_server_nor_database_nor_torch(tmp_path: Path) -> None:
    """What they cost at the start would be most of a short run."""
    (tmp_path / "a.jpg").write_bytes(small_picture(1))
    done = run(tmp_path, "crop", "a.jpg", *HALF, settings={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines() if "|" in line}
    assert "web.cli.run.local" in imported
    assert "ml.runtime.planning" in imported  # by the worker
    unwanted = {"fastapi", "gradio", "torch", "sqlalchemy", "sqlmodel", "stripe", "uvicorn", "httpx"}
    assert imported & unwanted == set()
