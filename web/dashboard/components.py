"""Components that the sections of the dashboard share."""

from typing import Any


def add_text(gr: Any, html: str) -> None:
    """Add a line of text. `gr.Markdown` would load a highlighter of code for it."""
    gr.HTML(html, apply_default_css=False, padding=False, js_on_load=None, elem_classes="text")
