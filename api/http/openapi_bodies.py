"""JSON bodies of tools and uploads in the OpenAPI description: the fields of their forms by the same names.

A file is an object that says where it is, and a list may be a list instead of its text.
"""

from collections.abc import Collection
from typing import Any

from api.http import json_calls

_WAYS = {
    json_calls.URL: "An https URL of a public host, fetched within 10 s; data URLs too.",
    json_calls.BASE64: "The file as base64; data URLs too.",
    json_calls.IMAGE_ID: "The id of an earlier upload or result.",
}
_TITLES = {
    json_calls.URL: "FileByUrl",
    json_calls.BASE64: "FileAsBase64",
    json_calls.IMAGE_ID: "FileOfStoredImage",
}
#: The schemas that bodies refer to.
COMPONENTS = {
    "FileSource": {
        "title": "FileSource",
        "description": "Where a file is: exactly one of these.",
        "oneOf": [
            {
                "type": "object",
                "title": title,
                "properties": {way: {"type": "string", "description": _WAYS[way]}},
                "required": [way],
                "additionalProperties": False,
            }
            for way, title in _TITLES.items()
        ],
    }
}
_SOURCE = {"$ref": "#/components/schemas/FileSource"}
_EXAMPLE_FILE = {json_calls.URL: "https://example.com/photo.jpg"}
#: Parameters that a tool cannot do without, and values that show lists.
_EXAMPLES: dict[str, dict[str, Any]] = {
    "bg-removal": {"bg_color": "white"},
    "upscale": {"scale": 2},
    "generative-fill": {"box": [120, 80, 400, 360]},
    "generative-expand": {"left": "20%", "right": "20%"},
    "magic-select": {"points": [[320, 240, 1]]},
    "crop": {"aspect_ratio": "1:1"},
    "brush": {"op": "erase", "strokes": [{"points": [[10, 10], [200, 120]], "size": 24}]},
}


def url_property(file: str) -> dict[str, Any]:
    """The schema of the form field that replaces this file by a URL."""
    return {
        "type": "string",
        "format": "uri",
        "description": f"Instead of `{file}`: an https URL of a public host, fetched within 10 s.",
    }


def json_schema(form: dict[str, Any], files: Collection[str], lists: Collection[str]) -> dict[str, Any]:
    """The JSON body of a form: `files` are its fields that are files, `lists` those that may be lists."""
    properties = {}
    for name, described in form["properties"].items():
        if name in files:
            properties[name] = {**_SOURCE, "description": described.get("description", "The image.")}
        elif name in lists and described.get("type", "string") == "string" and "enum" not in described:
            properties[name] = _or_list(described)
        else:
            properties[name] = described
    return {**form, "properties": properties}


def example(tool: str | None = None) -> dict[str, Any]:
    """The body of a call of this tool, or of an upload."""
    return {"image": _EXAMPLE_FILE, **_EXAMPLES.get(tool or "", {})}


def _or_list(described: dict[str, Any]) -> dict[str, Any]:
    """The text, or the list that it is the JSON of."""
    kept = {key: value for key, value in described.items() if key in ("description", "default")}
    text = {key: value for key, value in described.items() if key not in kept}
    return {**kept, "anyOf": [text, {"type": "array", "items": {}}]}
