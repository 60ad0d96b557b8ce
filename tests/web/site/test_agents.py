"""The page about agents and `/llms.txt`: what they say works."""

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from ml.catalogue import TOOLS
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import RunningServer
from web.site import agents
from web.site.code_samples import CodeSample

ADDRESS = "https://images.example.com"
SETTINGS = [sample for sample in agents.connections(ADDRESS) if sample.code.startswith("{")]


@pytest.mark.parametrize("sample", SETTINGS, ids=lambda sample: sample.language)
def test_settings_are_json_with_the_address_and_the_header(sample: CodeSample) -> None:
    settings = json.loads(sample.code)
    server = (settings.get("mcpServers") or settings["servers"])["bgeraser"]
    assert f"{ADDRESS}/mcp" in (server.get("url"), *server.get("args", ()))
    assert "Bearer " in json.dumps(server)


def test_the_script_of_the_page_runs(server: RunningServer, tmp_path: Path) -> None:
    text = html.unescape(httpx.get(f"{server.address}/docs/agents", headers={"Accept": "text/html"}).text)
    (script,) = re.findall(r"<code>(import asyncio.*?)</code>", text, flags=re.DOTALL)
    (tmp_path / "photo.jpg").write_bytes(jpeg_bytes(photo("coffee")[:200]))
    done = subprocess.run(
        [sys.executable, "-c", script.replace('{"image":', '{"model": "fast", "image":')],
        cwd=tmp_path,
        env=os.environ | {"KEY": server.new_customer().key},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert f"'imageUrl': '{server.address}/api/images/img_" in done.stdout


def test_the_page_lists_every_tool_and_is_linked_from_the_reference(server: RunningServer) -> None:
    text = httpx.get(f"{server.address}/docs/agents", headers={"Accept": "text/html"}).text
    for name in (*TOOLS, "upload-image", "account", "list-tools"):
        assert f"<code>{name}</code>" in text
    assert f"{server.address}/mcp" in text
    assert 'href="/docs/agents"' in httpx.get(f"{server.address}/docs", headers={"Accept": "text/html"}).text


def test_llms_txt_names_every_tool_and_its_links_work(server: RunningServer) -> None:
    answer = httpx.get(f"{server.address}/llms.txt")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text.startswith("# bgeraser\n\n> ")
    links = set(re.findall(r"\]\((\S+?)\)", answer.text))
    for link in links:
        assert httpx.get(link).status_code == 200
    reference = httpx.get(f"{server.address}/docs", headers={"Accept": "text/html"}).text
    for name in TOOLS:
        assert f"`POST /api/tools/{name}`" in answer.text
        assert f"{server.address}/docs#{name}" in links
        assert f'id="{name}"' in reference
    assert httpx.head(f"{server.address}/llms.txt").status_code == 200


def test_llms_txt_names_the_operators_address_for_questions() -> None:
    assert "help@example.com" in agents.llms_txt(ADDRESS, "help@example.com")
    assert "Questions" not in agents.llms_txt(ADDRESS, None)
