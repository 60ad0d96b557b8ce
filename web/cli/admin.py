"""`bgeraser admin …`: administration of accounts, payments and the database.

Imports are inside the commands, so that `bgeraser --help` is fast.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from api.settings import Settings
from billing.ledger.plans import PlanName

if TYPE_CHECKING:
    from sqlmodel import Session

    from api.db.database import Database
    from api.operators.acts import ActDone, ActRequest

app = typer.Typer(help="Accounts, credits and payments.", no_args_is_help=True)

MAX_GOODWILL_CREDITS = 1_000_000
#: Why, in the audit log, where a command does not ask for it.
_COMMAND_LINE_REASON = "asked for on the command line"


Email = Annotated[str, typer.Argument(help="The account's email address.")]
Reason = Annotated[str, typer.Option(help="Why, for the audit log.")]


@app.command("create-account")
def create_account(
    email: Annotated[str, typer.Argument(help="The account's email address.")],
    plan: Annotated[PlanName, typer.Option(help="Its plan.")] = PlanName.FREE,
    credits_: Annotated[
        int,
        typer.Option(
            "--credits", min=0, max=MAX_GOODWILL_CREDITS, help="Goodwill credits in addition to the plan's."
        ),
    ] = 0,
) -> None:
    """Create an account and print an API key for it, once. Only the key goes to stdout."""
    from api.auth import api_keys
    from api.operators import audit_log
    from api.operators.audit_log import Actor
    from api.operators.models import Act
    from billing import identifiers
    from billing.errors import AccountExists
    from billing.ledger import accounts, ledger
    from billing.ledger.models import GrantKind
    from billing.timestamps import utc_now

    address = _checked_email(email)
    now = utc_now()
    with _database() as database:
        try:
            with database.transaction() as session:
                account = accounts.create(session, email=address, plan=plan, now=now)
                ledger.refresh(session, account, now)
                if credits_:
                    ledger.grant(
                        session,
                        account,
                        kind=GrantKind.GOODWILL,
                        amount=credits_,
                        reference=identifiers.new_id("goodwill"),
                        expires_at=None,
                        now=now,
                    )
                _, key = api_keys.create(session, account.id, "command line", now)
                available = account.available
                audit_log.append(
                    session,
                    Actor(),
                    Act.CREATE_ACCOUNT,
                    account_id=account.id,
                    reason=_COMMAND_LINE_REASON,
                    now=now,
                    after={"plan": plan.value, "available": available, "granted": credits_},
                )
        except AccountExists:
            _fail(
                f"{address} already has an account. Create another key: bgeraser admin create-key {address}"
            )
    typer.echo(
        f"Created {address} on the {plan.value} plan with {available} credits."
        " This API key is shown once; keep it safe:",
        err=True,
    )
    typer.echo(key)


@app.command("create-key")
def create_key(
    email: Annotated[str, typer.Argument(help="The account's email address.")],
    name: Annotated[str, typer.Option(help="A name to recognise the key by.")] = "command line",
) -> None:
    """Print another API key for an account, once."""
    from api.auth import api_keys
    from api.errors import InvalidParameter
    from api.operators import audit_log
    from api.operators.audit_log import Actor
    from api.operators.models import Act
    from billing.errors import AccountClosed, AccountSuspended, UnknownAccount
    from billing.ledger import accounts
    from billing.timestamps import utc_now

    address = _checked_email(email)
    with _database() as database, database.transaction() as session:
        try:
            account = accounts.find_by_email(session, address)
        except UnknownAccount:
            _fail(f"No account has the address {address}")
        try:
            now = utc_now()
            created, key = api_keys.create(session, account.id, name, now)
        except (InvalidParameter, AccountClosed, AccountSuspended) as error:
            _fail(str(error))
        audit_log.append(
            session,
            Actor(),
            Act.CREATE_KEY,
            account_id=account.id,
            reason=_COMMAND_LINE_REASON,
            now=now,
            after={"key": created.id},
        )
    typer.echo("This API key is shown once; keep it safe:", err=True)
    typer.echo(key)


@app.command("login-link")
def login_link(
    email: Annotated[str, typer.Argument(help="The account's email address.")],
    address: Annotated[
        str | None, typer.Option(help="The server's address. Default: BGERASER_PUBLIC_URL or this machine.")
    ] = None,
    page: Annotated[
        str | None, typer.Option(help="The page that the link leads to, such as /app/admin.")
    ] = None,
) -> None:
    """Print a link that logs a browser in to an account. It works once, within 24 hours."""
    from urllib.parse import quote

    from api.auth import registration, tokens
    from api.auth.models import Purpose
    from api.operators import audit_log
    from api.operators.audit_log import Actor
    from api.operators.models import Act
    from billing.timestamps import utc_now

    with _database() as database, database.transaction() as session:
        account = registration.open_account(session, email)
        if account is None:
            _fail(f"No open account has the address {email}")
        now = utc_now()
        token = tokens.create(session, account.id, Purpose.LOGIN, now=now)
        audit_log.append(
            session,
            Actor(),
            Act.LOGIN_LINK,
            account_id=account.id,
            reason=_COMMAND_LINE_REASON,
            now=now,
        )
    site = (address or Settings.load().public_url or "http://127.0.0.1:8000").rstrip("/")
    next_page = f"&next={quote(page, safe='/')}" if page else ""
    typer.echo(f"{site}/login/once?token={token}{next_page}")


@app.command("grant-operator")
def grant_operator(email: Email, reason: Reason = _COMMAND_LINE_REASON) -> None:
    """Let an account use the operator's panel at /app/admin."""
    from api.operators import acts

    _act(email, reason, acts.grant_operator)
    typer.echo(f"{email} may use the operator's panel, shortly after logging in: /app/admin", err=True)


