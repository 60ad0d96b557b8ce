"""`/api/account`: the caller's plan, credits and limits."""

from datetime import datetime
from typing import Any

from fastapi import FastAPI, Request
from sqlmodel import Session
from starlette.responses import Response

from api import response_bodies
from api.auth import key_settings
from api.auth.authenticator import Caller
from api.auth.models import ApiKey
from api.http import openapi, openapi_examples, responses
from api.http.dependencies import KeyHolder, ServicesOf
from api.http.routes.get_and_head import add_get
from api.http.schemas import AccountData, AccountSuccess
from api.services import Services
from billing.ledger import accounts, grants, ledger


def add_to(app: FastAPI) -> None:
    add_get(
        app,
        "/api/account",
        show,
        operation_id="get-account",
        summary="Credits, plan and limits",
        tags=["Account"],
        responses=openapi.success_response("The account.", AccountSuccess, openapi_examples.ACCOUNT)
        | openapi.error_responses(*openapi.WITH_KEY),
        openapi_extra={"security": openapi.SECURITY},
    )


async def show(request: Request, caller: KeyHolder, services: ServicesOf) -> Response:
    data = await read(services, caller)
    return responses.success(request, data.as_data())


async def read(services: Services, caller: Caller) -> AccountData:
    """The account with the credits that it has now, and the caller's key. Raises as `accounts.lock`."""

    def read_account(session: Session) -> AccountData:
        now = services.clock()
        account = accounts.lock(session, caller.account_id)
        # The credits of a new period are granted on first use.
        ledger.refresh(session, account, now)
        of_packs = grants.pack_credits(session, account.id)
        key = session.get_one(ApiKey, caller.key_id)
        return AccountData.model_validate(
            {**response_bodies.account_data(account, of_packs), "key": _key_data(session, key, now)}
        )

    return await services.database.run(read_account)


def _key_data(session: Session, key: ApiKey, now: datetime) -> dict[str, Any]:
    tools = key_settings.tools_of(key)
    budget = key_settings.budget_of(session, key, now)
    limit = None
    if budget is not None and budget.monthly_limit is not None:
        limit = {
            "credits": budget.monthly_limit,
            "used": budget.used,
            "renewsAt": response_bodies.timestamp(budget.renews_at),
        }
    return {
        "keyId": key.id,
        "isTest": key.is_test,
        "tools": None if tools is None else sorted(tools),
        "expiresAt": response_bodies.timestamp_or_none(key.expires_at),
        "monthlyLimit": limit,
    }
