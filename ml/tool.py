"""The definition of a tool: a name, its parameters, and a function from a picture to a result."""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ml.params import Params
from ml.pixels import Picture, Pixels

Size = tuple[int, int]

#: Prefix of the names of stored artefacts among a call's files. No form field has it.
ARTEFACT_PREFIX = "artefact:"


class Context(Protocol):
    """The files, engines and progress reporting that a running tool has access to."""

    @property
    def files(self) -> Mapping[str, bytes]:
        """Uploaded bytes by form name (`mask`, `bg_image`, …), and artefacts by `ARTEFACT_PREFIX` + name."""

    @property
    def engines(self) -> Any:
        """The worker's `ml.engines.cache.EngineCache`."""

    def step(self, stage: str, fraction: float) -> None:
        """Report progress, 0..1. Raises `Cancelled` if the caller asked to stop."""


@dataclass
class ToolResult:
    """The result of a tool: `pixels` (H x W x 3|4, or H x W for a mask) before encoding."""

    pixels: Pixels
    model: str | None = None
    device: str = "cpu"
    fields: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    is_mask: bool = False  # whether later calls can use the result as their mask
    artefacts: dict[str, bytes] = field(
        default_factory=dict
    )  # to store with the source; names are from `Tool.artefacts`


@dataclass(frozen=True)
class FileField:
    """A further file of a tool. `id_field`, if any, takes the id of a stored picture instead."""

    name: str
    description: str
    id_field: str | None = None
    is_sized_as_source: bool = False  # refused unless it has the source's size


@dataclass(frozen=True)
class Tool:
    name: str
    title: str
    summary: str
    params: type[Params]
    run: Callable[[Picture, Any, Context], ToolResult]
    files: tuple[FileField, ...] = ()
    checkpoints: tuple[str, ...] = ()  # alternatives, best first; () = needs none
    #: Names of data that the tool computes once for a stored picture and reuses in later calls on it.
    artefacts: tuple[str, ...] = ()
    is_random: Callable[[Any], bool] = lambda _params: False  # whether the same call gives different results
    #: Expected seconds of a call, from its params and the source's megapixels, without encoding the result.
    #: `ml.runtime.duration_model` corrects it by measurements. None: proportional to the megapixels.
    cost: Callable[[Any, float], float] | None = None
    #: (width, height) of the result, from the params and the source's size, needed before any work. None if
    #: it depends on the picture's content. Raises `BadParameter` and `PictureTooLarge`.
    answer_size: Callable[[Any, Size], Size | None] = lambda _params, source: source
    #: Checks a call's params against the names of its files, before any of them is fetched.
    #: Raises `BadParameter`.
    check_files: Callable[[Any, Container[str]], None] = lambda _params, _names: None
    #: Checks that what a call with these params needs for any picture is installed, and loads nothing. The
    #: second argument is an `ml.engines.installed.InstalledEngines`. Raises `ModelUnavailable`, and
    #: `BadParameter` for the name of an unknown checkpoint.
    check_installed: Callable[[Any, Any], None] = lambda _params, _engines: None
