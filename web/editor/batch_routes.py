"""`/editor/batches`: upload pictures, start batches of them, follow and control these, and fetch the results.

They call what `/api/batches` calls. A batch needs an account.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from python_multipart.multipart import parse_options_header
from sqlmodel import Session
from starlette.responses import Response

from api import response_bodies
from api.batches import acceptance
from api.batches import service as batches
from api.batches.acceptance import BatchRequest
from api.batches.models import ItemStatus
from api.batches.steps import BatchStep
from api.calls.execution import CREDITS_PER_CALL
from api.calls.unbilled_admission import UnbilledKind
from api.editor import batch_states, batch_uploads
from api.editor.batch_states import ShownItem
from api.editor.owners import ProjectOwner
from api.errors import Forbidden, InvalidParameter, InvalidRequest, MissingImage, NotFound, RateLimited
from api.http import batch_downloads, batch_forms, dependencies, forms, multipart, responses
from api.http.middleware import body_limits
from api.http.routes.get_and_head import add_get
from api.images import previews
from api.services import Services
from billing.ledger import accounts, ledger
from ml.errors import MlError
from web.editor import access, batch_schemas, schemas
from web.editor.access import AccountOwner, EditorServices, EditorServicesDependency
from web.editor.project_routes import open_content

UPLOADS = "/editor/batches/images"
_FIELD = "images"
_LISTED = 20
#: Results are fetched later than those of a single picture: a batch goes on while nobody looks.
_RETENTION = timedelta(hours=48)
_SIDE_MAX = 100_000
_LIMITS = multipart.Limits(
    files=batch_uploads.FILES_MAX, fields=0, file_bytes=body_limits.UPLOAD_LIMIT_BYTES, text_bytes=0
)
_Control = Callable[[Services, str, str], Awaitable[dict[str, Any]]]


async def account_reader(owner: access.Reader) -> ProjectOwner:
    """As `access.reader`, for requests that need an account. Raises `Forbidden`."""
    if owner.is_guest:
        raise Forbidden("Batches need an account. Sign up for free.")
    return owner


AccountReader = Annotated[ProjectOwner, Depends(account_reader)]


def add_to(app: FastAPI) -> None:
    one = "/editor/batches/{batch_id}"
    hidden: dict[str, Any] = {"include_in_schema": False, "response_class": Response}
    app.add_api_route(UPLOADS, store_pictures, methods=["POST"], **hidden)
    app.add_api_route("/editor/batches/quote", quote, methods=["POST"], **hidden)
    add_get(app, "/editor/batches", list_batches, include_in_schema=False)
    app.add_api_route("/editor/batches", start_batch, methods=["POST"], **hidden)
    add_get(app, one, show_batch, include_in_schema=False)
    add_get(app, f"{one}/items", show_items, include_in_schema=False)
    add_get(app, f"{one}/results.zip", send_results, include_in_schema=False)
    add_get(app, f"{one}/manifest.csv", send_manifest, include_in_schema=False)
    add_get(app, f"{one}/items/{{position}}/thumbnail", show_thumbnail, include_in_schema=False)
    app.add_api_route(f"{one}/items/{{position}}/project", open_result, methods=["POST"], **hidden)
    app.add_api_route(one, delete_batch, methods=["DELETE"], **hidden)
    controls: tuple[tuple[str, str, _Control], ...] = (
        ("POST", "/cancel", batches.cancel),
        ("POST", "/pause", batches.pause),
        ("POST", "/resume", batches.resume),
        ("POST", "/retry", batches.retry),
    )
    for method, path, change in controls:
        app.add_api_route(f"{one}{path}", _control(change), methods=[method], **hidden)


async def store_pictures(request: Request, owner: AccountOwner, editor: EditorServicesDependency) -> Response:
    """Store some files for a batch. A file that is no picture gets an error of its own."""
    media_type, options = parse_options_header(request.headers.get("content-type"))
    if media_type != b"multipart/form-data" or not options.get(b"boundary"):
        raise InvalidRequest("Send the pictures as multipart/form-data.")
    parts = await multipart.read_parts(request.stream(), options[b"boundary"], _LIMITS)
    for part in parts:
        if part.name != _FIELD or not part.is_file:
            raise InvalidParameter(_FIELD, f"{_FIELD}: only files of this name are accepted.")
    if not parts:
        raise MissingImage("The request has no image.")
    storing = batch_uploads.store(editor.services, owner.account_id, [part.content for part in parts])
    # In a separate task, because interrupting it could leave bytes without a row.
    stored = await asyncio.shield(editor.services.running.start(storing))
    data = [
        {"error": response_bodies.error_fields(each)} if isinstance(each, Exception) else {"imageId": each}
        for each in stored
    ]
    return responses.success(request, data)


async def quote(request: Request, owner: AccountOwner, editor: EditorServicesDependency) -> Response:
    """What a batch would cost, what the account has, and how long it would take; checks its steps."""
    body = await access.read_json(request)
    steps = await _read_steps(editor, owner, body)
    count = _whole_number(body, "count", batch_uploads.PICTURES_MAX)
    size = _whole_number(body, "width", _SIDE_MAX), _whole_number(body, "height", _SIDE_MAX)
    account = await editor.services.database.run(lambda session: _account(session, editor, owner))
    data = {
        "credits": count * len(steps) * CREDITS_PER_CALL,
        **account,
        "expectedSeconds": _expected_seconds(editor.services, steps, count, size),
    }
    return responses.success(request, data)


def _account(session: Session, editor: EditorServices, owner: ProjectOwner) -> dict[str, Any]:
    account = accounts.lock(session, owner.account_id)
    ledger.refresh(session, account, editor.services.clock())  # grants the credits of a new period
    renews_at = account.period_ends_at
    return {
        "creditsAvailable": account.available,
        "renewsAt": None if renews_at is None else response_bodies.timestamp(renews_at),
    }


def _expected_seconds(
    services: Services, steps: list[BatchStep], count: int, size: tuple[int, int]
) -> float | None:
    """For pictures of this size on all workers; None if that is unknown."""
    each = [services.backend.expected_seconds(step.tool.name, step.params, size) for step in steps]
    known = [seconds for seconds in each if seconds is not None]
    if len(known) < len(each):
        return None
    return round(sum(known) * count / max(1, services.backend.worker_count), 1)


def _whole_number(body: dict[str, Any], name: str, largest: int) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= largest:
        raise InvalidParameter(name, f"{name} must be a whole number from 1 to {largest}.")
    return value


async def start_batch(request: Request, owner: AccountOwner, editor: EditorServicesDependency) -> Response:
    """Start a batch of uploaded pictures. Requests with the same `Idempotency-Key` start only one."""
    key = forms.idempotency_key(request)
    body = await access.read_json(request)
    steps = await _read_steps(editor, owner, body)
    batch = BatchRequest(
        request_id=responses.request_id_of(request),
        account_id=owner.account_id,
        key_id=None,
        person_id=owner.person_id,
        base_url=dependencies.public_base_url(request),
        steps=steps,
        sources=await asyncio.to_thread(batch_uploads.sources, _text(body, "pictures")),
        retention=_RETENTION,
        idempotency_key=key,
    )
    # In a task of its own, so that a broken connection cannot interrupt it.
    starting = editor.services.running.start(acceptance.accept(editor.services, batch))
    accepted = await asyncio.shield(starting)
    batch_id = str((accepted.data or {})["batchId"])
    return responses.success(request, await _state(editor.services, owner, batch_id))


async def _read_steps(editor: EditorServices, owner: ProjectOwner, body: dict[str, Any]) -> list[BatchStep]:
    texts = {acceptance.STEPS_FIELD: _text(body, "steps")}
    return await batch_forms.read_steps(editor.services, owner.account_id, texts, all_ids=True)


def _text(body: dict[str, Any], name: str) -> str:
    """A list as JSON in a string, because a body may have only a few values."""
    return access.string_field(body, name, max_length=body_limits.OTHER_LIMIT_BYTES)


async def list_batches(request: Request, owner: AccountReader, editor: EditorServicesDependency) -> Response:
    """The account's recent batches, newest first."""
    services = editor.services

    def read(session: Session) -> list[dict[str, Any]]:
        found, _ = batches.page(
            session, owner.account_id, services.clock(), status=None, limit=_LISTED, cursor=None
        )
        return [batch_schemas.batch(services, batch_states.state_of(session, each)) for each in found]

    return responses.success(request, await services.database.read(read))


