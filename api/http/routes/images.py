"""`/api/images`: store an image once, fetch it by its signed URL, delete it."""

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime

from fastapi import FastAPI, Request
from starlette.responses import Response

from api import response_bodies
from api.auth.authenticator import Caller
from api.editor.owners import claimant_of_image
from api.http import (
    dependencies,
    forms,
    openapi,
    openapi_examples,
    remote_sources,
    responses,
    stored_images,
)
from api.http.dependencies import KeyHolder, ServicesOf, ToolCaller
from api.http.middleware import body_limits
from api.http.remote_sources import RemoteSource
from api.http.routes.get_and_head import add_get
from api.http.schemas import DeletedImage, DeletedImageSuccess, UploadData
from api.images import previews, uploads
from api.images import service as images
from api.images.models import Image
from api.images.service import NewImage
from api.images.uploads import UploadResult
from api.rate_limit import RateState
from api.services import Services

_CACHE_SECONDS_MAX = 3600


def add_to(app: FastAPI) -> None:
    described = {"tags": ["Images"], "response_class": Response}
    app.add_api_route(
        "/api/images",
        store,
        methods=["POST"],
        operation_id="upload-image",
        summary="Store an image (free)",
        responses=openapi.upload_responses(),
        openapi_extra=openapi.upload_operation(),
        **described,  # type: ignore[arg-type]
    )
    app.add_api_route(
        "/api/images/{image_id}",
        remove,
        methods=["DELETE"],
        operation_id="delete-image",
        summary="Delete an image at once",
        responses=openapi.success_response("It is gone.", DeletedImageSuccess, openapi_examples.DELETED)
        | openapi.error_responses(*openapi.WITH_KEY, 404),
        openapi_extra={"security": openapi.SECURITY},
        **described,  # type: ignore[arg-type]
    )
    add_get(
        app,
        "/api/images/{image_id}",
        fetch,
        operation_id="fetch-image",
        summary="Fetch an image by its signed URL",
        tags=["Images"],
        responses=openapi.picture_response()
        | openapi.error_responses(*openapi.ANY_REQUEST, 403, 404, 410, 429),
        openapi_extra={"parameters": openapi.signature_parameters()},
    )


async def store(request: Request, caller: ToolCaller, services: ServicesOf) -> Response:
    body_limits.refuse_declared_length(request.scope)
    caller.check_rate()
    idempotency_key = caller.scoped(forms.idempotency_key(request))
    forms.refuse_query(request)
    await dependencies.admit_body(request, caller)
    form = await forms.read_upload_form(request)
    image = form.content if form.url is None else RemoteSource(forms.url_field(forms.IMAGE), form.url)
    assert image is not None
    result = await store_image(request, services, caller, image, idempotency_key)
    responses.set_account_status(request, replace(caller.account_status, rate=result.rate))
    return responses.stored_body(request, result.body, is_replay=result.is_replay)


async def store_image(
    request: Request,
    services: Services,
    caller: Caller,
    image: bytes | RemoteSource,
    idempotency_key: str | None,
) -> UploadResult:
    """Store an upload, or fetch and store it. Raises as `uploads.store` and `RemoteFiles.fetch`."""
    test_rate = services.test_rate_of(caller.is_test)
    with ExitStack() as claims:
        rate: RateState | None = None
        url: str | None = None
        if isinstance(image, RemoteSource):
            url = image.url
            if idempotency_key is not None:
                claims.enter_context(remote_sources.claimed_key(services, caller.account_id, idempotency_key))
            outcome = await uploads.admit_fetch(
                services,
                caller.account_id,
                url,
                idempotency_key=idempotency_key,
                test_rate=test_rate,
            )
            if isinstance(outcome, UploadResult):
                return outcome
            rate = outcome
            responses.set_account_status(request, replace(caller.account_status, rate=rate))
            files = await remote_sources.fetch(request, services, caller, {forms.IMAGE: image})
            image = files[forms.IMAGE]
        base_url = dependencies.public_base_url(request)

        def build_body(stored: NewImage) -> bytes:
            data = _upload_data(services, base_url, stored).as_data()
            return response_bodies.success(data, responses.request_id_of(request))

        # In a task of its own, so that a broken connection cannot leave a file without its row.
        storing = services.running.start(
            uploads.store(
                services,
                caller.account_id,
                image,
                idempotency_key=idempotency_key,
                build_body=build_body,
                url=url,
                rate_taken=rate,
                test_rate=test_rate,
            )
        )
        return await asyncio.shield(storing)


def _upload_data(services: Services, base_url: str, image: NewImage) -> UploadData:
    address = images.address(services, base_url, image.id)
    assert image.width is not None
    assert image.height is not None
    return UploadData(
        image_id=image.id,
        image_url=address.url,
        preview_url=images.address(services, base_url, image.id, previews.OFFERED_WIDTH).url,
        width=image.width,
        height=image.height,
        format=image.format,
        bytes=image.size_bytes,
        expires_at=response_bodies.timestamp(address.expires_at),
        warnings=list(image.warnings),
    )


async def remove(image_id: str, request: Request, caller: KeyHolder, services: ServicesOf) -> Response:
    await images.delete(services, caller.account_id, image_id)
    return responses.success(request, DeletedImage(image_id=image_id, deleted=True).as_data())


async def fetch(image_id: str, request: Request, services: ServicesOf) -> Response:
    """The image of a signed URL, or its preview; no key is needed."""
    now = services.clock()
    width = services.signer.verify(image_id, request.query_params.multi_items(), now)
    image = await services.database.read(lambda session: images.find_shared(session, services, image_id))
    await images.keep_longer(services, image)
    headers = _file_headers(image, now, width)
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if width is not None:
        claimant = await claimant_of_image(services, image, dependencies.address_of(request))
        preview = previews.read(services, image, width, claimant)
        return Response(await dependencies.while_connected(request, preview), headers=headers)
    return await stored_images.send(request, services, image, headers, may_redirect=True)


def _file_headers(image: Image, now: datetime, preview_width: int | None) -> dict[str, str]:
    remaining_seconds = int((image.expires_at - now).total_seconds())
    max_age = max(0, min(_CACHE_SECONDS_MAX, remaining_seconds))
    return {
        **responses.file_headers(image.id, image.format if preview_width is None else "webp"),
        "Cache-Control": f"private, max-age={max_age}",
        "ETag": f'"{image.sha256}"' if preview_width is None else f'"{image.sha256}-w{preview_width}"',
    }
