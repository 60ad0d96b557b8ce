"""The guide for a whole catalogue (docs/catalogue.md), its lines and receivers run as printed."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from api.webhooks import signatures
from billing.ledger.plans import PlanName
from billing.timestamps import utc_now
from tests.support.batch_calls import batch_in
from tests.support.server import Customer, RunningServer, free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "catalogue.md").read_text()
PRINTED_ADDRESS = "http://127.0.0.1:8000"
PHOTOS = ("cat.jpg", "coffee.jpg")


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, flags=re.MULTILINE | re.DOTALL)


class Shop:
    """A caller in a folder of its own, who follows the guide."""

    def __init__(self, server: RunningServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.customer: Customer = server.new_customer(PlanName.STANDARD)
        (folder / "photos").mkdir()
        for name in PHOTOS:
            shutil.copy(ROOT / "web" / "static" / "samples" / name, folder / "photos" / name)

    def run(self, block: str, batch_id: str = "") -> str:
        commands = block.replace(PRINTED_ADDRESS, self.server.address).replace("batch_…", batch_id)
        done = subprocess.run(
            ["sh", "-e", "-c", commands],
            cwd=self.folder,
            env=os.environ | {"KEY": self.customer.key},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def data(self, block: str, batch_id: str = "") -> Any:
        body = json.loads(self.run(block, batch_id))
        assert body["success"], body
        return body["data"]

    @contextmanager
    def receiver(self, command: list[str], secret: str) -> Iterator[str]:
        """The address of a receiver that runs."""
        port = free_port()
        environment = {"KEY": self.customer.key, "WEBHOOK_SECRET": secret, "PORT": str(port)}
        process = subprocess.Popen(command, cwd=self.folder, env=os.environ | environment)
        try:
            wait_until(lambda: answers(port) or process.poll() is not None)
            yield f"http://127.0.0.1:{port}/hooks"
        finally:
            process.kill()
            process.wait()


def answers(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/", timeout=5)
    except httpx.TransportError:
        return False
    return True


def test_a_catalogue_is_put_on_white_and_both_receivers_fetch_it(
    server: RunningServer, tmp_path: Path
) -> None:
    shop = Shop(server, tmp_path)
    account, webhook, batch, state, results = snippets("sh")
    assert shop.data(account)["credits"]["available"] == 500
    created = shop.data(webhook)
    assert created["events"] == ["batch.completed", "credits.low"]

    accepted = shop.data(batch)
    batch_id = accepted["batchId"]
    assert shop.data(batch)["batchId"] == batch_id  # sent again
    batch_in(server, shop.customer, batch_id)
    ended = shop.data(state, batch_id)
    assert (ended["status"], ended["counts"]["succeeded"], ended["creditsCharged"]) == ("completed", 2, 2)
    assert shop.data(account)["credits"]["available"] == 498

    shop.run(results, batch_id)
    with (tmp_path / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["file"]: row["credits"] for row in rows} == {f"photos/{name}": "1" for name in PHOTOS}
    for name in PHOTOS:
        with Image.open(tmp_path / "on-white" / "photos" / name) as picture:
            assert picture.size == (2000, 2000)
            assert np.asarray(picture.convert("RGB"))[0, 0].min() >= 250

    script = tmp_path / "receiver.mjs"
    script.write_text(snippets("js")[0])
    receivers = [[sys.executable, "-c", snippets("python")[0]]]
    if shutil.which("node") is not None:
        receivers.append(["node", str(script)])
    else:
        assert os.environ.get("CI") != "true", "node is not installed"
    for command in receivers:
        fetches_results(shop, command, batch_id, created["secret"])
    with server.client(shop.customer) as client:
        assert client.delete(f"/api/webhooks/{created['webhookId']}").status_code == 200


def fetches_results(shop: Shop, command: list[str], batch_id: str, secret: str) -> None:
    with shop.server.client(shop.customer) as client:
        body = client.get(f"/api/batches/{batch_id}").content
    headers = [*signatures.headers("msg_1", body, [secret], utc_now()), ("webhook-event", "batch.completed")]
    target = shop.folder / f"{batch_id}.zip"
    with shop.receiver(command, secret) as address:
        forged = httpx.post(address, headers=headers, content=body.replace(b"results.zip", b"results.exe"))
        assert forged.status_code == 400
        other = signatures.headers("msg_1", body, [signatures.new_secret()], utc_now())
        assert httpx.post(address, headers=other, content=body).status_code == 400
        assert not target.exists()
        assert httpx.post(address, headers=headers, content=body).status_code == 204
        expected = (shop.folder / "results.zip").stat().st_size
        wait_until(lambda: target.exists() and target.stat().st_size == expected)
    assert target.read_bytes() == (shop.folder / "results.zip").read_bytes()
    target.unlink()
