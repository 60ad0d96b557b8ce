"""A client of the Hugging Face hub, or of the mirror in HF_ENDPOINT: addresses and listings of repositories.

Plain HTTP instead of huggingface_hub, which reads HF_ENDPOINT and HF_HUB_OFFLINE only when it is imported and
rejects mirrors' responses that lack fields not needed here. `HF_HUB_OFFLINE` is respected.
"""

import os
import re
from dataclasses import dataclass
from typing import Any

import httpx

from ml.checkpoints.types import SourceFailed

_HUB = "https://huggingface.co"
_OFF = ("", "0", "no", "off", "false")
_TIMEOUT = httpx.Timeout(30.0, connect=20.0)  # seconds
# The allow-list of files: configuration, vocabularies, the model card with the licence, and safetensors. No
# code and no nested folders.
_WANTED = re.compile(
    r"(model_index\.json|README\.md|[\w-]+/[\w.-]+\.(json|txt|model)|[\w-]+/[\w.-]+\.safetensors)"
)
_HALF = ".fp16."
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class RepositoryFile:
    path: str  # within the repository, at most one folder deep
    size_bytes: int
    sha256: str | None  # as reported by the hub, for large files only


@dataclass(frozen=True)
class Repository:
    name: str  # owner/name
    revision: str  # the commit, so that all files match
    licence: str | None
    files: tuple[RepositoryFile, ...]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    def address(self, file: RepositoryFile) -> str:
        return f"{_HUB}/{self.name}/resolve/{self.revision}/{file.path}"


def is_repository_name(text: str) -> bool:
    """Whether `text` can be the name of a repository: owner/name."""
    return _NAME.fullmatch(text) is not None and ".." not in text


def resolve_endpoint(url: str) -> str:
    """`url`, rewritten to the operator's mirror if it is on the hub. Raises SourceFailed if offline."""
    if not url.startswith(f"{_HUB}/"):
        return url
    if os.environ.get("HF_HUB_OFFLINE", "").lower() not in _OFF:
        raise SourceFailed("HF_HUB_OFFLINE is set: the hub is not accessed")
    return os.environ.get("HF_ENDPOINT", _HUB).rstrip("/") + url.removeprefix(_HUB)


def is_allowed_file(path: str) -> bool:
    """Whether a repository's file is on the allow-list."""
    return _WANTED.fullmatch(path) is not None


def find_repository(name: str) -> Repository:
    """The downloadable files of a pipeline in diffusers' layout. Raises SourceFailed."""
    url = resolve_endpoint(f"{_HUB}/api/models/{name}")
    try:
        answer = httpx.get(url, params={"blobs": "true"}, timeout=_TIMEOUT, follow_redirects=True)
        answer.raise_for_status()
        data: dict[str, Any] = answer.json()
        found = [_file(entry) for entry in data["siblings"]]
        files = tuple(prefer_half_precision([file for file in found if is_allowed_file(file.path)]))
        repository = Repository(name, str(data["sha"]), _licence(data), files)
    except httpx.HTTPStatusError as error:
        raise SourceFailed(f"the hub answers {error.response.status_code}") from None
    except httpx.HTTPError:
        raise SourceFailed("no connection") from None
    except (ValueError, KeyError, TypeError):
        raise SourceFailed("the hub's response is not valid") from None
    if not any(file.path == "model_index.json" for file in files):
        raise SourceFailed("it is not a pipeline in diffusers' layout (no model_index.json)")
    if not any(file.path.endswith(".safetensors") for file in files):
        raise SourceFailed("it has no safetensors files, and no other weights are supported")
    return repository


def prefer_half_precision(files: list[RepositoryFile]) -> list[RepositoryFile]:
    """Drop full-precision weights where half-precision ones exist."""
    halves = {_folder(file) for file in files if _HALF in file.path}
    return [
        file
        for file in files
        if not file.path.endswith(".safetensors") or (_HALF in file.path) == (_folder(file) in halves)
    ]


def _folder(file: RepositoryFile) -> str:
    return file.path.split("/")[0]


def _file(entry: dict[str, Any]) -> RepositoryFile:
    lfs = entry.get("lfs") or {}
    sha256 = lfs.get("sha256")
    return RepositoryFile(str(entry["rfilename"]), int(entry["size"]), str(sha256) if sha256 else None)


def _licence(data: dict[str, Any]) -> str | None:
    card = data.get("cardData") or {}
    name = card.get("license_name") if card.get("license") in (None, "other") else card.get("license")
    return str(name) if name else None
