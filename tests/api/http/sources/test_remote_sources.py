"""What is checked before a caller's URL is fetched, and what a retry fetches."""

import threading
from typing import Any

import httpx
import pytest

from tests.api.http.sources.conftest import as_base64, credits_of, crop, post
from tests.api.remote_files.test_service import PRIVATE_NAMES, URLS
from tests.support.apps import LocalApi
from tests.support.calling import code_of, param_of, small_picture
from tests.support.remote_host import LOOPBACK, RemoteHost

STROKES = '[{"points":[[5,5]],"size":4}]'


class TestRetries:
    def test_a_replay_fetches_nothing(self, api: LocalApi, host: RemoteHost, key: str) -> None:
        url = host.serve("/once.png", small_picture())
        before = host.connections
        headers = {"Idempotency-Key": "one"}
        first = post(api, key, json=crop({"url": url}), headers=headers)
        assert first.status_code == 200
        # The form is the same request, and what is there now does not matter.
        host.serve("/once.png", b"gone", status="404 Not Found")
        form = {"image_url": url, "width": "10", "height": "50%"}
        for options in ({"json": crop({"url": url})}, {"data": form}):
            replay = post(api, key, headers=headers, **options)
            assert (replay.status_code, replay.content) == (200, first.content)
            assert replay.headers["idempotent-replayed"] == "true"
            assert replay.headers["x-credits-charged"] == "0"
        assert host.connections - before == 1

    @pytest.mark.parametrize("changed", ["url", "parameter", "file"])
    def test_another_request_with_the_key_is_refused_and_fetches_nothing(
        self, api: LocalApi, host: RemoteHost, key: str, changed: str
    ) -> None:
        content = small_picture()
        url = host.serve(f"/mine-{changed}.png", content)
        headers = {"Idempotency-Key": "two"}
        assert post(api, key, json=crop({"url": url}), headers=headers).status_code == 200
        before = host.connections
        others = {
            "url": crop({"url": f"{url}?other"}),
            "parameter": crop({"url": url}, width=11),
            "file": crop({"base64": as_base64(content)}),
        }
        refused = post(api, key, json=others[changed], headers=headers)
        assert (refused.status_code, code_of(refused)) == (422, "IDEMPOTENCY_MISMATCH")
        assert host.connections == before

    def test_without_a_key_the_content_decides(self, api: LocalApi, host: RemoteHost, key: str) -> None:
        url = host.serve("/changing.png", small_picture())
        first = post(api, key, json=crop({"url": url}))
        host.serve("/changing.png", small_picture())
        second = post(api, key, json=crop({"url": url}))
        assert [each.headers["x-credits-charged"] for each in (first, second)] == ["1", "1"]

    def test_the_key_of_a_failed_fetch_may_be_used_again(
        self, api: LocalApi, host: RemoteHost, key: str
    ) -> None:
        url = host.serve("/later.png", b"", status="503 Not Yet")
        headers = {"Idempotency-Key": "three"}
        failed = post(api, key, json=crop({"url": url}), headers=headers)
        assert (failed.status_code, code_of(failed)) == (422, "INVALID_PARAMETER")
        assert (param_of(failed), failed.json()["error"]["retryable"]) == ("image_url", True)
        host.serve("/later.png", small_picture())
        assert post(api, key, json=crop({"url": url}), headers=headers).headers["x-credits-charged"] == "1"

    @pytest.mark.parametrize("path", ["/api/tools/crop", "/api/images"])
    def test_of_two_requests_with_one_key_only_the_first_fetches(
        self, api: LocalApi, host: RemoteHost, key: str, path: str
    ) -> None:
        began, may_answer = threading.Event(), threading.Event()
        content = small_picture()

        def slow(_: bytes, connection: Any) -> None:
            began.set()
            may_answer.wait(10)
            head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(content)}\r\n\r\n".encode()
            connection.sendall(head + content)

        body: dict[str, Any] = {"image": {"url": host.respond(f"/slow{len(path)}.png", slow)}}
        body |= {"width": 10} if "tools" in path else {}
        before = host.connections
        headers = {"Idempotency-Key": "four"}
        answers: list[httpx.Response] = []
        first = threading.Thread(
            target=lambda: answers.append(post(api, key, path, json=body, headers=headers))
        )
        first.start()
        assert began.wait(10)
        second = post(api, key, path, json=body, headers=headers)
        may_answer.set()
        first.join()
        assert (second.status_code, code_of(second)) == (409, "IDEMPOTENCY_IN_PROGRESS")
        assert second.headers["retry-after"] == "1"
        assert answers[0].status_code == 200
        assert host.connections - before == 1

    def test_an_upload_by_url_is_replayed_by_its_key(self, api: LocalApi, host: RemoteHost, key: str) -> None:
        url = host.serve("/stored.png", small_picture())
        headers = {"Idempotency-Key": "five"}
        before = host.connections
        first = post(api, key, "/api/images", json={"image": {"url": url}}, headers=headers)
        again = post(api, key, "/api/images", data={"image_url": url}, headers=headers)
        assert first.content == again.content
        assert again.headers["idempotent-replayed"] == "true"
        other = post(api, key, "/api/images", json={"image": {"url": url + "?"}}, headers=headers)
        assert code_of(other) == "IDEMPOTENCY_MISMATCH"
        assert host.connections - before == 1


