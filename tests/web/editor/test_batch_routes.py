"""The editor's batches: pictures in pieces, quotes, state and results, for their own account only."""

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.calling import code_of, param_of, small_picture
from tests.support.editor_client import Browser
from tests.support.server import Customer, RunningServer
from tests.support.waiting import wait_until

CROP = [{"tool": "crop", "params": {"width": "10", "height": "10"}}]


@pytest.fixture(scope="module")
def member(server: RunningServer) -> Iterator[Browser]:
    with Browser(server, server.new_customer()) as browser:
        yield browser


def upload(browser: Browser, *contents: bytes) -> httpx.Response:
    files = [("images", (f"{number}.png", content)) for number, content in enumerate(contents)]
    return browser.client.post("/editor/batches/images", files=files)


def picture_ids(browser: Browser, count: int) -> list[str]:
    answer = upload(browser, *(small_picture() for _ in range(count)))
    assert answer.status_code == 200, answer.text
    return [each["imageId"] for each in answer.json()["data"]]


def start(browser: Browser, pictures: Any, steps: Any = CROP, key: str = "") -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    body = {"steps": json.dumps(steps), "pictures": json.dumps(pictures)}
    return browser.client.post("/editor/batches", json=body, headers=headers)


def started(browser: Browser, pictures: Any, steps: Any = CROP) -> str:
    answer = start(browser, pictures, steps)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["data"]["id"])


def named(*image_ids: str) -> list[dict[str, str]]:
    return [{"name": f"{number}.png", "imageId": image_id} for number, image_id in enumerate(image_ids)]


def ended(browser: Browser, batch_id: str) -> dict[str, Any]:
    latest: dict[str, Any] = {}

    def is_over() -> bool:
        latest.update(browser.client.get(f"/editor/batches/{batch_id}").json()["data"])
        return bool(latest["hasEnded"])

    wait_until(is_over, every_seconds=0.1)
    return latest


def test_a_bad_file_stops_neither_its_piece_nor_the_batch(server: RunningServer) -> None:
    customer = server.new_customer(credits=6)
    with Browser(server, customer) as browser:
        answer = upload(browser, small_picture(), b"no picture", b"", small_picture())
        first, text, empty, last = answer.json()["data"]
        assert (text["error"]["code"], empty["error"]["code"]) == ("UNSUPPORTED_FORMAT", "MISSING_IMAGE")
        damaged = upload(browser, small_picture()[:60]).json()["data"][0]["imageId"]
        pictures = [
            {"name": "shoes/red.png", "imageId": first["imageId"]},
            {"name": "../notes.txt", "refused": "UNSUPPORTED_FORMAT"},
            {"name": "damaged.png", "imageId": damaged},
            {"name": "shoes/red.png", "imageId": last["imageId"]},
        ]
        steps = [*CROP, {"tool": "crop", "params": {"flip": "h", "format": "webp"}}]
        batch_id = started(browser, pictures, steps)
        state = ended(browser, batch_id)
        assert state["status"] == "completed"
        assert (state["counts"]["succeeded"], state["counts"]["failed"], state["retryable"]) == (2, 2, 1)
        assert (state["creditsCharged"], state["creditsAvailable"]) == (4, 2)
        place = f"/editor/batches/{batch_id}"
        items = browser.client.get(f"{place}/items").json()["data"]["items"]
        assert [item["name"] for item in items] == [
            "shoes/red.png", "notes.txt", "damaged.png", "shoes/red.png",
        ]  # fmt: skip
        codes = [item["error"] and item["error"]["code"] for item in items]
        assert codes == [None, "UNSUPPORTED_FORMAT", "UNREADABLE_IMAGE", None]
        assert browser.client.get(items[0]["thumbnailUrl"]).headers["content-type"] == "image/webp"
        assert [item["thumbnailUrl"] for item in items[1:3]] == [None, None]
        assert browser.client.get(f"{place}/items/2/thumbnail").status_code == 204
        failed = browser.client.get(f"{place}/items", params={"failed": "true"}).json()["data"]
        assert [item["position"] for item in failed["items"]] == [1, 2]
        packed = browser.client.get(f"{place}/results.zip")
        with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
            assert archive.namelist() == ["shoes/red.webp", "shoes/red (2).webp"]
        assert browser.client.get(f"{place}/manifest.csv").text.count("\r\n") == 5
        project = browser.client.post(f"{place}/items/0/project").json()["data"]
        assert (project["name"], project["steps"][0]["width"]) == ("red.png", 10)
        for position in (1, 4, -1, 10**30):
            assert browser.client.post(f"{place}/items/{position}/project").status_code in (404, 422)
        assert browser.client.post(f"{place}/retry").json()["data"]["counts"]["queued"] <= 1
        assert ended(browser, batch_id)["counts"]["failed"] == 2
    assert server.balance(customer) == (2, 0)


