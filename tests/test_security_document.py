"""SECURITY.md: its files, commands, routes, settings and figures are those of the code."""

import math
import re
from pathlib import Path

import pytest
import typer

from api.auth import api_keys, passwords, sessions
from api.auth.models import ApiKey, BrowserSession, Identity, OneTimeToken
from api.operators.models import Act
from api.settings import Settings
from api.webhooks import endpoints
from api.webhooks.models import WebhookEndpoint
from web.cli.main import app

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "SECURITY.md").read_text()
QUOTED = re.findall(r"`([^`\n]+)`", TEXT)


def test_the_files_that_it_names_exist() -> None:
    named = [each for each in QUOTED if re.fullmatch(r"[\w./-]+\.(?:py|md|lock)", each)]
    named += re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", TEXT)
    assert len(named) >= 5
    assert [each for each in named if not (ROOT / each).is_file()] == []


def test_the_settings_that_it_names_exist() -> None:
    named = set(re.findall(r"\bBGERASER_[A-Z_]+\b", TEXT))
    assert len(named) >= 12
    assert named <= {f"BGERASER_{name.upper()}" for name in Settings.model_fields}


def test_every_secret_of_the_settings_has_a_rotation() -> None:
    rotation = TEXT.split("## Rotating secrets")[1].split("## Dependencies")[0]
    for name, field in Settings.model_fields.items():
        if "SecretStr" in str(field.annotation):
            assert f"BGERASER_{name.upper()}" in rotation, name


@pytest.mark.parametrize("command", sorted({each for each in QUOTED if each.startswith("bgeraser ")}))
def test_the_commands_that_it_names_exist(command: str) -> None:
    group: object = typer.main.get_command(app)
    words = command.split()[1:]
    while words and hasattr(group, "commands"):
        group = group.commands[words.pop(0)]
    options = {option for parameter in getattr(group, "params", ()) for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z-]+)`", TEXT))))
def test_the_targets_that_it_names_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_the_acts_of_the_panel_that_it_names_exist() -> None:
    assert {"end-sessions", "revoke-keys"} <= set(QUOTED)
    text = "".join(path.read_text() for path in (ROOT / "web/admin").glob("*.py"))
    assert '"end-sessions"' in text or "end-sessions" in {act.value for act in Act}
    assert '"revoke-keys"' in text or "revoke-keys" in {act.value for act in Act}


def test_the_figures_are_those_of_the_code() -> None:
    assert int(math.log2(62**api_keys.RANDOM_CHARACTERS)) == 190
    assert api_keys._SHOWN_CHARACTERS == 13
    # 47,104 KiB are 46 MiB.
    assert passwords._hash("a password").startswith("$argon2id$v=19$m=47104,t=2,p=1$")
    assert passwords.LENGTH_MIN == 8
    assert sessions._TOKEN_BYTES * 8 == 256
    assert endpoints.ROTATION_GRACE.total_seconds() == 24 * 3600


def test_only_the_secrets_of_webhooks_are_stored_as_they_are() -> None:
    for table in (ApiKey, BrowserSession, OneTimeToken, Identity):
        names = set(table.model_fields)
        assert not names & {"secret", "token", "key", "access_token", "refresh_token"}, table
    assert {"secret", "previous_secret"} <= set(WebhookEndpoint.model_fields)
