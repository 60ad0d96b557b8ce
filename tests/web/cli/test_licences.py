"""`bgeraser licences`: what it says of packages and weights."""

import json
from email.message import Message
from importlib import metadata
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name
from typer.testing import CliRunner

from ml.checkpoints.registry import CHECKPOINTS
from tests.support.checkpoints import models_dir
from web.cli import licences
from web.cli.main import app


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["licences", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models_dir()  # found before the environment says otherwise; it keeps its answer
    monkeypatch.setenv("BGERASER_MODELS_DIR", str(tmp_path))
    return tmp_path


def test_it_lists_every_installed_package_once_and_no_weights_without_any(models: Path) -> None:
    found = json.loads(_run("--json"))
    names = [package["name"] for package in found["packages"]]
    assert names == sorted({canonicalize_name(each.name) for each in metadata.distributions()})
    licence_of = {package["name"]: package["licence"] for package in found["packages"]}
    assert licence_of["pillow"] == "MIT-CMU"
    assert licence_of["psycopg"].startswith("LGPL-3.0")
    assert found["weights"] == []


def test_it_lists_installed_weights_with_both_licences(models: Path) -> None:
    for file in CHECKPOINTS["isnet-general-use"].files:
        (models / file.file_name).symlink_to(models_dir() / file.file_name)
    lines = [line for line in _run().splitlines() if line.startswith("weights of")]
    assert lines == ["weights of isnet-general-use: MIT | carrier: AGPL-3.0 | commercial use: allowed"]


def test_pipelines_of_the_hub_have_the_licence_that_they_state(models: Path) -> None:
    for name, text in (
        ("ours--free", "---\nlicense: apache-2.0\n---\n"),
        ("ours--paid", "---\nlicense: cc-by-nc-4.0\n---\n"),
    ):
        folder = models / "hub" / name
        folder.mkdir(parents=True)
        (folder / "model_index.json").write_text("{}")
        (folder / "README.md").write_text(text)
    (models / "hub" / "ours--unfinished").mkdir()
    found = json.loads(_run("--json"))["weights"]
    assert [(each["name"], each["licence"], each["commercialUse"]) for each in found] == [
        ("ours/free", "apache-2.0", True),
        ("ours/paid", "cc-by-nc-4.0", False),
    ]


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ([("License-Expression", "MIT"), ("License", "text")], "MIT"),
        ([("Classifier", "License :: OSI Approved :: ISC License (ISCL)")], "ISC License (ISCL)"),
        ([("Classifier", "License :: OSI Approved"), ("License", "BSD\nCopyright …")], "BSD"),
        ([("License", "UNKNOWN")], "not stated"),
    ],
)
def test_a_licence_is_read_from_what_the_package_states(fields: list[tuple[str, str]], licence: str) -> None:
    stated = Message()
    for name, value in fields:
        stated[name] = value
    assert licences.licence_of(stated) == licence
