"""The form of a batch: its images in one of four ways, and one tool with its parameters or a list of steps.

A JSON object may have the same fields, except files.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Annotated, Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from python_multipart.multipart import parse_options_header

from api.batches import archives, item_names, steps
from api.batches.acceptance import IDS_FIELD, ITEMS_MAX, STEPS_FIELD, BatchSource
from api.batches.runs import URLS_FIELD
from api.batches.steps import STEPS_MAX, BatchStep
from api.errors import (
    FileTooLarge,
    InvalidParameter,
    InvalidRequest,
    MissingImage,
    MultipleSources,
    NotFound,
)
from api.http import forms, json_calls, multipart
from api.http.multipart import Part
from api.images import service as images
from api.images.spooling import Spool
from api.images.storage import is_image_id
from api.remote_files.remote_urls import URL_LENGTH_MAX
from api.services import Services
from ml.catalogue import TOOLS
from ml.errors import BadParameter, UnsupportedFormat
from ml.imaging import codecs
from ml.tool import Tool

ARCHIVE_FIELD, IMAGES_FIELD = archives.FIELD, "images"
TOOL_FIELD, RETENTION_FIELD = "tool", "retention_hours"
RETENTION_HOURS_DEFAULT, RETENTION_HOURS_MAX = 24, 7 * 24
_OWN_TEXTS = {IDS_FIELD, URLS_FIELD, TOOL_FIELD, STEPS_FIELD, RETENTION_FIELD, forms.CALLBACK_URL}
_SOURCES = (ARCHIVE_FIELD, IMAGES_FIELD, IDS_FIELD, URLS_FIELD)
#: An archive is as large as the whole body may be; an image that is too large only fails itself.
_LIMITS = multipart.Limits(
    files=ITEMS_MAX, fields=64, file_bytes=archives.UNPACKED_BYTES_MAX, text_bytes=4 * 1024**2
)
_SHOWN_LENGTH = 100
_JSON = b"application/json"

#: Of a URL or of an image's id, which is far shorter.
_Name = Annotated[str, StringConstraints(min_length=1, max_length=URL_LENGTH_MAX)]
_NAMES = TypeAdapter(Annotated[list[_Name], Field(min_length=1, max_length=ITEMS_MAX)])


class _SentStep(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tool: str
    params: dict[str, Any] = Field(default_factory=dict)


_STEPS = TypeAdapter(Annotated[list[_SentStep], Field(min_length=1, max_length=STEPS_MAX)])


@dataclass(frozen=True)
class BatchForm:
    steps: list[BatchStep]
    sources: list[BatchSource]
    retention: timedelta
    callback_url: str | None


async def read_batch_form(request: Request, services: Services, account_id: str, spool: Spool) -> BatchForm:
    """The body of a batch, whose files go to `spool`. Raises `RequestError`s."""
    texts, files = await _read(request, spool)
    sent = [*(name for name in (IDS_FIELD, URLS_FIELD) if texts.get(name)), *files]
    if len(sent) > 1:
        raise MultipleSources(f"Send the images in one way: {' and '.join(sent)} were sent.")
    if not sent:
        raise MissingImage(f"The request has no images. Send {', '.join(_SOURCES[:-1])} or {_SOURCES[-1]}.")
    retention = _retention(texts.get(RETENTION_FIELD, ""))
    callback_url = texts.get(forms.CALLBACK_URL) or None
    if callback_url is not None:
        services.webhook_sender.check_url(callback_url, forms.CALLBACK_URL)
    listed = await read_steps(services, account_id, texts)
    if ARCHIVE_FIELD in files:
        sources = await asyncio.to_thread(_of_archive, files[ARCHIVE_FIELD][0])
    elif IMAGES_FIELD in files:
        sources = await asyncio.to_thread(_of_files, files[IMAGES_FIELD])
    else:
        sources = await asyncio.to_thread(_of_names, sent[0], texts[sent[0]])
    return BatchForm(listed, sources, retention, callback_url)


async def read_steps(
    services: Services, account_id: str, texts: dict[str, str], *, all_ids: bool = False
) -> list[BatchStep]:
    """The steps of the form's texts. Raises `InvalidParameter`, `NotFound`.

    `all_ids`: each of a tool's further files may be the id of a stored image, `<file>_id`, as in the editor.
    """
    listed = await asyncio.to_thread(_steps, texts, all_ids=all_ids)
    for number, step in enumerate(listed):
        for file, image_id in step.stored_ids.items():
            await _check_stored(
                services, account_id, image_id, _sent_id_field(step.tool, file), texts, number
            )
    return [await _with_mask_mode(services, account_id, step) for step in listed]


async def _check_stored(
    services: Services, account_id: str, image_id: str, field: str, texts: dict[str, str], number: int
) -> None:
    """Raises `NotFound`, which names the field, for an image that the account does not have."""
    try:
        await services.database.read(lambda session: images.find(session, services, account_id, image_id))
    except NotFound as error:
        message = f"{field}: {error}"
        if texts.get(TOOL_FIELD):
            raise forms.named(NotFound(message), field) from None
        raise forms.named(NotFound(f"{STEPS_FIELD}: in step {number + 1}, {message}"), STEPS_FIELD) from None


async def _read(request: Request, spool: Spool) -> tuple[dict[str, str], dict[str, list[Part]]]:
    """The texts and the files by field."""
    media_type, options = parse_options_header(request.headers.get("content-type"))
    forms.check_encoding(request, options)
    if media_type == _JSON:
        return await _read_json(request), {}
    if media_type != b"multipart/form-data" or not options.get(b"boundary"):
        raise InvalidRequest(
            "Send the batch as multipart/form-data, as in: curl -F images=@a.jpg -F tool=crop"
        )
    texts: dict[str, str] = {}
    files: dict[str, list[Part]] = {}
    for part in await multipart.read_parts(request.stream(), options[b"boundary"], _LIMITS, spool):
        shown = part.name[:_SHOWN_LENGTH]
        if part.name in (ARCHIVE_FIELD, IMAGES_FIELD):
            if not part.is_file:
                raise InvalidParameter(shown, f"{shown} must be sent as a file.")
            files.setdefault(part.name, []).append(part)
        elif part.is_file and part.has_file_name:
            raise InvalidParameter(
                shown, f"{shown}: a batch takes no files but {_SOURCES[0]} or {_SOURCES[1]}."
            )
        elif part.name in texts:
            raise InvalidParameter(shown, f"{shown} was sent more than once.")
        else:
            texts[part.name] = part.text()
    if len(files.get(ARCHIVE_FIELD, ())) > 1:
        raise InvalidParameter(ARCHIVE_FIELD, f"{ARCHIVE_FIELD} was sent more than once.")
    return texts, files


async def _read_json(request: Request) -> dict[str, str]:
    content = bytearray()
    async for piece in request.stream():
        content += piece
    names = set(_OWN_TEXTS)
    lists = {IDS_FIELD, URLS_FIELD, STEPS_FIELD}
    for tool in TOOLS.values():
        names |= forms.parameter_names(tool.params) | _id_fields(tool).keys()
        lists |= forms.list_names(tool.params)
    read = await asyncio.to_thread(json_calls.read, content, {}, names, lists)
    return read.texts


def _steps(texts: dict[str, str], *, all_ids: bool = False) -> list[BatchStep]:
    """For a thread: strokes may be long."""
    own = {name: text for name, text in texts.items() if name not in _OWN_TEXTS}
    if texts.get(TOOL_FIELD) and texts.get(STEPS_FIELD):
        raise InvalidParameter(STEPS_FIELD, f"{STEPS_FIELD}: send either {TOOL_FIELD} or {STEPS_FIELD}.")
    if texts.get(TOOL_FIELD):
        listed = [_step(texts[TOOL_FIELD], own, all_ids=all_ids)]
    elif texts.get(STEPS_FIELD):
        for name in own:
            shown = name[:_SHOWN_LENGTH]
            raise InvalidParameter(shown, f"{shown}: with {STEPS_FIELD}, parameters are part of a step.")
        listed = [
            _numbered_step(number, each, all_ids=all_ids)
            for number, each in enumerate(_sent_steps(texts[STEPS_FIELD]))
        ]
    else:
        raise InvalidParameter(TOOL_FIELD, f"{TOOL_FIELD}: send {TOOL_FIELD} or {STEPS_FIELD}.")
    if len(steps.to_json(listed)) > steps.BYTES_MAX:
        field = STEPS_FIELD if texts.get(STEPS_FIELD) else TOOL_FIELD
        limit = f"{steps.BYTES_MAX // 1024} KiB"
        raise InvalidParameter(field, f"{field}: the parameters of a batch may have {limit} together.")
    return listed


def _sent_steps(text: str) -> list[_SentStep]:
    example = '[{"tool": "crop", "params": {"aspect_ratio": "1:1"}}]'
    if len(text) > steps.BYTES_MAX:
        raise InvalidParameter(STEPS_FIELD, f"{STEPS_FIELD}: at most {steps.BYTES_MAX // 1024} KiB.")
    try:
        return _STEPS.validate_json(text)
    except ValidationError:
        message = f"{STEPS_FIELD}: must be a JSON list of 1 to {STEPS_MAX} steps, as in {example}"
        raise InvalidParameter(STEPS_FIELD, message) from None


def _numbered_step(number: int, sent: _SentStep, *, all_ids: bool) -> BatchStep:
    try:
        texts = {name: text for name, each in sent.params.items() if (text := _text(name, each))}
        return _step(sent.tool, texts, all_ids=all_ids)
    except InvalidParameter as error:
        raise InvalidParameter(STEPS_FIELD, f"{STEPS_FIELD}: in step {number + 1}, {error.message}") from None


def _text(name: str, value: Any) -> str:
    """A value as a form sends it; empty for null."""
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case list():
            return TypeAdapter(list[Any]).dump_json(value).decode()
    shown = name[:_SHOWN_LENGTH]
    raise InvalidParameter(shown, f"{shown} must be a text, a number, true, false, a list or null.")


def _step(tool_name: str, texts: dict[str, str], *, all_ids: bool) -> BatchStep:
    tool = TOOLS.get(tool_name)
    if tool is None:
        raise InvalidParameter(TOOL_FIELD, f"{TOOL_FIELD}: must be one of {', '.join(TOOLS)}.")
    id_fields = _id_fields(tool, all_ids=all_ids)
    names = forms.parameter_names(tool.params)
    stored_ids = {}
    params = {}
    for name, text in texts.items():
        shown = name[:_SHOWN_LENGTH]
        if name in id_fields:
            if text and not is_image_id(text):
                raise InvalidParameter(name, f"{name}: is not the id of a stored image.")
            if text:
                stored_ids[id_fields[name]] = text
        elif name not in names:
            raise InvalidParameter(shown, f"{shown} is not a parameter of {tool.name} in a batch.")
        else:
            params[name] = text
    validated = forms.validated(tool.params, params)
    try:
        tool.check_files(validated, {forms.IMAGE, *stored_ids})
    except BadParameter as error:
        raise InvalidParameter(error.name, error.message) from None
    return BatchStep(tool, validated, stored_ids)


async def _with_mask_mode(services: Services, account_id: str, step: BatchStep) -> BatchStep:
    params = await images.with_mask_mode(services, account_id, step.params, step.stored_ids)
    return replace(step, params=params)


def _sent_id_field(tool: Tool, file: str) -> str:
    """The field that takes a stored image's id instead of this file."""
    return next(name for name, taken in _id_fields(tool, all_ids=True).items() if taken == file)


