"""Names of results never collide and never replace an input, and files are written whole or not at all."""

import errno
import os
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path, PurePath

import pytest

from web.cli.run import inputs, outputs
from web.cli.run.outputs import OutputFolder, UnwritableOutput
from web.cli.run.types import PictureFailed, RunStopped, Source

ALL = ("png", "jpg", "webp", "avif")


def stems(root: Path, *names: str, formats: tuple[str, ...] = ALL) -> dict[str, str]:
    """The names of the results without suffix, by those of the sources, in an output folder of its own."""
    sources = [Source(Path("in") / name, PurePath(name).parent) for name in names]
    folder = OutputFolder(root, "crop", formats, set())
    targets = folder.assign(sources)
    assert [target.source for target in targets] == sources
    return {
        name: str(target.path("x").relative_to(root).with_suffix(""))
        for name, target in zip(names, targets, strict=True)
    }


def test_a_result_has_its_source_s_name_and_folder(tmp_path: Path) -> None:
    assert stems(tmp_path, "a.jpg", "2024/a.jpg", "2024/b.c.jpg") == {
        "a.jpg": "a",
        "2024/a.jpg": "2024/a",
        "2024/b.c.jpg": "2024/b.c",
    }


def test_sources_that_would_share_a_name_keep_their_suffixes(tmp_path: Path) -> None:
    expected = {"a.jpg": "a.jpg", "a.png": "a.png", "b.png": "b", "A.webp": "A.webp"}
    assert stems(tmp_path, *expected) == expected
    # The order of the command line does not matter.
    assert stems(tmp_path, *reversed(expected)) == expected


def test_names_that_still_collide_get_numbers(tmp_path: Path) -> None:
    sources = [Source(Path(folder) / "a.jpg") for folder in ("z", "x", "y")]
    targets = OutputFolder(tmp_path, "crop", ALL, set()).assign(sources)
    assert [(str(one.source.path), one.stem) for one in targets] == [
        ("z/a.jpg", "a.jpg-3"),
        ("x/a.jpg", "a.jpg"),
        ("y/a.jpg", "a.jpg-2"),
    ]


def test_no_two_results_of_any_set_of_names_collide(tmp_path: Path) -> None:
    rng = random.Random(5)
    parts = ["a", "A", "a.jpg", "a.png", "a-crop", "a.jpg-crop", "b"]
    for _ in range(300):
        sources = [
            Source(Path(rng.choice("xyz")) / f"{rng.choice(parts)}.{rng.choice(['jpg', 'png', 'PNG'])}")
            for _ in range(rng.randint(1, 12))
        ]
        sources = list(dict.fromkeys(sources))
        folder = OutputFolder(tmp_path, "crop", ALL, set())
        names = [
            one.stem.casefold() for one in [*folder.assign(sources), *folder.assign([Source(Path("a.gif"))])]
        ]
        assert len(set(names)) == len(names)


def test_a_result_never_replaces_an_input(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.png", "c.webp"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "d.jpg").hardlink_to(tmp_path / "a.jpg")
    paths = [tmp_path / name for name in ("a.jpg", "b.png")]
    found = inputs.find(paths, None)

    def assigned(formats: tuple[str, ...], source: Path) -> str:
        return OutputFolder(tmp_path, "crop", formats, found.identities).assign([Source(source)])[0].stem

    assert assigned(ALL, tmp_path / "a.jpg") == "a-crop"
    assert assigned(("png",), tmp_path / "a.jpg") == "a"
    # Not under another name either.
    assert assigned(("jpg",), tmp_path / "elsewhere" / "d.jpg") == "d-crop"
    (tmp_path / "b-crop.png").hardlink_to(tmp_path / "b.png")
    assert assigned(("png",), tmp_path / "b.png") == "b.png-2"


def test_earlier_results_are_found_by_the_formats_that_are_possible(tmp_path: Path) -> None:
    (target,) = OutputFolder(tmp_path, "crop", ALL, set()).assign([Source(Path("a.jpg"))])
    assert target.existing(ALL) is None
    (tmp_path / "a.webp").write_bytes(b"x")
    assert target.existing(ALL) == tmp_path / "a.webp"
    assert target.existing(("png",)) is None


def test_an_unusable_output_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for root in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/results")):
        with pytest.raises(UnwritableOutput, match=str(root)):
            outputs.require_writable(root)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.png"
    outputs.write(target, b"first")
    outputs.write(target, b"second")
    assert [(path.name, path.read_bytes()) for path in target.parent.iterdir()] == [("a.png", b"second")]
    umask = os.umask(0)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_name_that_is_taken_by_a_folder_fails_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(PictureFailed, match=r"a\.png cannot be written: is a directory"):
        outputs.write(tmp_path / "a.png", b"x")
    with pytest.raises(PictureFailed, match="file name too long"):
        outputs.write(tmp_path / ("b" * 300 + ".png"), b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_full_disk_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(RunStopped, match=r"a\.png cannot be written: no space left on device"):
        outputs.write(tmp_path / "a.png", b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_may_write_no_more_leaves_no_part_of_a_file(tmp_path: Path) -> None:
    """A limit on the size of files, as a full disk, ends the write in the middle."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    program = (
        "import sys; from pathlib import Path; from web.cli.run import outputs;"
        " outputs.write(Path(sys.argv[1]), b'x' * 5000)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.png")]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True)
    assert "PictureFailed: a.png cannot be written: file too large" in done.stderr
    assert list(tmp_path.iterdir()) == []
