"""The REST API over TCP, against a live server process: successful calls."""

import re
import time
from datetime import UTC, datetime

import httpx
import pytest

from billing.ledger.plans import PlanName
from tests.support.calling import code_of, crop, small_picture
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo
from tests.support.server import Customer, RunningServer

DATA_FIELDS = [
    "imageUrl",
    "width",
    "height",
    "format",
    "processingTimeMs",
    "queueTimeMs",
    "imageId",
    "bytes",
    "expiresAt",
    "model",
    "device",
    "creditsCharged",
    "creditsRemaining",
    "warnings",
    "precision",
]


@pytest.fixture
def customer(server: RunningServer) -> Customer:
    return server.new_customer(PlanName.BUSINESS)


def test_a_successful_call_returns_the_documented_body(server: RunningServer, customer: Customer) -> None:
    response = crop(server, customer)
    assert response.status_code == 200
    body = response.json()
    assert list(body) == ["success", "data", "requestId"]
    assert list(body["data"])[: len(DATA_FIELDS)] == DATA_FIELDS
    data = body["data"]
    assert (data["width"], data["height"], data["format"]) == (10, 10, "png")
    assert (data["creditsCharged"], data["creditsRemaining"]) == (1, 4999)
    assert re.fullmatch(r"img_[0-9A-Za-z]{22}", data["imageId"])
    assert re.fullmatch(r"req_[0-9A-Za-z]{22}", body["requestId"])
    assert server.balance(customer) == (4999, 0)


def test_the_background_of_a_photo_is_removed(server: RunningServer, customer: Customer) -> None:
    with server.client(customer) as client:
        files = {"image": ("coffee.jpg", jpeg_bytes(photo("coffee")))}
        data = client.post("/api/tools/bg-removal", files=files).json()["data"]
    assert (data["format"], data["model"], data["creditsCharged"]) == ("png", "isnet-general-use", 1)
    cutout = open_bytes(httpx.get(data["imageUrl"]).content)
    assert cutout.shape == (400, 600, 4)
    alpha = cutout[:, :, 3]
    assert alpha[200, 300] == 255  # the cup
    assert alpha[:20, :20].max() == 0  # the table's corner
    assert 0.5 < data["confidence"] <= 1
    assert server.balance(customer) == (4999, 0)


def test_the_result_can_be_fetched_without_a_key_for_24_hours(
    server: RunningServer, customer: Customer
) -> None:
    began = datetime.now(UTC)
    data = crop(server, customer).json()["data"]
    response = httpx.get(data["imageUrl"])
    assert response.status_code == 200
    assert len(response.content) == data["bytes"]
    assert open_bytes(response.content).shape[:2] == (10, 10)
    ends_at = datetime.fromisoformat(data["expiresAt"])
    assert 86_400 <= (ends_at - began).total_seconds() < 86_400 + 120


def test_every_tool_response_has_credit_and_rate_headers(server: RunningServer, customer: Customer) -> None:
    before = int(time.time())
    headers = crop(server, customer).headers
    assert headers["x-credits-charged"] == "1"
    assert headers["x-credits-remaining"] == "4999"
    assert headers["x-ratelimit-limit"] == "600"
    assert headers["x-ratelimit-remaining"] == "599"
    assert before <= int(headers["x-ratelimit-reset"]) <= time.time() + 60
    assert headers["ratelimit-policy"] == '"calls";q=600;w=60'
    assert re.fullmatch(r'"calls";r=599;t=[01]', headers["ratelimit"])


def test_responses_have_security_headers(server: RunningServer, customer: Customer) -> None:
    answers = [
        crop(server, customer),
        httpx.get(f"{server.address}/healthz"),
        httpx.get(f"{server.address}/api/nothing"),
        httpx.get(f"{server.address}/api/images/img_aaaaaaaaaaaa"),
        httpx.post(f"{server.address}/api/tools/crop"),
    ]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-frame-options"] == "DENY"
        assert "server" not in answer.headers


