"""`bgeraser cluster`, and what a server says whose cluster cannot be used."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ml.runtime.cluster import deployment
from tests.support.ml.clusters import RayCluster, ray_cluster
from tests.support.server import free_port
from tests.support.waiting import wait_until
from web.cli.main import app

__all__ = ["ray_cluster"]


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BGERASER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("BGERASER_ML_BACKEND", "ray")


def bgeraser(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["worker"], ["cluster", "status"]])
def test_a_cluster_without_a_token_is_refused_in_one_sentence(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    result = bgeraser(*command)
    assert result.exit_code == 1
    assert "RAY_AUTH_MODE=token" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("families", "problem"),
    [
        ('{"cutouts": {}}', "BGERASER_RAY_FAMILIES has no family 'cutouts'"),
        ('{"cutout": {"gpu": 1}}', "BGERASER_RAY_FAMILIES"),
        (
            '{"cutout": {"min_replicas": 9}}',
            "RAY_FAMILIES: cutout min_replicas must not be above max_replicas",
        ),
        ('{"edit": {"gpus": 1.5}}', "BGERASER_RAY_FAMILIES: edit.gpus above 1 must be a whole number"),
        ("cutout=4", "BGERASER_RAY_FAMILIES must be JSON"),
    ],
)
def test_wrong_families_are_refused_by_name(
    families: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BGERASER_RAY_FAMILIES", families)
    result = bgeraser("serve", "--check")
    assert result.exit_code == 1
    assert problem in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "address", ["garbage", "local", "http://127.0.0.1:6379", "127.0.0.1:99999", "ray://h:1"]
)
def test_an_impossible_address_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BGERASER_RAY_ADDRESS", address)
    result = bgeraser("cluster", "status")
    assert result.exit_code == 1
    assert "BGERASER_RAY_ADDRESS must be host:port" in result.stderr


def test_an_address_where_nothing_answers_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("BGERASER_RAY_ADDRESS", f"127.0.0.1:{free_port()}")
    result = bgeraser("cluster", "status")
    assert result.exit_code == 1
    assert "cannot be used" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_commands_need_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BGERASER_ML_BACKEND", "local")
    result = bgeraser("cluster", "status")
    assert result.exit_code == 1
    assert "BGERASER_ML_BACKEND=ray" in result.stderr


def test_the_command_line_does_not_import_ray() -> None:
    code = "import sys; from web.cli.main import app; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_family_is_deployed_shown_and_deleted(
    ray_cluster: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("BGERASER_RAY_ADDRESS", ray_cluster.address)
    assert bgeraser("cluster", "deploy", "nothing").exit_code == 1
    try:
        deployed = bgeraser("cluster", "deploy", "edit")
        assert (deployed.exit_code, deployed.stdout.partition(".")[0]) == (0, "Deployed: edit")

        def states() -> dict[str, str]:
            return {
                line.split()[0]: line.split()[1] for line in bgeraser("cluster", "status").stdout.splitlines()
            }

        wait_until(lambda: states().get("edit") == "RUNNING", every_seconds=0.5)
        assert states()["cutout"] == "MISSING"
        assert bgeraser("cluster", "status").exit_code == 1
    finally:
        deleted = bgeraser("cluster", "delete")
    assert deleted.stdout == "Deleted.\n"
    assert deployment.states("bgeraser", ["edit"])["edit"].status == "MISSING"
