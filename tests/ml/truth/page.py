"""The parts of docs/quality.md that `make quality` writes."""

from pathlib import Path

from tests.support import page_parts

PAGE = Path(__file__).resolve().parents[3] / "docs" / "quality.md"


def write_part(name: str, text: str, page: Path = PAGE) -> None:
    page_parts.write_part(page, name, "make quality", text)
