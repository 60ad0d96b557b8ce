"""The Hugging Face hub, or the mirror that the operator's HF_ENDPOINT names: addresses, and what is there.

Spoken to over plain HTTP, so that a pull needs none of the hub's libraries. `HF_HUB_OFFLINE` is respected.
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
# Of a repository's files: configuration, vocabularies, its card with the licence, and safetensors. Nothing
# that could be run, and nothing in folders of folders.
_WANTED = re.compile(
    r"(model_index\.json|README\.md|[\w-]+/[\w.-]+\.(json|txt|model)|[\w-]+/[\w.-]+\.safetensors)"
)
_HALF = ".fp16."
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class RepositoryFile:
    path: str  # in the repository, with at most one folder
    size_bytes: int
    sha256: str | None  # as the hub tells it, of large files only


@dataclass(frozen=True)
class Repository:
    name: str  # owner/name
    revision: str  # the commit, so that all files are of one
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
    """`url`, at the operator's mirror if it is one of the hub's. Raises SourceFailed where nothing may be."""
    if not url.startswith(f"{_HUB}/"):
        return url
    if os.environ.get("HF_HUB_OFFLINE", "").lower() not in _OFF:
        raise SourceFailed("HF_HUB_OFFLINE is set: nothing is fetched from the hub")
    return os.environ.get("HF_ENDPOINT", _HUB).rstrip("/") + url.removeprefix(_HUB)


def is_allowed_file(path: str) -> bool:
    """Whether a repository's file is one that a pipeline is made from, or its card."""
    return _WANTED.fullmatch(path) is not None


def find_repository(name: str) -> Repository:
    """What there is of a pipeline in diffusers' layout. Raises SourceFailed."""
    url = resolve_endpoint(f"{_HUB}/api/models/{name}")
    try:
        answer = httpx.get(url, params={"blobs": "true"}, timeout=_TIMEOUT, follow_redirects=True)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        found = [_file(entry) for entry in told["siblings"]]
        files = tuple(prefer_half_precision([file for file in found if is_allowed_file(file.path)]))
        repository = Repository(name, str(told["sha"]), _licence(told), files)
    except httpx.HTTPStatusError as error:
        raise SourceFailed(f"the hub answers {error.response.status_code}") from None
    except httpx.HTTPError:
        raise SourceFailed("no connection") from None
    except (ValueError, KeyError, TypeError):
        raise SourceFailed("the hub's answer is not understood") from None
    if not any(file.path == "model_index.json" for file in files):
        raise SourceFailed("it is no pipeline of diffusers' layout (no model_index.json)")
    if not any(file.path.endswith(".safetensors") for file in files):
        raise SourceFailed("it has no safetensors: nothing else is read")
    return repository


def prefer_half_precision(files: list[RepositoryFile]) -> list[RepositoryFile]:
    """Of weights that are there in full and in half precision, the half: it is what they are used in."""
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


def _licence(told: dict[str, Any]) -> str | None:
    card = told.get("cardData") or {}
    name = card.get("license_name") if card.get("license") in (None, "other") else card.get("license")
    return str(name) if name else None
