"""Waking a thread that polls sockets."""

import select
from collections.abc import Iterator

import pytest

from ml.runtime.wakeup import Wakeup


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    opened = Wakeup()
    opened.open()
    yield opened
    opened.close()


def is_readable(wakeup: Wakeup) -> bool:
    return bool(select.select([wakeup], [], [], 0)[0])


def test_it_is_readable_from_wake_until_clear(wakeup: Wakeup) -> None:
    assert not is_readable(wakeup)
    wakeup.wake()
    assert is_readable(wakeup)
    wakeup.clear()
    assert not is_readable(wakeup)


def test_wake_never_blocks_and_one_clear_suffices_for_several(wakeup: Wakeup) -> None:
    for _ in range(3):
        wakeup.wake()
    wakeup.clear()
    assert not is_readable(wakeup)
    for _ in range(100_000):  # more than the socket buffers
        wakeup.wake()
    assert is_readable(wakeup)


def test_clear_without_wake_has_no_effect(wakeup: Wakeup) -> None:
    wakeup.clear()
    wakeup.wake()
    assert is_readable(wakeup)


def test_wake_before_open_and_after_close_has_no_effect() -> None:
    wakeup = Wakeup()
    wakeup.wake()
    wakeup.clear()
    assert wakeup.fileno() == -1
    wakeup.open()
    assert not is_readable(wakeup)
    wakeup.close()
    wakeup.wake()
