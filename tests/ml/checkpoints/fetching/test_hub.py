"""Hub repositories from a real server, from the mirror folder, and offline."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ml.checkpoints.fetching import hub, pull, repositories
from ml.checkpoints.registry import State
from ml.checkpoints.types import SourceFailed, UrlSource
from ml.engines import pipeline_folder
from ml.generative_config import GenerativeConfig
from tests.support.ml import tiny_pipelines
from tests.support.ml.package_sources import RecordedProgress, make_checkpoint, member

NAME = "owner/tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Serves the files in `folder` as one repository, at one commit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.licence: dict[str, Any] = {"license": "openrail++"}
        self.lies_about: str | None = None  # a file whose SHA-256 it reports wrongly
        self.asked: list[str] = []
        self.address = ""

    def recorded(self) -> dict[str, Any]:
        siblings = []
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            content = path.read_bytes()
            name = str(path.relative_to(self.folder))
            entry: dict[str, Any] = {"rfilename": name, "size": len(content)}
            if path.suffix in (".safetensors", ".bin"):
                sha256 = hashlib.sha256(b"lie" if name == self.lies_about else content).hexdigest()
                entry["lfs"] = {"sha256": sha256, "size": len(content)}
            siblings.append(entry)
        return {"sha": COMMIT, "siblings": siblings, "cardData": self.licence}

    def content(self, path: str) -> bytes | None:
        self.asked.append(path)
        if path == f"/api/models/{NAME}":
            return json.dumps(self.recorded()).encode()
        prefix = f"/{NAME}/resolve/{COMMIT}/"
        place = self.folder / path.removeprefix(prefix)
        return place.read_bytes() if path.startswith(prefix) and place.is_file() else None


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub_server = Hub(tiny_pipelines.save_sd(tmp_path / "theirs"))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = hub_server.content(urlsplit(self.path).path)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listening.server_address[1]}")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield hub_server
        listening.shutdown()


def test_a_pulled_repository_can_be_loaded(served: Hub, tmp_path: Path) -> None:
    models = tmp_path / "models"
    repository = hub.find_repository(NAME)
    assert (repository.licence, repository.revision) == ("openrail++", COMMIT)
    assert repository.size_bytes == sum(file.size_bytes for file in repository.files)
    repositories.pull(models, repository, RecordedProgress())
    found = pipeline_folder.find(GenerativeConfig(inpaint_checkpoint=NAME), models, tmp_path / "cache")
    assert found.name == NAME
    for file in found.weights():
        theirs = served.folder / file.relative_to(found.path)
        assert file.read_bytes() == theirs.read_bytes()
    asked = len(served.asked)
    repositories.pull(models, repository, RecordedProgress())
    assert len(served.asked) == asked, "what is there is not fetched again"


def test_only_the_files_of_a_pipeline_are_fetched(served: Hub, tmp_path: Path) -> None:
    for name in (
        "run.py",
        "weights.ckpt",
        "unet/model.bin",
        "unet/own.py",
        "a/b/config.json",
        "whole.safetensors",
    ):
        (served.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (served.folder / name).write_bytes(b"x")
    half = served.folder / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    half.write_bytes((served.folder / "unet" / "diffusion_pytorch_model.safetensors").read_bytes())
    names = {file.path for file in hub.find_repository(NAME).files}
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in names
    assert "vae/diffusion_pytorch_model.safetensors" in names
    unwanted = {
        "run.py",
        "weights.ckpt",
        "unet/model.bin",
        "unet/own.py",
        "a/b/config.json",
        "whole.safetensors",
    }
    assert not names & unwanted
    assert "unet/diffusion_pytorch_model.safetensors" not in names


def test_bytes_that_differ_from_the_hub_metadata_are_refused(served: Hub, tmp_path: Path) -> None:
    served.lies_about = "vae/diffusion_pytorch_model.safetensors"
    with pytest.raises(SourceFailed, match="SHA-256 differs"):
        repositories.pull(tmp_path, hub.find_repository(NAME), RecordedProgress())
    assert not repositories.is_installed(tmp_path, NAME)


def test_a_repository_without_a_safetensors_pipeline_is_explained(served: Hub) -> None:
    for file in served.folder.glob("*/*.safetensors"):
        file.rename(file.with_suffix(".bin"))
    with pytest.raises(SourceFailed, match="no safetensors"):
        hub.find_repository(NAME)
    (served.folder / "model_index.json").unlink()
    with pytest.raises(SourceFailed, match=r"model_index\.json"):
        hub.find_repository(NAME)
    with pytest.raises(SourceFailed, match="answers 404"):
        hub.find_repository("owner/other")


@pytest.mark.parametrize("value", ["1", "true", "YES"])
def test_offline_mode_sends_no_request_to_the_hub(
    served: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    with pytest.raises(SourceFailed, match="HF_HUB_OFFLINE"):
        hub.find_repository(NAME)
    address = f"https://huggingface.co/{NAME}/resolve/{COMMIT}/model_index.json"
    source = UrlSource("theirs", member("w.json", address))
    [pulled] = pull.pull(
        tmp_path / "models", [make_checkpoint("w", {"w.json": b"{}"}, source)], RecordedProgress()
    )
    assert "HF_HUB_OFFLINE" in pulled.problems[0]
    assert not served.asked


def test_a_pinned_hub_file_is_fetched_from_the_configured_endpoint(served: Hub, tmp_path: Path) -> None:
    content = (served.folder / "model_index.json").read_bytes()
    address = f"https://huggingface.co/{NAME}/resolve/{COMMIT}/model_index.json"
    checkpoint = make_checkpoint("w", {"w.json": content}, UrlSource("theirs", member("w.json", address)))
    [pulled] = pull.pull(tmp_path / "models", [checkpoint], RecordedProgress())
    assert pulled.state is State.INSTALLED, pulled.problems


class TestMirrorFolder:
    def test_pinned_files_are_taken_from_it_and_checked(self, tmp_path: Path) -> None:
        mirror = tmp_path / "mirror"
        mirror.mkdir()
        nowhere = UrlSource("nobody", member("w.bin", "http://127.0.0.1:9/w.bin"))
        checkpoint = make_checkpoint("w", {"w.bin": b"weights"}, nowhere)
        (mirror / "w.bin").write_bytes(b"WEIGHTS")
        [failed] = pull.pull(tmp_path / "models", [checkpoint], RecordedProgress(), mirror)
        assert failed.state is State.MISSING
        assert "SHA-256" in failed.problems[0]
        (mirror / "w.bin").write_bytes(b"weights")
        [pulled] = pull.pull(tmp_path / "models", [checkpoint], RecordedProgress(), mirror)
        assert (pulled.state, str(pulled.source)) == (State.INSTALLED, "the mirror folder")

    def test_a_repository_is_taken_from_it(self, tmp_path: Path) -> None:
        mirror, models = tmp_path / "mirror", tmp_path / "models"
        tiny_pipelines.save_sd(mirror / NAME, licence="cc-by-nc-4.0")
        (mirror / NAME / "evil.py").write_text("raise SystemExit")
        assert repositories.copy_from_mirror(models, NAME, mirror)
        assert not repositories.copy_from_mirror(models, "owner/absent", mirror)
        config = GenerativeConfig(inpaint_checkpoint=NAME, allow_noncommercial=True)
        assert pipeline_folder.find(config, models, tmp_path).pipeline == "StableDiffusionInpaintPipeline"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("owner/name", True),
        ("u2net", False),
        ("../etc", False),
        ("a/b/c", False),
        ("a/..", False),
        ("/a", False),
    ],
)
def test_repository_names_are_validated(text: str, is_one: bool) -> None:
    assert hub.is_repository_name(text) is is_one
