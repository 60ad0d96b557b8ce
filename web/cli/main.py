"""The `bgeraser` command and its subcommands. Results go to stdout, messages to stderr."""

from typing import Any

import typer
from typer.core import TyperGroup

from api.errors import ServiceUnavailable
from api.settings import MissingSecret, WrongSettings
from web.cli import admin, cluster, licences, serve, worker
from web.cli import models as models_cli
from web.cli.run import command as run_command


class _Commands(TyperGroup):
    """Reports errors of the settings as one line instead of a traceback."""

    def invoke(self, ctx: Any) -> object:  # the context class of typer's own click
        try:
            return super().invoke(ctx)
        except (WrongSettings, MissingSecret, ServiceUnavailable) as error:
            typer.echo(f"bgeraser: {error}", err=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    name="bgeraser",
    cls=_Commands,
    help="Self-hosted AI image editing: seven tools behind one REST API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(models_cli.app, name="models")
app.add_typer(admin.app, name="admin")
app.add_typer(cluster.app, name="cluster")
app.command(name="serve")(serve.serve)
app.command(name="worker")(worker.worker)
app.command(name="run")(run_command.run)
app.command(name="licences")(licences.licences)


if __name__ == "__main__":
    app()