def _id_fields(tool: Tool, *, all_ids: bool = False) -> dict[str, str]:
    """The tool's files by the name of the field that takes a stored image's id instead."""
    named = {field.id_field: field.name for field in tool.files if field.id_field is not None}
    if not all_ids:
        return named
    return named | {f"{field.name}_id": field.name for field in tool.files if field.id_field is None}


def _retention(text: str) -> timedelta:
    if not text:
        return timedelta(hours=RETENTION_HOURS_DEFAULT)
    if not re.fullmatch("[0-9]{1,3}", text) or not 1 <= int(text) <= RETENTION_HOURS_MAX:
        message = f"{RETENTION_FIELD}: must be a whole number of hours from 1 to {RETENTION_HOURS_MAX}."
        raise InvalidParameter(RETENTION_FIELD, message)
    return timedelta(hours=int(text))


def _of_archive(part: Part) -> list[BatchSource]:
    """For a thread."""
    assert part.spooled is not None
    listed = archives.opened(part.spooled.opened(), files_max=ITEMS_MAX)
    return [BatchSource(each.name, each, error=each.error) for each in listed]


def _of_files(parts: Sequence[Part]) -> list[BatchSource]:
    """For a thread."""
    return [_of_file(part, position) for position, part in enumerate(parts)]


