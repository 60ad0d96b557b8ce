"""`POST /v1.0/removebg` and `GET /v1.0/account`.

A request is translated into a call of background removal, which runs as our own route's calls do: the same
admission, credit, retries, limits and call log.
"""

import math
from contextlib import ExitStack

from fastapi import FastAPI, Request
from sqlmodel import Session
from starlette.responses import Response

from api import response_bodies
from api.auth.authenticator import Caller
from api.calls import service as calls
from api.calls.types import CallRequest, CallResult
from api.http import dependencies, forms, refusals, remote_sources
from api.http import responses as own_responses
from api.http.dependencies import KeyHolder, ServicesOf, ToolCaller
from api.http.middleware import body_limits
from api.http.remote_sources import RemoteSource
from api.http.removebg import bodies, fields, openapi, responses
from api.http.removebg.fields import RemoveBgFields
from api.http.removebg.paths import ACCOUNT_PATH, REMOVE_PATH
from api.http.routes.get_and_head import add_get
from api.services import Services
from billing.ledger import accounts, grants, ledger
from ml.tools.bg_removal_params import BgRemovalParams


def add_to(app: FastAPI) -> None:
    app.add_api_route(
        REMOVE_PATH, remove_background, methods=["POST"], response_class=Response, **openapi.REMOVE
    )
    add_get(app, ACCOUNT_PATH, show_account, **openapi.ACCOUNT)


async def remove_background(request: Request, caller: ToolCaller, services: ServicesOf) -> Response:
    with ExitStack() as claims:
        with refusals.logged(request, services, caller, fields.TOOL):
            form, max_pixels, call = await _read_call(request, services, caller, claims)
        if isinstance(call, CallResult):
            result = call
        else:
            result = await dependencies.while_connected(request, calls.run(services, call))
    own_responses.set_account_status(request, result.account_status)
    if result.image_id is None:
        return responses.failure(request, result)
    content = await calls.read_picture(services, result)
    return responses.success(
        request,
        result,
        content,
        foreground_type=form.foreground_type,
        max_scale=_max_scale(max_pixels, result),
    )


async def show_account(caller: KeyHolder, services: ServicesOf) -> Response:
    def read_credits(session: Session) -> tuple[int, int]:
        account = accounts.lock(session, caller.account_id)
        # The credits of a new period are granted on first use.
        ledger.refresh(session, account, services.clock())
        return account.available, grants.pack_credits(session, account.id).available

    total, payg = await services.database.run(read_credits)
    credits = {"total": total, "subscription": total - payg, "payg": payg, "enterprise": 0}
    attributes = {"credits": credits, "api": {"free_calls": 0, "sizes": "all"}}
    return own_responses.json_response(response_bodies.encode({"data": {"attributes": attributes}}), 200, {})


async def _read_call(
    request: Request, services: Services, caller: Caller, claims: ExitStack
) -> tuple[RemoveBgFields, int, CallRequest | CallResult]:
    """The fields, the most pixels that the result could have at any size, and the call or its replay."""
    caller.require_tool(fields.TOOL.name)
    body_limits.refuse_declared_length(request.scope)
    caller.check_rate()
    idempotency_key = forms.idempotency_key(request)
    await dependencies.admit_body(request, caller)
    body = await bodies.read(request)
    form = body.fields
    has_background_image = form.bg_image_url is not None or "bg_image_file" in body.files
    params = form.params()
    files, sources = _own_names(body.files, params), _sources(form)
    max_pixels = form.max_pixels(
        "50mp", params, has_background_image="bg_image" in files or "bg_image" in sources
    )
    call = CallRequest(
        request_id=own_responses.request_id_of(request),
        account_id=caller.account_id,
        priority=caller.priority,
        tool=fields.TOOL,
        params=params,
        files=files,
        base_url=dependencies.public_base_url(request),
        idempotency_key=caller.scoped(idempotency_key),
        key_id=caller.key_id,
        person_id=caller.person_id,
        budget_id=caller.budget_id,
        is_test=caller.is_test,
        id_fields={file: source.param for file, source in sources.items()},
        delivery=form.delivery(params, has_background_image=has_background_image),
    )
    completed = await remote_sources.with_files(request, services, caller, call, sources, claims)
    return form, max_pixels, completed


def _sources(form: RemoveBgFields) -> dict[str, RemoteSource]:
    """What is fetched, by the names that background removal has for files."""
    sources = {}
    if form.image_url is not None:
        sources["image"] = RemoteSource("image_url", form.image_url)
    if form.bg_image_url is not None and form.channels != "alpha":  # It would have no effect.
        sources["bg_image"] = RemoteSource("bg_image_url", form.bg_image_url)
    return sources


def _own_names(files: dict[str, bytes], params: BgRemovalParams) -> dict[str, bytes]:
    """The files by the names that background removal has for them."""
    own = {"image": files["image_file"]} if "image_file" in files else {}
    if "bg_image_file" in files and params.channels == "rgba":
        own["bg_image"] = files["bg_image_file"]
    return own


def _max_scale(max_pixels: int, result: CallResult) -> float:
    """How many times larger the sides of the result would be at the largest size."""
    source = (result.data or {})["source"]
    largest = min(1.0, math.sqrt(max_pixels / (source["width"] * source["height"])))
    return max(1.0, largest / float(source["scale"]))
