"""The parts of documentation pages that commands write, between marks."""

from pathlib import Path

_START, _END = "<!-- {}: written by {} -->\n", "<!-- end -->\n"


def read_part(page: Path, name: str, command: str) -> str:
    """What is between the marks of `name`."""
    rest = page.read_text().split(_START.format(name, command))[1]
    return rest.split(_END, 1)[0]


def write_part(page: Path, name: str, command: str, text: str) -> None:
    """Replace what is between the marks of `name`, which `command` writes."""
    start = _START.format(name, command)
    before, rest = page.read_text().split(start)
    after = rest.split(_END, 1)[1]
    page.write_text(before + start + "\n" + text + "\n" + _END + after)
