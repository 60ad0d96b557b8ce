"""The `bgeraser` command: serve, models, admin. Keys go to stdout, words for people to stderr."""

import typer

from web import admin_cli, models_cli, serving

app = typer.Typer(
    name="bgeraser",
    help="Self-hosted AI image editing: seven tools behind one REST API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(models_cli.app, name="models")
app.add_typer(admin_cli.app, name="admin")
app.command(name="serve")(serving.serve)


if __name__ == "__main__":
    app()