async def show_batch(
    request: Request, batch_id: str, owner: AccountReader, editor: EditorServicesDependency
) -> Response:
    return responses.success(request, await _state(editor.services, owner, batch_id))


async def show_items(
    request: Request,
    batch_id: str,
    owner: AccountReader,
    editor: EditorServicesDependency,
    after: int = -1,
    failed: bool = False,
) -> Response:
    """A page of a batch's pictures, of all or of those that failed."""
    services = editor.services
    status = ItemStatus.FAILED if failed else None

    def read(session: Session) -> dict[str, Any]:
        batch = batches.find(session, owner.account_id, batch_id, services.clock())
        found = batch_states.page(
            session, services, batch, after=min(max(after, -1), batch.item_count), status=status
        )
        shown = found[: batch_states.PAGE_SIZE]
        return {
            "items": [batch_schemas.item(each) for each in shown],
            "hasMore": len(found) > len(shown),
        }

    return responses.success(request, await services.database.read(read))


async def open_result(
    request: Request, batch_id: str, position: int, owner: AccountOwner, editor: EditorServicesDependency
) -> Response:
    """A new project from a copy of a picture's result."""
    services = editor.services

    shown = await _item(services, owner, batch_id, position)
    if shown is None or shown.result is None:
        raise NotFound("The batch has no such result, or it has expired.")
    with access.admit(request, owner, UnbilledKind.OPENING):
        content = await asyncio.to_thread(services.storage.read, shown.result.id)
        return await open_content(request, editor, owner, content, shown.item.name.rpartition("/")[2])


