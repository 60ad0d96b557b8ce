"""The panel's pages about accounts: the search, and one account."""

from fastapi import Request
from sqlmodel import Session
from starlette.responses import Response

from api.editor.owners import GUESTS_EMAIL
from api.errors import NotFound
from api.operators import account_search, audit_log
from api.operators.account_search import AccountDetails
from api.operators.audit_log import LogFilter, LogLine
from api.operators.models import Act
from api.payments import plans
from billing.errors import UnknownAccount
from billing.ledger.plans import PLANS
from web.admin import rendering
from web.admin.access import PATH, operator_of
from web.admin.words import ACT_TITLES
from web.auth import visitor
from web.plans import messages

ACCOUNTS_PATH = f"{PATH}/accounts"
ACCOUNT_PATH = f"{ACCOUNTS_PATH}/{{account_id}}"
#: What the address of the page says after a form that was sent before.
REPEATED = "repeated"
_PAGE_ROWS = 50
_LOG_ROWS = 10
_TEXT_LENGTH_MAX = 254


async def search_page(request: Request) -> Response:
    """Accounts by the beginning of their address, by id, or by the id of a request."""
    wanted = request.query_params.get("q", "")[:_TEXT_LENGTH_MAX]
    wanted = wanted if wanted.isprintable() else ""
    after = request.query_params.get("after") or None
    found = await visitor.services_of(request).database.read(
        lambda session: account_search.search(session, wanted, _PAGE_ROWS, after)
    )
    return rendering.show(request, "accounts.html", ACCOUNTS_PATH, wanted=wanted, found=found, after=after)


async def account_page(request: Request) -> Response:
    done = request.query_params.get("done", "")
    notice = "This form had been sent already. Nothing was done twice." if done == REPEATED else ""
    if done in set(Act):
        notice = f"{ACT_TITLES[Act(done)]}. The audit log below has the entry."
    return await show_account(request, notice=notice)


async def show_account(
    request: Request,
    status_code: int = 200,
    *,
    notice: str = "",
    problem: str = "",
    opened: str = "",
    sent: dict[str, str] | None = None,
) -> Response:
    """`opened`: the act whose form is shown open, with the values that were `sent`. Raises NotFound."""
    operator = await operator_of(request)
    services, account_id = visitor.services_of(request), request.path_params["account_id"]
    await services.call_log.write(services.database)  # include the calls of the last seconds
    now = services.clock()

    def read(session: Session) -> tuple[AccountDetails, list[LogLine]]:
        log_lines = audit_log.page(session, LogFilter(account_id=account_id), _LOG_ROWS)
        return account_search.details(session, account_id, now), log_lines

    try:
        details, log_lines = await services.database.run(read)
        state = await services.database.read(
            lambda session: plans.billing_state(session, account_id, services.clock())
        )
    except UnknownAccount:
        raise NotFound("There is no such account.") from None
    call_id = request.query_params.get("refund", "") if not opened else ""
    account = details.account
    return rendering.show(
        request,
        "account.html",
        ACCOUNTS_PATH,
        status_code,
        details=details,
        account=account,
        here=ACCOUNT_PATH.format(account_id=account_id),
        is_own=account.id == operator.account_id,
        is_guests=account.email == GUESTS_EMAIL,
        plan=PLANS[state.plan],
        plan_status=messages.plan_status(state),
        plans=list(PLANS.values()),
        log_lines=log_lines,
        notice=notice,
        problem=problem,
        opened=Act.REFUND_CALL.value if call_id else opened,
        sent={"call": call_id} if call_id else sent or {},
        Act=Act,
    )
