"""Who works in a soak: each caller has an account of its own and repeats what failed until it is answered.

A caller counts what it was given, so that its account can be compared with it at the end.
"""

import io
import itertools
import random
import re
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from PIL import Image

from api.jobs.models import JobStatus
from tests.soak.record import Record
from tests.soak.stand import Stand
from tests.support.calling import small_picture
from tests.support.editor_client import Browser
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import Customer

TIMEOUT_SECONDS = 120.0
#: Longer than any fault lasts: the work was lost.
GIVE_UP_SECONDS = 600.0
_PHOTO = photo("chelsea")
#: Tools, their fields, whether they are given a small picture instead of a photo, and their answer's size.
_CALLS: list[tuple[str, dict[str, str], bool, tuple[int, int]]] = [
    ("crop", {"width": "10", "height": "10"}, True, (10, 10)),
    ("bg-removal", {"model": "fast"}, False, (451, 300)),
    ("brush", {"op": "erase", "strokes": '[{"points": [[5, 5], [30, 20]], "size": 6}]'}, True, (60, 40)),
    ("crop", {"width": "300", "height": "200", "format": "webp"}, False, (300, 200)),
    ("upscale", {"scale": "2", "mode": "fast"}, True, (120, 80)),
]
_BATCH_ITEMS = 3
_FINAL_ITEMS = {"succeeded", "failed", "cancelled"}
_PAUSE_SECONDS = 0.3


@dataclass
class Caller:
    stand: Stand
    record: Record
    customer: Customer
    ending: threading.Event  # no new work is begun
    chance: random.Random
    turns: "itertools.count[int]" = field(default_factory=itertools.count)
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=TIMEOUT_SECONDS))

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The first answer that is not a failure of the service, by the servers in turn."""
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < deadline:
            server = self.stand.servers[next(self.turns) % 2]
            began = time.monotonic()
            try:
                answer = self.client.request(method, f"{server.address}{path}", **options)
            except httpx.TransportError as error:
                self.record.failed(began, f"{method} {path} by {server.name}: {error!r}")
                time.sleep(_PAUSE_SECONDS)
                continue
            self.record.answered()
            if answer.status_code < 500 and answer.status_code not in (409, 429):
                return answer
            if answer.status_code >= 500:
                what = f"{method} {path} by {server.name}: {answer.status_code} {answer.text[:200]}"
                self.record.failed(began, what)
            pause = answer.headers.get("retry-after", "")
            time.sleep(min(5.0, float(pause)) if pause.isdigit() else _PAUSE_SECONDS)
        raise AssertionError(f"{method} {path} was not answered in {GIVE_UP_SECONDS:.0f} s")

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """As `send`, with the account's key."""
        headers: Mapping[str, str] = options.pop("headers", {})
        return self.send(method, path, headers={**self.customer.headers, **headers}, **options)

    def check(self, answer: httpx.Response, *allowed: int) -> Any:
        if answer.status_code not in (allowed or (200,)):
            raise AssertionError(f"{answer.request.url.path}: {answer.status_code} {answer.text[:300]}")
        return answer.json()["data"]

    def picture(self, *, is_small: bool) -> bytes:
        """One that was never sent before, so that it is not answered from an earlier call."""
        if is_small:
            return small_picture()
        pixels = _PHOTO.copy()
        pixels[:8, :8] = self.chance.randrange(256)
        pixels[0, :, 0] = np.frombuffer(self.chance.randbytes(pixels.shape[1]), np.uint8)
        return jpeg_bytes(pixels)

    def sign_in(self) -> None:
        """Send with a browser's cookie and token from now on."""
        server = self.stand.running(self.stand.lasting)
        self.client.close()
        self.client = Browser(server, self.customer).client
        self.client.base_url = ""
        server.database.close()

    def run(self) -> None:
        while not self.ending.is_set():
            try:
                self.work()
            except Exception as error:
                self.record.wrong.append(f"{type(self).__name__}: {error!r:.500}")
                time.sleep(1)
        self.client.close()

    def work(self) -> None:
        raise NotImplementedError


def _key() -> dict[str, str]:
    return {"Idempotency-Key": secrets.token_hex(8)}


class Direct(Caller):
    """Calls that wait for their picture."""

    def work(self) -> None:
        tool, fields, is_small, size = self.chance.choice(_CALLS)
        files = {"image": self.picture(is_small=is_small)}
        headers = {**_key(), "Accept": "image/*"}
        answer = self.ask("POST", f"/api/tools/{tool}", data=fields, files=files, headers=headers)
        if answer.status_code != 200:
            raise AssertionError(f"{tool}: {answer.status_code} {answer.text[:300]}")
        self.record.succeeded("calls", self.customer.account_id)
        found = Image.open(io.BytesIO(answer.content)).size
        if found != size:
            self.record.wrong.append(f"{tool} made a picture of {found} instead of {size}")


