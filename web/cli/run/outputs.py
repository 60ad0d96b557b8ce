"""Where results go: their names, which never collide nor replace an input, and how they are written."""

import contextlib
import errno
import itertools
import os
import secrets
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from web.cli.run.inputs import Identity, identity
from web.cli.run.parameters import reason
from web.cli.run.types import PictureFailed, RunStopped, Source

#: Errors after which no further result can be written either.
_LASTING_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


class UnwritableOutput(Exception):
    """Nothing can be written into a folder."""


@dataclass(frozen=True)
class Target:
    """The place of one source's result. Its suffix is that of the answer's format."""

    source: Source
    folder: Path
    stem: str

    def path(self, format: str) -> Path:
        return self.folder / f"{self.stem}.{format}"

    def existing(self, formats: Sequence[str]) -> Path | None:
        """An earlier result of one of these formats."""
        return next((path for path in map(self.path, formats) if path.is_file()), None)


class OutputFolder:
    """Gives each source a target.

    `a.jpg` becomes `a.png`. If several sources of a folder would share a name, each keeps its own suffix in
    it: `a.jpg.png` and `a.png.png`. A name that is an input's file becomes `a-bg-removal.png`. What still
    collides gets numbers, in the order of the paths.
    """

    def __init__(self, root: Path, tool: str, formats: Sequence[str], inputs: Collection[Identity]) -> None:
        self._root = root
        self._tool = tool
        self._formats = formats
        self._inputs = inputs
        self._taken: set[tuple[PurePath, str]] = set()

    def assign(self, sources: Iterable[Source]) -> list[Target]:
        """The targets of `sources`, in their order. Those of an earlier call stay as they are."""
        groups: defaultdict[tuple[PurePath, str], list[Source]] = defaultdict(list)
        ordered = list(sources)
        for source in ordered:
            groups[source.folder, _key(source.path.stem)].append(source)
        targets: dict[Source, Target] = {}
        # Unique names first, so that no numbered name takes one of theirs.
        for group in sorted(groups.values(), key=len):
            for source in sorted(group, key=lambda one: os.fsencode(one.path)):
                targets[source] = self._target(source, is_shared=len(group) > 1)
        return [targets[source] for source in ordered]

    def _target(self, source: Source, is_shared: bool) -> Target:
        for stem in _candidates(source.path, self._tool, is_shared):
            key = (source.folder, _key(stem))
            target = Target(source, self._root / source.folder, stem)
            if key not in self._taken and not self._replaces_an_input(target):
                self._taken.add(key)
                return target
        raise AssertionError("there is always another number")

    def _replaces_an_input(self, target: Target) -> bool:
        return any(identity(target.path(format)) in self._inputs for format in self._formats)


def _candidates(path: Path, tool: str, is_shared: bool) -> Iterator[str]:
    if is_shared:
        yield path.name
    else:
        yield path.stem
        yield f"{path.stem}-{tool}"
    for number in itertools.count(2):
        yield f"{path.name}-{number}"


def _key(stem: str) -> str:
    """Equal for names that are one file where file names ignore case."""
    return stem.casefold()


def require_writable(folder: Path) -> None:
    """Create the folder. Raises UnwritableOutput, which names it, if no file can be created in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UnwritableOutput(f"{folder} cannot be written: {reason(error)}.") from None


def write(target: Path, content: bytes) -> None:
    """Write a whole file or none. Raises PictureFailed, or RunStopped if the disk is full or read-only."""
    unfinished = target.with_name(f".{secrets.token_hex(8)}.bgeraser")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Not tempfile's own mode, which hides the result from everyone else.
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                # Otherwise a power failure could leave an empty file under the final name.
                os.fsync(file.fileno())
            unfinished.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise
    except OSError as error:
        if error.errno in _LASTING_ERRORS:
            raise RunStopped(f"{target} cannot be written: {reason(error)}.") from None
        raise PictureFailed(
            "UNWRITABLE_OUTPUT", f"{target.name} cannot be written: {reason(error)}"
        ) from None