@app.command("revoke-operator")
def revoke_operator(email: Email, reason: Reason = _COMMAND_LINE_REASON) -> None:
    """Take the operator's panel away from an account, at once."""
    from api.operators import acts

    _act(email, reason, acts.revoke_operator)
    typer.echo(f"{email} is no operator any more.", err=True)


@app.command("suspend")
def suspend(email: Email, reason: Reason = _COMMAND_LINE_REASON) -> None:
    """Suspend an account: nothing new starts, its keys and pages are refused at once."""
    from api.operators import acts

    _act(email, reason, acts.suspend)
    typer.echo(f"{email} is suspended.", err=True)


@app.command("restore")
def restore(email: Email, reason: Reason = _COMMAND_LINE_REASON) -> None:
    """End the suspension of an account."""
    from api.operators import acts

    _act(email, reason, acts.restore)
    typer.echo(f"{email} is not suspended any more.", err=True)


@app.command("audit")
def audit() -> None:
    """Recompute all balances from the ledger entries. Exits with 1 if any differs."""
    import asyncio

    from billing.ledger import audit as ledger_audit

    with _database() as database:
        # A read transaction, because a large ledger takes a while and must not block calls.
        drifts = asyncio.run(database.read(ledger_audit.audit))
    for drift in drifts:
        typer.echo(str(drift), err=True)
    if drifts:
        _fail(f"{len(drifts)} balances differ from their entries")
    typer.echo("All balances match their entries.")


@app.command("reconcile")
def reconcile() -> None:
    """Compare plans and credits with Stripe and repair differences. Exits with 1 if Stripe failed."""
    import asyncio

    from api.operators import audit_log
    from api.operators.audit_log import Actor
    from api.operators.models import Act
    from api.payments import sync
    from api.services import Services
    from billing.timestamps import utc_now
    from web.bootstrap import services_for_command

    settings = Settings.load()

    def log_reconciliation(session: "Session", done: sync.Reconciled) -> None:
        counts = {"customers": done.customers, "repaired": len(done.changes), "failed": len(done.failures)}
        audit_log.append(
            session,
            Actor(),
            Act.RECONCILE,
            account_id=None,
            reason=_COMMAND_LINE_REASON,
            now=utc_now(),
            after=counts,
        )

    async def reconcile_all(services: Services) -> sync.Reconciled:
        if services.stripe is None:
            _fail("Set BGERASER_STRIPE_SECRET_KEY first.")
        done = await sync.reconcile(services, services.stripe)
        await services.database.run(lambda session: log_reconciliation(session, done))
        return done

    with services_for_command(settings) as services:
        done = asyncio.run(reconcile_all(services))
    for customer_id, changes in done.changes.items():
        for change in changes:
            typer.echo(f"{customer_id}: repaired: {change}", err=True)
    for customer_id, reason in done.failures.items():
        typer.echo(f"{customer_id}: {reason}", err=True)
    typer.echo(f"{done.customers} customers, {len(done.changes)} differed and were repaired.")
    if done.failures:
        _fail(f"{len(done.failures)} customers could not be compared.")


