"""The parts of docs/quality.md that commands write, between marks."""

from pathlib import Path

PAGE = Path(__file__).resolve().parents[3] / "docs" / "quality.md"
_START, _END = "<!-- {}: written by make quality -->\n", "<!-- end -->\n"


def write_part(name: str, text: str, page: Path = PAGE) -> None:
    """Replace what is between the marks of `name`."""
    start = _START.format(name)
    before, rest = page.read_text().split(start)
    after = rest.split(_END, 1)[1]
    page.write_text(before + start + "\n" + text + "\n" + _END + after)
