"""Batches over HTTP: accepted at once, run image by image, charged for what succeeds."""

import csv
import io
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

import httpx
import numpy as np
import pytest
from sqlmodel import col, func, select

from api.batches.models import BatchStatus
from api.http.middleware.body_limits import MEBIBYTE, UPLOAD_LIMIT_BYTES
from api.images.models import Image
from api.jobs.models import Job
from api.remote_files.remote_urls import URL_LENGTH_MAX
from billing.ledger import ledger
from billing.ledger.models import Account, GrantKind
from billing.ledger.plans import PlanName
from billing.timestamps import utc_now
from tests.support.batch_calls import (
    CROP,
    batch_in,
    batch_of,
    control,
    items_of,
    read_batch,
    results_of,
    send_batch,
    zip_of,
)
from tests.support.calling import code_of, crop, param_of, small_picture
from tests.support.ml.photos import open_bytes, photo, png_bytes
from tests.support.server import Customer, RunningServer


@pytest.fixture
def customer(server: RunningServer) -> Customer:
    return server.new_customer(PlanName.STANDARD)


def pictures(count: int) -> list[tuple[str, bytes]]:
    return [(f"photo{number}.png", small_picture()) for number in range(count)]


def upload(server: RunningServer, customer: Customer, content: bytes) -> str:
    with server.client(customer) as client:
        answer = client.post("/api/images", files={"image": content})
    return str(answer.json()["data"]["imageId"])


def kept_images(server: RunningServer, customer: Customer) -> int:
    """Images of the account that have not expired."""
    kept = (col(Image.account_id) == customer.account_id, col(Image.expires_at) > utc_now())
    with server.database.transaction() as session:
        return session.exec(select(func.count()).select_from(Image).where(*kept)).one()


def give(server: RunningServer, customer: Customer, credits: int) -> None:
    now = utc_now()
    with server.database.transaction() as session:
        account = session.get_one(Account, customer.account_id)
        ledger.grant(
            session,
            account,
            kind=GrantKind.GOODWILL,
            amount=credits,
            reference=f"gift:{account.id}",
            expires_at=None,
            now=now,
        )


def test_a_batch_gives_each_image_the_result_of_the_call_for_the_same_credit(
    server: RunningServer, customer: Customer
) -> None:
    files = [("a.png", small_picture()), ("b.png", small_picture()), ("A.png", small_picture())]
    answer = send_batch(server, customer, [*files, ("notes.png", b"not a picture")])
    batch_id = batch_of(answer)
    accepted = answer.json()["data"]
    assert answer.headers["location"] == accepted["statusUrl"]
    assert accepted["counts"]["total"] == 4
    batch = batch_in(server, customer, batch_id)
    assert batch["counts"] == {
        "total": 4,
        "queued": 0,
        "running": 0,
        "succeeded": 3,
        "failed": 1,
        "cancelled": 0,
    }
    assert (batch["status"], batch["creditsCharged"]) == ("completed", 3)
    assert server.balance(customer) == (497, 0)
    # Names are kept, and unique where case does not count.
    found = results_of(server, customer, batch_id)
    assert list(found) == ["a.png", "b.png", "A (2).png"]
    for content, (_, source) in zip(found.values(), files, strict=True):
        with server.client(customer) as client:
            direct = client.get(crop(server, customer, source).json()["data"]["imageUrl"])
        assert content == direct.content
    items = items_of(server, customer, batch_id)
    assert [item["status"] for item in items] == ["succeeded"] * 3 + ["failed"]
    assert items[3]["error"]["code"] == "UNSUPPORTED_FORMAT"
    assert items[0]["result"]["width"] == 10
    with server.client(customer) as client:
        rows = list(csv.DictReader(io.StringIO(client.get(batch["manifestUrl"]).text)))
    assert [row["file"] for row in rows] == ["a.png", "b.png", "A (2).png", ""]
    assert [row["error_code"] for row in rows] == ["", "", "", "UNSUPPORTED_FORMAT"]
    # The batch's jobs are gone, and so are the pictures that came with it.
    with server.database.transaction() as session:
        assert session.exec(select(Job.id).where(Job.batch_id == batch_id)).all() == []
    assert kept_images(server, customer) == 6


