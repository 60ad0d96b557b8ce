"""How AI agents connect: the settings of common programs, a script, and `/llms.txt`."""

import json

from api.http import tool_docs
from api.http.mcp import tools as offered
from api.http.mcp.paths import MCP_PATH
from ml.catalogue import TOOLS
from web.site.code_samples import CodeSample

_NAME = "bgeraser"
_KEY = "bge_live_…"


def connections(base_url: str) -> list[CodeSample]:
    """What to enter in each program. `base_url` has no slash at its end."""
    url = f"{base_url}{MCP_PATH}"
    return [
        CodeSample("Claude Code", _claude_code(url)),
        CodeSample("Cursor: ~/.cursor/mcp.json", _cursor(url)),
        CodeSample("VS Code: .vscode/mcp.json", _vs_code(url)),
        CodeSample("Claude Desktop: claude_desktop_config.json", _claude_desktop(url)),
        CodeSample("Python, with the mcp package", _python(url)),
    ]


def free_tools() -> list[offered.Offer]:
    """What agents are offered besides the tools of the catalogue."""
    return [offer for offer in offered.offers() if offer.name not in TOOLS]


def llms_txt(base_url: str, contact_email: str | None) -> str:
    """The site for language models, as Markdown (https://llmstxt.org)."""
    tools = "\n".join(
        f"- [{tool.title}]({base_url}/docs#{tool.name}): `POST /api/tools/{tool.name}`. {tool.summary}"
        for tool in TOOLS.values()
    )
    parameters = " and ".join(f"`{row.name}`" for row in tool_docs.common_rows())
    contact = "" if contact_email is None else f"\nQuestions: {contact_email}\n"
    return f"""# bgeraser

> Image editing as a service: remove backgrounds, upscale, fill, expand, select, crop and retouch.

Authenticate with `Authorization: Bearer {_KEY}`. Every successful edit costs 1 credit; refused edits,
uploads and everything else cost nothing. Agents that speak the Model Context Protocol connect to
{base_url}{MCP_PATH} (Streamable HTTP) with that header. Over REST, send `multipart/form-data` with the
file `image`, or with `image_id`, the `imageId` of an earlier answer. Answers are JSON: `data.imageUrl` is the
result, which needs no key and works for 24 hours. Errors have `error.code`, `error.message`, `error.param`
and `error.retryable`; on 429 and 503 wait for `Retry-After`. With an `Idempotency-Key` a repeated request is
answered again without being charged again.

## Documentation

- [API reference]({base_url}/docs): every tool, parameter, error and header
- [Connecting agents]({base_url}/docs/agents): settings for Claude, Cursor, VS Code and scripts
- [OpenAPI document]({base_url}/openapi.json): the same for code generators
- [Catalogue]({base_url}/api/tools): parameters as JSON Schema, and the models that are installed

## Tools

Each takes {parameters} besides its own parameters.

{tools}
{contact}"""


def _claude_code(url: str) -> str:
    return f'claude mcp add --transport http {_NAME} {url} \\\n  --header "Authorization: Bearer {_KEY}"'


def _cursor(url: str) -> str:
    server = {"url": url, "headers": {"Authorization": f"Bearer {_KEY}"}}
    return _pretty({"mcpServers": {_NAME: server}})


def _vs_code(url: str) -> str:
    server = {"type": "http", "url": url, "headers": {"Authorization": "Bearer ${input:bgeraser-key}"}}
    asked = {
        "type": "promptString",
        "id": "bgeraser-key",
        "description": "API key of bgeraser",
        "password": True,
    }
    return _pretty({"inputs": [asked], "servers": {_NAME: server}})


def _claude_desktop(url: str) -> str:
    """Its settings start programs; mcp-remote passes their messages on to a server."""
    server = {
        "command": "npx",
        "args": ["-y", "mcp-remote", url, "--header", "Authorization:${AUTHORIZATION}"],
        "env": {"AUTHORIZATION": f"Bearer {_KEY}"},
    }
    return _pretty({"mcpServers": {_NAME: server}})


def _python(url: str) -> str:
    return f"""import asyncio
import os
from base64 import b64encode
from pathlib import Path

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

async def main():
    headers = {{"Authorization": f"Bearer {{os.environ['KEY']}}"}}
    async with httpx2.AsyncClient(headers=headers, timeout=300) as http:
        async with Client(streamable_http_client({json.dumps(url)}, http_client=http)) as client:
            photo = b64encode(Path("photo.jpg").read_bytes()).decode()
            result = await client.call_tool("bg-removal", {{"image": {{"base64": photo}}}})
            print(result.structured_content)

asyncio.run(main())"""


def _pretty(settings: object) -> str:
    return json.dumps(settings, indent=2, ensure_ascii=False)
