"""A short soak in which each fault happens once."""

from pathlib import Path

import pytest

from tests.soak.__main__ import soak


@pytest.mark.long
def test_books_and_pictures_are_right_whatever_fails(tmp_path: Path) -> None:
    record = soak(tmp_path, 60.0, seed=1, quick=True)
    assert record.verdicts() == [], record.report()