async def show_thumbnail(
    request: Request, batch_id: str, position: int, owner: AccountReader, editor: EditorServicesDependency
) -> Response:
    """A small picture of the result, or of the source until there is one; an empty answer without either."""
    services = editor.services
    shown = await _item(services, owner, batch_id, position)
    if shown is None:
        raise NotFound("The batch has no such picture.")
    # A picture may be damaged, or be deleted at any moment because its result is there.
    with contextlib.suppress(RateLimited, MlError, NotFound):
        if shown.pictured is not None:
            claimant = owner.claimant(dependencies.address_of(request))
            drawing = previews.read(services, shown.pictured, schemas.THUMBNAIL_WIDTH, claimant)
            content = await dependencies.while_connected(request, drawing)
            headers = {
                **responses.file_headers("thumbnail", "webp"),
                "Content-Disposition": "inline",
                "Cache-Control": "private, no-cache" if shown.result is None else "private, max-age=3600",
            }
            return Response(content, headers=headers)
    return Response(status_code=204)


async def _item(services: Services, owner: ProjectOwner, batch_id: str, position: int) -> ShownItem | None:
    """Raises `NotFound` for another account's batch."""
    return await services.database.read(
        lambda session: batch_states.item_at(
            session, services, batches.find(session, owner.account_id, batch_id, services.clock()), position
        )
    )


async def send_results(
    request: Request, batch_id: str, owner: AccountReader, editor: EditorServicesDependency
) -> Response:
    return await batch_downloads.results(request, editor.services, owner.account_id, batch_id)


async def send_manifest(batch_id: str, owner: AccountReader, editor: EditorServicesDependency) -> Response:
    return await batch_downloads.manifest(editor.services, owner.account_id, batch_id)


async def delete_batch(
    request: Request, batch_id: str, owner: AccountOwner, editor: EditorServicesDependency
) -> Response:
    """Cancel the batch if it runs, and delete it with its results."""
    await batches.delete(editor.services, owner.account_id, batch_id)
    return responses.success(request, {})


def _control(change: _Control) -> Callable[..., Awaitable[Response]]:
    async def run(
        request: Request, batch_id: str, owner: AccountOwner, editor: EditorServicesDependency
    ) -> Response:
        await change(editor.services, owner.account_id, batch_id)
        return responses.success(request, await _state(editor.services, owner, batch_id))

    return run


async def _state(services: Services, owner: ProjectOwner, batch_id: str) -> dict[str, Any]:
    """Raises `NotFound`."""

    def read(session: Session) -> dict[str, Any]:
        batch = batches.find(session, owner.account_id, batch_id, services.clock())
        return batch_schemas.batch(services, batch_states.state_of(session, batch))

    return await services.database.read(read)
