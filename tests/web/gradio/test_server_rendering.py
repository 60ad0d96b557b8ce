"""Pages that are drawn without Gradio's client, and which pages may be."""

import re
from typing import Any

import httpx
import pytest

from tests.support.gradio_client import browser
from tests.support.server import Customer, RunningServer
from web.gradio.server_rendering import server_pages

HTML = "<!doctype html><html><head>\n<script>window.gradio_config = {};</script></head><body></body></html>"
RESPONSE = b"""<!doctype html><html><head lang="en">
<meta charset="utf-8" /><meta property="og:image" content="https://example.com/a.jpg" />
<meta name="twitter:card" content="x" />
<script>window.gradio_config = {"a": "\\u003c/script\\u003e"};</script>
<script data-gradio-mode>more();</script>
<script type="module" crossorigin src="./assets/index-1.js"></script>
<link rel="stylesheet" crossorigin href="./assets/index-1.css"></head>
<body style="margin: 0"><gradio-app eager="true"></gradio-app><script>last()</script></body></html>"""


def config(*components: dict[str, Any], dependencies: tuple[int, ...] = ()) -> dict[str, Any]:
    """The configuration of an application with one page, as Gradio writes it."""
    children = [{"id": number} for number in range(1, len(components) + 1)]
    return {
        "title": "a title",
        "page": {"": {"layout": {"id": 0, "children": children}, "dependencies": list(dependencies)}},
        "components": [
            {"id": number, "type": one.get("type", "html"), "props": html(**one)}
            for number, one in enumerate(components, start=1)
        ],
    }


def html(**props: Any) -> dict[str, Any]:
    defaults = {
        "html_template": "<p>1</p>",
        "js_on_load": None,
        "css_template": "",
        "head": "",
        "visible": True,
    }
    return {**defaults, "elem_id": "one", **props}


def test_a_page_of_html_components_is_drawn_without_the_client() -> None:
    component = {"html_template": "<p>drawn</p>", "js_on_load": "go(element);", "head": "<link id=own>"}
    page = server_pages(config(component))[""]
    text = page.render(RESPONSE, "n0nce").decode()
    assert re.findall(r"<script([^>]*)>", text) == [' nonce="n0nce"', ' type="module" nonce="n0nce"']
    assert "assets" not in text
    assert "example.com" not in text
    assert '<meta charset="utf-8" />' in text
    assert "<link id=own>" in text.partition("</head>")[0]
    assert '<div id="one"><p>drawn</p></div>' in text.partition("<body")[2]
    assert 'document.getElementById("one")' in text


@pytest.mark.parametrize(
    "other",
    [
        config({}, dependencies=(0,)),
        config({}, {"type": "textbox"}),
        config({"html_template": "${value}"}),
        config({"html_template": "{{#each value}}"}),
        config({"css_template": "p { margin: 0 }"}),
        config({"server_functions": ["look"]}),
        config({"visible": False}),
        config({"elem_id": None}),
    ],
)
def test_a_page_that_needs_the_client_keeps_it(other: dict[str, Any]) -> None:
    assert server_pages(other) == {}


def test_components_in_rows_are_drawn_in_order() -> None:
    nested = config({"elem_id": "a"}, {"elem_id": "b"}, {"elem_id": "c"})
    layout = nested["page"][""]["layout"]
    layout["children"] = [layout["children"][0], {"id": 9, "children": layout["children"][1:]}]
    text = server_pages(nested)[""].render(HTML.encode(), "n").decode()
    assert re.findall(r'<div id="(\w)">', text) == ["a", "b", "c"]


def test_the_editor_is_drawn_by_the_server_and_the_dashboard_by_the_client(
    server: RunningServer, customer: Customer
) -> None:
    with browser(server, customer) as client:
        editor, dashboard = client.get("/app/"), client.get("/app/dashboard")
    assert 'class="bge-editor"' in editor.text
    assert "/assets/" not in editor.text
    assert "window.gradio_config" in editor.text
    assert re.search(r'src="\./assets/index-[^"]+\.js"', dashboard.text)
    assert "'unsafe-eval'" in dashboard.headers["content-security-policy"]


def test_the_editors_policy_allows_its_own_scripts_only(server: RunningServer) -> None:
    first, second = (httpx.get(f"{server.address}/app/") for _ in range(2))
    (scripts,) = re.findall(r"script-src ([^;]+);", first.headers["content-security-policy"])
    (nonce,) = re.fullmatch(r"'self' 'nonce-([\w-]{20,})'", scripts).groups()  # type: ignore[union-attr]
    assert set(re.findall(r"<script[^>]*>", first.text)) == {
        f'<script nonce="{nonce}">',
        f'<script type="module" nonce="{nonce}">',
    }
    assert nonce not in second.headers["content-security-policy"]


@pytest.fixture
def customer(server: RunningServer) -> Customer:
    return server.new_customer()
