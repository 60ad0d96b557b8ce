"""The OpenAPI document matches the server."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from api.alerts.models import AlertKind
from api.errors import ERROR_TABLE
from api.http import forms, json_calls, openapi_bodies
from api.http.removebg.openapi import RemoveBgFailure
from ml.catalogue import TOOLS
from tests.support.apps import LocalApi, local_api

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
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalApi]:
    with local_api(tmp_path_factory.mktemp("openapi")) as opened:
        yield opened


@pytest.fixture(scope="module")
def page(api: LocalApi) -> dict[str, Any]:
    answer = api.request("GET", "/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def operations(page: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in page["paths"].items():
        for method, described in methods.items():
            yield method, path, described


def validate(page: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    """Raise unless `value` is valid by a schema of the document, which may refer to others."""
    jsonschema.Draft202012Validator({**schema, "components": page["components"]}).validate(value)


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
    sources = {"image", "image_id", "image_url", forms.CALLBACK_URL}
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
    assert set(responses) == {"200", "202"} | {str(status) for status, _ in ERROR_TABLE.values()}
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
        if int(status) >= 300
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
                    is_not_ready = (path, status) == ("/readyz", "503")
                    name = "NotReady" if is_not_ready else shape
                    assert schema == {"$ref": f"#/components/schemas/{name}"}
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


def test_each_alert_has_a_webhook_with_a_valid_example(page: dict[str, Any]) -> None:
    assert set(page["webhooks"]) == set(AlertKind)
    for event, described in page["webhooks"].items():
        (content,) = described["post"]["requestBody"]["content"].values()
        validate(page, content["schema"], content["example"])
        assert "webhook-event" in {each["name"] for each in described["post"]["parameters"]}, event


def test_the_guide_to_alerts_shows_the_same_examples(page: dict[str, Any]) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "alerts.md").read_text()
    shown = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", guide, re.DOTALL)]
    events = ("credits.low", "payment.failed", "key.ending", "account.sign_in")
    assert shown == [
        page["webhooks"][event]["post"]["requestBody"]["content"]["application/json"]["example"]
        for event in events
    ]
    assert all(f"`{event}`" in guide for event in page["webhooks"])


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
        ("get", "/api/jobs"),
        ("get", "/api/jobs/{job_id}"),
        ("delete", "/api/jobs/{job_id}"),
        ("get", "/api/jobs/{job_id}/events"),
        ("get", "/api/webhooks"),
        ("post", "/api/webhooks"),
        ("get", "/api/webhooks/{webhook_id}"),
        ("post", "/api/webhooks/{webhook_id}"),
        ("delete", "/api/webhooks/{webhook_id}"),
        ("post", "/api/webhooks/{webhook_id}/rotate"),
        ("post", "/api/webhooks/{webhook_id}/test"),
        ("get", "/api/webhooks/{webhook_id}/deliveries"),
        ("post", "/api/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver"),
        ("post", "/api/batches"),
        ("get", "/api/batches"),
        ("get", "/api/batches/{batch_id}"),
        ("delete", "/api/batches/{batch_id}"),
        ("get", "/api/batches/{batch_id}/items"),
        ("get", "/api/batches/{batch_id}/results.zip"),
        ("get", "/api/batches/{batch_id}/manifest.csv"),
        ("post", "/api/batches/{batch_id}/pause"),
        ("post", "/api/batches/{batch_id}/resume"),
        ("post", "/api/batches/{batch_id}/retry"),
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


def test_every_json_content_has_a_schema_and_valid_examples(page: dict[str, Any]) -> None:
    checked = 0
    for method, path, described in operations(page):
        contents = [described["requestBody"]["content"]] if "requestBody" in described else []
        contents += [response.get("content", {}) for response in described["responses"].values()]
        for media_type, content in ((kind, each) for every in contents for kind, each in every.items()):
            assert content["schema"], (method, path, media_type)
            examples = [content["example"]] if "example" in content else []
            examples += [example["value"] for example in content.get("examples", {}).values()]
            assert examples or media_type.startswith(("image/", "application/zip")), (method, path)
            for example in examples:
                validate(page, content["schema"], example)
                checked += 1
    assert checked > 200


@pytest.mark.parametrize("tool", TOOLS)
def test_the_example_of_a_form_is_valid_by_the_tools_parameters(page: dict[str, Any], tool: str) -> None:
    example = operation(page, tool)["requestBody"]["content"]["multipart/form-data"]["example"]
    texts = {name: value for name, value in example.items() if not str(value).startswith("@")}
    assert len(texts) >= 1
    TOOLS[tool].params.model_validate(texts)


def test_every_operation_has_a_name_of_its_own_and_a_success(page: dict[str, Any]) -> None:
    names = [described["operationId"] for _, _, described in operations(page)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in names)
    for method, path, described in operations(page):
        success = "202" if (method, path) == ("post", "/api/batches") else "200"
        assert described["responses"][success]["content"], (method, path)
        assert described["responses"][success]["headers"]["X-Request-Id"], (method, path)


def test_headers_that_are_numbers_are_declared_as_numbers(page: dict[str, Any]) -> None:
    types: dict[str, set[str]] = {}
    for _, _, described in operations(page):
        for response in described["responses"].values():
            for name, header in response.get("headers", {}).items():
                types.setdefault(name, set()).add(header["schema"]["type"])
    texts = {name for name, kinds in types.items() if kinds == {"string"}}
    assert texts == {
        "Cache-Control",
        "ETag",
        "Idempotent-Replayed",
        "Location",
        "Preference-Applied",
        "RateLimit",
        "RateLimit-Policy",
        "X-Request-Id",
        "X-Type",
    }
    assert {kind for name in types.keys() - texts for kind in types[name]} == {"integer"}


@pytest.mark.parametrize(
    "path", ["/api/account", "/api/usage", "/api/tools", "/healthz", "/readyz", "/v1.0/account"]
)
def test_an_answer_is_valid_by_its_schema(api: LocalApi, page: dict[str, Any], path: str) -> None:
    key = api.new_key(f"{re.sub(r'[^a-z]', '', path)}@example.com")
    answers = [api.request("GET", path, headers=headers) for headers in ({"X-Api-Key": key}, {})]
    for answer in answers:
        described = page["paths"][path]["get"]["responses"][str(answer.status_code)]
        validate(page, described["content"]["application/json"]["schema"], answer.json())
        for name, header in described["headers"].items():
            if name in answer.headers and header["schema"]["type"] == "integer":
                assert answer.headers[name].isdigit()


def test_a_refused_call_is_valid_by_its_schema(api: LocalApi, page: dict[str, Any]) -> None:
    key = api.new_key("refused@example.com")
    answer = api.request("POST", "/api/tools/crop", headers={"X-Api-Key": key}, data={"quality": "101"})
    described = operation(page, "crop")["responses"][str(answer.status_code)]
    validate(page, described["content"]["application/json"]["schema"], answer.json())


def test_the_server_and_the_contact_are_settings(tmp_path: Path, page: dict[str, Any]) -> None:
    assert page["servers"] == [{"url": "/"}]
    assert "contact" not in page["info"]
    with local_api(
        tmp_path, public_url="https://images.example.com", contact_email="help@example.com"
    ) as api:
        described = api.request("GET", "/openapi.json").json()
    assert described["servers"] == [{"url": "https://images.example.com"}]
    assert described["info"]["contact"] == {"email": "help@example.com"}
