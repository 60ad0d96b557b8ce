"""`/editor/session`, `/editor/keys` and `/editor/backgrounds`: session data, API keys, background images."""

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
from api.images.previews import OFFERED_WIDTH
from api.services import Services
from billing.ledger import accounts, ledger
from ml.catalogue import TOOLS
from web.auth import visitor
from web.auth.visitor import SignedInVisitor
from web.editor import access, schemas
from web.editor.access import AccountOwner, EditorServicesDependency
from web.rendering import static_files

SAMPLES_FOLDER = Path(__file__).parents[1] / "static" / "samples"
SAMPLES = {
    "coffee": "A cup of espresso",
    "cat": "Chelsea the cat",
    "astronaut": "Eileen Collins",
    "rocket": "A launch at dusk",
}


def add_to(app: FastAPI) -> None:
    add_get(app, "/editor/session", show_session, include_in_schema=False)
    hidden: dict[str, Any] = {"methods": ["POST"], "include_in_schema": False, "response_class": Response}
    app.add_api_route("/editor/keys", create_key, **hidden)
    app.add_api_route("/editor/backgrounds", store_background, **hidden)


async def show_session(request: Request, editor: EditorServicesDependency) -> Response:
    """The account, the CSRF token, and everything that the editor's page is built from.

    A guest's session starts with the first image, so that opening the page does not write to the database.
    """
    current = await visitor.visitor_of(request)
    if current is None and visitor.has_session_cookie(request):
        visitor.clear_session_cookie(request)
    account = None
    if isinstance(current, SignedInVisitor):
        account_id = current.account_id
        account = {
            **await editor.services.database.run(
                lambda session: _account(session, account_id, editor.services)
            ),
            "email": current.email,
            "isVerified": current.is_verified,
        }
    data = {
        "csrfToken": visitor.csrf_token_for(request, current),
        "account": account,
        "samples": [
            {"name": name, "title": title, "url": static_files.address_of(f"samples/thumbnails/{name}.webp")}
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
        "prompts": {"isInstalled": await asyncio.to_thread(_supports_prompts, editor.services)},
        "limits": schemas.limits(editor.services),
    }
    return responses.success(request, data)


async def create_key(request: Request, owner: AccountOwner, editor: EditorServicesDependency) -> Response:
    """Create an API key for the commands that the editor shows. It is returned once."""
    body = await access.read_json(request)
    name = access.string_field(body, "name", max_length=100)
    now = editor.services.clock()
    _, plain = await editor.services.database.run(
        lambda session: api_keys.create(session, owner.account_id, name, now)
    )
    return responses.success(request, {"key": plain})


async def store_background(
    request: Request, owner: AccountOwner, editor: EditorServicesDependency
) -> Response:
    """Store an image to use as the background of a cut-out."""
    with access.admit(request, owner, UnbilledKind.OPENING):
        content = await forms.read_image_form(request)
        claimant = owner.claimant(dependencies.address_of(request))
        storing = unbilled_images.store_opened(editor.services, owner, claimant, content)
        stored = await dependencies.while_connected(request, storing)
    data = {
        "imageId": stored.id,
        "thumbnailUrl": schemas.address(editor.services, stored.id, schemas.THUMBNAIL_WIDTH),
        "previewUrl": schemas.address(editor.services, stored.id, OFFERED_WIDTH),
    }
    return responses.success(request, data)


def _supports_prompts(services: Services) -> bool:
    """Whether a checkpoint is installed that follows prompts in generative fill."""
    engines = {state.tool: state for state in services.backend.state().engines}
    engine = engines.get("generative-fill")
    # Only such a checkpoint has defaults for the prompt's parameters.
    return engine is not None and bool(engine.defaults)


def _account(session: Session, account_id: str, services: Services) -> dict[str, Any]:
    account = accounts.lock(session, account_id)
    ledger.refresh(session, account, services.clock())  # grants the credits of a new period
    renews_at = account.period_ends_at
    return {
        "plan": account.plan,
        "creditsAvailable": account.available,
        "renewsAt": None if renews_at is None else response_bodies.timestamp(renews_at),
    }
