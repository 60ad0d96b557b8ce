"""Test keys: the real tools, free of charge, on a small picture and with a mark, in every way in."""

import io
import json
import zipfile
from base64 import b64encode
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from mcp.client.client import Client
from sqlmodel import select

from api.auth.key_settings import KeySettings
from billing.ledger import accounts
from billing.ledger.models import Entry, Hold
from billing.timestamps import utc_now
from ml.pixels import Pixels
from tests.api.http.mcp.conftest import as_agent
from tests.api.http.test_key_limits import with_key
from tests.support.batch_calls import batch_of, read_batch, send_batch
from tests.support.calling import code_of, crop, small_picture
from tests.support.job_calls import PREFER, ended_job, job_of
from tests.support.ml.photos import open_bytes, photo, png_bytes
from tests.support.server import Customer, RunningServer, StartServer
from tests.support.waiting import wait_until

#: 1200 x 800 pixels, all of one colour, so that whatever differs from it is the mark.
GREY = 90


@pytest.fixture
def customer(server: RunningServer) -> Customer:
    """An account without a credit, and a test key of it."""
    return with_key(server, server.new_customer(credits=0), KeySettings(), is_test=True)


def plain_picture(unique: int = 0) -> bytes:
    pixels = np.full((800, 1200, 3), GREY, np.uint8)
    pixels[0, 0] = np.frombuffer(unique.to_bytes(3, "big"), np.uint8)
    return png_bytes(pixels)


def post(server: RunningServer, customer: Customer, tool: str, picture: bytes, **form: Any) -> dict[str, Any]:
    with server.client(customer) as client:
        answer = client.post(f"/api/tools/{tool}", files={"image": picture}, data=form)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def fetched(data: dict[str, Any]) -> Pixels:
    return open_bytes(httpx.get(data["imageUrl"]).content)


def marked_share(pixels: Pixels) -> float:
    """How much of a grey picture is not grey any more."""
    return float((np.abs(pixels[..., 0].astype(int) - GREY) > 8).mean())


def assert_free(server: RunningServer, customer: Customer) -> None:
    """The account has neither been charged, nor has its ledger an entry or a credit in a hold."""
    assert server.balance(customer) == (0, 0)
    with server.database.transaction() as session:
        kinds = session.exec(select(Entry.kind).where(Entry.account_id == customer.account_id)).all()
        holds = session.exec(select(Hold.amount).where(Hold.account_id == customer.account_id)).all()
    assert set(kinds) <= {"grant", "expiry", "revocation", "capture"}
    assert sum(amount for amount in holds if amount) == kinds.count("capture")
    assert server.drifts() == []


def test_a_call_costs_nothing_and_answers_a_small_marked_picture(
    server: RunningServer, customer: Customer
) -> None:
    with server.database.transaction() as session:
        before = len(session.exec(select(Entry).where(Entry.account_id == customer.account_id)).all())
    data = post(server, customer, "crop", plain_picture(), x="300", y="200", width="600", height="300")
    # The same part of the picture, which was reduced from 1200 to 512 pixels before.
    assert (data["width"], data["height"]) == (256, 128)
    assert (data["creditsCharged"], data["creditsRemaining"]) == (0, 0)
    assert data["warnings"][-1].startswith("This is a sandbox result: at most 512 pixels a side")
    assert data["source"]["scale"] == pytest.approx(512 / 1200)
    assert 0.02 < marked_share(fetched(data)) < 0.5
    with server.database.transaction() as session:
        after = len(session.exec(select(Entry).where(Entry.account_id == customer.account_id)).all())
    assert after == before
    assert_free(server, customer)


@pytest.mark.parametrize(
    ("tool", "form", "size"),
    [
        ("upscale", {"scale": "4"}, (512, 340)),
        ("crop", {"resize": "2000x2000", "fit": "pad"}, (512, 512)),
        ("generative-expand", {"left": "600", "right": "600"}, (512, 171)),
        (
            "brush",
            {"op": "paint", "color": "red", "strokes": '[{"points":[[1100,700]],"size":60}]'},
            (512, 341),
        ),
    ],
)
def test_no_result_has_more_than_512_pixels_a_side(
    server: RunningServer, customer: Customer, tool: str, form: dict[str, str], size: tuple[int, int]
) -> None:
    data = post(server, customer, tool, plain_picture(), **form)
    found = data["width"], data["height"]
    assert max(found) <= 512
    assert found == pytest.approx(size, abs=3)
    assert fetched(data).shape[:2] == (data["height"], data["width"])
    if tool == "brush":  # The stroke is where it was meant, 1100 of 1200 pixels from the left.
        reddish = fetched(data)[..., 0].astype(int) - fetched(data)[..., 1] > 80
        assert np.argwhere(reddish).mean(axis=0) == pytest.approx(
            [700 * 512 / 1200, 1100 * 512 / 1200], abs=6
        )