def test_a_quote_checks_the_steps_and_says_what_they_cost(member: Browser) -> None:
    body = {"steps": json.dumps([*CROP, *CROP]), "count": 7, "width": 60, "height": 40}
    data = member.client.post("/editor/batches/quote", json=body).json()["data"]
    assert (data["credits"], data["creditsAvailable"]) == (14, 15)
    bad: list[tuple[dict[str, Any], str]] = [
        ({"steps": "[]"}, "steps"),
        ({"steps": CROP}, "steps"),
        ({"steps": '[{"tool": "crop", "params": {"width": "-1"}}]'}, "steps"),
        ({"steps": '[{"tool": "none"}]'}, "steps"),
        ({"steps": json.dumps(CROP * 11)}, "steps"),
        ({"count": 0}, "count"),
        ({"count": True}, "count"),
        ({"count": 1_001}, "count"),
        ({"width": "60"}, "width"),
        ({"height": 1e9}, "height"),
    ]
    for change, param in bad:
        answer = member.client.post("/editor/batches/quote", json={**body, **change})
        assert (answer.status_code, param_of(answer)) == (422, param), change


def test_pictures_that_are_not_named_properly_are_refused(member: Browser) -> None:
    (image_id,) = picture_ids(member, 1)
    for pictures in (
        None,
        [],
        ["a.png"],
        [{"name": "a.png"}],
        [{"name": "a.png", "imageId": "img_none"}],
        [{"name": "a.png", "imageId": image_id, "refused": "UNSUPPORTED_FORMAT"}],
        [{"name": "a.png", "refused": "INTERNAL_ERROR"}],
        [{"name": "a.png", "refused": "UNSUPPORTED_FORMAT"}],
        [{"name": 3, "imageId": image_id}],
        [{"name": "n" * 1_001, "imageId": image_id}],
        named(image_id, image_id),
        named(image_id) * 1_001,
    ):
        answer = start(member, pictures)
        assert (answer.status_code, param_of(answer)) == (422, "pictures"), pictures
    assert member.client.get("/editor/batches").json()["data"] == []


def test_uploads_other_than_files_of_pictures_are_refused(member: Browser) -> None:
    place = "/editor/batches/images"
    assert member.client.post(place, json={}).status_code == 400
    assert member.client.post(place, data={"images": "text"}, files={"images": b"x"}).status_code == 400
    assert param_of(member.client.post(place, files={"image": small_picture()})) == "images"
    assert upload(member, *(small_picture() for _ in range(21))).status_code == 400


def test_a_repeated_start_is_one_batch(member: Browser) -> None:
    pictures = named(*picture_ids(member, 1))
    first, again = (start(member, pictures, key="start-1").json()["data"] for _ in range(2))
    assert first["id"] == again["id"]
    listed = member.client.get("/editor/batches").json()["data"]
    assert [each["id"] for each in listed].count(first["id"]) == 1
    ended(member, first["id"])


