"""`/api/account`: the caller's plan, credits and limits."""

from fastapi import FastAPI, Request
from sqlmodel import Session
from starlette.responses import Response

from api import response_bodies
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
    data = await read(services, caller.account_id)
    return responses.success(request, data.as_data())


async def read(services: Services, account_id: str) -> AccountData:
    """The account with the credits that it has now. Raises as `accounts.lock`."""

    def read_account(session: Session) -> AccountData:
        account = accounts.lock(session, account_id)
        # The credits of a new period are granted on first use.
        ledger.refresh(session, account, services.clock())
        of_packs = grants.pack_credits(session, account.id)
        return AccountData.model_validate(response_bodies.account_data(account, of_packs))

    return await services.database.run(read_account)
