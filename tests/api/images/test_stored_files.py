"""Form files that may be given by the id of a stored image."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import Request
from starlette.responses import JSONResponse

from api.errors import InvalidParameter, MissingImage, MultipleSources
from api.http import forms, openapi
from ml.params import Params
from ml.pixels import Picture
from ml.tool import Context, FileField, Tool, ToolResult
from tests.support.calling import small_picture


def _run(source: Picture, params: Params, context: Context) -> ToolResult:
    raise NotImplementedError  # forms are read before any tool runs


TOOL = Tool(
    "masked",
    "Masked",
    "Takes a mask.",
    Params,
    _run,
    files=(FileField("mask", "What to act on.", id_field="mask_id"), FileField("other", "No id.")),
)


async def _read(scope: Any, receive: Any, send: Any) -> None:
    form = await forms.read_tool_form(Request(scope, receive), TOOL)
    answer = {"files": sorted(form.files), "stored": form.stored_ids}
    await JSONResponse(answer)(scope, receive, send)


def read(data: dict[str, str], *files: str) -> dict[str, Any]:
    async def post() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(_read), base_url="http://t") as client:
            return await client.post("/", data=data, files={name: small_picture() for name in files})

    answer: dict[str, Any] = asyncio.run(post()).json()
    return answer


def test_a_file_or_the_id_of_a_stored_image_is_accepted() -> None:
    assert read({}, "image", "mask") == {"files": ["image", "mask"], "stored": {}}
    assert read({"mask_id": "img_1"}, "image") == {"files": ["image"], "stored": {"mask": "img_1"}}
    both = read({"mask_id": "img_1", "image_id": "img_2"})
    assert both == {"files": [], "stored": {"image": "img_2", "mask": "img_1"}}
    assert read({"mask_id": ""}, "image", "mask") == {"files": ["image", "mask"], "stored": {}}


def test_file_and_id_together_and_ids_of_unknown_fields_are_refused() -> None:
    with pytest.raises(InvalidParameter, match="send either mask") as refused:
        read({"mask_id": "img_1"}, "image", "mask")
    assert refused.value.param == "mask_id"
    with pytest.raises(InvalidParameter, match="not a parameter here"):
        read({"other_id": "img_1"}, "image")
    with pytest.raises(MultipleSources):
        read({"image_id": "img_1"}, "image")
    with pytest.raises(MissingImage):
        read({"mask_id": "img_1"})


def test_openapi_documents_the_id_fields() -> None:
    properties = openapi.form_schema(TOOL)["properties"]
    assert properties["mask_id"]["type"] == "string"
    assert "other_id" not in properties
