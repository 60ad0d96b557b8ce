"""Licences of weights outside the registry: reads them and detects those that forbid commercial use."""

import re
from pathlib import Path

from ml.checkpoints.types import installed_repositories

# As named on the hub or in common use. "openrail" and "community" alone do not forbid it.
_FORBIDDING = re.compile(
    r"(^|[^a-z])nc([^a-z]|$)|non-?commercial|research-only|stabilityai-ai-community-nc|fair-ai-public-license-nc",
    re.IGNORECASE,
)
_HEADER = re.compile(r"\A---\s*\n(.*?)\n---\s*(\n|\Z)", re.DOTALL)
_MAX_HEADER_BYTES = 64_000


def forbids_commercial_use(licence: str) -> bool:
    return _FORBIDDING.search(licence) is not None


def read_licence(folder: Path) -> str | None:
    """The licence stated in the header of a folder's README.md; None if there is none."""
    try:
        with (folder / "README.md").open(encoding="utf-8", errors="replace") as file:
            header = _HEADER.match(file.read(_MAX_HEADER_BYTES))
    except OSError:
        return None
    if header is None:
        return None
    fields = dict(re.findall(r"^(license(?:_name)?):[ \t]*[\"']?([^\"'\n]+?)[\"']?[ \t]*$", header[1], re.M))
    name, own_name = fields.get("license"), fields.get("license_name")
    return own_name if name in (None, "other") and own_name else name


def of_repositories(models_dir: Path) -> dict[str, str | None]:
    """The stated licence of each pipeline that was pulled from the hub, by its name (owner/name)."""
    return {name: read_licence(folder) for name, folder in installed_repositories(models_dir).items()}
