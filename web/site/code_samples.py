"""A first call in curl, Node and Python, as the pages show it: with this server's address, ready to paste."""

import json
from dataclasses import dataclass

LANGUAGES = ("curl", "Node", "Python")
#: Stands where the caller's own key goes; the shell reads it from the environment.
KEY_VARIABLE = "$KEY"


@dataclass(frozen=True)
class Example:
    language: str
    code: str


def of(address: str, tool: str = "bg-removal", picture: str = "photo.jpg") -> list[Example]:
    """The same call in three languages. `address`: without a slash at its end."""
    place = f"{address}/api/tools/{tool}"
    codes = (_curl(place, picture), _node(place, picture), _python(place, picture))
    return [Example(language, code) for language, code in zip(LANGUAGES, codes, strict=True)]


def _curl(place: str, picture: str) -> str:
    return (
        f"curl -X POST {place} \\\n"
        f'  -H "Authorization: Bearer {KEY_VARIABLE}" \\\n'
        '  -H "Accept: image/png" \\\n'
        f"  -F image=@{picture} -o result.png"
    )


def _node(place: str, picture: str) -> str:
    return f"""import {{ readFile }} from "node:fs/promises";

const form = new FormData();
form.append("image", new Blob([await readFile({json.dumps(picture)})]), {json.dumps(picture)});
const answer = await fetch({json.dumps(place)}, {{
  method: "POST",
  headers: {{ Authorization: `Bearer ${{process.env.KEY}}` }},
  body: form,
  signal: AbortSignal.timeout(30_000),
}});
const body = await answer.json();
if (!body.success) throw new Error(`${{body.error.code}}: ${{body.error.message}}`);
console.log(body.data.imageUrl);"""


def _python(place: str, picture: str) -> str:
    return f"""import os
import httpx

with open({json.dumps(picture)}, "rb") as photo:
    answer = httpx.post(
        {json.dumps(place)},
        headers={{"Authorization": f"Bearer {{os.environ['KEY']}}"}},
        files={{"image": photo}},
        timeout=30,
    )
body = answer.json()
if not body["success"]:
    raise SystemExit(f"{{body['error']['code']}}: {{body['error']['message']}}")
print(body["data"]["imageUrl"])"""
