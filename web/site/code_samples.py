"""Code samples of a first call in curl, Node and Python, with this server's address."""

import json
from dataclasses import dataclass

LANGUAGES = ("curl", "Node", "Python")
#: The placeholder for the caller's API key, an environment variable of the shell.
KEY_VARIABLE = "$KEY"
#: The same in the code of each language.
_VARIABLES = (KEY_VARIABLE, "${process.env.KEY}", "{os.environ['KEY']}")


@dataclass(frozen=True)
class CodeSample:
    language: str
    code: str


def for_server(
    base_url: str, tool: str = "bg-removal", file_name: str = "photo.jpg", key: str | None = None
) -> list[CodeSample]:
    """The same call in three languages. `base_url` has no slash at its end.

    The commands contain `key` if there is one, else they read it from the environment.
    """
    url = f"{base_url}/api/tools/{tool}"
    codes = (_curl(url, file_name), _node(url, file_name), _python(url, file_name))
    return [
        CodeSample(language, code if key is None else code.replace(variable, key))
        for language, code, variable in zip(LANGUAGES, codes, _VARIABLES, strict=True)
    ]


def _curl(url: str, file_name: str) -> str:
    return (
        f"curl -X POST {url} \\\n"
        f'  -H "Authorization: Bearer {KEY_VARIABLE}" \\\n'
        '  -H "Accept: image/png" \\\n'
        f"  -F image=@{file_name} -o result.png"
    )


def _node(url: str, file_name: str) -> str:
    return f"""import {{ readFile }} from "node:fs/promises";

const form = new FormData();
form.append("image", new Blob([await readFile({json.dumps(file_name)})]), {json.dumps(file_name)});
const response = await fetch({json.dumps(url)}, {{
  method: "POST",
  headers: {{ Authorization: `Bearer ${{process.env.KEY}}` }},
  body: form,
  signal: AbortSignal.timeout(30_000),
}});
const body = await response.json();
if (!body.success) throw new Error(`${{body.error.code}}: ${{body.error.message}}`);
console.log(body.data.imageUrl);"""


def _python(url: str, file_name: str) -> str:
    return f"""import os
import httpx

with open({json.dumps(file_name)}, "rb") as photo:
    response = httpx.post(
        {json.dumps(url)},
        headers={{"Authorization": f"Bearer {{os.environ['KEY']}}"}},
        files={{"image": photo}},
        timeout=30,
    )
body = response.json()
if not body["success"]:
    raise SystemExit(f"{{body['error']['code']}}: {{body['error']['message']}}")
print(body["data"]["imageUrl"])"""