def test_stored_images_and_a_zip_are_sources_too_and_stay_what_they_were(
    server: RunningServer, customer: Customer
) -> None:
    stored = upload(server, customer, small_picture())
    by_id = send_batch(server, customer, **CROP, image_ids=json.dumps([stored, stored]))
    packed = zip_of([("shoes/red.png", small_picture()), ("__MACOSX/._red.png", b"x"), ("shoes/", b"")])
    zipped = send_batch(server, customer, archive=packed, **CROP)
    for answer in (by_id, zipped):
        assert batch_in(server, customer, batch_of(answer))["counts"]["failed"] == 0
    assert list(results_of(server, customer, batch_of(by_id))) == [f"{stored}.png", f"{stored} (2).png"]
    assert list(results_of(server, customer, batch_of(zipped))) == ["shoes/red.png"]
    with server.database.transaction() as session:
        expires_at = session.get_one(Image, stored).expires_at
    assert (expires_at - utc_now()).days == 1
    with server.client(customer) as client:
        as_json = client.post("/api/batches", json={"image_ids": [stored], "tool": "crop", "width": 10})
    assert batch_in(server, customer, batch_of(as_json))["counts"]["succeeded"] == 1


def test_each_step_works_on_the_result_of_the_one_before_for_a_credit(
    server: RunningServer, customer: Customer
) -> None:
    steps = [
        {"tool": "crop", "params": {"width": 30, "height": "50%"}},
        {"tool": "upscale", "params": {"target_width": 60}},
    ]
    batch_id = batch_of(send_batch(server, customer, pictures(3), steps=json.dumps(steps)))
    batch = batch_in(server, customer, batch_id)
    assert (batch["steps"], batch["creditsCharged"]) == (["crop", "upscale"], 6)
    results = [item["result"] for item in items_of(server, customer, batch_id)]
    assert {(result["width"], result["height"]) for result in results} == {(60, 40)}
    assert server.balance(customer) == (494, 0)
    assert kept_images(server, customer) == 3  # no results of steps between


def test_a_deleted_batch_gives_its_storage_back_and_cancelling_keeps_the_results(
    server: RunningServer, customer: Customer
) -> None:
    batch_id = batch_of(send_batch(server, customer, pictures(3)))
    batch_in(server, customer, batch_id)
    path = f"/api/batches/{batch_id}"
    with server.client(customer) as client:
        for wrong in ("delete_results=1", "delete_results=true&delete_results=true", "results=true"):
            assert code_of(client.delete(f"{path}?{wrong}")) == "INVALID_PARAMETER"
        assert client.delete(path).json()["data"]["status"] == "completed"
        assert len(results_of(server, customer, batch_id)) == 3
        deleted = client.delete(f"{path}?delete_results=true").json()["data"]
        assert (deleted["status"], deleted["counts"]["succeeded"]) == ("completed", 3)
        assert code_of(client.get(path)) == "NOT_FOUND"
        assert code_of(client.delete(f"{path}?delete_results=true")) == "NOT_FOUND"
    assert kept_images(server, customer) == 0


def test_the_request_of_a_deleted_batch_makes_another_one(server: RunningServer, customer: Customer) -> None:
    files = pictures(1)
    first = batch_of(send_batch(server, customer, files))
    with server.client(customer) as client:
        assert client.delete(f"/api/batches/{first}?delete_results=true").status_code == 200
    second = batch_of(send_batch(server, customer, files))
    assert second != first
    assert batch_in(server, customer, second)["counts"]["succeeded"] == 1


def test_nothing_is_lost_between_the_steps(server: RunningServer, customer: Customer) -> None:
    flip = {"tool": "crop", "params": {"flip": "h", "format": "jpg", "quality": 1}}
    steps = [flip, flip, {"tool": "crop", "params": {"format": "png"}}]
    pixels = photo("coffee")
    batch_id = batch_of(send_batch(server, customer, [("a.png", png_bytes(pixels))], steps=json.dumps(steps)))
    assert batch_in(server, customer, batch_id)["creditsCharged"] == 3
    (content,) = results_of(server, customer, batch_id).values()
    assert np.array_equal(open_bytes(content), pixels)
    with server.database.transaction() as session:
        kept = [image for image in session.exec(select(Image)) if image.expires_at > utc_now()]
    assert [image.format for image in kept if image.account_id == customer.account_id] == ["png"]