class TestLimitsBeforeFetching:
    def test_a_url_takes_a_call_of_the_rate_first(
        self, api: LocalApi, host: RemoteHost, free_key: str
    ) -> None:
        url = host.serve("/not-a-picture", b"<html>" * 50)
        for path, body in (("/api/tools/crop", crop({"url": url})), ("/api/images", {"image": {"url": url}})):
            api.clock.move(minutes=1)
            before = host.connections
            statuses = [post(api, free_key, path, json=body).status_code for _ in range(22)]
            assert statuses == [422] * 20 + [429] * 2
            assert host.connections - before == 20

    @pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "six"}])
    def test_without_credits_nothing_is_fetched(
        self, api: LocalApi, host: RemoteHost, free_key: str, headers: dict[str, str]
    ) -> None:
        for _ in range(15):
            content = as_base64(small_picture())
            used = post(
                api, free_key, json=crop({"base64": content}), headers={"Idempotency-Key": content[-99:]}
            )
            assert used.status_code == 200
        before = host.connections
        url = host.serve("/unpaid.png", small_picture())
        refused = post(api, free_key, json=crop({"url": url}), headers=headers)
        assert (refused.status_code, code_of(refused)) == (402, "INSUFFICIENT_CREDITS")
        assert refused.headers["x-credits-remaining"] == "0"
        assert host.connections == before

    def test_a_replay_without_key_costs_nothing_on_an_empty_account(
        self, api: LocalApi, host: RemoteHost, free_key: str
    ) -> None:
        url = host.serve("/again.png", small_picture())
        for number in range(15):
            image = {"url": url} if number == 14 else {"base64": as_base64(small_picture())}
            assert post(api, free_key, json=crop(image)).status_code == 200
        assert credits_of(api, free_key) == 0
        replay = post(api, free_key, json=crop({"url": url}))
        assert (replay.status_code, replay.headers["x-credits-charged"]) == (200, "0")

    def test_an_invalid_parameter_is_found_before_anything_is_fetched(
        self, api: LocalApi, host: RemoteHost, key: str
    ) -> None:
        before = host.connections
        refused = post(api, key, json=crop({"url": host.serve("/a.png", small_picture())}, quality=101))
        assert (refused.status_code, param_of(refused)) == (422, "quality")
        assert host.connections == before

    @pytest.mark.parametrize(
        ("tool", "form", "files", "param", "message"),
        [
            ("bg-removal", {"bg_color": "red"}, {"bg_image"}, "bg_image_url", "combined with bg_color"),
            (
                "bg-removal",
                {"bg_scene": "studio-white"},
                {"bg_image"},
                "bg_image_url",
                "combined with bg_scene",
            ),
            ("bg-removal", {"channels": "alpha"}, {"bg_image"}, "bg_image_url", "channels=alpha"),
            ("brush", {"op": "erase", "strokes": STROKES}, {"mask"}, "mask_url", "either strokes or a mask"),
            ("brush", {"op": "erase"}, {"image"}, "strokes", "send strokes or a mask"),
            ("brush", {"op": "erase"}, {"mask", "original"}, "original_url", "only with op=restore"),
            ("brush", {"op": "restore"}, {"mask"}, "original", "needs the original"),
            (
                "brush",
                {"op": "erase", "strokes": STROKES, "mask_mode": "alpha"},
                {"image"},
                "mask_mode",
                "only with a mask",
            ),
            ("generative-fill", {"strokes": STROKES}, {"mask"}, "mask_url", "either mask"),
            ("generative-fill", {"box": "[0,0,9,9]"}, {"mask"}, "mask_url", "either mask"),
            ("generative-fill", {}, {"image"}, "mask", "send mask"),
        ],
    )
    @pytest.mark.parametrize("way", ["form", "json"])
    def test_files_that_the_parameters_exclude_are_refused_before_anything_is_fetched(
        self,
        api: LocalApi,
        host: RemoteHost,
        key: str,
        tool: str,
        form: dict[str, str],
        files: set[str],
        param: str,
        message: str,
        way: str,
    ) -> None:
        before, path = host.connections, f"/api/tools/{tool}"
        urls = {name: f"{host.url}/{name}.png" for name in {"image", *files}}
        if way == "form":
            answer = post(api, key, path, data={**form, **{f"{name}_url": url for name, url in urls.items()}})
        else:
            body = {**form, **{name: {"url": url} for name, url in urls.items()}}
            answer = post(api, key, path, json=body)
        assert (answer.status_code, param_of(answer)) == (422, param), answer.text
        assert message in answer.json()["error"]["message"]
        assert host.connections == before

    def test_nothing_is_charged_or_told_for_a_failed_fetch(
        self, api: LocalApi, host: RemoteHost, key: str
    ) -> None:
        credits = credits_of(api, key)
        for status in ("404 Not Found", "500 Oops", "401 Unauthorized"):
            url = host.serve("/error", b"the secret of that server", status=status)
            answer = post(api, key, json=crop({"url": url}))
            assert (answer.status_code, code_of(answer), param_of(answer)) == (
                422,
                "INVALID_PARAMETER",
                "image_url",
            )
            assert status[:3] not in answer.json()["error"]["message"]
            assert "secret" not in answer.text
        assert credits_of(api, key) == credits

    def test_a_mask_that_cannot_be_fetched_is_named(self, api: LocalApi, host: RemoteHost, key: str) -> None:
        body = {"image": {"base64": as_base64(small_picture())}, "op": "erase", "mask": {"url": host.url}}
        assert param_of(post(api, key, "/api/tools/brush", json=body)) == "mask_url"


@pytest.mark.parametrize("way", ["form", "json", "upload"])
def test_no_form_of_a_private_address_is_connected_to(
    api: LocalApi, host: RemoteHost, key: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []

    async def connect(_: object, host: str, port: int, **__: object) -> None:
        opened.append((host, port))
        raise AssertionError("a connection")

    monkeypatch.setattr("httpcore.AnyIOBackend.connect_tcp", connect)
    # This machine's own address is public to the fetcher of these tests, and only by name.
    urls = [url for url in URLS if url and not url.startswith("data:") and LOOPBACK not in url]
    urls += [f"https://{name}/a.png" for name in PRIVATE_NAMES if "127.0.0.1" not in PRIVATE_NAMES[name]]
    assert len(urls) >= 60
    for url in urls:
        if way == "form":
            answer = post(api, key, data={"image_url": url, "width": "10"})
        elif way == "json":
            answer = post(api, key, json=crop({"url": url}))
        else:
            answer = post(api, key, "/api/images", json={"image": {"url": url}})
        assert (answer.status_code, code_of(answer)) == (422, "INVALID_PARAMETER"), url
        assert param_of(answer) in ("image_url", "image"), url
    assert opened == []
