"""Tools for agents, with the SDK's own client against the real server."""

import io
import json
from base64 import b64decode, b64encode
from typing import Any

import httpx
import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult, ImageContent, TextContent
from PIL import Image

from ml.catalogue import TOOLS
from tests.api.http.mcp.conftest import MODES, as_agent
from tests.support.calling import crop, small_picture
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import RunningServer

BOX = {"x": 5, "y": "5", "width": 20, "height": 10}


def base64(content: bytes) -> dict[str, str]:
    return {"base64": b64encode(content).decode()}


def fields_of(result: CallToolResult) -> dict[str, Any]:
    """The structured content, which the text repeats."""
    text = result.content[0]
    assert isinstance(text, TextContent)
    fields = result.structured_content
    assert isinstance(fields, dict)
    assert json.loads(text.text) == fields
    return fields


def error_of(result: CallToolResult) -> dict[str, Any]:
    assert result.is_error
    fields = fields_of(result)
    assert set(fields) == {"error", "requestId"}
    error: dict[str, Any] = fields["error"]
    assert {"code", "message", "param", "retryable"} <= set(error)
    return error


def preview_of(result: CallToolResult) -> Image.Image:
    (image,) = [each for each in result.content if isinstance(each, ImageContent)]
    assert image.mime_type == "image/webp"
    return Image.open(io.BytesIO(b64decode(image.data)))


@pytest.mark.parametrize("mode", MODES)
def test_there_is_a_tool_for_each_of_the_catalogue_and_three_free_ones(
    server: RunningServer, mode: str
) -> None:
    async def list_tools(client: Client) -> list[Any]:
        return (await client.list_tools()).tools

    listed = {tool.name: tool for tool in as_agent(server, server.customer, list_tools, mode)}
    assert list(listed) == [*TOOLS, "upload-image", "account", "list-tools"]
    for tool in TOOLS.values():
        offered = listed[tool.name]
        assert tool.summary in offered.description
        names = {"image", "idempotency_key", *(field.name for field in tool.files)}
        assert set(offered.input_schema["properties"]) == names | set(tool.params.model_fields)
        assert all(each.get("description") for each in offered.input_schema["properties"].values())
        assert {"imageUrl", "creditsCharged", "replayed"} <= set(offered.output_schema["required"])


@pytest.mark.parametrize("mode", MODES)
def test_a_call_answers_with_a_url_the_numbers_and_a_small_preview(server: RunningServer, mode: str) -> None:
    customer = server.new_customer(credits=2)
    tall = jpeg_bytes(photo("coffee")[:, :100].repeat(2, axis=0))  # 100 x 800

    async def call(client: Client) -> list[CallToolResult]:
        first = await client.call_tool("crop", {"image": base64(tall), "width": 80})
        stored = {"image_id": fields_of(first)["imageId"]}
        second = await client.call_tool("crop", {"image": stored, **BOX, "format": "PNG"})
        again = await client.call_tool("crop", {"image": stored, **BOX, "format": "png"})
        return [first, second, again]

    first, second, again = as_agent(server, customer, call, mode)
    fields = fields_of(first)
    assert not first.is_error
    assert (fields["width"], fields["height"], fields["format"]) == (80, 800, "jpg")
    assert (fields["creditsCharged"], fields["creditsRemaining"], fields["replayed"]) == (1, 1, False)
    downloaded = httpx.get(fields["imageUrl"])
    assert Image.open(io.BytesIO(downloaded.content)).size == (80, 800)
    assert preview_of(first).size == (51, 510)
    assert (fields_of(second)["width"], fields_of(second)["format"]) == (20, "png")
    assert preview_of(second).size == (20, 10)
    repeated = fields_of(again)
    assert (repeated["creditsCharged"], repeated["replayed"]) == (0, True)
    assert repeated["imageId"] == fields_of(second)["imageId"]
    assert server.balance(customer) == (0, 0)


def test_an_agent_gets_the_progress_of_a_call(server: RunningServer) -> None:
    reports: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        reports.append((progress, total, message))

    async def call(client: Client) -> CallToolResult:
        arguments = {"image": base64(jpeg_bytes(photo("coffee")[:200])), "model": "fast", "crop": True}
        return await client.call_tool("bg-removal", arguments, progress_callback=note)

    result = as_agent(server, server.new_customer(), call)
    assert fields_of(result)["creditsCharged"] == 1
    shares = [progress for progress, _, _ in reports]
    assert len(shares) >= 2
    assert shares == sorted(set(shares))
    assert all(total == 1.0 and message for _, total, message in reports)


