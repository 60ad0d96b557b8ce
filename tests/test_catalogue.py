"""`Params` is the single source of the catalogue, the OpenAPI document and the README table."""

from typing import Any

import pytest

from api.http import tool_docs
from ml.catalogue import TOOLS
from tests.support import documented
from tests.support.apps import local_api

#: The only parameters without a default, because no default would be sensible.
REQUIRED = {("brush", "op")}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with local_api(tmp_path_factory.mktemp("catalogue")) as api:
        return {path: api.request("GET", path).json() for path in ("/api/tools", "/openapi.json")}


def test_the_catalogue_lists_the_tools_in_their_order(served: dict[str, Any]) -> None:
    assert [tool["name"] for tool in served["/api/tools"]["data"]] == list(TOOLS)


@pytest.mark.parametrize("name", TOOLS)
def test_the_catalogue_repeats_the_parameters(served: dict[str, Any], name: str) -> None:
    entry = next(tool for tool in served["/api/tools"]["data"] if tool["name"] == name)
    assert entry["parameters"] == TOOLS[name].params.model_json_schema()
    assert entry["title"] == TOOLS[name].title
    assert entry["path"] in served["/openapi.json"]["paths"]


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` without what the document leaves out for generated clients: titles and null."""
    parts = {part: one for part, one in schema.items() if one is not None and part != "title"}
    kinds = [kind for kind in parts.get("anyOf", []) if kind != {"type": "null"}]
    return (
        {**{part: one for part, one in parts.items() if part != "anyOf"}, **kinds[0]}
        if len(kinds) == 1
        else parts
    )


@pytest.mark.parametrize("name", TOOLS)
def test_catalogue_and_openapi_describe_each_parameter_identically(served: dict[str, Any], name: str) -> None:
    entry = next(tool for tool in served["/api/tools"]["data"] if tool["name"] == name)
    operation = served["/openapi.json"]["paths"][entry["path"]]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    for parameter, described in entry["parameters"]["properties"].items():
        assert _plain(form["properties"][parameter]) == _plain(described)


@pytest.mark.parametrize("name", TOOLS)
def test_every_parameter_is_described_and_parses_text(name: str) -> None:
    params = TOOLS[name].params
    for parameter, field in params.model_fields.items():
        assert field.description, parameter
        assert field.is_required() == ((name, parameter) in REQUIRED), parameter


def test_the_readme_table_is_up_to_date() -> None:
    present = documented.README.read_text()
    assert documented.with_tools(present) == present, "make docs writes it again"


def test_the_table_names_every_parameter() -> None:
    table = tool_docs.tools_markdown()
    for tool in TOOLS.values():
        for parameter in tool.params.model_fields:
            assert f"| `{parameter}` |" in table
        for file in tool.files:
            assert f"| `{file.name}` |" in table
