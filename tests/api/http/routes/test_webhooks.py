"""Webhooks over HTTP: endpoints and their log, and what a receiver gets from a server that runs."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api.webhooks import endpoints, runs
from billing.ledger.plans import PlanName
from billing.timestamps import utc_now
from tests.support.apps import Clock, LocalApi, local_api
from tests.support.batch_calls import CROP
from tests.support.calling import code_of, param_of, small_picture
from tests.support.job_calls import PREFER, job_of
from tests.support.waiting import wait_until
from tests.support.webhook_receiver import WebhookReceiver, running_receiver, sender_for

EVENTS = [
    "job.succeeded",
    "job.failed",
    "batch.completed",
    "credits.low",
    "credits.exhausted",
    "payment.failed",
    "key.ending",
    "account.sign_in",
]
URL = "https://shop.example.com/hooks"
UNKNOWN = "whe_" + "0" * 22


@pytest.fixture(scope="module")
def receiver_host() -> Iterator[WebhookReceiver]:
    with running_receiver() as running:
        yield running


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, receiver_host: WebhookReceiver) -> Iterator[LocalApi]:
    """One with a worker, whose engine runs."""
    clock = Clock()
    clock.now = utc_now()  # Receivers refuse old messages.
    sender = sender_for(receiver_host.host)
    directory = tmp_path_factory.mktemp("api")
    with local_api(directory, clock, has_workers=True, webhook_sender=sender) as opened:
        opened.start(opened.services.engine.run_forever)
        yield opened
        opened.call(opened.services.engine.close)


@pytest.fixture
def receiver(receiver_host: WebhookReceiver) -> WebhookReceiver:
    return WebhookReceiver(receiver_host.host)


class Owner:
    """A new account with its key."""

    def __init__(self, api: LocalApi, email: str, plan: PlanName = PlanName.STANDARD) -> None:
        self.api = api
        self.headers = {"X-Api-Key": api.new_key(email, plan)}

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**self.headers, **options.pop("headers", {})}
        return self.api.request(method, path, headers=headers, **options)

    def data(self, method: str, path: str, **options: Any) -> Any:
        response = self.request(method, path, **options)
        assert response.status_code == 200, response.text
        return response.json()["data"]

    def create(self, url: str = URL, **fields: Any) -> dict[str, Any]:
        created: dict[str, Any] = self.data("POST", "/api/webhooks", json={"url": url, **fields})
        return created

    def crop_later(self, **form: str) -> httpx.Response:
        return self.request(
            "POST", "/api/tools/crop", files={"image": small_picture()}, data=form, headers=PREFER
        )


@pytest.fixture
def owner(api: LocalApi, request: pytest.FixtureRequest) -> Owner:
    return Owner(api, f"{request.node.name[:60].replace('[', '.').strip(']')}@example.com".lower())


def test_a_webhook_is_created_changed_and_deleted(owner: Owner) -> None:
    created = owner.create(events=["job.failed", "job.succeeded"])
    assert created.pop("secret").startswith("whsec_")
    assert created["url"] == URL
    assert created["events"] == ["job.succeeded", "job.failed"]
    assert (created["enabled"], created["disabledReason"], created["previousSecretUntil"]) == (
        True,
        None,
        None,
    )
    place = f"/api/webhooks/{created['webhookId']}"
    # The secret is shown once.
    assert owner.data("GET", place) == created
    assert owner.data("GET", "/api/webhooks") == {"webhooks": [created]}
    changed = owner.data("POST", place, json={"enabled": False, "url": f"{URL}/2", "events": EVENTS})
    assert changed["disabledReason"] == "It was disabled through the API."
    assert (changed["url"], changed["events"], changed["enabled"]) == (f"{URL}/2", EVENTS, False)
    refused = owner.request("POST", f"{place}/test")
    assert (refused.status_code, code_of(refused)) == (400, "INVALID_REQUEST")
    assert owner.data("POST", place, json={"enabled": True})["disabledReason"] is None
    assert owner.data("DELETE", place) == {"webhookId": created["webhookId"], "deleted": True}
    assert owner.request("GET", place).status_code == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "url"),
        ({"url": 7}, "url"),
        ({"url": "https://127.0.0.2/"}, "url"),
        ({"url": "https://169.254.169.254/"}, "url"),
        ({"url": "http://shop.example.com/"}, "url"),
        ({"url": URL, "events": []}, "events"),
        ({"url": URL, "events": "job.failed"}, "events"),
        ({"url": URL, "events": [["job.failed"]]}, "events"),
        ({"url": URL, "events": ["webhook.test"]}, "events"),
        ({"url": URL, "secret": "whsec_mine"}, "secret"),
    ],
)
def test_invalid_fields_are_named(owner: Owner, body: dict[str, Any], param: str) -> None:
    response = owner.request("POST", "/api/webhooks", json=body)
    assert (response.status_code, code_of(response), param_of(response)) == (422, "INVALID_PARAMETER", param)
    assert owner.data("GET", "/api/webhooks") == {"webhooks": []}


def test_bodies_and_queries_are_read_strictly(owner: Owner) -> None:
    place = f"/api/webhooks/{owner.create()['webhookId']}"
    for content in (b"[]", b"{", b"\xff", b"[" * 100_000):
        answer = owner.request("POST", place, content=content)
        assert (answer.status_code, code_of(answer)) == (400, "INVALID_REQUEST")
    for answer in (
        owner.request("POST", place, json={"enabled": "yes"}),
        owner.request("POST", f"{place}/rotate", json={"grace": 1}),
        owner.request("GET", f"{place}/deliveries?limit=0"),
        owner.request("GET", f"{place}/deliveries?cursor=AAAA"),
        owner.request("GET", f"{place}/deliveries?cursor=MDoA"),
        owner.request("GET", f"{place}/deliveries?status=sent"),
        owner.request("GET", f"{place}/deliveries?kind=failed"),
        owner.request("GET", f"{place}/deliveries?limit=1&limit=2"),
        owner.request("GET", f"{place}?a=1"),
    ):
        assert (answer.status_code, code_of(answer)) == (422, "INVALID_PARAMETER")


def test_an_account_has_at_most_ten_webhooks(owner: Owner) -> None:
    for number in range(endpoints.LIMIT):
        owner.create(f"{URL}/{number}")
    refused = owner.request("POST", "/api/webhooks", json={"url": URL})
    assert (refused.status_code, param_of(refused)) == (422, "url")


def test_requests_that_make_the_server_send_count_towards_the_rate(api: LocalApi) -> None:
    owner = Owner(api, "rate@example.com", PlanName.FREE)
    place = f"/api/webhooks/{owner.create()['webhookId']}"
    statuses = [owner.request("POST", f"{place}/rotate").status_code for _ in range(20)]
    assert statuses == [200] * 19 + [429]


def test_a_test_event_is_sent_logged_and_sent_again(owner: Owner, receiver: WebhookReceiver) -> None:
    created = owner.create(receiver.url)
    receiver.secret = created.pop("secret")
    place = f"/api/webhooks/{created['webhookId']}"
    sent = owner.data("POST", f"{place}/test")
    wait_until(lambda: len(receiver.messages) == 1)
    assert receiver.messages[0].event == "webhook.test"
    assert receiver.messages[0].verified["data"] == created
    wait_until(lambda: owner.data("GET", f"{place}/deliveries")["deliveries"][0]["status"] == "succeeded")
    again = owner.data("POST", f"{place}/deliveries/{sent['deliveryId']}/redeliver")
    # Both have the same time, so either may be listed first.
    done = f"{place}/deliveries?status=succeeded"
    wait_until(lambda: len(owner.data("GET", done)["deliveries"]) == 2)
    assert receiver.messages[0].id == receiver.messages[1].id == sent["messageId"] == again["messageId"]
    first = owner.data("GET", f"{place}/deliveries?limit=1")
    second = owner.data("GET", f"{place}/deliveries?limit=1&cursor={first['nextCursor']}")
    listed = [first["deliveries"][0]["deliveryId"], second["deliveries"][0]["deliveryId"]]
    assert set(listed) == {sent["deliveryId"], again["deliveryId"]}
    assert second["nextCursor"] is None
    assert owner.data("GET", f"{place}/deliveries?status=failed")["deliveries"] == []
    (attempt,) = second["deliveries"][0]["attempts"]
    assert (attempt["statusCode"], attempt["error"]) == (200, None)
    unknown = owner.request("POST", f"{place}/deliveries/whd_none/redeliver")
    assert (unknown.status_code, code_of(unknown)) == (404, "NOT_FOUND")


def test_jobs_are_announced_once_the_receiver_is_up_again(
    owner: Owner, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "RETRY_DELAYS", (timedelta(seconds=0.5),) * 20)
    receiver.secret = owner.create(receiver.url, events=["job.succeeded", "job.failed"])["secret"]
    receiver.is_down = True
    good = job_of(owner.crop_later(width="10", height="10"))
    bad = job_of(owner.crop_later(mode="trim", tolerance="100"))
    wait_until(lambda: receiver.refused_connections >= 4)
    receiver.is_down = False
    wait_until(lambda: len({message.id for message in receiver.messages}) == 2)
    received = {message.verified["data"]["jobId"]: message for message in receiver.messages}
    assert {job_id: received[job_id].verified["data"] for job_id in (good, bad)} == {
        job_id: owner.data("GET", f"/api/jobs/{job_id}") for job_id in (good, bad)
    }
    assert received[good].event == "job.succeeded"
    assert received[bad].event == (
        "job.succeeded" if received[bad].verified["data"]["result"] else "job.failed"
    )


def test_a_job_notifies_its_callback_url(owner: Owner, receiver: WebhookReceiver) -> None:
    assert owner.request("GET", "/api/webhooks/callbacks").status_code == 404
    receiver.secret = owner.data("POST", "/api/webhooks/callbacks/rotate")["secret"]
    job_id = job_of(owner.crop_later(width="10", height="10", callback_url=receiver.url))
    wait_until(lambda: len(receiver.messages) == 1)
    assert receiver.messages[0].verified["data"] == owner.data("GET", f"/api/jobs/{job_id}")
    (logged,) = owner.data("GET", "/api/webhooks/callbacks/deliveries")["deliveries"]
    assert (logged["webhookId"], logged["url"]) == ("callbacks", receiver.url)
    (listed,) = owner.data("GET", "/api/webhooks")["webhooks"]
    assert (listed["webhookId"], listed["url"]) == ("callbacks", None)
    for path, body in (("", {"enabled": False}), ("/test", None)):
        answer = owner.request("POST", f"/api/webhooks/callbacks{path}", json=body or {})
        assert (answer.status_code, code_of(answer)) == (400, "INVALID_REQUEST")


def test_a_batch_notifies_its_callback_url(owner: Owner, receiver: WebhookReceiver) -> None:
    receiver.secret = owner.data("POST", "/api/webhooks/callbacks/rotate")["secret"]
    files = [("images", (f"{number}.png", small_picture(), "image/png")) for number in range(3)]
    form = {**CROP, "callback_url": receiver.url}
    answer = owner.request("POST", "/api/batches", files=files, data=form)
    assert answer.status_code == 202, answer.text
    wait_until(lambda: len(receiver.messages) == 1)
    (message,) = receiver.messages
    batch = owner.data("GET", f"/api/batches/{answer.json()['data']['batchId']}")
    assert (message.event, message.verified["data"]) == ("batch.completed", batch)
    assert (batch["status"], batch["counts"]["succeeded"]) == ("completed", 3)
    (logged,) = owner.data("GET", "/api/webhooks/callbacks/deliveries")["deliveries"]
    assert logged["messageId"] == message.id


def test_a_callback_url_needs_a_job_and_a_public_host(owner: Owner) -> None:
    for url, prefer in ((URL, {}), ("https://127.0.0.2/", PREFER), ("http://shop.example.com/", PREFER)):
        answer = owner.request(
            "POST",
            "/api/tools/crop",
            files={"image": small_picture()},
            data={"callback_url": url},
            headers=prefer,
        )
        assert (answer.status_code, param_of(answer)) == (422, "callback_url")
    as_json = owner.request(
        "POST",
        "/api/tools/crop",
        json={"image": {"image_id": "img_none"}, "callback_url": "https://10.0.0.1/"},
        headers=PREFER,
    )
    assert (as_json.status_code, param_of(as_json)) == (422, "callback_url")


def test_low_and_exhausted_credits_are_announced_once(api: LocalApi, receiver: WebhookReceiver) -> None:
    owner = Owner(api, "poor@example.com", PlanName.FREE)
    receiver.secret = owner.create(receiver.url)["secret"]
    for _ in range(15):
        image = {"image": small_picture()}
        assert owner.request("POST", "/api/tools/crop", files=image, data={"rotate": "90"}).status_code == 200
    api.services.engine.wake()  # Otherwise it looks for tasks every ten seconds.
    wait_until(lambda: len(receiver.messages) == 2)
    received = {message.event: message.verified["data"] for message in receiver.messages}
    account = owner.data("GET", "/api/account")
    del account["key"]  # A message is about the account, whichever key spent its credits.
    assert received["credits.exhausted"] == account
    assert received["credits.low"] == {**account, "credits": {**account["credits"], "available": 3}}