def test_a_call_is_the_same_as_the_rest_routes(server: RunningServer) -> None:
    customer = server.new_customer(credits=1)
    picture = small_picture()
    answered = crop(server, customer, picture).json()["data"]

    async def call(client: Client) -> CallToolResult:
        return await client.call_tool("crop", {"image": base64(picture), "width": 10, "height": 10})

    repeated = fields_of(as_agent(server, customer, call))
    assert (repeated["imageId"], repeated["replayed"]) == (answered["imageId"], True)
    with server.client(customer) as client:
        (entry,) = client.get("/api/usage").json()["data"]
        assert (entry["tool"], entry["credits"]) == ("crop", 1)  # replays are logged later


def test_an_idempotency_key_belongs_to_one_call(server: RunningServer) -> None:
    customer = server.new_customer(credits=5)
    picture = base64(small_picture())

    async def call(client: Client) -> list[CallToolResult]:
        common = {"image": picture, "idempotency_key": "first"}
        return [await client.call_tool("crop", {**common, "width": width}) for width in (10, 10, 11)]

    first, again, other = as_agent(server, customer, call)
    assert [fields_of(each)["creditsCharged"] for each in (first, again)] == [1, 0]
    assert error_of(other)["code"] == "IDEMPOTENCY_MISMATCH"
    assert server.balance(customer) == (4, 0)


def test_json_values_may_be_sent_as_they_are(server: RunningServer) -> None:
    strokes = [{"points": [[5, 5], [20, 20]], "size": 6}]
    picture = base64(small_picture())

    async def call(client: Client) -> list[CallToolResult]:
        common = {"image": picture, "op": "paint", "color": "#f00"}
        return [
            await client.call_tool("brush", {**common, "strokes": value})
            for value in (strokes, json.dumps(strokes, separators=(",", ":")))
        ]

    plain, as_text = as_agent(server, server.new_customer(), call)
    assert not plain.is_error
    assert fields_of(as_text)["imageId"] == fields_of(plain)["imageId"]


