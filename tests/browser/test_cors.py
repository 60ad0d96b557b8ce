"""A page of another origin that calls the API from the browser."""

import base64
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from playwright.sync_api import Page

from api.calls import admission
from api.errors import RateLimited
from billing.timestamps import utc_now
from tests.browser.conftest import NewPage
from tests.support.ml.photos import photo, png_bytes
from tests.support.server import OTHER_PORT, RunningServer

_CALL = """
async ({address, key, tool, picture, fields, headers}) => {
  const form = new FormData();
  const bytes = Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0));
  form.set("image", new Blob([bytes], {type: "image/png"}), "picture.png");
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  const answer = await fetch(`${address}/api/tools/${tool}`, {
    method: "POST", body: form, headers: {...(key ? {Authorization: `Bearer ${key}`} : {}), ...headers},
  });
  const body = await answer.json();
  let image = null;
  if (answer.ok) {
    const fetched = await fetch(body.data.imageUrl);
    image = {type: fetched.headers.get("content-type"), bytes: (await fetched.arrayBuffer()).byteLength};
  }
  return {status: answer.status, headers: Object.fromEntries(answer.headers), body, image};
}
"""


class _Shop(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = b"<!doctype html><title>Shop</title><link rel=icon href='data:,'>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def serving(port: int) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", port), _Shop)
    thread = Thread(target=partial(server.serve_forever, poll_interval=0.05), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def shop() -> Iterator[str]:
    """A page of the origin that the server lets call the API."""
    yield from serving(OTHER_PORT)


@pytest.fixture
def stranger() -> Iterator[str]:
    """A page of an origin that the server does not know."""
    yield from serving(0)


def call(
    page: Page, server: RunningServer, key: str, tool: str, fields: dict[str, str], **headers: str
) -> dict:  # type: ignore[type-arg]
    picture = base64.b64encode(png_bytes(photo("coffee")[::3, ::3])).decode()
    sent = {"address": server.address, "key": key, "tool": tool, "picture": picture, "fields": fields}
    answer: dict = page.evaluate(_CALL, {**sent, "headers": headers})  # type: ignore[type-arg]
    return answer


def test_a_page_on_another_port_calls_a_tool_and_reads_everything(
    page: Page, server: RunningServer, shop: str
) -> None:
    page.goto(shop)
    key = server.customer.key
    answer = call(page, server, key, "bg-removal", {"model": "fast"}, **{"Idempotency-Key": "from a page"})
    assert answer["status"] == 200, answer
    assert answer["image"]["type"] == "image/png"
    assert answer["image"]["bytes"] == answer["body"]["data"]["bytes"]
    assert answer["headers"]["x-credits-charged"] == "1"
    assert answer["headers"]["x-request-id"] == answer["body"]["requestId"]
    assert {"x-credits-remaining", "x-ratelimit-limit", "x-ratelimit-remaining", "ratelimit"} <= set(
        answer["headers"]
    )
    assert page.context.cookies() == []


def test_a_page_on_another_port_reads_why_it_was_refused(
    new_page: NewPage, server: RunningServer, shop: str
) -> None:
    page = new_page(expect_errors=True)  # The browser logs answers of 4xx.
    page.goto(shop)
    customer = server.new_customer()
    refused = call(page, server, customer.key, "crop", {"width": "0"})
    assert (refused["status"], refused["body"]["error"]["param"]) == (422, "width")
    unknown = call(page, server, "bge_live_wrong", "crop", {"width": "5"})
    assert (unknown["status"], unknown["body"]["error"]["code"]) == (401, "INVALID_API_KEY")
    limited = refused
    while limited["status"] != 429:  # A slow machine lets the rate recover meanwhile.
        with server.database.transaction() as session, suppress(RateLimited):
            while admission.take_rate(session, customer.account_id, utc_now()).remaining:
                pass
        limited = call(page, server, customer.key, "crop", {"width": "5"})
    assert limited["body"]["error"]["code"] == "RATE_LIMITED"
    assert int(limited["headers"]["retry-after"]) >= 1


def test_a_page_of_an_unknown_origin_cannot_call(
    new_page: NewPage, server: RunningServer, stranger: str
) -> None:
    page = new_page(expect_errors=True)
    page.goto(stranger)
    customer = server.new_customer()
    with pytest.raises(Exception, match="Failed to fetch"):
        call(page, server, customer.key, "crop", {"width": "5"})
    assert server.balance(customer) == (15, 0)
