"""What `/mcp` refuses from the headers and before the SDK parses anything."""

import json
import subprocess
import sys
import threading
from base64 import b64encode
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.auth import api_keys
from api.http import json_forms
from api.http.long_texts import LongText
from billing.timestamps import utc_now
from tests.api.http.mcp.conftest import HEADERS, message, post
from tests.support.apps import local_api
from tests.support.calling import code_of, small_picture
from tests.support.raw_client import RawClient
from tests.support.server import RunningServer

MIB = 1024 * 1024


@pytest.mark.parametrize("key", [None, "", "wrong", "Basic YTpi", "Bearer bge_live_" + "x" * 38])
def test_a_bad_key_is_401_before_the_body_is_parsed(server: RunningServer, key: str | None) -> None:
    response = post(server, {} if key is None else {"Authorization": key}, content=b"not JSON")
    assert (response.status_code, code_of(response)) == (401, "INVALID_API_KEY")
    assert response.headers["www-authenticate"] == "Bearer"


def test_a_revoked_key_is_401_at_once(server: RunningServer) -> None:
    customer = server.new_customer()
    listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    assert post(server, customer.headers, json=listing).status_code == 200
    with server.database.transaction() as session:
        (key,) = api_keys.listed(session, customer.account_id)
        api_keys.revoke(session, customer.account_id, key.id, utc_now())
    assert post(server, customer.headers, json=listing).status_code == 401


@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", "http://127.0.0.1:1", "file://"])
def test_a_page_of_another_origin_is_403(server: RunningServer, origin: str) -> None:
    headers = {**server.customer.headers, "Origin": origin}
    response = post(server, headers, json=message("account", {}))
    assert (response.status_code, code_of(response)) == (403, "FORBIDDEN")


def test_a_page_of_the_servers_own_origin_is_answered(server: RunningServer) -> None:
    headers = {**server.customer.headers, "Origin": server.address}
    assert post(server, headers, json=message("account", {})).status_code == 200


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "HEAD"])
def test_only_post_is_allowed(server: RunningServer, method: str) -> None:
    response = httpx.request(method, f"{server.address}/mcp", headers=server.customer.headers)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"[" * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        json.dumps([message("account", {})]).encode(),
        b'{"jsonrpc":"2.0","id":1,"method":"tools/list","x":"\\ud800"}',
        json.dumps(message("brush", {"strokes": {"points": [[0, 1]] * 9000}})).encode(),
        json.dumps({**message("account", {}), "id": "x" * 20_000}).encode(),
        json.dumps(
            {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"_meta": {"progressToken": "x" * 9_000}}}
        ).encode(),
        b'{"jsonrpc":"2.0","id":NaN,"method":"tools/list"}',
        b'{"jsonrpc":"2.0","id":null,"method":"tools/list"}',
        b'{"jsonrpc":"2.0","id":1.5,"method":"tools/list"}',
        b'{"jsonrpc":"2.0","id":true,"method":"tools/list"}',
        b'{"jsonrpc":"2.0","id":{},"method":"tools/list"}',
        b'{"jsonrpc":"2.0","id":[1],"method":"tools/list"}',
    ],
)
def test_what_is_not_one_message_of_little_structure_is_400(server: RunningServer, content: bytes) -> None:
    response = post(server, server.customer.headers, content=content)
    assert (response.status_code, code_of(response)) == (400, "INVALID_REQUEST")


def test_an_id_of_any_accepted_length_is_echoed(server: RunningServer) -> None:
    response = post(server, server.customer.headers, json={**message("account", {}), "id": "x" * 8_000})
    assert response.status_code == 200
    assert f'"id":"{"x" * 8_000}"' in response.text.replace(" ", "")


