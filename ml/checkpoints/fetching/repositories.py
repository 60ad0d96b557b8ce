"""A pipeline's whole repository into the models directory: from the mirror folder, or from the hub.

Files get their names when they are whole; model_index.json, by which the folder is recognised, comes last.
What is there is kept, so that running it again goes on.
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
        _bring(repository, file, target, progress)


def copy_from_mirror(models_dir: Path, name: str, mirror: Path) -> bool:
    """Take it from the operator's folder, where it lies as owner/name. False if it is not there."""
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


def _bring(repository: Repository, file: RepositoryFile, target: Path, progress: PullProgress) -> None:
    part = target.with_name(f".{target.name}.part")
    progress.stage(f"{repository.name}: {file.path}, {file.size_bytes / 1e6:.0f} MB")
    url = hub.resolve_endpoint(repository.address(file))
    downloads.download(
        url, part, file.size_bytes, lambda done: progress.received(file.path, done, max(1, file.size_bytes))
    )
    if file.sha256 is not None and digests.sha256_of(part) != file.sha256:
        part.unlink()  # or the next try would go on from it
        raise SourceFailed(f"{file.path} is not the file that the hub tells of (its SHA-256 differs)")
    part.replace(target)
