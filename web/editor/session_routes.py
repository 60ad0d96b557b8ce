"""`/editor/session`, `/editor/keys`, `/editor/backgrounds`: who edits, with what, and what goes with it."""

import asyncio
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from sqlmodel import Session
from starlette.responses import Response

from api import response_bodies
from api.auth import api_keys
from api.calls.unbilled_admission import UnbilledKind
from api.editor import unbilled_images
from api.http import dependencies, forms, responses
from api.http.routes.get_and_head import add_get
from api.images import service as images
from api.services import Services
from billing.ledger import accounts, ledger
from ml import generative_config
from ml.catalogue import TOOLS
from web.auth import visitor
from web.editor import access, schemas
from web.editor.access import EditorServicesDependency, Member

SAMPLES_FOLDER = Path(__file__).parents[1] / "static" / "samples"
SAMPLES = {
    "coffee": "A cup of espresso",
    "cat": "Chelsea the cat",
    "astronaut": "Eileen Collins",
    "rocket": "A launch at dusk",
}


def add_to(app: FastAPI) -> None:
    add_get(app, "/editor/session", show, include_in_schema=False)
    hidden: dict[str, Any] = {"methods": ["POST"], "include_in_schema": False, "response_class": Response}
    app.add_api_route("/editor/keys", make_key, **hidden)
    app.add_api_route("/editor/backgrounds", store_background, **hidden)


async def show(request: Request, desk: EditorServicesDependency) -> Response:
    """Who this is, with the token that every change needs, and what the editor's page is made from.

    A guest's session begins with the first picture: nothing is written for those who only look.
    """
    found = await visitor.visitor_of(request)
    if found is None and visitor.has_session_cookie(request):
        visitor.forget(request)
    account = None
    if found is not None and found.account_id is not None:
        account_id = found.account_id
        account = {
            **await desk.services.database.run(lambda session: _account(session, account_id, desk.services)),
            "email": found.email,
            "isVerified": found.is_verified,
        }
    data = {
        "csrfToken": visitor.form_token(request, found),
        "account": account,
        "samples": [
            {"name": name, "title": title, "url": f"/static/samples/{name}.jpg"}
            for name, title in SAMPLES.items()
        ],
        "tools": [
            {
                "name": tool.name,
                "title": tool.title,
                "summary": tool.summary,
                "parameters": tool.params.model_json_schema(),
            }
            for tool in TOOLS.values()
        ],
        "prompts": {
            "isInstalled": await asyncio.to_thread(_follows_words, desk.services),
            "command": generative_config.COMMAND,
        },
        "limits": schemas.limits(desk.services),
    }
    return responses.success(request, data)


async def make_key(request: Request, owner: Member, desk: EditorServicesDependency) -> Response:
    """An API key for the commands that the editor shows. It is told once."""
    body = await access.read_json(request)
    name = access.text_of(body, "name", most=100)
    now = desk.services.clock()
    _, plain = await desk.services.database.run(
        lambda session: api_keys.create(session, owner.account_id, name, now)
    )
    return responses.success(request, {"key": plain})


async def store_background(request: Request, owner: Member, desk: EditorServicesDependency) -> Response:
    """A picture to lay behind a cut-out."""
    with access.admit(request, owner, UnbilledKind.OPENING):
        content = await forms.read_image_form(request)
        claimant = owner.claimant(visitor.address_of(request))
        storing = unbilled_images.store_opened(desk.services, owner, claimant, content)
        stored = await dependencies.while_connected(request, storing)
    address = images.address(desk.services, "", stored.id, schemas.STRIP_WIDTH).url
    data = {"imageId": stored.id, "thumbnailUrl": address[address.index("/api/images/") :]}
    return responses.success(request, data)


def _follows_words(services: Services) -> bool:
    """Whether a checkpoint is installed by which filling follows a prompt."""
    states = {state.tool: state for state in services.backend.state().engines}
    filling = states.get("generative-fill")
    # Its parameters of words have defaults exactly then: those of the checkpoint.
    return filling is not None and bool(filling.defaults)


def _account(session: Session, account_id: str, services: Services) -> dict[str, Any]:
    account = accounts.lock(session, account_id)
    ledger.refresh(session, account, services.clock())  # a period's credits come when somebody asks
    renews_at = account.period_ends_at
    return {
        "plan": account.plan,
        "creditsAvailable": account.available,
        "renewsAt": None if renews_at is None else response_bodies.timestamp(renews_at),
    }