def _of_file(part: Part, position: int) -> BatchSource:
    name = item_names.of_upload(part.file_name, position)
    file = part.spooled
    assert file is not None
    try:
        images.check_size(file.size_bytes)
        images.sniff(file.read(codecs.SNIFF_BYTES))
    except (FileTooLarge, UnsupportedFormat) as error:
        return BatchSource(name, error=error)
    return BatchSource(name, file)


def _of_names(field: str, text: str) -> list[BatchSource]:
    what = "URLs" if field == URLS_FIELD else "ids of stored images"
    try:
        names = _NAMES.validate_json(text)
    except ValidationError as invalid:
        # The place of the first problem: empty for the list, else an entry's index.
        match invalid.errors(include_url=False, include_context=False)[0]["loc"]:
            case (int(index), *_):
                problem = f"entry {index + 1} must be a text of 1 to {URL_LENGTH_MAX:,} characters."
            case _:
                problem = f"must be a JSON list of 1 to {ITEMS_MAX:,} {what}, each a text."
        raise InvalidParameter(field, f"{field}: {problem}") from None
    if field == URLS_FIELD:
        return [BatchSource(item_names.of_url(url, at), url=url) for at, url in enumerate(names)]
    for number, image_id in enumerate(names):
        if not is_image_id(image_id):
            error = NotFound(f"{field}: image {number + 1} does not exist.")
            raise forms.named(error, field)
    return [BatchSource(image_id, image_id=image_id) for image_id in names]
