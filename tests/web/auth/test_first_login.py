"""The operator's first login: the link printed at the first start, and the command for another."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx

from tests.support.server import RunningServer, StartServer

LINK = re.compile(r"http://127\.0\.0\.1:\d+/login/once\?token=\S+")


def settings_of(client: httpx.Client) -> httpx.Response:
    return client.get("/settings", headers={"Accept": "text/html"})


def test_the_first_start_prints_a_link_that_signs_the_operator_in_once(start_server: StartServer) -> None:
    running: RunningServer = start_server(BGERASER_WORKERS="1")
    (link,) = LINK.findall(running.log_text())
    with running.client() as client:
        assert client.get(link).headers["location"] == "/app/"
        assert "operator@localhost" in settings_of(client).text
    with running.client() as late:
        assert late.get(link).status_code == 410
        assert settings_of(late).status_code == 303
    running.stop()
    again: RunningServer = start_server(data_dir=running.data_dir, BGERASER_WORKERS="1")
    assert LINK.findall(again.log_text()) == []


def test_the_command_prints_a_link_for_any_account(server: RunningServer) -> None:
    customer = server.new_customer()
    done = login_link(server.data_dir, customer.email, "--address", server.address)
    assert done.returncode == 0, done.stderr
    with server.client() as client:
        assert client.get(done.stdout.strip()).status_code == 303
        assert customer.email in settings_of(client).text
    refused = login_link(server.data_dir, "nobody@example.com")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "No open account" in refused.stderr


def login_link(data_dir: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "web.cli", "admin", "login-link", *arguments],
        env=os.environ | {"BGERASER_DATA_DIR": str(data_dir)},
        capture_output=True,
        text=True,
        timeout=60,
    )
