"""`bgeraser serve`: the server process and its startup message."""

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from api.settings import Settings
from web.cli import serving, stripe_check

SAMPLE = Path(__file__).parents[1] / "static" / "samples" / "coffee.jpg"


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free port.")
    ] = 8000,
    check: Annotated[bool, typer.Option("--check", help="Only check the settings and Stripe.")] = False,
) -> None:
    """Serve the REST API and the pages. Applies database migrations first."""
    with serving.refusals():
        settings = Settings.load()
        settings.refuse_unsafe_address(host)
        settings.refuse_missing_packages()
        if check:
            stripe_check.check(settings)
            return
        serving.print_warnings(settings, host)
        # Imported here, because the other commands do not need the web server.
        from web.app import create_app

        application = create_app(settings, host)
    serving.run(
        application, settings, host, port, lambda bound_port: _startup_message(host, bound_port, settings)
    )


def _startup_message(host: str, port: int, settings: Settings) -> str:
    """The server's address and, as long as there are no API keys, the commands of a first call."""
    shown_host = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104  # compared, not bound
    address = settings.public_url or f"http://{shown_host}:{port}"
    lines = [f"bgeraser serves at {address}"]
    if settings.is_development and (token := _first_login(settings)) is not None:
        lines += [
            "Log in as the operator with this link, which works once:",
            "",
            f"  {address}/login/once?token={token}",
            "",
        ]
    if not _has_keys(settings):
        command = _shell_command()
        lines += [
            "Your first call, in another terminal:",
            "",
            f"  export KEY=$({command} admin create-account you@example.com)",
            f'  curl -X POST {address}/api/tools/bg-removal -H "Authorization: Bearer $KEY"'
            f" -F image=@{shlex.quote(_relative(SAMPLE))}",
            "",
        ]
    return "\n".join(lines)


def _shell_command() -> str:
    """This command for use in another terminal, with the same data directory."""
    script = Path(sys.argv[0])
    if script.suffix == ".py":  # run as a module
        script = Path(sys.executable).with_name("bgeraser")
    data_dir = os.environ.get("BGERASER_DATA_DIR")
    prefix = f"BGERASER_DATA_DIR={shlex.quote(str(Path(data_dir).resolve()))} " if data_dir else ""
    return prefix + shlex.quote(_relative(script))


def _relative(path: Path) -> str:
    """`path` relative to the current directory if it is below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _first_login(settings: Settings) -> str | None:
    """A one-time login to the operator's account, None if somebody was able to log in before."""
    from sqlmodel import col, select

    from api.auth import registration
    from api.auth.models import BrowserSession, Identity, Password
    from api.db.database import Database
    from billing.timestamps import utc_now

    database = Database(settings.database_address)
    try:
        with database.transaction() as session:
            signed_in = select(BrowserSession.id).where(col(BrowserSession.account_id).is_not(None))
            for logins in (signed_in, select(Identity.id), select(Password.account_id)):
                if session.exec(logins.limit(1)).first() is not None:
                    return None
            return registration.operators_token(session, now=utc_now())
    finally:
        database.close()


def _has_keys(settings: Settings) -> bool:
    from sqlmodel import select

    from api.auth.models import ApiKey
    from api.db.database import Database

    database = Database(settings.database_address)
    try:
        with database.transaction() as session:
            return session.exec(select(ApiKey.id).limit(1)).first() is not None
    finally:
        database.close()
