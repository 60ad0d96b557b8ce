"""Which files of a command line are read, and under which folders of the output."""

import os
from pathlib import Path, PurePath

from web.cli.run import inputs
from web.cli.run.types import Source


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def listed(root: Path, output: Path | None = None) -> list[str]:
    return [str(source.path.relative_to(root)) for source in inputs.find([root], output).sources]


def test_folders_are_read_with_their_subfolders(tmp_path: Path) -> None:
    make(
        tmp_path, "b.jpg", "a.PNG", "notes.txt", "2024/june/c.heic", "2024/d.tif", ".hidden.jpg", ".git/e.jpg"
    )
    found = inputs.find([tmp_path], None)
    assert found.sources == [
        Source(tmp_path / "a.PNG"),
        Source(tmp_path / "b.jpg"),
        Source(tmp_path / "2024/d.tif", PurePath("2024")),
        Source(tmp_path / "2024/june/c.heic", PurePath("2024/june")),
    ]
    assert found.problems == []


def test_a_named_file_is_read_whatever_its_name(tmp_path: Path) -> None:
    make(tmp_path, "scan", "-a.jpg", ".b.jpg")
    paths = [tmp_path / "scan", tmp_path / "-a.jpg", tmp_path / ".b.jpg"]
    assert [source.path for source in inputs.find(paths, None).sources] == paths


def test_the_output_folder_is_not_read_again_by_any_name(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "cut/a.png", "cut/deep/b.png", "cut2/c.jpg")
    assert listed(tmp_path, tmp_path / "cut") == ["a.jpg", "cut2/c.jpg"]
    other_name = tmp_path.parent / f"{tmp_path.name}-link"
    other_name.symlink_to(tmp_path / "cut")
    assert listed(tmp_path, other_name) == ["a.jpg", "cut2/c.jpg"]


def test_links_make_no_loop(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "sub/b.jpg")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    (tmp_path / "up.jpg").symlink_to(tmp_path)
    (tmp_path / "copy.jpg").symlink_to(tmp_path / "a.jpg")
    assert listed(tmp_path) == ["a.jpg", "copy.jpg", "sub/b.jpg"]


def test_each_picture_comes_once(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "sub/b.jpg")
    paths = [tmp_path / "a.jpg", tmp_path, tmp_path / "sub" / ".." / "a.jpg", tmp_path / "sub"]
    assert [source.path.name for source in inputs.find(paths, None).sources] == ["a.jpg", "b.jpg"]


def test_what_is_missing_or_unreadable_is_a_problem_and_the_rest_is_read(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    found = inputs.find([tmp_path / "typo.jpg", tmp_path], None)
    assert [source.path.name for source in found.sources] == ["a.jpg"]
    assert {path.name: problem for path, problem in found.problems} == {
        "typo.jpg": "no such file or directory",
        "gone.jpg": "no such file or directory",
        "loop.jpg": "too many levels of symbolic links",
    }


def test_names_need_not_be_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    make(tmp_path, name)
    assert listed(tmp_path) == [name]


def test_an_empty_folder_has_no_pictures(tmp_path: Path) -> None:
    assert inputs.find([tmp_path], None) == inputs.Found()
