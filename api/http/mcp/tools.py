"""What agents are offered: a tool for each tool of the catalogue, and three that cost nothing.

All of it is JSON Schema, from `Params` and from the shapes of the REST answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from api.http import openapi
from api.http.schemas import AccountData, CatalogueData, ToolData, UploadData
from ml.catalogue import TOOLS
from ml.tool import Tool

ACCOUNT = "account"
LIST_TOOLS = "list-tools"
UPLOAD_IMAGE = "upload-image"
IMAGE = "image"
IDEMPOTENCY_KEY = "idempotency_key"
URL, BASE64, IMAGE_ID = "url", "base64", "image_id"

INSTRUCTIONS = (
    "Edits images. Every successful edit costs 1 credit; refused edits, uploads and the other tools cost"
    " nothing. Give an image by url, base64 or image_id. An answer has a preview, an imageId that further"
    " edits take, and the imageUrl of the full result, which needs no key and works for 24 hours."
)
#: Parameters that are JSON written as text. Agents may also send the JSON itself.
_JSON_TEXTS = frozenset({"box", "points", "strokes"})
_IDEMPOTENCY = {
    "type": "string",
    "minLength": 1,
    "maxLength": 255,
    "description": "Repeating a call with the same key and arguments within 24 hours repeats its answer and"
    " costs nothing.",
}


@dataclass(frozen=True)
class Offer:
    """One tool as agents see it."""

    name: str
    title: str
    description: str
    arguments: dict[str, Any]
    answer: dict[str, Any]
    #: Whether it changes nothing, not even the number of credits.
    is_read_only: bool = False


def offers() -> list[Offer]:
    """Every tool; those of the catalogue come first."""
    edits = [
        Offer(
            tool.name,
            tool.title,
            f"{tool.summary} Costs 1 credit if it succeeds.",
            edit_arguments(tool),
            _answer(ToolData, requestId={"type": "string"}, replayed=_REPLAYED),
        )
        for tool in TOOLS.values()
    ]
    stored = _file("The image to store.", (URL, BASE64))
    return [
        *edits,
        Offer(
            UPLOAD_IMAGE,
            "Upload an image",
            "Store an image, so that several edits can take it by its image_id. Free.",
            _object({IMAGE: stored, IDEMPOTENCY_KEY: _IDEMPOTENCY}, [IMAGE]),
            _answer(UploadData, requestId={"type": "string"}, replayed=_REPLAYED),
        ),
        Offer(
            ACCOUNT,
            "Account",
            "The credits left, the plan and its limits. Free.",
            _object({}),
            _answer(AccountData),
            is_read_only=True,
        ),
        Offer(
            LIST_TOOLS,
            "Tools and models",
            "The tools for editing, and the models that are installed for each. Free.",
            _object({}),
            _answer(CatalogueData),
            is_read_only=True,
        ),
    ]


def edit_arguments(tool: Tool) -> dict[str, Any]:
    """The arguments of a tool of the catalogue as JSON Schema."""
    schema = tool.params.model_json_schema()
    properties = {
        IMAGE: _file("The image to edit."),
        **{field.name: _file(field.description) for field in tool.files},
        **{name: _parameter(name, each) for name, each in schema["properties"].items()},
        IDEMPOTENCY_KEY: _IDEMPOTENCY,
    }
    return _object(properties, [IMAGE, *schema.get("required", [])])


def _file(description: str, sources: tuple[str, ...] = (URL, BASE64, IMAGE_ID)) -> dict[str, Any]:
    described = {
        URL: "A public https URL of it.",
        BASE64: "The file as base64 or as a data URL; at most 25 MiB decoded.",
        IMAGE_ID: "The imageId of an earlier answer.",
    }
    return {
        **_object({source: {"type": "string", "description": described[source]} for source in sources}),
        "minProperties": 1,
        "maxProperties": 1,
        "description": f"{description} Give exactly one of {', '.join(sources)}.",
    }


def _parameter(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    plain = openapi.without_null(schema)
    if name in _JSON_TEXTS:
        plain["description"] += " The JSON itself is accepted as well as its text."
    return plain


def _answer(model: type[BaseModel], **further: dict[str, Any]) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=True, mode="serialization")
    schema["properties"].update(further)
    schema["required"] = [*schema.get("required", []), *further]
    return schema


_REPLAYED = {"type": "boolean", "description": "Whether the answer of an earlier identical call is repeated."}


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    required_names = {"required": required} if required else {}
    return {"type": "object", "properties": properties, **required_names, "additionalProperties": False}
