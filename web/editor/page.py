"""The editor's page: one HTML component on a Gradio page, which loads the scripts in static/editor."""

import gradio as gr

_SCRIPT = "/static/editor/main.js"
_STYLE = "/static/editor/editor.css"

_TEMPLATE = f"""
<link rel="stylesheet" href="{_STYLE}">
<div class="bge-editor" aria-busy="true"><noscript>The editor needs JavaScript.</noscript></div>
"""
#: Gradio runs this as a function of `element`, the component's root element.
_ON_LOAD = f"""
import("{_SCRIPT}").then((editor) => editor.start(element.querySelector(".bge-editor")));
"""


def build() -> None:
    """Add the editor to the current Blocks."""
    gr.HTML(
        html_template=_TEMPLATE,
        js_on_load=_ON_LOAD,
        apply_default_css=False,
        elem_id="editor",
        padding=False,
    )