def test_accept_image_returns_the_image_with_metadata_in_headers(
    server: RunningServer, customer: Customer
) -> None:
    response = crop(server, customer, headers={"Accept": "image/*"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/png"
    assert open_bytes(response.content).shape[:2] == (10, 10)
    headers = response.headers
    assert (headers["x-width"], headers["x-height"], headers["x-format"]) == ("10", "10", "png")
    assert headers["x-bytes"] == str(len(response.content))
    assert headers["x-device"] == "cpu"
    assert headers["x-credits-charged"] == "1"
    assert int(headers["x-processing-time-ms"]) >= 0
    assert int(headers["x-queue-time-ms"]) >= 0
    assert datetime.fromisoformat(headers["x-expires-at"]) > datetime.now(UTC)
    assert headers["x-image-id"] in headers["content-disposition"]
    assert headers["content-disposition"].startswith("attachment;")
    assert httpx.get(headers["x-image-url"]).content == response.content


@pytest.mark.parametrize(
    ("accept", "is_picture"),
    [
        ("*/*", False),
        ("application/json", False),
        ("application/json, image/*", False),
        ("image/*, application/json;q=0.5", True),
        ("image/png", True),
        ("image/avif,image/webp,*/*;q=0.8", True),
        ("image/*;q=0", False),
        ("text/html", False),
        ("image/*;q=banana", False),
    ],
)
def test_json_is_returned_unless_an_image_is_preferred(
    server: RunningServer, customer: Customer, accept: str, is_picture: bool
) -> None:
    response = crop(server, customer, headers={"Accept": accept})
    assert response.headers["content-type"].startswith("image/") is is_picture
    assert "Accept" in response.headers["vary"].split(", ")  # the server allows another origin too


def test_an_error_is_json_even_if_an_image_was_requested(server: RunningServer, customer: Customer) -> None:
    response = crop(server, customer, quality="500", headers={"Accept": "image/*"})
    assert response.status_code == 422
    assert code_of(response) == "INVALID_PARAMETER"


@pytest.mark.parametrize("alias", ["image", "image_file", "file"])
def test_the_image_field_has_three_accepted_names(
    server: RunningServer, customer: Customer, alias: str
) -> None:
    with server.client(customer) as client:
        response = client.post("/api/tools/crop", files={alias: ("a.png", small_picture())})
    assert response.status_code == 200


def test_the_key_may_be_sent_as_x_api_key(server: RunningServer, customer: Customer) -> None:
    with httpx.Client(base_url=server.address, headers={"X-Api-Key": customer.key}) as client:
        assert client.get("/api/account").json()["data"]["email"] == customer.email


def test_a_stored_image_can_be_processed_by_its_id(server: RunningServer, customer: Customer) -> None:
    with server.client(customer) as client:
        photo_bytes = jpeg_bytes(photo("coffee"))
        stored = client.post("/api/images", files={"image": ("coffee.jpg", photo_bytes)})
        assert stored.status_code == 200
        data = stored.json()["data"]
        assert (data["format"], data["bytes"]) == ("jpg", len(photo_bytes))
        fetched = client.get(data["imageUrl"])
        assert (fetched.content, fetched.headers["content-type"]) == (photo_bytes, "image/jpeg")
        first = client.post("/api/tools/crop", data={"image_id": data["imageId"], "width": "40"})
        assert (first.status_code, first.json()["data"]["width"]) == (200, 40)
        # A result is a source as good as an upload.
        second = client.post(
            "/api/tools/crop", data={"image_id": first.json()["data"]["imageId"], "width": "50%"}
        )
        assert (second.status_code, second.json()["data"]["width"]) == (200, 20)
    assert server.balance(customer) == (4998, 0)


def test_an_upload_costs_no_credit_but_counts_towards_the_rate(
    server: RunningServer, customer: Customer
) -> None:
    with server.client(customer) as client:
        response = client.post("/api/images", files={"image": ("a.png", small_picture())})
    assert response.headers["x-credits-charged"] == "0"
    assert response.headers["x-credits-remaining"] == "5000"
    assert response.headers["x-ratelimit-remaining"] == "599"


def test_a_deleted_image_is_gone_at_once(server: RunningServer, customer: Customer) -> None:
    with server.client(customer) as client:
        data = client.post("/api/images", files={"image": ("a.png", small_picture())}).json()["data"]
        deleted = client.delete(f"/api/images/{data['imageId']}")
        assert deleted.json()["data"] == {"imageId": data["imageId"], "deleted": True}
        assert code_of(client.get(data["imageUrl"])) == "NOT_FOUND"
        assert code_of(client.delete(f"/api/images/{data['imageId']}")) == "NOT_FOUND"
        answer = client.post("/api/tools/crop", data={"image_id": data["imageId"]})
        assert (answer.status_code, code_of(answer)) == (404, "NOT_FOUND")
    assert list(server.data_dir.rglob(data["imageId"])) == []


def test_the_account_route_returns_credits_plan_and_limits(server: RunningServer) -> None:
    free = server.new_customer()
    with server.client(free) as client:
        data = client.get("/api/account").json()["data"]
    assert data == {
        "email": free.email,
        "plan": "free",
        "credits": {
            "available": 15,
            "held": 0,
            "renewsAt": data["credits"]["renewsAt"],
            "packCredits": 0,
            "packCreditsExpireAt": None,
        },
        "limits": {"concurrentCalls": 2, "callsPerMinute": 20},
        "key": {
            "keyId": data["key"]["keyId"],
            "isTest": False,
            "tools": None,
            "expiresAt": None,
            "monthlyLimit": None,
        },
    }
    days = (datetime.fromisoformat(data["credits"]["renewsAt"]) - datetime.now(UTC)).days
    assert 26 <= days <= 31


def test_the_catalogue_needs_no_key_and_lists_every_tool(server: RunningServer) -> None:
    data = httpx.get(f"{server.address}/api/tools").json()["data"]
    assert [tool["name"] for tool in data][:1] == ["bg-removal"]
    for tool in data:
        assert tool["path"] == f"/api/tools/{tool['name']}"
        assert tool["parameters"]["properties"]["quality"]["maximum"] == 100
        assert set(tool["engines"]) == {
            "installed",
            "missing",
            "defaults",
            "device",
            "secondsPerMegapixel",
        }


def test_health_and_readiness_need_no_key(server: RunningServer) -> None:
    assert httpx.get(f"{server.address}/healthz").json()["data"] == {"status": "ok"}
    data = httpx.get(f"{server.address}/readyz").json()["data"]
    assert (data["ready"], data["database"], data["device"]) == (True, "ok", "cpu")
    assert data["workers"] >= 1
    assert {engine["tool"] for engine in data["engines"]} >= {"bg-removal", "crop"}


def test_metrics_need_the_configured_token(server: RunningServer) -> None:
    with httpx.Client(base_url=server.address) as client:
        answer = client.get("/metrics", headers={"Authorization": "Bearer token"})
    assert (answer.status_code, code_of(answer)) == (404, "NOT_FOUND")


@pytest.mark.parametrize("path", ["/api/tools", "/healthz", "/readyz", "/openapi.json", "/api/account"])
def test_head_matches_get_without_a_body(server: RunningServer, customer: Customer, path: str) -> None:
    with server.client(customer) as client:
        get, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    if path != "/readyz":
        assert head.headers["content-length"] == get.headers["content-length"]


def test_request_ids_are_generated_and_unique(server: RunningServer, customer: Customer) -> None:
    with server.client(customer) as client:
        ids = {
            client.get("/healthz", headers={"X-Request-Id": "mine"}).headers["x-request-id"]
            for _ in range(20)
        }
    assert len(ids) == 20
    assert "mine" not in ids


def test_a_key_never_reaches_the_log(server: RunningServer, customer: Customer) -> None:
    with server.client(customer) as client:
        client.get(f"/api/images/{customer.key}?sig={customer.key}")
        client.get("/api/account", headers={"X-Api-Key": customer.key})
        crop(server, customer, data=customer.key)
    log = server.log_text()
    assert customer.key[:13] in log  # the beginning is what the operator may see
    assert customer.key not in log
    assert customer.key[14:] not in log


def test_each_line_of_a_request_carries_its_id(server: RunningServer, customer: Customer) -> None:
    request_id = crop(server, customer).headers["x-request-id"]
    lines: list[str] = []
    deadline = time.monotonic() + 10  # written after the answer was sent
    while not lines and time.monotonic() < deadline:
        lines = [line for line in server.log_text().splitlines() if request_id in line]
    assert len(lines) == 1
    assert '"path": "/api/tools/crop"' in lines[0]
    assert f'"account_id": "{customer.account_id}"' in lines[0]
