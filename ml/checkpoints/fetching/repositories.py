"""Installs a whole repository of a pipeline, from the hub or from the mirror folder.

Files are renamed once they are complete; model_index.json, by which the folder is recognised, comes last.
Complete files are kept, so that an interrupted pull can be repeated.
"""

import shutil
from pathlib import Path

from ml.checkpoints import digests
from ml.checkpoints.fetching import downloads, hub
from ml.checkpoints.fetching.hub import Repository, RepositoryFile
from ml.checkpoints.fetching.pull import PullProgress
from ml.checkpoints.types import PIPELINE_INDEX, SourceFailed, repository_dir


def is_installed(models_dir: Path, name: str) -> bool:
    return (repository_dir(models_dir, name) / PIPELINE_INDEX).is_file()


def pull(models_dir: Path, repository: Repository, progress: PullProgress) -> None:
    """Raises SourceFailed, or OSError if the directory cannot be used."""
    place = repository_dir(models_dir, repository.name)
    for file in sorted(repository.files, key=lambda file: (file.path == PIPELINE_INDEX, file.path)):
        target = place / file.path
        if target.is_file() and target.stat().st_size == file.size_bytes:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        _download(repository, file, target, progress)


def copy_from_mirror(models_dir: Path, name: str, mirror: Path) -> bool:
    """Copy it from the operator's folder, where it is stored as owner/name. False if it is missing."""
    source = mirror / name
    if not (source / PIPELINE_INDEX).is_file():
        return False
    found = [path for path in source.rglob("*") if path.is_file()]
    files = [RepositoryFile(str(path.relative_to(source)), path.stat().st_size, None) for path in found]
    wanted = hub.prefer_half_precision([file for file in files if hub.is_allowed_file(file.path)])
    place = repository_dir(models_dir, name)
    for file in sorted(wanted, key=lambda file: (file.path == PIPELINE_INDEX, file.path)):
        target = place / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        shutil.copyfile(source / file.path, part)
        part.replace(target)
    return True


def _download(repository: Repository, file: RepositoryFile, target: Path, progress: PullProgress) -> None:
    part = target.with_name(f".{target.name}.part")
    progress.stage(f"{repository.name}: {file.path}, {file.size_bytes / 1e6:.0f} MB")
    url = hub.resolve_endpoint(repository.address(file))
    downloads.download(
        url, part, file.size_bytes, lambda done: progress.received(file.path, done, max(1, file.size_bytes))
    )
    if file.sha256 is not None and digests.sha256_of(part) != file.sha256:
        part.unlink()  # or the next attempt would resume it
        raise SourceFailed(f"{file.path} does not match the hub's listing (its SHA-256 differs)")
    part.replace(target)
