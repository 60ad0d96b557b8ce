"""Watched files are ready once they have settled, and again after a change."""

from pathlib import Path

from web.cli.run.types import Source
from web.cli.run.watching import SETTLED_SECONDS, Settling, Version

A, B = Source(Path("a.jpg")), Source(Path("b.jpg"))


def version(size_bytes: int, modified_ns: int = 1, inode: int = 1) -> Version:
    return Version(size_bytes, modified_ns, inode)


def test_a_file_is_ready_once_after_it_stopped_changing() -> None:
    settling = Settling()
    steps = [
        (0.0, version(0)),
        (3.0, version(0)),  # created, and nothing written yet
        (4.0, version(10)),
        (5.5, version(20)),
        (6.0, version(20, 2)),
        (7.9, version(20, 2)),
    ]
    for now, seen in steps:
        assert settling.ready({A: seen}, now) == []
    assert settling.ready({A: version(20, 2)}, 8.0) == [A]
    assert settling.ready({A: version(20, 2)}, 20.0) == []


def test_a_changed_or_replaced_file_comes_again() -> None:
    settling = Settling()
    for number, seen in enumerate([version(5), version(5, 2), version(5, 2, inode=2)]):
        now = number * 10.0
        assert settling.ready({A: seen}, now) == []
        assert settling.ready({A: seen}, now + SETTLED_SECONDS) == [A]


def test_files_that_vanish_and_return_come_again_only_if_they_changed() -> None:
    settling = Settling()
    settling.ready({A: version(5), B: version(5)}, 0.0)
    assert settling.ready({A: version(5), B: version(5)}, 2.0) == [A, B]
    assert settling.ready({}, 3.0) == []
    for now in (4.0, 6.0, 20.0):
        assert settling.ready({A: version(5), B: version(5, 2)}, now) == ([B] if now == 6.0 else [])


def test_a_file_that_vanished_before_it_was_read_comes_again_once_it_is_back() -> None:
    settling = Settling()
    settling.ready({A: version(5)}, 0.0)
    assert settling.ready({A: version(5)}, 2.0) == [A]
    settling.unread(A.path)
    assert settling.ready({A: version(5)}, 9.0) == []  # not while it stays, or it would come for ever
    assert settling.ready({}, 10.0) == []
    assert settling.ready({A: version(5)}, 11.0) == []
    assert settling.ready({A: version(5)}, 13.0) == [A]
    assert settling.ready({}, 20.0) == []
    assert settling.ready({A: version(5)}, 21.0) == []
    assert settling.ready({A: version(5)}, 23.0) == []


def test_files_do_not_wait_for_each_other() -> None:
    settling = Settling()
    settling.ready({A: version(5), B: version(5)}, 0.0)
    assert settling.ready({A: version(5), B: version(6)}, 2.0) == [A]
    assert settling.ready({A: version(5), B: version(6)}, 4.0) == [B]
