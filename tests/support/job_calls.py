"""Jobs as a client asks for them, for tests against a live server."""

from typing import Any

import httpx

from api.jobs.models import JobStatus
from tests.support.calling import crop
from tests.support.server import Customer, RunningServer
from tests.support.waiting import wait_until

PREFER = {"Prefer": "respond-async"}


def crop_later(
    server: RunningServer, customer: Customer, picture: bytes | None = None, **options: Any
) -> httpx.Response:
    """The answer to a call that asks to be run as a job; see `calling.crop`."""
    headers = {**PREFER, **options.pop("headers", {})}
    return crop(server, customer, picture, headers=headers, **options)


def job_of(response: httpx.Response) -> str:
    """The id of an accepted job."""
    assert response.status_code == 202, response.text
    return str(response.json()["data"]["jobId"])


def read_job(server: RunningServer, customer: Customer, job_id: str) -> dict[str, Any]:
    with server.client(customer) as client:
        response = client.get(f"/api/jobs/{job_id}")
    assert response.status_code == 200, response.text
    data: dict[str, Any] = response.json()["data"]
    return data


def ended_job(server: RunningServer, customer: Customer, job_id: str) -> dict[str, Any]:
    """The job once it has ended."""
    latest: dict[str, Any] = {}

    def has_ended() -> bool:
        latest.update(read_job(server, customer, job_id))
        return JobStatus(latest["status"]).is_final

    wait_until(has_ended, every_seconds=0.1)
    return latest
