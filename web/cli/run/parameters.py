"""The tool and the parameters of a run, from the command line. Everything is checked before any work."""

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from ml.catalogue import TOOLS
from ml.errors import UnsupportedFormat
from ml.imaging import codecs
from ml.params import Params, first_problem
from ml.tool import Tool

#: Values that are JSON, which never begins with "@", and too long for a command line.
_JSON_PARAMETERS = frozenset({"strokes", "points", "box"})
#: Of a file that is sent to a server.
FILE_LIMIT_BYTES = 25 * 1024 * 1024
#: Of a picture that is processed on this machine, where the limit only protects its memory.
LARGEST_FILE_BYTES = 256 * 1024 * 1024
_FROM_FILE = "@"


class WrongParameter(Exception):
    """The tool or a parameter is wrong. The message names it."""


@dataclass(frozen=True)
class RunParameters:
    """`texts` are the parameters as given, `params` the validated ones, `files` the further files by name."""

    tool: Tool
    params: Params
    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def result_formats(self) -> tuple[str, ...]:
        """The formats that results may have, by their suffixes."""
        return ("png", "jpg", "webp", "avif") if self.params.format == "auto" else (self.params.format,)


def parse(tool_name: str, pairs: Sequence[str], format: str | None = None) -> RunParameters:
    """`pairs` are texts such as `bg_color=white` and `mask=@mask.png`; `format` is that of the output file.

    Raises WrongParameter.
    """
    tool = TOOLS.get(tool_name)
    if tool is None:
        raise WrongParameter(f"There is no tool {tool_name!r}. The tools are: {', '.join(TOOLS)}.")
    text_names = [one.alias or name for name, one in tool.params.model_fields.items()]
    file_names = [one.name for one in tool.files]
    texts: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise WrongParameter(f"{pair}: write parameters as name=value.")
        if name in texts or name in files:
            raise WrongParameter(f"{name} was given more than once.")
        if name in file_names:
            files[name] = _picture(name, value)
        elif name in text_names:
            texts[name] = _text(name, value)
        else:
            known = ", ".join([*text_names, *file_names])
            raise WrongParameter(f"{name} is not a parameter of {tool_name}. Its parameters are: {known}.")
    if format is not None:
        texts.setdefault("format", format)
    return RunParameters(tool, _validated(tool, texts), texts, files)


def read_file(path: Path, limit_bytes: int) -> bytes:
    """The content of a regular file. Raises OSError; with EFBIG for a larger file than the limit."""
    # Opening a named pipe would otherwise wait for its writer.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file")
        content = file.read(limit_bytes + 1) if status.st_size <= limit_bytes else b""
        if status.st_size > limit_bytes or len(content) > limit_bytes:
            raise OSError(errno.EFBIG, f"is too large: at most {limit_bytes // 1024**2} MiB")
        return content


def reason(error: OSError) -> str:
    """Why a file cannot be used, without repeating its name."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def _picture(name: str, value: str) -> bytes:
    if not value.startswith(_FROM_FILE):
        raise WrongParameter(f"{name} is a file: write {name}=@PATH.")
    content = _content(name, value.removeprefix(_FROM_FILE))
    try:
        codecs.sniff(content[: codecs.SNIFF_BYTES])
    except UnsupportedFormat as error:
        raise WrongParameter(f"{name}: {error}") from None
    return content


def _text(name: str, value: str) -> str:
    if name not in _JSON_PARAMETERS or not value.startswith(_FROM_FILE):
        return value
    try:
        return _content(name, value.removeprefix(_FROM_FILE)).decode()
    except UnicodeDecodeError:
        raise WrongParameter(f"{name}: the file is not text in UTF-8.") from None


def _content(name: str, path: str) -> bytes:
    if not path:
        raise WrongParameter(f"{name}: write the path of the file after @.")
    try:
        content = read_file(Path(path), FILE_LIMIT_BYTES)
    except OSError as error:
        raise WrongParameter(f"{name}: {path}: {reason(error)}.") from None
    if not content:
        raise WrongParameter(f"{name}: {path}: is empty.")
    return content


def _validated(tool: Tool, texts: dict[str, str]) -> Params:
    try:
        # An empty text counts as not given, as in a form.
        return tool.params.model_validate({name: text for name, text in texts.items() if text})
    except ValidationError as error:
        name, message = first_problem(error)
        raise WrongParameter(f"{name}: {message}" if name else message) from None
    except UnicodeEncodeError:  # the command line was not UTF-8
        raise WrongParameter("The parameters are not text in UTF-8.") from None