@app.command("stripe-setup")
def stripe_setup(
    standard: Annotated[str, typer.Option(help="Monthly price of the Standard plan, e.g. 9.00.")],
    business: Annotated[str, typer.Option(help="Monthly price of the Business plan, e.g. 49.00.")],
    currency: Annotated[str, typer.Option(help="Currency, three letters.")] = "usd",
    pack: Annotated[
        list[str] | None,
        typer.Option(help="A pack of credits and its price, e.g. 100:5.00. Repeat it for more packs."),
    ] = None,
) -> None:
    """Create products, prices, portal and webhook in your Stripe account. It is safe to run it again."""
    from api.payments.stripe_client import StripeAccess
    from billing.errors import PaymentError
    from billing.subscriptions.currencies import smallest_units
    from billing.subscriptions.setup import set_up

    settings = Settings.load()
    stripe = StripeAccess.of(settings)
    if stripe is None:
        _fail("Set BGERASER_STRIPE_SECRET_KEY to the secret key of your Stripe account first.")
    try:
        amounts = {
            PlanName.STANDARD: smallest_units(standard, currency),
            PlanName.BUSINESS: smallest_units(business, currency),
        }
        packs = _read_packs(pack or [], currency)
    except ValueError as error:
        _fail(str(error))
    webhook_url = f"{settings.public_url.rstrip('/')}/stripe/webhook" if settings.public_url else None
    try:
        done = set_up(
            stripe.gateway,
            amounts=amounts,
            currency=currency.lower(),
            webhook_url=webhook_url,
            packs=packs,
        )
    except PaymentError as error:
        _fail(f"Stripe: {error}")
    for line in done.lines:
        typer.echo(line, err=True)
    if webhook_url is None:
        typer.echo(
            "No webhook endpoint was created, because BGERASER_PUBLIC_URL is not set. It would be", err=True
        )
        typer.echo("  <your address>/stripe/webhook", err=True)
    if done.webhook_secret is not None:
        typer.echo("Stripe shows the endpoint's secret only once. Add it to the server's settings:", err=True)
        typer.echo(f"BGERASER_STRIPE_WEBHOOK_SECRET={done.webhook_secret}")


def _read_packs(texts: list[str], currency: str) -> dict[int, int]:
    """The price of each pack in the smallest unit, by its credits. Raises ValueError."""
    from billing.subscriptions.currencies import smallest_units
    from billing.subscriptions.packs import credits_of, lookup_key

    packs: dict[int, int] = {}
    for text in texts:
        count, separator, price = text.partition(":")
        credits_ = credits_of(lookup_key(count))
        if credits_ is None or not separator:
            raise ValueError(f"{text} is not a pack: write it as 100:5.00, with 1 to 1,000,000 credits")
        if credits_ in packs:
            raise ValueError(f"there are two packs of {credits_:,} credits")
        packs[credits_] = smallest_units(price, currency)
    return packs


@app.command("migrate-database")
def migrate_database(
    source: Annotated[str, typer.Argument(help="The database to read, e.g. sqlite:///data/bgeraser.db")],
    target: Annotated[
        str, typer.Argument(help="The empty database to fill, e.g. postgresql://user@host/name")
    ],
) -> None:
    """Copy all data to another database. Stop the servers that use the source first."""
    from api.db import transfer
    from api.errors import ServiceUnavailable

    try:
        copied = transfer.copy_database(source, target)
    except (transfer.TransferRefused, ServiceUnavailable, ValueError) as error:
        _fail(f"Nothing was copied: {error}")
    for table, rows in copied.items():
        typer.echo(f"{rows:>10,}  {table}")
    typer.echo(
        "All balances were verified. Set BGERASER_DATABASE_URL to the new address and start the server."
    )


def _act(email: str, reason: str, act: "Callable[[Session, ActRequest], ActDone]") -> None:
    from api.errors import ApiError
    from api.operators.acts import ActRequest
    from api.operators.audit_log import Actor
    from billing.errors import AccountClosed, UnknownAccount
    from billing.ledger import accounts
    from billing.timestamps import utc_now

    with _database() as database, database.transaction() as session:
        try:
            account = accounts.find_by_email(session, email)
            act(session, ActRequest(Actor(), account.id, reason, utc_now()))
        except UnknownAccount:
            _fail(f"No account has the address {email}")
        except (ApiError, AccountClosed) as error:
            _fail(str(error))


@contextmanager
def _database() -> "Iterator[Database]":
    """The operator's database, with migrations applied."""
    from api.db.database import Database
    from api.db.migrations import upgrade
    from api.errors import ServiceUnavailable
    from api.settings import MissingSecret, WrongSettings

    try:
        settings = Settings.load()
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        upgrade.migrate(settings.database_address)
        database = Database(settings.database_address)
    except (MissingSecret, WrongSettings, OSError, ServiceUnavailable, ValueError) as error:
        _fail(str(error))
    try:
        yield database
    finally:
        database.close()


def _checked_email(email: str) -> str:
    from web.auth.email_addresses import is_valid_address

    address = email.strip().lower()
    if not is_valid_address(address):
        _fail(f"{email!r} is not a valid email address")
    return address


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
