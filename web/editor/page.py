"""The editor's page: one component of our own on a Gradio page. All the rest is scripts in static/editor."""

import gradio as gr

_ENTRANCE = "/static/editor/main.js"
_STYLE = "/static/editor/editor.css"

_TEMPLATE = f"""
<link rel="stylesheet" href="{_STYLE}">
<div class="bge-editor" aria-busy="true"><noscript>The editor needs JavaScript.</noscript></div>
"""
#: Gradio runs this as a function of `element`, the component's own part of the page.
_ON_LOAD = f"""
import("{_ENTRANCE}").then((editor) => editor.start(element.querySelector(".bge-editor")));
"""


def build() -> None:
    """Adds the editor to the Blocks being built."""
    gr.HTML(
        html_template=_TEMPLATE,
        js_on_load=_ON_LOAD,
        apply_default_css=False,
        elem_id="editor",
        padding=False,
    )
