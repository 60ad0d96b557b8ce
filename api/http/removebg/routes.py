"""`POST /v1.0/removebg` and `GET /v1.0/account`.

A request is translated into a call of background removal, which runs as our own route's calls do: the same
admission, credit, retries, limits and call log.
"""

import math

from fastapi import FastAPI, Request
from sqlmodel import Session
from starlette.responses import Response

from api import response_bodies
from api.auth.authenticator import Caller
from api.calls import admission
from api.calls import service as calls
from api.calls.account_status import AccountStatus
from api.calls.types import CallRequest, CallResult, priority_of
from api.http import dependencies, forms, refusals
from api.http import responses as own_responses
from api.http.dependencies import KeyHolder, ServicesOf, ToolCaller
from api.http.middleware import body_limits
from api.http.removebg import bodies, fields, openapi, responses
from api.http.removebg.bodies import RemoveBgBody
from api.http.removebg.fields import RemoveBgFields
from api.http.removebg.paths import ACCOUNT_PATH, REMOVE_PATH
from api.http.routes.get_and_head import add_get
from api.images import service as images
from api.services import Services
from billing.ledger import accounts, ledger
from billing.ledger.plans import PLANS
from ml.tools.bg_removal_params import BgRemovalParams


def add_to(app: FastAPI) -> None:
    app.add_api_route(
        REMOVE_PATH, remove_background, methods=["POST"], response_class=Response, **openapi.REMOVE
    )
    add_get(app, ACCOUNT_PATH, show_account, **openapi.ACCOUNT)


async def remove_background(request: Request, caller: ToolCaller, services: ServicesOf) -> Response:
    with refusals.logged(request, services, caller, fields.TOOL):
        form, call = await _read_call(request, services, caller)
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
        max_scale=_max_scale(form, call, result),
    )


async def show_account(caller: KeyHolder, services: ServicesOf) -> Response:
    def read_available(session: Session) -> int:
        account = accounts.lock(session, caller.account_id)
        # The credits of a new period are granted on first use.
        ledger.refresh(session, account, services.clock())
        return account.available

    available = await services.database.run(read_available)
    credits = {"total": available, "subscription": available, "payg": 0, "enterprise": 0}
    attributes = {"credits": credits, "api": {"free_calls": 0, "sizes": "all"}}
    return own_responses.json_response(response_bodies.encode({"data": {"attributes": attributes}}), 200, {})


async def _read_call(
    request: Request, services: Services, caller: Caller
) -> tuple[RemoveBgFields, CallRequest]:
    body_limits.refuse_declared_length(request.scope)
    admission.check_rate(caller.account_status.rate)
    idempotency_key = forms.idempotency_key(request)
    await dependencies.admit_body(request, caller)
    body = await bodies.read(request)
    form = body.fields
    has_background_image = form.bg_image_url is not None or "bg_image_file" in body.files
    params = form.params()
    files, rate_taken = await _with_fetched(request, services, caller, body)
    call = CallRequest(
        request_id=own_responses.request_id_of(request),
        account_id=caller.account_id,
        priority=priority_of(caller.plan),
        tool=fields.TOOL,
        params=params,
        files=_own_names(files, params),
        base_url=dependencies.public_base_url(request),
        idempotency_key=idempotency_key,
        key_id=caller.key_id,
        rate_taken=rate_taken,
        delivery=form.delivery(params, has_background_image=has_background_image),
    )
    return form, call


async def _with_fetched(
    request: Request, services: Services, caller: Caller, body: RemoveBgBody
) -> tuple[dict[str, bytes], bool]:
    """The request's files with those that it names by URL, and whether a call of the rate was taken.

    It is taken before anything is fetched: a caller whose fetches fail could otherwise have any number of
    requests sent to other hosts.
    """
    form, files = body.fields, dict(body.files)
    urls = {"image_file": ("image_url", form.image_url), "bg_image_file": ("bg_image_url", form.bg_image_url)}
    if form.channels == "alpha":
        del urls["bg_image_file"]  # It has no effect.
    wanted = {file: (param, url) for file, (param, url) in urls.items() if url is not None}
    if not wanted:
        return files, False
    rate = await services.database.run(
        lambda session: admission.take_rate(session, caller.account_id, services.clock())
    )
    available = caller.account_status.credits_remaining
    own_responses.set_account_status(request, AccountStatus(rate, available))
    fetched_bytes = 0
    for file, (param, url) in wanted.items():
        before = fetched_bytes

        def count(received_bytes: int, before: int = before) -> None:
            body_limits.count_fetched(request.scope, before + received_bytes)

        fetch = services.remote_files.fetch(
            url,
            param,
            account_id=caller.account_id,
            concurrent=PLANS[caller.plan].concurrent_calls,
            limit_bytes=images.FILE_LIMIT_BYTES,
            on_bytes=count,
        )
        files[file] = await dependencies.while_connected(request, fetch)
        fetched_bytes += len(files[file])
    return files, True


def _own_names(files: dict[str, bytes], params: BgRemovalParams) -> dict[str, bytes]:
    """The files by the names that background removal has for them."""
    own = {"image": files["image_file"]}
    if "bg_image_file" in files and params.channels == "rgba":
        own["bg_image"] = files["bg_image_file"]
    return own


def _max_scale(form: RemoveBgFields, call: CallRequest, result: CallResult) -> float:
    """How many times larger the sides of the result would be at `size=50MP`."""
    assert isinstance(call.params, BgRemovalParams)
    source = (result.data or {})["source"]
    most = form.max_pixels("50mp", call.params, has_background_image="bg_image" in call.files)
    largest = min(1.0, math.sqrt(most / (source["width"] * source["height"])))
    return max(1.0, largest / float(source["scale"]))