@pytest.mark.parametrize("has_begun", [False, True])
def test_only_the_failed_images_are_run_again(
    server: RunningServer, customer: Customer, has_begun: bool
) -> None:
    """One picture is too small for a step. A later step that would fail again is not repeated."""
    steps = [
        {"tool": "crop", "params": {"x": 20, "y": 0, "width": 20, "height": 10}},
        {"tool": "crop", "params": {"flip": "h"}},
    ]
    if has_begun:
        steps.reverse()
    small = pictures(1)[0][1]
    with server.client(customer) as client:
        tiny = client.get(crop(server, customer, small).json()["data"]["imageUrl"]).content
    files = [("tiny.png", tiny), *pictures(2)]
    batch_id = batch_of(send_batch(server, customer, files, steps=json.dumps(steps)))
    for _ in range(2):
        batch = batch_in(server, customer, batch_id)
        assert (batch["counts"]["succeeded"], batch["counts"]["failed"]) == (2, 1)
        assert batch["creditsCharged"] == 4 + has_begun
        failed = items_of(server, customer, batch_id)[0]
        assert (failed["stepsDone"], failed["error"]["code"]) == (has_begun, "INVALID_PARAMETER")
        again = control(server, customer, batch_id, "retry")
        assert again["counts"]["failed"] == has_begun
        assert again["counts"]["succeeded"] == 2
    assert server.balance(customer) == (495 - has_begun, 0)


def test_a_batch_waits_without_credits_and_goes_on_with_new_ones(server: RunningServer) -> None:
    customer = server.new_customer(PlanName.STANDARD, credits=2)
    batch_id = batch_of(send_batch(server, customer, pictures(5)))
    blocked = batch_in(server, customer, batch_id, BatchStatus.BLOCKED)
    assert (blocked["counts"]["succeeded"], blocked["counts"]["queued"]) == (2, 3)
    assert len(results_of(server, customer, batch_id)) == 2
    refused = send_batch(server, customer, pictures(1))
    assert (refused.status_code, code_of(refused)) == (402, "INSUFFICIENT_CREDITS")
    give(server, customer, 10)
    done = batch_in(server, customer, batch_id, BatchStatus.COMPLETED)
    assert done["counts"]["succeeded"] == 5
    assert server.balance(customer) == (7, 0)


def test_a_paused_batch_starts_nothing_until_it_is_resumed_or_cancelled(server: RunningServer) -> None:
    customer = server.new_customer(PlanName.STANDARD)
    batch_id = batch_of(send_batch(server, customer, pictures(40)))
    paused = control(server, customer, batch_id, "pause")
    assert paused["status"] == "paused"
    # Those that had begun are finished, and no others begin.
    latest: dict[str, Any] = {}
    while not latest or latest["counts"]["running"]:
        latest = read_batch(server, customer, batch_id)
    assert latest["counts"]["queued"] == paused["counts"]["queued"]
    assert server.balance(customer) == (500 - latest["creditsCharged"], 0)
    resumed = control(server, customer, batch_id, "resume")
    assert resumed["status"] in ("queued", "running")
    cancelled = control(server, customer, batch_id, "cancel")
    assert cancelled["status"] == "cancelled"
    assert cancelled["counts"]["succeeded"] + cancelled["counts"]["cancelled"] == 40
    for action in ("resume", "pause", "retry", "cancel"):
        assert control(server, customer, batch_id, action)["status"] == "cancelled"
    assert server.balance(customer) == (500 - cancelled["creditsCharged"], 0)
    assert server.drifts() == []


def test_head_of_the_results_is_get_without_content_and_without_a_length(
    server: RunningServer, customer: Customer
) -> None:
    batch_id = batch_of(send_batch(server, customer, pictures(1)))
    batch_in(server, customer, batch_id)
    path = f"/api/batches/{batch_id}/results.zip"
    with server.client(customer) as client:
        head, full = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert "content-length" not in head.headers
    assert full.headers["transfer-encoding"] == "chunked"
    for name in ("content-type", "content-disposition", "cache-control"):
        assert head.headers[name] == full.headers[name]


def test_a_batch_leaves_room_for_the_accounts_direct_calls_and_jobs_are_not_listed(
    server: RunningServer,
) -> None:
    customer = server.new_customer(PlanName.FREE)
    batch_id = batch_of(send_batch(server, customer, pictures(8)))
    assert crop(server, customer).status_code == 200
    with server.client(customer) as client:
        assert client.get("/api/jobs").json()["data"]["jobs"] == []
    assert batch_in(server, customer, batch_id)["counts"]["succeeded"] == 8
    assert server.balance(customer) == (6, 0)


