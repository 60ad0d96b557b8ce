"""`/editor/session` and `/editor/keys`: what the editor's page is built from, API keys."""

import asyncio
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from sqlmodel import Session
from starlette.responses import Response

from api import response_bodies
from api.auth import api_keys
from api.editor import brand_colors, guest_previews
from api.http import dependencies, responses
from api.http.routes.get_and_head import add_get
from api.payments import packs
from api.services import Services
from billing.ledger import accounts, ledger
from ml.catalogue import TOOLS
from web.auth import visitor
from web.auth.visitor import SignedInVisitor
from web.editor import access, background_routes, schemas
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


async def show_session(request: Request, editor: EditorServicesDependency) -> Response:
    """The account, the CSRF token, and everything that the editor's page is built from.

    A guest's session starts with the first image, so that opening the page does not write to the database.
    """
    current = await visitor.visitor_of(request)
    if current is None and visitor.has_session_cookie(request):
        visitor.clear_session_cookie(request)
    account, is_own = None, False
    if isinstance(current, SignedInVisitor):
        place, is_own = current.place, current.elsewhere is None
        account_id = place.account_id
        account = {
            **await editor.services.database.run(
                lambda session: _account(session, account_id, editor.services)
            ),
            "brandColors": await editor.services.database.read(
                lambda session: brand_colors.listed(session, account_id)
            ),
            "email": current.email,
            "isVerified": current.is_verified,
            "role": place.role,
            "places": [
                {
                    "accountId": each.account_id,
                    "email": each.email,
                    "role": each.role,
                    "isChosen": each == place,
                }
                for each in (current.own_place, *current.places)
            ],
        }
    address = dependencies.address_of(request)
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
        **background_routes.offered(),
        "previews": {
            "side": guest_previews.LONGEST_SIDE,
            "aDay": guest_previews.LIMIT.attempts,
            "waitSeconds": 0 if account else await guest_previews.wait_seconds(editor.services, address),
        },
        "prompts": {"isInstalled": await asyncio.to_thread(_supports_prompts, editor.services)},
        "limits": schemas.limits(editor.services),
        "packs": [
            {"credits": each.credits, "price": each.price_text}
            for each in (packs.cached_offers(editor.services) if is_own else [])
        ],
    }
    return responses.success(request, data)


async def create_key(request: Request, owner: AccountOwner, editor: EditorServicesDependency) -> Response:
    """Create an API key for the commands that the editor shows. It is returned once."""
    body = await access.read_json(request)
    name = access.string_field(body, "name", max_length=100)
    now = editor.services.clock()
    _, plain = await editor.services.database.run(
        lambda session: api_keys.create(session, owner.account_id, name, now, person_id=owner.person_id)
    )
    return responses.success(request, {"key": plain})


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