def test_lists_among_the_arguments_are_searched_and_decoded_off_the_event_loop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    threads: set[int] = set()
    cut_out_lists, as_text = json_forms.cut_out_lists, LongText.text

    def note_search(content: bytearray, path: tuple[bytes, ...] = ()) -> Any:
        threads.add(threading.get_ident())
        return cut_out_lists(content, path)

    def note_decoding(text: LongText) -> str:
        threads.add(threading.get_ident())
        return as_text(text)

    async def loop_thread() -> int:
        return threading.get_ident()

    monkeypatch.setattr(json_forms, "cut_out_lists", note_search)
    monkeypatch.setattr(LongText, "text", note_decoding)
    with local_api(tmp_path) as api:
        headers = {**HEADERS, "X-Api-Key": api.new_key("a@example.com")}
        image = {"base64": b64encode(small_picture()).decode()}
        arguments = {"image": image, "op": "erase", "strokes": [{"points": [[1, 2]], "size": 0}]}
        response = api.request("POST", "/mcp", headers=headers, json=message("brush", arguments))
        assert "stroke 0: size must be" in response.text
        assert threads
        assert api.call(loop_thread) not in threads


def test_a_repeated_name_is_422(server: RunningServer) -> None:
    content = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"crop","name":"upscale"}}'
    response = post(server, server.customer.headers, content=content)
    assert (response.status_code, code_of(response)) == (422, "INVALID_PARAMETER")


@pytest.mark.parametrize("content", [b'{"jsonrpc":"2.0"}', b'{"jsonrpc":"2.0","id":1,"method":"none"}'])
def test_a_message_that_the_protocol_does_not_know_is_its_own_error(
    server: RunningServer, content: bytes
) -> None:
    response = post(server, server.customer.headers, content=content)
    assert response.status_code < 500
    assert '"error"' in response.text
    assert "Traceback" not in response.text


@pytest.mark.parametrize(
    "content_type", ["text/plain", "multipart/form-data; boundary=x", "application/jsonx"]
)
def test_other_types_of_body_are_400(server: RunningServer, content_type: str) -> None:
    headers = {**server.customer.headers, "Content-Type": content_type}
    response = post(server, headers, content=b"{}")
    assert (response.status_code, code_of(response)) == (400, "INVALID_REQUEST")


def test_a_body_over_the_limit_is_413_before_it_is_read(server: RunningServer) -> None:
    client = RawClient(server)
    client.head(server.customer, "Content-Type: application/json", f"Content-Length: {53 * MIB}", path="/mcp")
    status, body = client.answer()
    client.close()
    assert (status, json.loads(body)["error"]["code"]) == (413, "FILE_TOO_LARGE")


def test_a_large_body_of_a_caller_over_the_rate_is_429_before_it_is_read(server: RunningServer) -> None:
    customer = server.new_customer()
    with server.client(customer) as client:
        for _ in range(22):
            client.post("/api/images", files={"image": small_picture()})
    raw = RawClient(server)
    raw.head(customer, "Content-Type: application/json", f"Content-Length: {20 * MIB}", path="/mcp")
    status, body = raw.answer()
    raw.close()
    assert (status, json.loads(body)["error"]["code"]) == (429, "RATE_LIMITED")
    # What costs nothing is still answered.
    assert post(server, customer.headers, json=message("account", {})).status_code == 200


def test_a_large_file_is_decoded_from_a_large_body(server: RunningServer) -> None:
    picture = small_picture() + b"\0" * (8 * MIB)  # appended bytes are removed from uploads
    content = json.dumps(message("upload-image", {"image": {"base64": b64encode(picture).decode()}}))
    response = post(server, server.new_customer().headers, content=content.encode())
    assert response.status_code == 200
    assert '"width":60' in response.text


def test_the_sdk_is_not_imported_before_the_first_request() -> None:
    check = "import sys, web.app; sys.exit(any(name.split('.')[0] == 'mcp' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", check], timeout=60).returncode == 0


def test_another_accounts_picture_is_not_found(server: RunningServer) -> None:
    owner, stranger = server.new_customer(), server.new_customer()
    with server.client(owner) as client:
        stored = client.post("/api/images", files={"image": small_picture()}).json()["data"]
    call = message("crop", {"image": {"image_id": stored["imageId"]}, "width": "10"})
    refused = post(server, stranger.headers, json=call)
    assert "NOT_FOUND" in refused.text
    assert stored["imageUrl"] not in refused.text
    assert server.balance(stranger) == (15, 0)
    assert '"isError":false' in post(server, owner.headers, json=call).text.replace(" ", "")
