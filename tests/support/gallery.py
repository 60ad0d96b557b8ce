"""`make gallery`: before and after of every tool on several photos, on one page to look at."""

import html
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from ml.backend import ToolCall
from ml.catalogue import TOOLS
from ml.engines.cache import EngineCache
from ml.runtime import run_call
from tests.support.checkpoints import models_dir
from tests.support.ml.photos import jpeg_bytes, photo

FOLDER = Path(os.environ.get("BGERASER_DATA_DIR", "data")) / "gallery"


@dataclass(frozen=True)
class Exhibit:
    """One tool on one photo; `parameters` as a form sends them."""

    tool: str
    photo: str
    parameters: dict[str, str] = field(default_factory=dict)


def _strokes(*points: tuple[int, int], size: int) -> str:
    return json.dumps([{"points": points, "size": size}])


EXHIBITS = (
    Exhibit("bg-removal", "coffee"),
    Exhibit("bg-removal", "chelsea", {"bg_color": "#2a6f97"}),
    Exhibit("bg-removal", "astronaut", {"bg_blur": "60"}),
    Exhibit("bg-removal", "coffee", {"preset": "marketplace", "shadow": "drop"}),
    Exhibit("upscale", "chelsea", {"scale": "2"}),
    Exhibit("upscale", "coffee", {"scale": "4"}),
    Exhibit("magic-select", "coffee", {"points": "[[300,180,1]]", "output": "cutout"}),
    Exhibit("magic-select", "astronaut", {"auto": "true"}),
    Exhibit("magic-select", "rocket", {"points": "[[321,250,1]]"}),
    Exhibit("generative-fill", "coffee", {"points": "[[370,292,1]]"}),
    Exhibit("generative-fill", "rocket", {"box": "[308,120,350,415]"}),
    Exhibit("generative-fill", "astronaut", {"strokes": _strokes((170, 389), size=100)}),
    Exhibit("generative-fill", "grass", {"strokes": _strokes((180, 250), (330, 250), size=90)}),
    Exhibit("generative-fill", "brick", {"strokes": _strokes((256, 256), size=120)}),
    Exhibit("generative-fill", "chelsea", {"strokes": _strokes((400, 60), (400, 140), size=60)}),
    Exhibit("generative-fill", "motorcycle_left", {"strokes": _strokes((600, 330), size=130)}),
    Exhibit("generative-expand", "coffee", {"aspect_ratio": "16:9"}),
    Exhibit("generative-expand", "rocket", {"left": "25%", "right": "25%"}),
    Exhibit("generative-expand", "astronaut", {"top": "20%"}),
    Exhibit("generative-expand", "chelsea", {"left": "20%"}),
    Exhibit("crop", "astronaut", {"aspect_ratio": "3:4", "gravity": "subject"}),
    Exhibit("crop", "chelsea", {"aspect_ratio": "1:1", "rotate": "12"}),
    Exhibit("brush", "astronaut", {"op": "heal", "strokes": _strokes((215, 75), size=40)}),
    Exhibit("brush", "coffee", {"op": "heal", "strokes": _strokes((30, 120), (580, 330), size=5)}),
    Exhibit("brush", "coffee", {"op": "erase", "strokes": _strokes((60, 60), (540, 60), size=60)}),
    Exhibit("brush", "chelsea", {"op": "blur", "strokes": _strokes((150, 120), (310, 130), size=60)}),
    Exhibit(
        "brush",
        "rocket",
        {"op": "paint", "color": "#ffcc0080", "strokes": _strokes((100, 90), (250, 90), size=40)},
    ),
)

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; background: #f4f4f2; color: #222; }
article { margin: 0 0 2.5rem; } h2 { font-size: 1rem; margin: 0 0 .5rem; } code { color: #666; }
div { display: flex; gap: 1rem; flex-wrap: wrap; align-items: start; }
img { max-width: 46vw; max-height: 480px;
      background: repeating-conic-gradient(#ddd 0 25%, #fff 0 50%) 0 0 / 24px 24px; }
"""


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    articles = []
    with tempfile.TemporaryDirectory() as cache:
        engines = EngineCache(models_dir(), Path(cache), "cpu", memory_budget_bytes=4 << 30)
        for number, exhibit in enumerate(EXHIBITS):
            articles.append(_article(number, exhibit, engines))
            print(f"{exhibit.tool:18} {exhibit.photo:10} {exhibit.parameters}", flush=True)
    page = f"<!doctype html><meta charset=utf-8><title>bgeraser</title><style>{_STYLE}</style>" + "".join(
        articles
    )
    (FOLDER / "index.html").write_text(page)
    print(f"Look at {FOLDER / 'index.html'}")


def _article(number: int, exhibit: Exhibit, engines: EngineCache) -> str:
    before = jpeg_bytes(photo(exhibit.photo))
    (FOLDER / f"{exhibit.photo}.jpg").write_bytes(before)
    params = TOOLS[exhibit.tool].params.model_validate(exhibit.parameters)
    answer = run_call.perform(ToolCall(exhibit.tool, params, {"image": before}), engines, lambda *_: None)
    name = f"{number:02}-{exhibit.tool}-{exhibit.photo}.{answer.format}"
    (FOLDER / name).write_bytes(answer.content)
    parameters = " ".join(f"{key}={value}" for key, value in exhibit.parameters.items())
    return (
        f"<article><h2>{exhibit.tool} <code>{html.escape(parameters)}</code></h2>"
        f'<div><img src="{exhibit.photo}.jpg" alt="before"><img src="{name}" alt="after"></div></article>'
    )


if __name__ == "__main__":
    main()
