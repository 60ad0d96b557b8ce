"""The names of a batch's images: kept for the ZIP of results and the manifest, never used as paths here."""

import posixpath
import re
from urllib.parse import unquote, urlsplit

LENGTH_MAX = 200
# Line separators and marks that reverse the direction of text too.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028-\u202e\u2066-\u2069]")
_DRIVE = re.compile(r"[A-Za-z]:")


def has_control_characters(name: str) -> bool:
    return _CONTROL.search(name) is not None


def of_archive(name: str) -> str:
    """The name of a file in a ZIP, with its folders; `api.batches.archives` has checked it."""
    return posixpath.normpath(name.replace("\\", "/"))


def of_upload(name: str, position: int) -> str:
    """The name of a file of a form, without the folders that some clients send."""
    return _cleaned(name.replace("\\", "/").rpartition("/")[2], position)


def of_path(path: str, position: int) -> str:
    """A file's relative path in a folder, without what could lead out of one."""
    parts = [_CONTROL.sub("", part).strip(" .") for part in re.split(r"[/\\]", path)]
    parts = [part for part in parts if part and not _DRIVE.fullmatch(part)]
    # The last part has the extension, so that folders are cut off first.
    return "/".join(parts)[-LENGTH_MAX:].lstrip("/") or f"image-{position + 1}"


def of_url(url: str, position: int) -> str:
    """The last part of a URL's path."""
    try:
        path = urlsplit(url).path
    except ValueError:
        path = ""
    return of_upload(unquote(path, errors="replace"), position)


def _cleaned(name: str, position: int) -> str:
    cleaned = _CONTROL.sub("", name).strip(" .")[-LENGTH_MAX:]
    return cleaned or f"image-{position + 1}"
