"""`make showcase`: the front page's pictures, made by the product itself from the free samples it ships."""

import io
import json
import tempfile
from pathlib import Path

from PIL import Image

from ml.backend import ToolCall
from ml.catalogue import TOOLS
from ml.engines.cache import EngineCache
from ml.runtime import run_call
from tests.support.checkpoints import models_dir

_STATIC = Path(__file__).resolve().parents[2] / "web" / "static"
_FOLDER = _STATIC / "showcase"
_PAIR_WIDTH = 420
_HERO_WIDTH = 880

Form = dict[str, str]


def main() -> None:
    _FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as cache:
        show = Showcase(EngineCache(models_dir(), Path(cache), "cpu", memory_budget_bytes=4 << 30))
        show.pair("hero", "coffee", "bg-removal", {}, width=_HERO_WIDTH)
        show.pair("bg-removal", "astronaut", "bg-removal", {"bg_color": "#f2b84b"})
        show.enlargement("cat", (150, 60, 280, 147))
        show.pair("generative-fill", "rocket", "generative-fill", {"box": "[308,120,350,415]"})
        show.pair("generative-expand", "coffee", "generative-expand", {"aspect_ratio": "16:9"})
        show.selection("coffee", (300, 180))
        show.pair("crop", "astronaut", "crop", {"aspect_ratio": "3:2", "gravity": "subject"})
        stroke = {"points": [[150, 389], [190, 389]], "size": 110}
        show.pair("brush", "astronaut", "brush", {"op": "heal", "strokes": json.dumps([stroke])})


class Showcase:
    """Runs tools on samples and keeps what the page shows."""

    def __init__(self, engines: EngineCache) -> None:
        self._engines = engines

    def pair(self, name: str, sample: str, tool: str, form: Form, width: int = _PAIR_WIDTH) -> None:
        content = (_STATIC / "samples" / f"{sample}.jpg").read_bytes()
        _keep(f"{name}-before", Image.open(io.BytesIO(content)), width)
        _keep(f"{name}-after", self._picture(tool, content, form), width)

    def enlargement(self, sample: str, box: tuple[int, int, int, int]) -> None:
        """A small piece of the sample, enlarged by its pixels alone and by the tool."""
        piece = Image.open(_STATIC / "samples" / f"{sample}.jpg").crop(box)
        stored = io.BytesIO()
        piece.save(stored, "PNG")
        after = self._picture("upscale", stored.getvalue(), {"scale": "4"})
        _keep("upscale-before", piece.resize(after.size, Image.Resampling.NEAREST), _PAIR_WIDTH)
        _keep("upscale-after", after, _PAIR_WIDTH)

    def selection(self, sample: str, point: tuple[int, int]) -> None:
        """What one click selects, tinted as the editor shows it."""
        content = (_STATIC / "samples" / f"{sample}.jpg").read_bytes()
        before = Image.open(io.BytesIO(content)).convert("RGB")
        mask = self._picture("magic-select", content, {"points": json.dumps([[*point, 1]])}).convert("L")
        tint = Image.blend(before, Image.new("RGB", before.size, "#00a78e"), 0.55)
        _keep("magic-select-before", before, _PAIR_WIDTH)
        _keep("magic-select-after", Image.composite(tint, before, mask), _PAIR_WIDTH)

    def _picture(self, tool: str, content: bytes, form: Form) -> Image.Image:
        params = TOOLS[tool].params.model_validate(form)
        answer = run_call.perform(ToolCall(tool, params, {"image": content}), self._engines, lambda *_: None)
        return Image.open(io.BytesIO(answer.content))


def _keep(name: str, picture: Image.Image, width: int) -> None:
    height = round(picture.height * width / picture.width)
    mode = "RGBA" if picture.mode == "RGBA" else "RGB"
    resized = picture.convert(mode).resize((width, height), Image.Resampling.LANCZOS)
    resized.save(_FOLDER / f"{name}.webp", "WEBP", quality=82, method=6)


if __name__ == "__main__":
    main()