def test_a_batch_waits_for_credits_and_can_be_paused_and_cancelled(server: RunningServer) -> None:
    with Browser(server, server.new_customer(credits=1)) as browser:
        batch_id = started(browser, named(*picture_ids(browser, 3)))
        place = f"/editor/batches/{batch_id}"
        wait_until(lambda: browser.client.get(place).json()["data"]["status"] == "blocked", every_seconds=0.1)
        assert browser.client.get(place).json()["data"]["creditsAvailable"] == 0
        assert browser.client.post(f"{place}/pause").json()["data"]["status"] == "paused"
        assert browser.client.post(f"{place}/cancel").json()["data"]["status"] == "cancelled"
        refused = start(browser, named(*picture_ids(browser, 1)))
        assert (refused.status_code, code_of(refused)) == (402, "INSUFFICIENT_CREDITS")


def test_a_deleted_batch_is_gone_with_its_results(member: Browser) -> None:
    batch_id = started(member, named(*picture_ids(member, 2)))
    ended(member, batch_id)
    place = f"/editor/batches/{batch_id}"
    assert member.client.delete(place).status_code == 200
    for path in (place, f"{place}/results.zip", f"{place}/items/0/thumbnail"):
        assert code_of(member.client.get(path)) == "NOT_FOUND"
    listed = member.client.get("/editor/batches").json()["data"]
    assert batch_id not in [each["id"] for each in listed]


ROUTES = [
    ("GET", ""),
    ("GET", "/items"),
    ("GET", "/items/0/thumbnail"),
    ("GET", "/results.zip"),
    ("GET", "/manifest.csv"),
    ("POST", "/items/0/project"),
    ("POST", "/pause"),
    ("POST", "/resume"),
    ("POST", "/retry"),
    ("POST", "/cancel"),
    ("DELETE", ""),
]


@pytest.fixture
def customer(server: RunningServer) -> Customer:
    return server.new_customer()


def test_another_accounts_batch_is_404_and_guests_have_none(
    server: RunningServer, member: Browser, customer: Customer
) -> None:
    image_ids = picture_ids(member, 2)
    batch_id = started(member, named(image_ids[0]))
    ended(member, batch_id)
    with Browser(server, customer) as stranger, Browser(server) as guest:
        for method, path in ROUTES:
            strange = stranger.client.request(method, f"/editor/batches/{batch_id}{path}")
            unknown = stranger.client.request(method, f"/editor/batches/batch_{'0' * 22}{path}")
            assert (strange.status_code, code_of(strange)) == (404, "NOT_FOUND"), path
            assert strange.json()["error"] == unknown.json()["error"]
            assert guest.client.request(method, f"/editor/batches/{batch_id}{path}").status_code == 403
        assert stranger.client.get("/editor/batches").json()["data"] == []
        assert code_of(start(stranger, named(image_ids[1]))) == "NOT_FOUND"
        for answer in (guest.client.get("/editor/batches"), upload(guest, small_picture()), start(guest, [])):
            assert (answer.status_code, code_of(answer)) == (403, "FORBIDDEN")
    assert member.client.get(f"/editor/batches/{batch_id}").json()["data"]["status"] == "completed"


def test_changes_need_the_csrf_token_and_an_own_page(server: RunningServer, customer: Customer) -> None:
    with Browser(server, customer) as browser:
        batch_id = started(browser, named(*picture_ids(browser, 1)))
        ended(browser, batch_id)
        changes = [(method, f"/{batch_id}{path}") for method, path in ROUTES if method != "GET"]
        changes += [("POST", path) for path in ("", "/quote", "/images")]
        token = browser.client.headers.pop("X-CSRF-Token")
        for method, path in changes:
            place = f"/editor/batches{path}"
            assert browser.client.request(method, place).status_code == 403, path
            elsewhere = {"X-CSRF-Token": token, "Sec-Fetch-Site": "cross-site"}
            assert browser.client.request(method, place, headers=elsewhere).status_code == 403, path
