"""The OpenAPI document matches the server."""

import json
from pathlib import Path
from typing import Any

import pytest

from api.errors import ERROR_TABLE
from api.http import forms, json_calls, openapi_bodies
from api.http.removebg.openapi import RemoveBgFailure
from ml.catalogue import TOOLS
from tests.support.apps import local_api

DROP_IN = "/v1.0/"
HEADERS = {
    "X-Request-Id",
    "X-Credits-Charged",
    "X-Credits-Remaining",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit",
    "RateLimit-Policy",
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with local_api(tmp_path_factory.mktemp("openapi")) as api:
        answer = api.request("GET", "/openapi.json")
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json()
        return found


def operation(page: dict[str, Any], tool: str) -> dict[str, Any]:
    found: dict[str, Any] = page["paths"][f"/api/tools/{tool}"]["post"]
    return found


@pytest.mark.parametrize("tool", TOOLS)
def test_the_form_of_a_tool_has_each_parameter_the_image_and_its_files(
    page: dict[str, Any], tool: str
) -> None:
    form = operation(page, tool)["requestBody"]["content"]["multipart/form-data"]["schema"]
    files = {name for field in TOOLS[tool].files for name in (field.name, field.id_field) if name}
    files |= {f"{field.name}_url" for field in TOOLS[tool].files}
    sources = {"image", "image_id", "image_url"}
    assert set(form["properties"]) == {*TOOLS[tool].params.model_fields, *sources, *files}
    assert form["additionalProperties"] is False
    assert form["properties"]["quality"]["maximum"] == 100
    assert form["properties"]["image"]["format"] == "binary"
    for name in set(form["properties"]) - files - sources:
        assert form["properties"][name].get("description"), name


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_takes_json_of_the_same_names(page: dict[str, Any], tool: str) -> None:
    content = operation(page, tool)["requestBody"]["content"]
    body, form = content["application/json"], content["multipart/form-data"]
    assert set(body["schema"]["properties"]) == set(form["schema"]["properties"])
    for name in ("image", *(field.name for field in TOOLS[tool].files)):
        assert body["schema"]["properties"][name]["$ref"] == "#/components/schemas/FileSource"
    ways = page["components"]["schemas"]["FileSource"]["oneOf"]
    assert [set(way["properties"]) for way in ways] == [{"url"}, {"base64"}, {"image_id"}]
    assert body["example"]["image"] == {"url": "https://example.com/photo.jpg"}


@pytest.mark.parametrize("tool", TOOLS)
def test_the_example_of_json_is_a_call(tool: str) -> None:
    """Everything but the image's address, which nobody should fetch, is accepted."""
    sent = openapi_bodies.example(tool)
    content = bytearray(json.dumps(sent).encode())
    params = TOOLS[tool].params
    names, lists = forms.parameter_names(params), forms.list_names(params)
    read = json_calls.read(content, {"image": "image"}, names, lists)
    assert read.urls == {"image": "https://example.com/photo.jpg"}
    forms.validated(params, read.texts)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_lists_every_error_with_its_codes_and_headers(page: dict[str, Any], tool: str) -> None:
    responses = operation(page, tool)["responses"]
    assert set(responses) == {"200"} | {str(status) for status, _ in ERROR_TABLE.values()}
    for status, code in ERROR_TABLE.values():
        described = responses[str(status)]
        assert code in described["content"]["application/json"]["examples"]
        assert set(described["headers"]) >= HEADERS
    assert all("Retry-After" in responses[retried]["headers"] for retried in ("409", "429", "503"))


@pytest.mark.parametrize("tool", TOOLS)
def test_a_success_is_json_or_an_image_and_has_an_example(page: dict[str, Any], tool: str) -> None:
    success = operation(page, tool)["responses"]["200"]
    assert {"application/json", "image/png", "image/jpeg", "image/webp", "image/avif"} <= set(
        success["content"]
    )
    assert success["content"]["application/json"]["example"]["data"]["imageUrl"].startswith("https://")
    assert set(success["headers"]) >= HEADERS | {"Idempotent-Replayed"}


def test_every_example_of_an_error_says_whether_a_retry_may_succeed(page: dict[str, Any]) -> None:
    assert "retryable" in page["components"]["schemas"]["ErrorBody"]["required"]
    answers = operation(page, "crop")["responses"]
    retryable = {
        code: example["value"]["error"]["retryable"]
        for status, answer in answers.items()
        if status != "200"
        for code, example in answer["content"]["application/json"]["examples"].items()
    }
    assert {code for code in ("OVERLOADED", "MODEL_UNAVAILABLE", "INVALID_PARAMETER") if retryable[code]} == {
        "OVERLOADED"
    }


def test_an_upload_declares_its_key_and_its_size(page: dict[str, Any]) -> None:
    described = page["paths"]["/api/images"]["post"]
    assert [parameter["name"] for parameter in described["parameters"]] == ["Idempotency-Key"]
    assert {"width", "height"} <= set(page["components"]["schemas"]["UploadData"]["required"])
    assert "409" in described["responses"]


def test_every_operation_declares_the_common_errors(page: dict[str, Any]) -> None:
    for path, operations in page["paths"].items():
        for method, described in operations.items():
            responses = set(described["responses"])
            assert responses >= {"400", "500", "503"}, (method, path)
            if described.get("security"):
                unauthorized = set() if path.startswith(DROP_IN) else {"401"}
                assert responses >= {*unauthorized, "403", "429"}, (method, path)
            for status in responses & {"409", "429", "503"}:
                assert "Retry-After" in described["responses"][status]["headers"], (method, path)


def test_every_error_has_our_shape_or_that_of_the_drop_in(page: dict[str, Any]) -> None:
    for path, operations in page["paths"].items():
        shape = "RemoveBgFailure" if path.startswith(DROP_IN) else "Failure"
        for described in operations.values():
            for status, response in described["responses"].items():
                if status >= "400":
                    schema = response["content"]["application/json"]["schema"]
                    assert schema == {"$ref": f"#/components/schemas/{shape}"}
    assert not {"HTTPValidationError", "ValidationError"} & set(page["components"]["schemas"])


def test_every_reference_resolves(page: dict[str, Any]) -> None:
    def references(part: Any) -> list[str]:
        if isinstance(part, dict):
            own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
            return own + [found for inner in part.values() for found in references(inner)]
        return [found for inner in part for found in references(inner)] if isinstance(part, list) else []

    found = references(page)
    assert found
    for reference in found:
        place: Any = page
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_only_authenticated_operations_declare_security(page: dict[str, Any]) -> None:
    secured = {
        (method, path)
        for path, operations in page["paths"].items()
        for method, described in operations.items()
        if described.get("security")
    }
    expected = {("post", f"/api/tools/{tool}") for tool in TOOLS}
    expected |= {
        ("post", "/api/images"),
        ("delete", "/api/images/{image_id}"),
        ("get", "/api/account"),
        ("get", "/api/usage"),
        ("post", "/v1.0/removebg"),
        ("get", "/v1.0/account"),
    }
    assert secured == expected
    assert set(page["components"]["securitySchemes"]) == {"ApiKeyBearer", "ApiKeyHeader"}


def test_the_drop_in_declares_its_bodies_and_examples(page: dict[str, Any]) -> None:
    described = page["paths"]["/v1.0/removebg"]["post"]
    assert described["tags"] == ["remove.bg drop-in"]
    bodies = described["requestBody"]["content"]
    assert set(bodies) == {"multipart/form-data", "application/x-www-form-urlencoded", "application/json"}
    fields = set(bodies["multipart/form-data"]["schema"]["properties"])
    assert fields >= {"image_file", "image_file_b64", "image_url", "size", "format", "bg_image_file", "roi"}
    examples = described["responses"]["400"]["content"]["application/json"]["examples"]
    for code, example in examples.items():
        RemoveBgFailure.model_validate(example["value"])
        assert example["value"]["errors"][0]["code"] == code
    assert set(described["responses"]["200"]["content"]) >= {
        "application/json",
        "image/png",
        "application/zip",
    }
    assert {"X-Type", "X-Foreground-Top", "X-Max-Width"} <= set(described["responses"]["200"]["headers"])


def test_the_page_loads_nothing_from_another_host(tmp_path: Path) -> None:
    with local_api(tmp_path) as api:
        for path in ("/docs", "/redoc"):
            assert api.request("GET", path).status_code == 404  # FastAPI's load scripts from elsewhere
