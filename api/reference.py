"""The README's table of tools, written from their `Params`: the same source as the OpenAPI page."""

from collections.abc import Iterable, Mapping
from typing import Any

from ml.catalogue import TOOLS
from ml.params import Params
from ml.tool import Tool

_HEAD = ["| Parameter | Values (default) | What it does |", "|---|---|---|"]


def tools_markdown() -> str:
    """One table for what all tools take, then one a tool."""
    common = _properties(Params)
    parts = ["Every tool takes:", "", *_HEAD, *_rows(common, common)]
    for tool in TOOLS.values():
        properties = {name: each for name, each in _properties(tool.params).items() if name not in common}
        parts += ["", f"**`POST /api/tools/{tool.name}`** {tool.summary}", "", *_HEAD]
        parts += [*_rows(properties, properties), *_file_rows(tool)]
    return "\n".join(parts)


def _properties(params: type[Params]) -> dict[str, dict[str, Any]]:
    properties: dict[str, dict[str, Any]] = params.model_json_schema()["properties"]
    return properties


def _rows(properties: Mapping[str, Mapping[str, Any]], names: Iterable[str]) -> list[str]:
    return [
        f"| `{name}` | {_values(properties[name])} | {_cell(properties[name].get('description', ''))} |"
        for name in names
    ]


def _file_rows(tool: Tool) -> list[str]:
    return [f"| `{field.name}` | file | {_cell(field.description)} |" for field in tool.files]


def _values(schema: Mapping[str, Any]) -> str:
    default = schema.get("default")
    shown = "" if default is None else f" ({_spelled(default)})"
    return _kind(schema) + shown


def _kind(schema: Mapping[str, Any]) -> str:
    """What may be sent, in a few characters: the listed values, the range, or the type."""
    options = [option for option in schema.get("anyOf", []) if option.get("type") != "null"]
    if options:
        return " or ".join(dict.fromkeys(_kind(option) for option in options))
    if "enum" in schema:
        return " \\| ".join(_spelled(value) for value in schema["enum"])
    if "const" in schema:
        return _spelled(schema["const"])
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f"{least:g} to {most:g}"
    names = {"boolean": "true \\| false", "string": "text", "integer": "whole number"}
    return names.get(schema.get("type", ""), str(schema.get("type", "text")))


def _spelled(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