class Later(Caller):
    """Jobs."""

    def work(self) -> None:
        tool, fields, is_small, _ = self.chance.choice(_CALLS)
        files = {"image": self.picture(is_small=is_small)}
        headers = {**_key(), "Prefer": "respond-async"}
        job = self.check(
            self.ask("POST", f"/api/tools/{tool}", data=fields, files=files, headers=headers), 202
        )
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while not JobStatus(job["status"]).is_final:
            assert time.monotonic() < deadline, f"the job {job['jobId']} does not end"
            time.sleep(_PAUSE_SECONDS)
            job = self.check(self.ask("GET", f"/api/jobs/{job['jobId']}"))
        if job["status"] == JobStatus.SUCCEEDED:
            self.record.succeeded("jobs", self.customer.account_id)
        else:
            self.record.failed(
                time.monotonic(), f"the job {job['jobId']} {job['status']}: {job.get('error')}"
            )


class Batches(Caller):
    def work(self) -> None:
        files = [("images", (f"{n}.png", small_picture(), "image/png")) for n in range(_BATCH_ITEMS)]
        fields = {"tool": "crop", "width": "10", "height": "10"}
        batch = self.check(self.ask("POST", "/api/batches", data=fields, files=files, headers=_key()), 202)
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while sum(batch["counts"][status] for status in _FINAL_ITEMS) < _BATCH_ITEMS:
            assert time.monotonic() < deadline, f"the batch {batch['batchId']} does not end"
            time.sleep(_PAUSE_SECONDS)
            batch = self.check(self.ask("GET", f"/api/batches/{batch['batchId']}"))
        self.record.succeeded("batches", self.customer.account_id, batch["counts"]["succeeded"])
        if batch["counts"]["succeeded"] < _BATCH_ITEMS:
            self.record.failed(time.monotonic(), f"the batch {batch['batchId']} has {batch['counts']}")


class Editor(Caller):
    """Runs in the editor, as a browser asks for them."""

    def work(self) -> None:
        if "X-CSRF-Token" not in self.client.headers:
            self.sign_in()
        # A picture of its own, because samples are edited free of charge, and a tool that costs a credit.
        files = {"image": self.picture(is_small=True)}
        project = self.check(self.send("POST", "/editor/projects", files=files))
        place = f"/editor/projects/{project['id']}"
        body = {
            "tool": "upscale",
            "params": {"scale": "2", "mode": "fast"},
            "stepId": project["currentStepId"],
        }
        run = self.check(self.send("POST", f"{place}/runs", json=body, headers=_key()))
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while run["status"] in ("queued", "running"):
            assert time.monotonic() < deadline, f"the run {run['id']} does not end"
            time.sleep(_PAUSE_SECONDS)
            answer = self.send("GET", f"{place}/runs/{run['id']}")
            if answer.status_code == 404:  # it has ended, and its step is all that is left
                break
            run = self.check(answer)
        made = len(self.check(self.send("GET", place))["steps"]) - len(project["steps"])
        if made:
            self.record.succeeded("editor runs", self.customer.account_id)
        else:
            self.record.failed(time.monotonic(), f"the run {run['id']} {run['status']}: {run.get('error')}")
        if made > 1:
            self.record.wrong.append(f"the run {run['id']} made {made} steps")


class Buyer(Caller):
    """Buys a pack of 100 credits now and then, through the pages of plans and of the simulated Stripe."""

    bought: int = 0

    def work(self) -> None:
        if "X-CSRF-Token" not in self.client.headers:
            self.sign_in()
        page = self.send("GET", "/plans")
        token = re.search(r'name="csrf_token" value="([^"]*)"', page.text)
        assert token, page.text[:300]
        fields = {"csrf_token": token[1]}
        answer = self.send(
            "POST", "/packs/100/checkout", data=fields, headers={"Sec-Fetch-Site": "same-origin"}
        )
        checkout = re.search(rf"{re.escape(self.stand.world.address)}/pay/\w+", answer.text)
        assert checkout, f"{answer.status_code} {answer.text[:300]}"
        paid = httpx.post(checkout[0], data={"do": "pay"}, follow_redirects=False)
        assert paid.status_code == 303, f"{paid.status_code} {paid.text[:300]}"
        self.bought += 1
        self.record.done["packs"] += 1
        self.ending.wait(self.chance.uniform(5, 20))


KINDS: tuple[type[Caller], ...] = (Direct, Direct, Later, Batches, Editor, Buyer)
