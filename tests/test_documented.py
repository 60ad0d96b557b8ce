"""The documentation agrees with the code."""

import re
from pathlib import Path

import pytest

from api.settings import Settings

ROOT = Path(__file__).parent.parent
#: Packages that the map describes in words instead of listing their modules.
DESCRIBED = {"ml/tools", "ml/engines", "ml/imaging"}


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


def test_the_architecture_map_lists_every_module() -> None:
    listed = _map()
    assert DESCRIBED.issubset(listed)
    for package in listed.keys() - DESCRIBED:
        modules = {path.stem for path in (ROOT / package).glob("*.py") if not path.stem.startswith("__")}
        packages = {f"{path.parent.name}/" for path in (ROOT / package).glob("*/__init__.py")}
        # A package with a line of its own is not repeated in its parent's.
        packages = {name for name in packages if f"{package}/{name}".rstrip("/") not in listed}
        assert listed[package] == modules | packages, package


def _map() -> dict[str, set[str]]:
    """The words of each package's entry in the map of ARCHITECTURE.md."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    block = text.split("## The map")[1].split("\n\n")[1]
    listed: dict[str, set[str]] = {}
    top = second = package = ""
    for line in block.splitlines():
        indent = len(line) - len(line.lstrip())
        words = line.split()
        if indent == 4:
            top = package = words.pop(0).rstrip("/")
        elif indent == 6:
            second = package = f"{top}/{words.pop(0).rstrip('/')}"
        elif indent == 8:
            package = f"{second}/{words.pop(0).rstrip('/')}"
        listed.setdefault(package, set()).update(words)
    return {name: words for name, words in listed.items() if name != "tests" and name != "web/static"}
