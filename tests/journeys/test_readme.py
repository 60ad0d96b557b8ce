"""The README's commands and snippets, run as printed against a live server."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import RunningServer

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
PRINTED_ADDRESS = "http://127.0.0.1:8000"


def _snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def _run(command: list[str], server: RunningServer) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"KEY": server.key},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_curl_example_returns_a_cutout(server: RunningServer) -> None:
    (block,) = _snippets("sh")
    curl = block[block.index("curl") :].replace(PRINTED_ADDRESS, server.address)
    body = json.loads(_run(["sh", "-c", curl], server))
    assert body["success"] is True
    assert (body["data"]["width"], body["data"]["height"]) == (600, 400)


def test_the_json_examples_are_calls(server: RunningServer) -> None:
    block, _ = _snippets("bash")
    # Without the network only the address is refused: everything before it was read.
    examples = block.replace(PRINTED_ADDRESS, server.address).replace(
        "https://example.com/", "https://localhost/"
    )
    by_url, as_json, as_base64 = examples.strip().split("\n\n")
    for command in (by_url, as_json):
        error = json.loads(_run(["sh", "-c", command], server))["error"]
        assert (error["code"], error["param"]) == ("INVALID_PARAMETER", "image_url")
    body = json.loads(_run(["sh", "-c", as_base64], server))
    assert (body["data"]["width"], body["data"]["height"]) == (400, 400)


def test_the_job_examples_start_follow_and_cancel_a_job(server: RunningServer) -> None:
    _, block = _snippets("bash")
    start, state, events, cancel = re.findall(r"^curl(?:.*\\\n)?.*$", block, flags=re.MULTILINE)

    def run(line: str) -> str:
        return _run(["sh", "-c", line.replace(PRINTED_ADDRESS, server.address)], server)

    accepted = run(start)
    assert " 202 " in accepted.splitlines()[0]
    location = re.search(r"^location: \S+/(job_\w+)\s*$", accepted, flags=re.MULTILINE | re.IGNORECASE)
    assert location is not None
    assert "event: " in run(events.replace("job_…", location[1]))  # it ends with the job
    body = json.loads(run(state.replace("job_…", location[1])))
    assert body["data"]["status"] == "succeeded"
    assert body["data"]["result"]["width"] == 1200
    assert json.loads(run(cancel.replace("job_…", location[1])))["success"] in (True, False)


def test_the_python_example_prints_the_result_url(server: RunningServer) -> None:
    (snippet,) = _snippets("python")
    printed = _run([sys.executable, "-c", snippet.replace(PRINTED_ADDRESS, server.address)], server)
    assert re.fullmatch(rf"{re.escape(server.address)}/api/images/img_\w+\?\S+\n", printed)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed, so its snippet cannot run")
def test_the_node_example_prints_the_result_url(server: RunningServer, tmp_path: Path) -> None:
    (snippet,) = _snippets("js")
    script = tmp_path / "snippet.mjs"
    script.write_text(snippet.replace(PRINTED_ADDRESS, server.address))
    printed = _run(["node", "--no-warnings", str(script)], server)
    assert printed.startswith(f"{server.address}/api/images/img_")


def test_the_key_command_prints_a_key_and_nothing_else(tmp_path: Path) -> None:
    (block,) = _snippets("sh")
    command = re.search(r"\$\((?:\S*/)?bgeraser (.*?)\)", block)
    assert command is not None
    done = subprocess.run(
        [sys.executable, "-m", "web.cli", *command[1].split()],
        cwd=ROOT,
        env=os.environ | {"BGERASER_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"bge_live_[0-9A-Za-z]{38}\n", done.stdout)
