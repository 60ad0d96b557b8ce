"""No two public classes share a name, which `make check` also verifies."""

from pathlib import Path

from tests.support import public_names


def test_every_public_class_has_a_unique_name() -> None:
    assert public_names.duplicates() == {}


def test_duplicate_names_are_listed_with_their_locations(tmp_path: Path) -> None:
    for package in public_names.PACKAGES:
        (tmp_path / package).mkdir()
    (tmp_path / "api" / "limits.py").write_text("class Limits: ...\n\n\nclass Other: ...\n")
    (tmp_path / "web" / "limits.py").write_text("if True:\n    class Limits: ...\n")
    assert public_names.duplicates(tmp_path) == {"Limits": ["api/limits.py:1", "web/limits.py:2"]}


def test_private_and_local_classes_may_share_names(tmp_path: Path) -> None:
    for package in public_names.PACKAGES:
        (tmp_path / package).mkdir()
        code = "class _Row: ...\n\n\ndef make():\n    class Local: ...\n"
        (tmp_path / package / "rows.py").write_text(code)
    assert public_names.duplicates(tmp_path) == {}
