"""`python -m web.cli` is the `bgeraser` command."""

from web.cli.main import app

app()
