"""The tables of tools in the README and on the reference page, generated from each tool's `Params`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ml.catalogue import TOOLS
from ml.params import Params
from ml.tool import Tool

_HEAD = ["| Parameter | Values (default) | What it does |", "|---|---|---|"]


@dataclass(frozen=True)
class Row:
    """One form field: its values, with the default in brackets, and its effect."""

    name: str
    values: str
    description: str


def common_rows() -> list[Row]:
    """The parameters of every tool."""
    return list(_rows(_properties(Params)))


def rows_of(tool: Tool) -> list[Row]:
    """The further parameters of this tool; its files come last."""
    common = _properties(Params)
    own = {name: each for name, each in _properties(tool.params).items() if name not in common}
    files = [Row(field.name, "file", field.description) for field in tool.files]
    return [*_rows(own), *files]


def tools_markdown() -> str:
    """One table of the common parameters, then one for each tool."""
    parts = ["Every tool takes:", "", *_HEAD, *map(_markdown, common_rows())]
    for tool in TOOLS.values():
        parts += ["", f"**`POST /api/tools/{tool.name}`** {tool.summary}", "", *_HEAD]
        parts += map(_markdown, rows_of(tool))
    return "\n".join(parts)


def _properties(params: type[Params]) -> dict[str, dict[str, Any]]:
    properties: dict[str, dict[str, Any]] = params.model_json_schema()["properties"]
    return properties


def _rows(properties: Mapping[str, Mapping[str, Any]]) -> Iterator[Row]:
    for name, schema in properties.items():
        yield Row(name, _values(schema), schema.get("description", ""))


def _markdown(row: Row) -> str:
    return f"| `{row.name}` | {_cell(row.values)} | {_cell(row.description)} |"


def _values(schema: Mapping[str, Any]) -> str:
    default = schema.get("default")
    shown = "" if default is None else f" ({_text(default)})"
    return _kind(schema) + shown


def _kind(schema: Mapping[str, Any]) -> str:
    """The values of a parameter in short: the listed values, the range, or the type."""
    options = [option for option in schema.get("anyOf", []) if option.get("type") != "null"]
    if options:
        return " or ".join(dict.fromkeys(_kind(option) for option in options))
    if "enum" in schema:
        return " | ".join(_text(value) for value in schema["enum"])
    if "const" in schema:
        return _text(schema["const"])
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f"{least:g} to {most:g}"
    names = {"boolean": "true | false", "string": "text", "integer": "whole number"}
    return names.get(schema.get("type", ""), str(schema.get("type", "text")))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