@pytest.mark.parametrize("shape", [(135, 4), (1_000, 100), (1, 3_000)])
def test_strokes_are_accepted_up_to_their_own_limits(server: RunningServer, shape: tuple[int, int]) -> None:
    number, points = shape
    strokes = [
        {"points": [[5.5, 6.5], [7.5, 8.5]] * (points // 2), "size": 2, "hardness": 0.5, "opacity": 1}
    ] * number
    arguments = {"image": base64(small_picture()), "op": "erase"}

    async def call(client: Client) -> list[CallToolResult]:
        return [
            await client.call_tool("brush", {**arguments, "strokes": value})
            for value in (strokes, json.dumps(strokes, separators=(",", ":")))
        ]

    plain, as_text = as_agent(server, server.new_customer(), call)
    assert not plain.is_error, plain.structured_content
    assert fields_of(as_text)["imageId"] == fields_of(plain)["imageId"]


@pytest.mark.parametrize("shape", [(1_001, 1), (2, 51_000), (1, 400_000)])
def test_too_many_strokes_are_a_tool_error_that_names_them(
    server: RunningServer, shape: tuple[int, int]
) -> None:
    number, points = shape
    strokes = [{"points": [[5, 6]] * points}] * number
    arguments = {"image": base64(small_picture()), "op": "erase", "strokes": json.dumps(strokes)}

    async def call(client: Client) -> list[CallToolResult]:
        as_text = await client.call_tool("brush", arguments)
        if points == 400_000:
            return [as_text]
        return [as_text, await client.call_tool("brush", {**arguments, "strokes": strokes})]

    for result in as_agent(server, server.new_customer(), call):
        assert (error_of(result)["code"], error_of(result)["param"]) == ("INVALID_PARAMETER", "strokes")


def test_free_tools_upload_and_show_the_account_and_the_models(server: RunningServer) -> None:
    customer = server.new_customer(credits=3)
    picture = base64(small_picture())

    async def call(client: Client) -> list[CallToolResult]:
        upload = await client.call_tool("upload-image", {"image": picture, "idempotency_key": "one"})
        again = await client.call_tool("upload-image", {"image": picture, "idempotency_key": "one"})
        account = await client.call_tool("account")
        return [upload, again, account, await client.call_tool("list-tools", {})]

    upload, again, account, catalogue = (fields_of(each) for each in as_agent(server, customer, call))
    assert (upload["width"], upload["height"], upload["replayed"]) == (60, 40, False)
    assert (again["imageId"], again["replayed"]) == (upload["imageId"], True)
    assert httpx.get(upload["imageUrl"]).status_code == 200
    assert (account["email"], account["credits"]["available"]) == (customer.email, 3)
    assert [tool["name"] for tool in catalogue["tools"]] == list(TOOLS)
    assert "u2netp" in catalogue["tools"][0]["engines"]["installed"]


PICTURE = base64(small_picture())


@pytest.mark.parametrize(
    ("tool", "arguments", "code", "param"),
    [
        ("crop", {}, "MISSING_IMAGE", None),
        ("crop", {"image": {}}, "MISSING_IMAGE", None),
        ("crop", {"image": "photo.jpg"}, "INVALID_PARAMETER", "image"),
        ("crop", {"image": {"path": "/etc/passwd"}}, "INVALID_PARAMETER", "image.path"),
        ("crop", {"image": {"base64": 7}}, "INVALID_PARAMETER", "image.base64"),
        ("crop", {"image": {"base64": "!!!"}}, "INVALID_PARAMETER", "image.base64"),
        ("crop", {"image": {"base64": "TWFu"}}, "UNSUPPORTED_FORMAT", "image.base64"),
        ("crop", {"image": {"image_id": "img_none"}}, "NOT_FOUND", "image.image_id"),
        ("crop", {"image": {**PICTURE, "image_id": "img_none"}}, "MULTIPLE_SOURCES", None),
        ("crop", {"image": {"url": "http://example.com/a.png"}}, "INVALID_PARAMETER", "image.url"),
        ("crop", {"image": {"url": "https://127.0.0.1/a.png"}}, "INVALID_PARAMETER", "image.url"),
        ("crop", {"image": {"url": "https://169.254.169.254/"}}, "INVALID_PARAMETER", "image.url"),
        ("crop", {"image": {"url": "https://[::ffff:10.0.0.1]/"}}, "INVALID_PARAMETER", "image.url"),
        ("crop", {"image": {"url": "x" * 9000}}, "INVALID_PARAMETER", "image.url"),
        ("crop", {"image": PICTURE, "colour": "red"}, "INVALID_PARAMETER", "colour"),
        ("crop", {"image": PICTURE, "quality": 101}, "INVALID_PARAMETER", "quality"),
        ("crop", {"image": PICTURE, "quality": {"a": [1]}}, "INVALID_PARAMETER", "quality"),
        ("crop", {"image": PICTURE, "x": "9" * 9000}, "INVALID_PARAMETER", "x"),
        ("crop", {"image": PICTURE, "x": ["9" * 9000]}, "INVALID_PARAMETER", "x"),
        ("crop", {"image": PICTURE, "idempotency_key": "a\nb"}, "INVALID_PARAMETER", "idempotency_key"),
        ("crop", {"image": PICTURE, "x": 100}, "INVALID_PARAMETER", "x"),
        ("brush", {"image": PICTURE}, "INVALID_PARAMETER", "op"),
        ("brush", {"image": PICTURE, "op": "erase", "mask": {}}, "INVALID_PARAMETER", "mask"),
        ("upload-image", {"image": {"image_id": "img_none"}}, "INVALID_PARAMETER", "image.image_id"),
        ("upload-image", {"image": PICTURE, "width": 5}, "INVALID_PARAMETER", "width"),
        ("upload-image", {}, "MISSING_IMAGE", None),
        ("account", {"email": "b@example.com"}, "INVALID_PARAMETER", "email"),
        ("list-tools", {"x": 1}, "INVALID_PARAMETER", "x"),
    ],
)
def test_a_refusal_is_a_tool_error_that_names_the_parameter_and_costs_nothing(
    server: RunningServer, tool: str, arguments: dict[str, Any], code: str, param: str | None
) -> None:
    async def call(client: Client) -> CallToolResult:
        return await client.call_tool(tool, arguments)

    before = server.balance(server.customer)
    error = error_of(as_agent(server, server.customer, call))
    assert (error["code"], error["param"]) == (code, param), error
    assert server.balance(server.customer) == before


def test_a_call_without_credits_and_one_over_the_rate_are_tool_errors(server: RunningServer) -> None:
    customer = server.new_customer(credits=0)

    async def call(client: Client) -> list[CallToolResult]:
        # The plan's burst is 20 calls.
        return [
            await client.call_tool("crop", {"image": base64(small_picture()), "width": 5}) for _ in range(25)
        ]

    results = as_agent(server, customer, call)
    assert error_of(results[0])["code"] == "INSUFFICIENT_CREDITS"
    limited = [error for error in map(error_of, results) if error["code"] == "RATE_LIMITED"]
    assert limited
    assert all(error["retryable"] and error["retryAfterSeconds"] >= 1 for error in limited)


def test_a_file_over_the_limit_is_refused(server: RunningServer) -> None:
    async def call(client: Client) -> CallToolResult:
        large = small_picture().ljust(26 * 1024 * 1024, b"\0")
        return await client.call_tool("crop", {"image": base64(large)})

    error = error_of(as_agent(server, server.new_customer(), call))
    assert (error["code"], error["param"]) == ("FILE_TOO_LARGE", "image.base64")


def test_an_unknown_tool_is_an_error_of_the_protocol(server: RunningServer) -> None:
    async def call(client: Client) -> None:
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("rendition", {"image": PICTURE})

    as_agent(server, server.customer, call)
