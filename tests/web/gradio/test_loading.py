"""Gradio is imported without parsing its own source, and is complete nevertheless."""

import subprocess
import sys

_PROGRAM = """
import ast, sys
parsed = []
parse = ast.parse
ast.parse = lambda source, *rest, **others: parsed.append(source) or parse(source, *rest, **others)
{importing}
with gradio.Blocks() as blocks:
    gradio.Button("Go").click(lambda: None)
print(sum("class Button" in str(source) for source in parsed))
print(sum(type(finder).__module__ == "web.gradio.loading" for finder in sys.meta_path))
"""


def parsed_and_installed(importing: str) -> tuple[int, ...]:
    """How often the source of a component is parsed, and how many finders stay installed."""
    program = [sys.executable, "-c", _PROGRAM.format(importing=importing)]
    ended = subprocess.run(program, check=True, capture_output=True, text=True)
    return tuple(map(int, ended.stdout.split()))


def test_no_component_is_parsed_and_nothing_stays_installed() -> None:
    assert parsed_and_installed("import gradio")[0] > 0
    ours = "from web.gradio.loading import import_gradio\ngradio = import_gradio()"
    assert parsed_and_installed(ours) == (0, 0)