def test_a_click_selects_what_is_there_in_the_whole_picture(
    server: RunningServer, customer: Customer
) -> None:
    coffee = np.kron(photo("coffee"), np.ones((2, 2, 1), np.uint8))  # 1200 x 800 pixels
    data = post(server, customer, "magic-select", png_bytes(coffee), points="[[560, 380, 1]]")
    assert (data["width"], data["height"]) == (512, 341)
    left, top, right, bottom = data["bbox"]
    assert left < 560 * 512 / 1200 < right
    assert top < 380 * 512 / 1200 < bottom
    assert max(right, bottom) <= 512


def test_what_is_impossible_for_the_whole_picture_is_refused_with_its_own_numbers(
    server: RunningServer, customer: Customer
) -> None:
    with server.client(customer) as client:
        form = {"x": "1000", "width": "400", "height": "100"}
        answer = client.post("/api/tools/crop", files={"image": plain_picture()}, data=form)
    assert (answer.status_code, code_of(answer)) == (422, "INVALID_PARAMETER")
    assert_free(server, customer)


def test_the_mark_is_seen_over_transparent_parts_and_in_masks(
    server: RunningServer, customer: Customer
) -> None:
    content = png_bytes(photo("coffee"))
    cutout = fetched(post(server, customer, "bg-removal", content, format="png"))
    corner = cutout[:80, :80, 3]
    assert 0.02 < (corner > 40).mean() < 0.6
    matte = fetched(post(server, customer, "bg-removal", content, channels="alpha"))
    assert 0.02 < (matte[:80, :80] > 30).mean() < 0.6


def test_the_dialect_of_remove_bg_gives_marked_pictures_for_nothing(
    server: RunningServer, customer: Customer
) -> None:
    with server.client(customer) as client:
        answer = client.post(
            "/v1.0/removebg", files={"image_file": png_bytes(photo("coffee"))}, data={"size": "auto"}
        )
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-credits-charged"] == "0"
    pixels = open_bytes(answer.content)
    assert max(pixels.shape[:2]) == 512
    assert (pixels[:80, :80, 3] > 40).any()
    assert_free(server, customer)


def test_an_agent_gets_marked_pictures_for_nothing(server: RunningServer, customer: Customer) -> None:
    arguments = {"image": {"base64": b64encode(plain_picture()).decode()}, "width": 600, "height": 400}

    async def call(client: Client) -> Any:
        return (
            await client.call_tool("crop", arguments),
            await client.call_tool("account", {}),
        )

    result, account = as_agent(server, customer, call)
    data = result.structured_content
    assert (data["creditsCharged"], data["width"], data["height"]) == (0, 256, 170)
    assert 0.02 < marked_share(fetched(data)) < 0.5
    assert account.structured_content["key"]["isTest"] is True
    assert_free(server, customer)


def test_an_agent_is_refused_a_tool_that_its_key_may_not_use(server: RunningServer) -> None:
    limited = with_key(server, server.new_customer(), KeySettings(tools=frozenset({"upscale"})))
    arguments = {"image": {"base64": b64encode(small_picture()).decode()}, "width": 9}

    async def call(client: Client) -> Any:
        return await client.call_tool("crop", arguments)

    result = as_agent(server, limited, call)
    assert result.is_error
    assert result.structured_content["error"]["code"] == "FORBIDDEN"
    assert server.balance(limited) == (15, 0)


def test_a_job_and_its_description_say_that_it_is_a_test(server: RunningServer, customer: Customer) -> None:
    job = ended_job(
        server, customer, job_of(crop(server, customer, plain_picture(), headers=PREFER, width="600"))
    )
    assert (job["status"], job["isTest"]) == ("succeeded", True)
    assert (job["result"]["creditsCharged"], job["result"]["creditsRemaining"]) == (0, 0)
    assert job["result"]["width"] == 256
    assert 0.02 < marked_share(fetched(job["result"])) < 0.9
    assert_free(server, customer)


