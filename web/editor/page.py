"""The editor's page: one HTML component on a Gradio page, which loads the scripts in static/editor.

The page has no events, so `web.gradio.server_rendering` draws it without Gradio's client.
"""

import gradio as gr

from web.rendering import static_files

_SESSION = "/editor/session"
_TEMPLATE = """
<div class="bge-editor" aria-busy="true"><noscript>The editor needs JavaScript.</noscript></div>
"""


def build() -> None:
    """Add the editor to the current Blocks."""
    script = static_files.address_of(static_files.EDITOR_BUNDLE)
    gr.HTML(
        html_template=_TEMPLATE,
        # Gradio runs this as a function of `element`, the component's root element.
        js_on_load=(
            f'import("{script}").then((editor) => editor.start(element.querySelector(".bge-editor")));'
        ),
        head=_head(script),
        apply_default_css=False,
        elem_id="editor",
        padding=False,
    )


def _head(script: str) -> str:
    """The styles, and what the page will ask for first, so that the browser need not wait for the script."""
    return (
        f'<link rel="stylesheet" href="{static_files.address_of("editor/editor.css")}">'
        f'<link rel="stylesheet" href="{static_files.address_of("editor/batch.css")}">'
        f'<link rel="modulepreload" href="{script}">'
        f'<link rel="preload" as="fetch" crossorigin href="{_SESSION}">'
    )
