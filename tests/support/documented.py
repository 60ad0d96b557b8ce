"""`make docs`: write the README's generated part again."""

import re
from pathlib import Path

from api.http import tool_docs

README = Path(__file__).parents[2] / "README.md"
_TOOLS = re.compile(r"(<!-- tools:begin[^>]*-->\n).*?(<!-- tools:end -->)", re.DOTALL)


def with_tools(text: str) -> str:
    """`text` with the table of tools as the code has it now, between its two marks."""
    assert _TOOLS.search(text) is not None, "the README has lost its marks"
    return _TOOLS.sub(lambda marks: f"{marks[1]}{tool_docs.tools_markdown()}\n{marks[2]}", text)


if __name__ == "__main__":
    README.write_text(with_tools(README.read_text()))