def test_the_steps_of_a_batch_mean_the_whole_picture_and_only_its_result_is_marked(
    server: RunningServer, customer: Customer
) -> None:
    steps = json.dumps(
        [
            {"tool": "crop", "params": {"x": "200", "y": "0", "width": "1000", "height": "800"}},
            {"tool": "crop", "params": {"x": "500", "y": "300", "width": "500", "height": "500"}},
        ]
    )
    pixels = np.full((800, 1200, 3), GREY, np.uint8)
    pixels[300:, 700:] = (GREY, 200, GREY)  # what both steps leave: all of it is green
    batch_id = batch_of(send_batch(server, customer, [("a.png", png_bytes(pixels))], steps=steps))
    wait_until(lambda: read_batch(server, customer, batch_id)["status"] == "completed")
    batch = read_batch(server, customer, batch_id)
    assert (batch["isTest"], batch["creditsCharged"], batch["counts"]["succeeded"]) == (True, 0, 1)
    result = read_batch(server, customer, batch_id, "/items")["items"][0]["result"]
    assert (result["width"], result["height"]) == pytest.approx((213, 213), abs=2)
    found = fetched(result)
    assert 0.02 < marked_share(found) < 0.5
    assert np.median(found[..., 1]) == 200
    assert (found[..., 1] > found[..., 0]).mean() > 0.6
    assert_free(server, customer)


def test_retries_are_answered_again_apart_from_those_of_live_keys(server: RunningServer) -> None:
    live = server.new_customer()
    test = with_key(server, live, KeySettings(), is_test=True)
    picture, headers = small_picture(), {"Idempotency-Key": "order-1"}
    answers = [crop(server, each, picture, headers=headers) for each in (test, test, live, live)]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, "true"] * 2
    assert answers[0].content == answers[1].content != answers[2].content == answers[3].content
    assert [answer.json()["data"]["creditsCharged"] for answer in answers] == [0, 0, 1, 1]
    mismatch = crop(server, test, small_picture(), headers=headers)
    assert (mismatch.status_code, code_of(mismatch)) == (422, "IDEMPOTENCY_MISMATCH")
    # Without a key, the same picture is another call for each kind.
    same = small_picture()
    assert [crop(server, each, same).json()["data"]["creditsCharged"] for each in (live, test)] == [1, 0]
    assert server.balance(live) == (13, 0)


def test_test_keys_have_a_rate_of_their_own(start_server: StartServer) -> None:
    server = start_server(BGERASER_TEST_CALLS_PER_MINUTE="3")
    live = server.new_customer()
    test = with_key(server, live, KeySettings(), is_test=True)
    answers = [crop(server, test) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].json()["error"]["message"].startswith("Test keys have 3 calls a minute")
    assert answers[0].headers["x-ratelimit-limit"] == "3"
    other = crop(server, live)
    assert (other.status_code, other.headers["x-ratelimit-remaining"]) == (200, "19")


def test_calls_of_test_keys_take_no_place_of_live_ones(server: RunningServer) -> None:
    live = server.new_customer()
    test = with_key(server, live, KeySettings(), is_test=True)
    with ThreadPoolExecutor(8) as threads:
        tests = [threads.submit(crop, server, test, plain_picture(number)) for number in range(6)]
        lives = [threads.submit(crop, server, live) for _ in range(2)]
        assert [each.result().status_code for each in lives] == [200, 200]
        found = Counter(each.result().status_code for each in tests)
    assert set(found) <= {200, 429}
    assert found[200] >= 2


def test_a_closed_account_has_no_sandbox(server: RunningServer) -> None:
    customer = with_key(server, server.new_customer(), KeySettings(), is_test=True)
    with server.database.transaction() as session:
        accounts.close(session, customer.account_id, now=utc_now())
    answer = crop(server, customer)
    assert (answer.status_code, code_of(answer)) == (403, "FORBIDDEN")


def test_a_zip_of_colours_and_matte_is_marked(server: RunningServer, customer: Customer) -> None:
    with server.client(customer) as client:
        answer = client.post(
            "/v1.0/removebg",
            files={"image_file": png_bytes(photo("coffee"))},
            data={"size": "auto", "format": "zip"},
        )
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        matte = open_bytes(archive.read("alpha.png"))
    assert max(matte.shape[:2]) <= 512
    assert 0.02 < (matte[:80, :80] > 30).mean() < 0.6
