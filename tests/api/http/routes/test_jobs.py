"""Jobs over HTTP: accepted at once, run in turn, charged as calls are, and only for their own account."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from sqlmodel import col, select

from api.images.models import Image
from billing.ledger.models import Hold, HoldStatus
from billing.ledger.plans import PlanName
from billing.timestamps import utc_now
from ml.catalogue import TOOLS
from tests.support.apps import local_api
from tests.support.calling import code_of, crop, param_of, small_picture
from tests.support.job_calls import PREFER, crop_later, ended_job, job_of, read_job
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import Customer, RunningServer
from tests.support.waiting import wait_until

#: Encoding this takes seconds, so that something can happen meanwhile.
SLOW: dict[str, Any] = {"format": "avif", "quality": "100", "width": "100%", "height": "100%"}


def slow_picture(number: int) -> bytes:
    """Each number is another picture."""
    return jpeg_bytes(np.tile(photo("motorcycle_left")[number:], (4, 4, 1)))


@pytest.fixture
def customer(server: RunningServer) -> Customer:
    return server.new_customer(PlanName.STANDARD)


def stored_images(server: RunningServer, customer: Customer) -> int:
    """Images of the account that have not expired."""
    kept = (col(Image.account_id) == customer.account_id, col(Image.expires_at) > utc_now())
    with server.database.transaction() as session:
        return len(session.exec(select(Image.id).where(*kept)).all())


def test_a_job_ends_with_the_answer_of_the_call_and_costs_the_same(
    server: RunningServer, customer: Customer
) -> None:
    picture = small_picture()
    accepted = crop_later(server, customer, picture)
    job_id = job_of(accepted)
    assert accepted.headers["location"] == accepted.json()["data"]["statusUrl"]
    assert accepted.headers["preference-applied"] == "respond-async"
    assert accepted.headers["x-credits-charged"] == "0"
    assert accepted.headers["x-credits-remaining"] == "499"
    job = ended_job(server, customer, job_id)
    assert (job["status"], job["fraction"], job["error"], job["queuePosition"]) == (
        "succeeded",
        1,
        None,
        None,
    )
    assert server.balance(customer) == (499, 0)
    direct = crop(server, customer, picture).json()["data"]
    result = job["result"]
    assert result.keys() == direct.keys()
    # Two runs differ in these; their pixels are compared below.
    own = {"imageUrl", "imageId", "expiresAt", "processingTimeMs", "queueTimeMs", "creditsRemaining"}
    assert {name for name in result if result[name] != direct[name]} <= own
    with server.client() as client:
        first, second = (client.get(each["imageUrl"]).content for each in (result, direct))
    assert first == second
    # The result is kept, the picture that came with the job is not.
    assert stored_images(server, customer) == 2


def test_every_preference_and_only_this_one_makes_a_job(server: RunningServer, customer: Customer) -> None:
    for header in ("respond-async, wait=10", "wait=5,  Respond-Async; foo"):
        job_of(crop_later(server, customer, headers={"Prefer": header}))
    assert crop(server, customer, headers={"Prefer": "respond-asynchronously"}).status_code == 200


def test_a_repeated_request_gets_the_same_job(server: RunningServer, customer: Customer) -> None:
    picture, keyed = small_picture(), {"Idempotency-Key": "one"}
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: crop_later(server, customer, picture, headers=keyed), range(8)))
    assert len({job_of(answer) for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    without_key = [
        crop_later(server, customer, small_picture_once) for small_picture_once in [small_picture()] * 2
    ]
    assert job_of(without_key[0]) == job_of(without_key[1])
    assert without_key[0].content == without_key[1].content
    other = crop_later(server, customer, small_picture(), headers=keyed)
    assert (other.status_code, code_of(other)) == (422, "IDEMPOTENCY_MISMATCH")
    # The key belongs to the job: a call that waits for its result is another request.
    direct = crop(server, customer, picture, headers=keyed)
    assert (direct.status_code, code_of(direct)) == (422, "IDEMPOTENCY_MISMATCH")
    for answer in (answers[0], without_key[0]):
        ended_job(server, customer, job_of(answer))
    assert server.balance(customer) == (498, 0)


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "deleted"}])
def test_a_repeated_request_is_a_new_job_once_the_result_was_deleted(
    server: RunningServer, customer: Customer, headers: dict[str, str]
) -> None:
    picture = small_picture()
    first = job_of(crop_later(server, customer, picture, headers=headers))
    result_id = ended_job(server, customer, first)["result"]["imageId"]
    assert job_of(crop_later(server, customer, picture, headers=headers)) == first
    with server.client(customer) as client:
        assert client.delete(f"/api/images/{result_id}").status_code == 200
    again = job_of(crop_later(server, customer, picture, headers=headers))
    assert again != first
    assert ended_job(server, customer, again)["status"] == "succeeded"
    assert server.balance(customer) == (498, 0)


def test_jobs_wait_for_their_turn_and_leave_room_for_a_direct_call(server: RunningServer) -> None:
    customer = server.new_customer(PlanName.FREE)
    ids = [job_of(crop_later(server, customer, slow_picture(number), **SLOW)) for number in range(4)]
    assert server.balance(customer) == (11, 4)
    wait_until(lambda: read_job(server, customer, ids[0])["status"] != "queued")
    waiting = [read_job(server, customer, each) for each in ids]
    positions = [job["queuePosition"] for job in waiting if job["status"] == "queued"]
    assert positions == list(range(1, len(positions) + 1))
    assert sum(job["status"] == "running" for job in waiting) <= 1
    # One of the plan's two concurrent calls is left.
    assert crop(server, customer).status_code == 200
    for job_id in ids:
        assert ended_job(server, customer, job_id)["status"] == "succeeded"
    assert server.balance(customer) == (10, 0)


def test_a_failed_job_has_the_error_of_the_call_and_costs_nothing(
    server: RunningServer, customer: Customer
) -> None:
    form: dict[str, Any] = {"x": "50", "y": "0", "width": "100", "height": "10"}
    direct = crop(server, customer, **form)
    job = ended_job(server, customer, job_of(crop_later(server, customer, **form)))
    assert job["status"] == "failed"
    assert job["error"] == direct.json()["error"]
    assert job["result"] is None
    assert server.balance(customer) == (500, 0)


@pytest.mark.parametrize("has_begun", [False, True])
def test_a_cancelled_job_stops_and_its_credit_comes_back(server: RunningServer, has_begun: bool) -> None:
    customer = server.new_customer(PlanName.FREE)
    ids = [job_of(crop_later(server, customer, slow_picture(10 + number), **SLOW)) for number in range(2)]
    cancelled = ids[0] if has_begun else ids[1]
    wait_until(lambda: read_job(server, customer, ids[0])["status"] == "running")
    with server.client(customer) as client:
        for _ in range(2):
            answer = client.delete(f"/api/jobs/{cancelled}")
            assert (answer.status_code, answer.json()["data"]["status"]) == (200, "cancelled")
        for job_id in ids:
            client.delete(f"/api/jobs/{job_id}")
    assert server.balance(customer) == (15, 0)
    with server.database.transaction() as session:
        of_account = col(Hold.account_id) == customer.account_id
        statuses = set(session.exec(select(Hold.status).where(of_account)))
    assert statuses == {HoldStatus.RELEASED}


def test_a_job_is_refused_as_the_call_would_be(server: RunningServer) -> None:
    customer = server.new_customer(PlanName.FREE, credits=1)
    bad = crop_later(server, customer, width="no")
    assert (bad.status_code, code_of(bad), param_of(bad)) == (422, "INVALID_PARAMETER", "width")
    unreadable = crop_later(server, customer, b"no picture")
    assert (unreadable.status_code, code_of(unreadable)) == (415, "UNSUPPORTED_FORMAT")
    job_id = job_of(crop_later(server, customer))
    poor = crop_later(server, customer)
    assert (poor.status_code, code_of(poor)) == (402, "INSUFFICIENT_CREDITS")
    ended_job(server, customer, job_id)
    assert stored_images(server, customer) == 1


def test_an_image_that_is_deleted_before_its_job_fails_it(server: RunningServer) -> None:
    customer = server.new_customer(PlanName.FREE)
    with server.client(customer) as client:
        image_id = client.post("/api/images", files={"image": small_picture()}).json()["data"]["imageId"]
        first = job_of(crop_later(server, customer, slow_picture(20), **SLOW))
        form = {"image_id": image_id, "width": "10", "height": "10"}
        second = job_of(client.post("/api/tools/crop", data=form, headers=PREFER))
        assert client.delete(f"/api/images/{image_id}").status_code == 200
        job = ended_job(server, customer, second)
        assert (job["status"], job["error"]["code"]) == ("failed", "NOT_FOUND")
        assert job["error"]["param"] == "image_id"
        assert ended_job(server, customer, first)["status"] == "succeeded"
    assert server.balance(customer) == (14, 0)


def test_the_list_has_pages_and_a_status(server: RunningServer, customer: Customer) -> None:
    ids = [job_of(crop_later(server, customer)) for _ in range(5)]
    for job_id in ids:
        ended_job(server, customer, job_id)
    listed: list[str] = []
    with server.client(customer) as client:
        query = {"limit": "2", "status": "succeeded"}
        for _ in range(3):
            page = client.get("/api/jobs", params=query).json()["data"]
            listed += [job["jobId"] for job in page["jobs"]]
            query["cursor"] = page["nextCursor"]
        assert page["nextCursor"] is None
        assert listed == ids[::-1]
        assert client.get("/api/jobs?status=failed").json()["data"] == {"jobs": [], "nextCursor": None}


def test_head_of_the_events_states_no_length(server: RunningServer, customer: Customer) -> None:
    job_id = job_of(crop_later(server, customer))
    with server.client(customer) as client:
        answer = client.head(f"/api/jobs/{job_id}/events")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "content-length" not in answer.headers


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("status=done", "status"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=٣", "limit"),
        ("cursor=!", "cursor"),
        ("cursor=MTIz" * 50, "cursor"),
        ("limit=1&limit=2", "limit"),
        ("page=2", "page"),
    ],
)
def test_a_wrong_query_is_refused(server: RunningServer, query: str, param: str) -> None:
    with server.client(server.customer) as client:
        answer = client.get(f"/api/jobs?{query}")
    assert (answer.status_code, code_of(answer), param_of(answer)) == (422, "INVALID_PARAMETER", param)


@pytest.mark.parametrize("job_id", ["job_" + "0" * 22, "job_é", "x" * 5000])
def test_an_unknown_job_is_not_found(server: RunningServer, job_id: str) -> None:
    with server.client(server.customer) as client:
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events")):
            answer = client.request(method, f"/api/jobs/{job_id}{path}")
            assert (answer.status_code, code_of(answer)) == (404, "NOT_FOUND")


def test_the_parameters_of_every_tool_survive_being_stored() -> None:
    """What was not given is not stored: a target of `upscale` beside a `scale` would be refused."""
    samples: dict[str, dict[str, str]] = {
        "bg-removal": {
            "bg_color": "#ff000080",
            "crop_margin": "1 2% 3 4",
            "roi": "1 2 30 40",
            "crop": "true",
        },
        "upscale": {"target_width": "400", "mode": "quality"},
        "generative-fill": {
            "strokes": '[{"points":[[1,2],[3,4]],"size":5}]',
            "prompt": "ein Bänkchen",
            "seed": "7",
        },
        "generative-expand": {"left": "10%", "top": "5", "overlap": "8"},
        "magic-select": {"points": "[[1,2,1],[3,4,0]]", "box": "[0,0,50,60]", "multimask": "2"},
        "crop": {"x": "10%", "y": "5", "width": "50%", "height": "20", "resize": "30x40", "fit": "pad"},
        "brush": {
            "op": "paint",
            "strokes": '[{"points":[[1,2]],"size":5}]',
            "color": "red",
            "format": "JPEG",
        },
    }
    assert samples.keys() == TOOLS.keys()
    for name, form in samples.items():
        params = TOOLS[name].params.model_validate(form)
        again = TOOLS[name].params.model_validate_json(params.stored())
        assert again == params
        assert again.model_fields_set == params.model_fields_set == form.keys()


def test_a_call_that_reaches_its_time_limit_says_how_to_go_on(tmp_path: Path) -> None:
    with local_api(tmp_path, has_workers=True, call_timeout_seconds=0.2, job_timeout_seconds=300.0) as api:
        key = api.new_key("slow@example.com")

        def call(**headers: str) -> httpx.Response:
            return api.request(
                "POST",
                "/api/tools/crop",
                files={"image": slow_picture(30)},
                data=SLOW,
                headers={"X-Api-Key": key, **headers},
            )

        direct = call()
        assert (direct.status_code, code_of(direct)) == (504, "PROCESSING_TIMEOUT")
        assert "Prefer: respond-async" in direct.json()["error"]["message"]
        path = f"/api/jobs/{job_of(call(**PREFER))}"
        api.start(api.services.engine.run_forever)

        def status() -> str:
            return str(api.request("GET", path, headers={"X-Api-Key": key}).json()["data"]["status"])

        wait_until(lambda: status() not in ("queued", "running"))
        assert status() == "succeeded"
        api.call(api.services.engine.close)
