"""Renders Gradio pages on the server that do not need Gradio's client.

The client is some hundred kilobytes of scripts, which start before they draw the first component. A page
without events whose components are all `gr.HTML` gets nothing from it. Of the response that Gradio makes for
such a page, its configuration stays; the client's scripts and styles are left out, and the components are
inserted as the client would draw them. The client returns by itself on pages that get an event or another
component. Without it no script is compiled in the browser, so the page's Content-Security-Policy is strict.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from web.gradio import theme

_CLIENT = re.compile(
    rb"<script\b(?P<config>[^>]*>\s*window\.gradio_config\b)?.*?</script>"
    rb"|<link\b[^>]*>"  # the client's styles, and a manifest that the guard refuses
    rb"|<meta\b[^>]*\b(?:property=\"og:|name=\"twitter:)[^>]*>",  # Gradio's advertisement of itself
    re.DOTALL,
)
_HEAD = re.compile(rb"<head\b[^>]*>")
_BODY = re.compile(rb"<body\b[^>]*>")
#: In templates Gradio's client inserts values for these.
_PLACEHOLDERS = ("${", "{{")


@dataclass(frozen=True)
class ServerPage:
    """A page of HTML components. `title` is the document's."""

    title: str
    components: tuple[Mapping[str, Any], ...]  # their properties

    def render(self, html: bytes, nonce: str) -> bytes:
        """The page without the client. `html` is Gradio's response, `nonce` marks our scripts."""
        attribute = f' nonce="{nonce}"'

        def keep_configuration(match: re.Match[bytes]) -> bytes:
            if match["config"] is None:
                return b""
            return match[0].replace(b"<script", b"<script" + attribute.encode(), 1)

        html = _CLIENT.sub(keep_configuration, html)
        head = f"<title>{self.title}</title>{theme.page_head()}" + "".join(
            component["head"] for component in self.components
        )
        # The client draws pages within <main> too.
        components = "".join(_component(component, attribute) for component in self.components)
        body = f"<main>{components}</main>"
        return _insert(_insert(html, _HEAD, head), _BODY, body)


def server_pages(config: Mapping[str, Any]) -> dict[str, ServerPage]:
    """The pages that need no client, by name. `config` is the application's configuration."""
    components = {component["id"]: component for component in config["components"]}
    return {
        name: ServerPage(config["title"], tuple(component["props"] for component in on_page))
        for name, page in config["page"].items()
        if not page["dependencies"]
        and all(map(_is_static, on_page := [components[key] for key in _leaves(page["layout"])]))
    }


def _leaves(node: Mapping[str, Any]) -> Iterator[int]:
    """The ids of the components below `node`, in the order of the page. Only leaves: no pages or rows."""
    for child in node.get("children") or ():
        if child.get("children"):
            yield from _leaves(child)
        else:
            yield child["id"]


def _is_static(component: Mapping[str, Any]) -> bool:
    props = component["props"]
    return (
        component["type"] == "html"
        and bool(props["elem_id"])
        and props["visible"] is True
        and not props["css_template"]
        and not props.get("server_functions")
        and not any(sign in props["html_template"] for sign in _PLACEHOLDERS)
    )


def _component(props: Mapping[str, Any], attribute: str) -> str:
    script = (
        f'<script type="module"{attribute}>((element) => {{ {props["js_on_load"]} }})'
        f'(document.getElementById("{props["elem_id"]}"));</script>'
        if props["js_on_load"]
        else ""
    )
    return f'<div id="{props["elem_id"]}">{props["html_template"]}</div>{script}'


def _insert(html: bytes, tag: re.Pattern[bytes], content: str) -> bytes:
    """`html` with the content after the first tag."""
    return tag.sub(lambda match: match[0] + content.encode(), html, count=1)
