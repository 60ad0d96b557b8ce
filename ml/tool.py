"""What a tool is: a name, its parameters and a function from a picture to an outcome."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ml.params import Params
from ml.pixels import Picture, Pixels

Size = tuple[int, int]

#: Before the name of what an earlier call kept beside the picture. No form field begins so.
ARTEFACT_PREFIX = "artefact:"


class Context(Protocol):
    """What a running tool is given besides its picture and parameters."""

    @property
    def files(self) -> Mapping[str, bytes]:
        """Uploaded bytes by form name (`mask`, `bg_image`, …), and artefacts by `ARTEFACT_PREFIX` + name."""

    @property
    def engines(self) -> Any:
        """The worker's loaded engines, an `ml.engines.cache.EngineCache`."""

    def step(self, stage: str, fraction: float) -> None:
        """Report progress, 0..1, and stop here with `Cancelled` if the caller asked to."""


@dataclass
class ToolResult:
    """What a tool made: `pixels` (H x W x 3|4, or H x W for a mask) before encoding."""

    pixels: Pixels
    model: str | None = None
    device: str = "cpu"
    fields: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    is_mask: bool = False  # whether later calls may name the answered picture as their mask
    artefacts: dict[str, bytes] = field(default_factory=dict)  # to keep beside the source, `Tool.artefacts`


@dataclass(frozen=True)
class FileField:
    """A file that a tool takes besides the picture, or instead of it the id of a stored one in `id_field`."""

    name: str
    description: str
    id_field: str | None = None


@dataclass(frozen=True)
class Tool:
    name: str
    title: str
    summary: str
    params: type[Params]
    run: Callable[[Picture, Any, Context], ToolResult]
    files: tuple[FileField, ...] = ()
    checkpoints: tuple[str, ...] = ()  # any of them makes the tool work, best first; () = needs none
    #: What the tool computes once for a picture and finds again with a later call on the same stored picture.
    artefacts: tuple[str, ...] = ()
    is_random: Callable[[Any], bool] = lambda _params: False  # whether the same call makes another picture
    #: Seconds of a call from its params and the source's megapixels, as measured once and elsewhere, without
    #: encoding the answer; `ml.runtime.duration_model` corrects them by what it sees. None = so much a megapixel.
    cost: Callable[[Any, float], float] | None = None
    #: The answer's (width, height) from the params and the source's, as `ml.runtime.planning` asks before any work;
    #: None where it depends on what the picture shows. Raises `BadParameter` and `PictureTooLarge`.
    answer_size: Callable[[Any, Size], Size | None] = lambda _params, source: source
