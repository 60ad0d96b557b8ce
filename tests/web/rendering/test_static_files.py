"""Static files over HTTP: compressed, and cached forever under the address of their content."""

import gzip
import re

import brotli
import httpx
import pytest

from tests.support.server import RunningServer
from web.rendering import static_files
from web.rendering.static_files import EDITOR_BUNDLE, FOLDER, address_of

FILES = (EDITOR_BUNDLE, "editor/editor.css", "icon.svg")


def get(server: RunningServer, address: str, encoding: str = "identity", **headers: str) -> httpx.Response:
    with httpx.Client() as client:
        request = client.build_request("GET", server.address + address, headers=headers)
        request.headers["accept-encoding"] = encoding
        return client.send(request, stream=False)


def raw(server: RunningServer, address: str, encoding: str) -> tuple[httpx.Response, bytes]:
    """The response and its body as transferred."""
    headers = {"accept-encoding": encoding}
    with httpx.Client() as client, client.stream("GET", server.address + address, headers=headers) as answer:
        return answer, b"".join(answer.iter_raw())


@pytest.mark.parametrize("name", FILES)
def test_a_text_is_the_same_in_every_encoding(server: RunningServer, name: str) -> None:
    plain, text = raw(server, address_of(name), "identity")
    assert "content-encoding" not in plain.headers
    for accepted, expected, unpack in (
        ("gzip, deflate", "gzip", gzip.decompress),
        ("gzip, deflate, br, zstd", "br", brotli.decompress),
        ("br;q=0, gzip", "gzip", gzip.decompress),
    ):
        answer, body = raw(server, address_of(name), accepted)
        assert answer.headers["content-encoding"] == expected
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.headers["content-type"] == plain.headers["content-type"]
        assert len(body) < len(text)
        assert unpack(body) == text


@pytest.mark.parametrize("name", FILES)
def test_versioned_addresses_are_cached_for_a_year_and_others_are_not(
    server: RunningServer, name: str
) -> None:
    assert get(server, address_of(name)).headers["cache-control"] == "public, max-age=31536000, immutable"
    assert get(server, f"/static/{name}").headers["cache-control"] == "no-cache"


def test_a_compressed_file_is_revalidated(server: RunningServer) -> None:
    first = get(server, "/static/editor/editor.css", "br")
    again = get(server, "/static/editor/editor.css", "br", **{"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_pictures_are_sent_as_they_are(server: RunningServer) -> None:
    answer, body = raw(server, "/static/samples/cat.jpg", "br, gzip")
    assert "content-encoding" not in answer.headers
    assert body == (FOLDER / "samples" / "cat.jpg").read_bytes()


@pytest.mark.parametrize("path", [EDITOR_BUNDLE, "tokens.css"])
def test_other_methods_and_paths_are_refused(server: RunningServer, path: str) -> None:
    assert httpx.post(f"{server.address}/static/{path}").status_code == 405
    assert httpx.head(f"{server.address}/static/{path}").status_code == 200
    assert httpx.get(f"{server.address}/static/{path}x").status_code == 404
    assert httpx.get(f"{server.address}/static/x/{EDITOR_BUNDLE}").status_code == 404


def test_an_address_names_the_content() -> None:
    addresses = [address_of(name) for name in FILES]
    assert all(re.fullmatch(r"/static/[\w./]+\?v=[0-9a-f]{12}", address) for address in addresses)
    assert static_files.address_of(EDITOR_BUNDLE) == addresses[0]
