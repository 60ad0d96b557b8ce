"""`bgeraser admin …`: what an operator does to accounts and books, straight on the database.

Imports stay inside the commands, so that `bgeraser --help` answers at once.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from api.settings import Settings
from billing.ledger.plans import PlanName

if TYPE_CHECKING:
    from api.db.database import Database

app = typer.Typer(help="Accounts and books.", no_args_is_help=True)

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
MAX_GOODWILL_CREDITS = 1_000_000


@app.command("create-account")
def create_account(
    email: Annotated[str, typer.Argument(help="The account's e-mail address.")],
    plan: Annotated[PlanName, typer.Option(help="Its plan.")] = PlanName.FREE,
    credits_: Annotated[
        int,
        typer.Option(
            "--credits", min=0, max=MAX_GOODWILL_CREDITS, help="Goodwill credits beside the plan's."
        ),
    ] = 0,
) -> None:
    """Create an account and print an API key for it, once. The key is all that goes to stdout."""
    from api.auth import api_keys
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
        except AccountExists:
            _fail(
                f"{address} has an account already. Another key for it: bgeraser admin create-key {address}"
            )
    typer.echo(
        f"Created {address} on the {plan.value} plan with {available} credits."
        " This API key is shown once; keep it safe:",
        err=True,
    )
    typer.echo(key)


@app.command("create-key")
def create_key(
    email: Annotated[str, typer.Argument(help="The account's e-mail address.")],
    name: Annotated[str, typer.Option(help="A name to recognise the key by.")] = "command line",
) -> None:
    """Print another API key for an account, once."""
    from api.auth import api_keys
    from api.errors import InvalidParameter
    from billing.errors import AccountClosed, UnknownAccount
    from billing.ledger import accounts
    from billing.timestamps import utc_now

    address = _checked_email(email)
    with _database() as database, database.transaction() as session:
        try:
            account = accounts.find_by_email(session, address)
        except UnknownAccount:
            _fail(f"No account has the address {address}")
        try:
            _, key = api_keys.create(session, account.id, name, utc_now())
        except (InvalidParameter, AccountClosed) as error:
            _fail(str(error))
    typer.echo("This API key is shown once; keep it safe:", err=True)
    typer.echo(key)


@app.command("login-link")
def login_link(
    email: Annotated[str, typer.Argument(help="The account's e-mail address.")],
    address: Annotated[
        str | None, typer.Option(help="Where the server is; default: BGERASER_PUBLIC_URL or this machine.")
    ] = None,
) -> None:
    """Print an address that logs a browser in to an account, once, within 24 hours."""
    from api.auth import registration, tokens
    from api.auth.models import Purpose
    from billing.timestamps import utc_now

    with _database() as database, database.transaction() as session:
        account = registration.open_account(session, email)
        if account is None:
            _fail(f"No open account has the address {email}")
        token = tokens.create(session, account.id, Purpose.LOGIN, now=utc_now())
    site = (address or Settings.load().public_url or "http://127.0.0.1:8000").rstrip("/")
    typer.echo(f"{site}/login/once?token={token}")


@app.command("audit")
def audit() -> None:
    """Recompute every balance from its entries; exit with 1 if any differs."""
    import asyncio

    from billing.ledger import audit as books

    with _database() as database:
        # A snapshot: a large ledger takes a while, and no call shall wait for it.
        drifts = asyncio.run(database.read(books.audit))
    for drift in drifts:
        typer.echo(str(drift), err=True)
    if drifts:
        _fail(f"{len(drifts)} differences between the books and their entries")
    typer.echo("Every balance equals its entries.")


@app.command("reconcile")
def reconcile() -> None:
    """Compare every plan and its credits with Stripe, repair what differs; exit with 1 if Stripe failed."""
    import asyncio

    from api.payments import sync
    from api.services import Services
    from web.bootstrap import services_for_a_command

    settings = Settings.load()

    async def look(services: Services) -> sync.Reconciled:
        if services.stripe is None:
            _fail("Set BGERASER_STRIPE_SECRET_KEY first: without it there is nothing to compare with.")
        return await sync.reconcile(services, services.stripe)

    with services_for_a_command(settings) as services:
        done = asyncio.run(look(services))
    for customer_id, changes in done.changes.items():
        for change in changes:
            typer.echo(f"{customer_id}: repaired: {change}", err=True)
    for customer_id, reason in done.failures.items():
        typer.echo(f"{customer_id}: {reason}", err=True)
    typer.echo(f"{done.customers} customers, {len(done.changes)} differed and were repaired.")
    if done.failures:
        _fail(f"{len(done.failures)} could not be compared.")


@app.command("stripe-setup")
def stripe_setup(
    standard: Annotated[str, typer.Option(help="The Standard plan's price a month, e.g. 9.00.")],
    business: Annotated[str, typer.Option(help="The Business plan's price a month, e.g. 49.00.")],
    currency: Annotated[str, typer.Option(help="Its currency, three letters.")] = "usd",
) -> None:
    """Create product, prices, portal and webhook in your Stripe account. Running it again changes nothing."""
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
    except ValueError as error:
        _fail(str(error))
    webhook_url = f"{settings.public_url.rstrip('/')}/stripe/webhook" if settings.public_url else None
    try:
        done = set_up(stripe.gateway, amounts=amounts, currency=currency.lower(), webhook_url=webhook_url)
    except PaymentError as error:
        _fail(f"Stripe: {error}")
    for line in done.lines:
        typer.echo(line, err=True)
    if webhook_url is None:
        typer.echo("No webhook endpoint, for BGERASER_PUBLIC_URL is not set. It would be", err=True)
        typer.echo("  <your address>/stripe/webhook", err=True)
    if done.webhook_secret is not None:
        typer.echo("Stripe tells the endpoint's secret only now; put it where the server reads it:", err=True)
        typer.echo(f"BGERASER_STRIPE_WEBHOOK_SECRET={done.webhook_secret}")


@app.command("migrate-database")
def migrate_database(
    source: Annotated[str, typer.Argument(help="The database to read, e.g. sqlite:///data/bgeraser.db")],
    target: Annotated[str, typer.Argument(help="The empty one to fill, e.g. postgresql://user@host/name")],
) -> None:
    """Copy everything to another database, keeping every balance. Stop the servers on the source first."""
    from api.db import transfer
    from api.errors import ServiceUnavailable

    try:
        copied = transfer.copy_database(source, target)
    except (transfer.TransferRefused, ServiceUnavailable, ValueError) as error:
        _fail(f"Nothing was copied: {error}")
    for table, rows in copied.items():
        typer.echo(f"{rows:>10,}  {table}")
    typer.echo("Every balance is as it was. Start again with BGERASER_DATABASE_URL set to the new address.")


@contextmanager
def _database() -> "Iterator[Database]":
    """The operator's database, brought up to date first."""
    from api.db.database import Database
    from api.db.migrations import upgrade

    settings = Settings.load()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    upgrade.migrate(settings.database_address)
    database = Database(settings.database_address)
    try:
        yield database
    finally:
        database.close()


def _checked_email(email: str) -> str:
    address = email.strip().lower()
    if not _EMAIL.fullmatch(address) or len(address) > 254:
        _fail(f"{email!r} is no e-mail address")
    return address


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