def test_a_repeated_request_gets_the_same_batch(server: RunningServer, customer: Customer) -> None:
    files = pictures(2)
    keyed = {"Idempotency-Key": "one"}
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: send_batch(server, customer, files, headers=keyed), range(4)))
    assert len({batch_of(answer) for answer in answers}) == 1
    assert Counter("idempotent-replayed" in answer.headers for answer in answers) == {True: 3, False: 1}
    other = send_batch(server, customer, pictures(2), headers=keyed)
    assert (other.status_code, code_of(other)) == (422, "IDEMPOTENCY_MISMATCH")
    batch_in(server, customer, batch_of(answers[0]))
    assert server.balance(customer) == (498, 0)


@pytest.mark.parametrize(
    ("form", "status", "code", "param"),
    [
        ({**CROP}, 400, "MISSING_IMAGE", None),
        ({"image_ids": '["img_0123456789"]'}, 422, "INVALID_PARAMETER", "tool"),
        ({**CROP, "image_ids": '["img_0123456789"]'}, 404, "NOT_FOUND", "image_ids"),
        ({**CROP, "image_ids": "[]"}, 422, "INVALID_PARAMETER", "image_ids"),
        ({**CROP, "image_ids": json.dumps(["a"] * 5001)}, 422, "INVALID_PARAMETER", "image_ids"),
        ({**CROP, "image_ids": "[" * 100_000}, 422, "INVALID_PARAMETER", "image_ids"),
        ({**CROP, "image_ids": '["a"]', "image_urls": '["b"]'}, 400, "MULTIPLE_SOURCES", None),
        ({**CROP, "tool": "none", "image_urls": '["b"]'}, 422, "INVALID_PARAMETER", "tool"),
        ({**CROP, "colour": "1", "image_urls": '["b"]'}, 422, "INVALID_PARAMETER", "colour"),
        ({**CROP, "width": "x", "image_urls": '["b"]'}, 422, "INVALID_PARAMETER", "width"),
        (
            {**CROP, "retention_hours": "169", "image_urls": '["b"]'},
            422,
            "INVALID_PARAMETER",
            "retention_hours",
        ),
        (
            {**CROP, "callback_url": "https://169.254.169.254/", "image_urls": '["b"]'},
            422,
            "INVALID_PARAMETER",
            "callback_url",
        ),
        ({"steps": "[]", "image_urls": '["b"]'}, 422, "INVALID_PARAMETER", "steps"),
        (
            {"steps": '[{"tool": "crop", "params": {"width": "x"}}]', "image_urls": '["b"]'},
            422,
            "INVALID_PARAMETER",
            "steps",
        ),
        (
            {"steps": '[{"tool": "crop"}]', "width": "1", "image_urls": '["b"]'},
            422,
            "INVALID_PARAMETER",
            "width",
        ),
        ({"tool": "generative-fill", "image_urls": '["b"]'}, 422, "INVALID_PARAMETER", "mask"),
        (
            {"tool": "generative-fill", "mask_id": "img_0123456789ABCDEFGHIJKL", "image_urls": '["b"]'},
            404,
            "NOT_FOUND",
            "mask_id",
        ),
    ],
)
def test_a_bad_form_is_refused_and_names_the_parameter(
    server: RunningServer, customer: Customer, form: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    answer = send_batch(server, customer, **form)
    assert (answer.status_code, code_of(answer), param_of(answer)) == (status, code, param)
    assert server.balance(customer) == (500, 0)


@pytest.mark.parametrize("wrong", ["https://example.com/" + "a" * 8173, "", 5, None, ["a"]])
def test_an_unusable_entry_of_a_list_is_named_with_the_limit(
    server: RunningServer, customer: Customer, wrong: Any
) -> None:
    entries = ["https://example.com/a.png", wrong, "https://example.com/b.png", wrong]
    for field in ("image_urls", "image_ids"):
        answer = send_batch(server, customer, **{**CROP, field: json.dumps(entries)})
        assert (answer.status_code, code_of(answer), param_of(answer)) == (422, "INVALID_PARAMETER", field)
        expected = f"{field}: entry 2 must be a text of 1 to 8,192 characters."
        assert answer.json()["error"]["message"] == expected


def test_a_url_of_a_batch_may_be_as_long_as_one_of_a_call(server: RunningServer, customer: Customer) -> None:
    url = "http://127.0.0.1/".ljust(URL_LENGTH_MAX, "a")
    batch_id = batch_of(send_batch(server, customer, **CROP, image_urls=json.dumps([url])))
    batch_in(server, customer, batch_id)
    (item,) = items_of(server, customer, batch_id)
    assert "too long" not in item["error"]["message"]


def test_a_batch_may_be_larger_than_other_requests_and_leaves_no_file_behind(
    server: RunningServer, customer: Customer
) -> None:
    large = [(f"{number}.png", small_picture() + bytes(18 * MEBIBYTE)) for number in range(3)]
    assert sum(len(content) for _, content in large) > UPLOAD_LIMIT_BYTES
    packed = zip_of([("large.png", small_picture() + bytes(20 * MEBIBYTE)), ("small.png", small_picture())])
    too_large = [("a.png", small_picture()), ("b.png", small_picture() + bytes(26 * MEBIBYTE))]
    ended = [
        batch_in(server, customer, batch_of(answer))["counts"]
        for answer in (
            send_batch(server, customer, large),
            send_batch(server, customer, archive=packed, **CROP),
            send_batch(server, customer, too_large),
        )
    ]
    assert [(each["succeeded"], each["failed"]) for each in ended] == [(3, 0), (2, 0), (1, 1)]
    assert list((server.data_dir / "images" / "unfinished").iterdir()) == []


def test_a_batch_that_is_too_large_is_refused_before_it_arrives(
    server: RunningServer, customer: Customer
) -> None:
    connection = HTTPConnection(httpx.URL(server.address).netloc.decode())
    connection.putrequest("POST", "/api/batches")
    for name, value in {
        **customer.headers,
        "Content-Type": "multipart/form-data; boundary=x",
        "Content-Length": str(2 * 1024 * MEBIBYTE),
    }.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    error = json.loads(answer.read())["error"]
    connection.close()
    assert (answer.status, error["code"]) == (413, "FILE_TOO_LARGE")
    assert "1024 MiB" in error["message"]


def test_a_url_that_may_not_be_fetched_fails_its_image_only(
    server: RunningServer, customer: Customer
) -> None:
    urls = ["https://169.254.169.254/latest", "http://127.0.0.1/a.png", "nonsense", "https://[::1]/a.png"]
    batch_id = batch_of(send_batch(server, customer, **CROP, image_urls=json.dumps(urls)))
    assert batch_in(server, customer, batch_id)["counts"]["failed"] == 4
    for item in items_of(server, customer, batch_id):
        assert (item["error"]["code"], item["error"]["param"]) == ("INVALID_PARAMETER", "image_urls")
    assert server.balance(customer) == (500, 0)


def test_pages_list_batches_newest_first_and_items_in_order(
    server: RunningServer, customer: Customer
) -> None:
    ids = [batch_of(send_batch(server, customer, pictures(2))) for _ in range(3)]
    for batch_id in ids:
        batch_in(server, customer, batch_id)
    with server.client(customer) as client:
        seen: list[str] = []
        cursor = ""
        while True:
            page = client.get(f"/api/batches?status=completed&limit=2{cursor}").json()["data"]
            seen += [batch["batchId"] for batch in page["batches"]]
            if page["nextCursor"] is None:
                break
            cursor = f"&cursor={page['nextCursor']}"
        assert seen == ids[::-1]
        first = client.get(f"/api/batches/{ids[0]}/items?limit=1").json()["data"]
        second = client.get(f"/api/batches/{ids[0]}/items?cursor={first['nextCursor']}").json()["data"]
        assert [each["items"][0]["name"] for each in (first, second)] == ["photo0.png", "photo1.png"]
        assert second["nextCursor"] is None
        for query in ("status=done", "limit=0", "cursor=-1", "limit=1&limit=2", "page=1"):
            answer = client.get(f"/api/batches/{ids[0]}/items?{query}")
            assert (answer.status_code, code_of(answer)) == (422, "INVALID_PARAMETER")
        bad = client.get("/api/batches?cursor=x")
        assert (bad.status_code, param_of(bad)) == (422, "cursor")
