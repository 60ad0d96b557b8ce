"""Errors that stop `bgeraser serve` are one sentence without secrets."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from api.db.database import Database
from api.db.migrations.upgrade import migrate
from api.settings import MissingSecret, Settings, WrongSettings
from web.cli import main

PUBLIC = {"BGERASER_PUBLIC_URL": "https://pictures.example.com"}
SECRET = {"BGERASER_SECRET_KEY": "a secret of thirty-two characters or more"}


def run_command(tmp_path: Path, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BGERASER_")}
    return subprocess.run(
        [sys.executable, "-m", "web.cli", *command],
        env=environment | {"BGERASER_DATA_DIR": str(tmp_path)} | settings,
        capture_output=True,
        text=True,
        timeout=60,
    )


def run_python(tmp_path: Path, script: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BGERASER_")}
    return subprocess.run(
        [sys.executable, "-c", script],
        env=environment | {"BGERASER_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (PUBLIC, "BGERASER_SECRET_KEY is not set"),
        ({"BGERASER_SECRET_KEY": "short"}, "at least 32 characters"),
        ({"BGERASER_WORKERS": "many"}, "BGERASER_WORKERS must be a valid integer"),
        ({"BGERASER_WORKERS": "0"}, "BGERASER_WORKERS must be greater"),
        ({"BGERASER_PUBLIC_URL": "example.com"}, "BGERASER_PUBLIC_URL must be a complete URL"),
        ({"BGERASER_PUBLIC_URL": "ftp://example.com"}, "BGERASER_PUBLIC_URL must be a complete URL"),
        ({"BGERASER_PUBLIC_URL": "https://a@example.com"}, "BGERASER_PUBLIC_URL must be scheme, host"),
        ({"BGERASER_PUBLIC_URL": "https://[::1"}, "BGERASER_PUBLIC_URL"),
        ({"BGERASER_TRUSTED_PROXIES": "proxy, 10.0.0.1"}, "BGERASER_TRUSTED_PROXIES must be addresses"),
        ({"BGERASER_STRIPE_SECRET_KEY": "whsec_planted"}, "BGERASER_STRIPE_SECRET_KEY must be a secret key"),
        (
            {"BGERASER_STRIPE_WEBHOOK_SECRET": "sk_planted"},
            "BGERASER_STRIPE_WEBHOOK_SECRET must be a webhook",
        ),
        (
            {"BGERASER_STRIPE_WEBHOOK_SECRET_PREVIOUS": "sk_planted"},
            "BGERASER_STRIPE_WEBHOOK_SECRET_PREVIOUS must be a webhook",
        ),
        (
            PUBLIC | SECRET | {"BGERASER_STRIPE_SECRET_KEY": "sk_test_planted"},
            "BGERASER_STRIPE_SECRET_KEY is a key of Stripe's test mode",
        ),
        (
            PUBLIC | SECRET | {"BGERASER_STRIPE_SECRET_KEY": "rk_test_planted"},
            "or, if this is meant, BGERASER_STRIPE_ALLOW_TEST=true.",
        ),
        ({"BGERASER_SMTP_URL": "smtp://a:planted@127.0.0.1"}, "BGERASER_SMTP_URL needs BGERASER_PUBLIC_URL"),
        (PUBLIC | SECRET | {"BGERASER_DEVELOPMENT": "true"}, "BGERASER_DEVELOPMENT=true contradicts"),
        ({"BGERASER_OTLP_ENDPOINT": "127.0.0.1:4318"}, "BGERASER_OTLP_ENDPOINT must be a complete URL"),
        ({"BGERASER_OTLP_ENDPOINT": "grpc://127.0.0.1:4317"}, "BGERASER_OTLP_ENDPOINT must be a complete"),
        ({"BGERASER_OTLP_ENDPOINT": "http://a:planted@127.0.0.1"}, "OTEL_EXPORTER_OTLP_HEADERS"),
        ({"BGERASER_OTLP_ENDPOINT": "http://127.0.0.1/?key=planted"}, "OTEL_EXPORTER_OTLP_HEADERS"),
    ],
)
def test_an_invalid_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], expected: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(main.app, ["serve", "--check"])
    assert done.exit_code == 1
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("bgeraser cannot start: ")
    assert expected in sentence
    assert "planted" not in sentence


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"BGERASER_DATABASE_URL": "foo"}, "BGERASER_DATABASE_URL must be sqlite:///path or postgresql://"),
        ({"BGERASER_DATABASE_URL": "mysql://127.0.0.1/books"}, "mysql is not supported"),
        ({"BGERASER_DATABASE_URL": "postgresql://127.0.0.1:9/books"}, "database"),
        ({"BGERASER_DATABASE_URL": "sqlite:////proc/bgeraser/books.db"}, "database file cannot be opened"),
        ({"BGERASER_DATA_DIR": "/proc"}, "BGERASER_DATA_DIR is /proc, which cannot be written"),
        ({"BGERASER_DATA_DIR": __file__}, "which cannot be written"),
        ({"BGERASER_STORAGE_URL": "ftp://bucket"}, "BGERASER_STORAGE_URL must be file:///folder or s3://"),
        ({"BGERASER_STORAGE_URL": "s3:///folder"}, "BGERASER_STORAGE_URL: 's3:///folder' is not s3://bucket"),
        ({"BGERASER_STORAGE_REDIRECT": "true"}, "BGERASER_STORAGE_REDIRECT=true needs a bucket"),
        ({"BGERASER_STORAGE_URL": "file:///proc/pictures"}, "BGERASER_STORAGE_URL is /proc/pictures, which"),
        pytest.param(
            {"BGERASER_DEVICE": "cuda"},
            "does not find a device",
            marks=pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="this machine has the device"),
        ),
    ],
)
def test_a_server_that_cannot_start_prints_the_reason(
    tmp_path: Path, settings: dict[str, str], expected: str
) -> None:
    done = run_command(tmp_path, "serve", "--port", "0", **settings)
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("bgeraser cannot start: ")
    assert expected in sentence


def test_a_database_of_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'bgeraser.db'}"
    migrate(url)
    database = Database(url)
    with database.transaction() as session:
        session.connection().exec_driver_sql("update alembic_version set version_num = 'of_tomorrow'")
    database.close()
    done = run_command(tmp_path, "serve", "--port", "0")
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert "newer version of bgeraser (its schema is of_tomorrow)" in sentence


def test_other_commands_name_an_invalid_setting_too(tmp_path: Path) -> None:
    done = run_command(tmp_path, "admin", "audit", BGERASER_WORKERS="many")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "BGERASER_WORKERS must be a valid integer" in done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.7", "build.example.com"])
@pytest.mark.parametrize("settings", [{}, SECRET, {"BGERASER_PUBLIC_URL": "http://localhost:8000"}])
def test_the_default_listens_on_the_loopback_only(host: str, settings: dict[str, str]) -> None:
    values: dict[str, Any] = {
        name.removeprefix("BGERASER_").lower(): value for name, value in settings.items()
    }
    with pytest.raises(WrongSettings, match=r"BGERASER_PUBLIC_URL .* and BGERASER_SECRET_KEY") as refused:
        Settings(_env_file=None, **values).refuse_unsafe_address(host)
    assert "BGERASER_DEVELOPMENT=true" in str(refused.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_on_the_loopback_no_setting_is_required(host: str) -> None:
    settings = Settings(_env_file=None)
    settings.refuse_unsafe_address(host)
    assert settings.warnings(host) == []


def test_a_public_server_may_listen_anywhere_once_it_has_a_secret() -> None:
    url, secret = "https://pictures.example.com", SecretStr("a secret of thirty-two characters or more")
    with pytest.raises(MissingSecret):
        Settings(_env_file=None, public_url=url).refuse_unsafe_address("0.0.0.0")
    settings = Settings(_env_file=None, public_url=url, secret_key=secret)
    settings.refuse_unsafe_address("0.0.0.0")
    assert settings.warnings("0.0.0.0") == []


def test_development_beyond_this_machine_warns_at_each_start(tmp_path: Path) -> None:
    # It gets no further than the database, so that the test opens nothing to other machines.
    settings = {"BGERASER_DEVELOPMENT": "true", "BGERASER_DATABASE_URL": "foo"}
    for _ in range(2):
        done = run_command(tmp_path, "serve", "--host", "0.0.0.0", "--port", "0", **settings)
        warning, _ = done.stderr.splitlines()
        assert warning.startswith("bgeraser warning: BGERASER_DEVELOPMENT=true")


@pytest.mark.parametrize("missing", ["opentelemetry.exporter", "opentelemetry.exporter.otlp.proto.http"])
@pytest.mark.parametrize("command", [["serve"], ["serve", "--check"], ["worker"]])
def test_traces_without_their_packages_are_refused(
    monkeypatch: pytest.MonkeyPatch, command: list[str], missing: str
) -> None:
    monkeypatch.setenv("BGERASER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    for name in [name for name in sys.modules if name.startswith(missing)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    done = CliRunner().invoke(main.app, command)
    assert done.exit_code == 1
    (sentence,) = done.stderr.splitlines()
    assert sentence == (
        "bgeraser cannot start: BGERASER_OTLP_ENDPOINT needs packages that are not installed; install them"
        ' with pip install "bgeraser[telemetry]"'
    )


def test_without_the_setting_nothing_of_opentelemetrys_sdk_is_loaded(tmp_path: Path) -> None:
    script = (
        "import sys; from api.settings import Settings; from web.app import create_app;"
        " create_app(Settings(_env_file=None));"
        " print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'api.tracing'))])"
    )
    done = run_python(tmp_path, script)
    assert done.stdout == "[]\n", done.stderr


def test_a_misspelled_setting_is_named(tmp_path: Path) -> None:
    done = run_command(tmp_path, "serve", BGERASER_PUBLC_URL="https://a.example", BGERASER_DATABASE_URL="foo")
    assert "BGERASER_PUBLC_URL is not a setting; did you mean BGERASER_PUBLIC_URL?" in done.stderr


def test_the_container_lists_missing_settings_before_fetching_anything(tmp_path: Path) -> None:
    dockerfile = (Path(__file__).parents[3] / "Dockerfile").read_text()
    first, _, rest = dockerfile.partition('CMD ["sh", "-c", "')[2].partition(" && ")
    assert "models pull" in rest
    program, *command = first.split()
    assert program == "bgeraser"
    done = run_command(tmp_path, *command)
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert "set BGERASER_PUBLIC_URL" in sentence
    for settings in (PUBLIC | SECRET, {"BGERASER_DEVELOPMENT": "true"}):
        assert run_command(tmp_path, *command, **settings).returncode == 0
