"""The documentation agrees with the code."""

import re
from pathlib import Path

import pytest

from api.settings import Settings

ROOT = Path(__file__).parent.parent


def _example() -> dict[str, str]:
    text = (ROOT / ".env.example").read_text()
    return dict(re.findall(r"^#?BGERASER_([A-Z_]+)=(.*)$", text, flags=re.MULTILINE))


def test_env_example_lists_every_setting_and_nothing_else() -> None:
    assert {name.lower() for name in _example()} == set(Settings.model_fields)


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_env_example_shows_the_default(name: str) -> None:
    shown = _example()[name.upper()]
    default = Settings.model_fields[name].default
    if isinstance(default, bool):
        assert shown == str(default).lower()
        return
    assert shown == (
        "" if default is None else f"{default:g}" if isinstance(default, float) else str(default)
    )


def test_every_dependency_says_what_it_is_for() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    lines = re.findall(r'^    "[a-z][^"]*",?(.*)$', text.split("[project.scripts]")[0], flags=re.MULTILINE)
    assert len(lines) > 15
    bare = [line for line in lines if not re.match(r"\s+# \w", line)]
    # The extra that only gathers other extras needs no reason of its own.
    assert len(bare) <= 1


def test_every_sample_photo_has_its_source() -> None:
    samples = ROOT / "web/static/samples"
    listed = set(re.findall(r"^\| (\S+\.jpg) ", (samples / "SOURCES.md").read_text(), flags=re.MULTILINE))
    assert listed == {photo.name for photo in samples.glob("*.jpg")}
