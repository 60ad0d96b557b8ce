"""Worker memory over many calls of every tool stays within its budget."""

import itertools
import json
import os
from pathlib import Path

import psutil
import pytest

from ml.backend import ToolCall
from ml.catalogue import TOOLS
from ml.runtime.local import LocalBackend, LocalConfig
from tests.support.ml.backends import children_pids, running
from tests.support.ml.photos import jpeg_bytes, photo

MODELS_DIR = Path(os.environ.get("BGERASER_MODELS_DIR", "data/models"))
STROKE = json.dumps([{"points": [[60, 60], [120, 80]], "size": 20}])

# Each round uses every engine; `quality` upscaling is left out, it alone would take minutes a round.
ROUND: tuple[tuple[str, dict[str, str]], ...] = (
    ("bg-removal", {}),
    ("bg-removal", {"model": "fast", "bg_color": "white"}),
    ("upscale", {"scale": "2"}),
    ("upscale", {"scale": "4"}),
    ("magic-select", {"points": "[[150,150,1]]"}),
    ("generative-fill", {"strokes": STROKE}),
    ("generative-expand", {"left": "5%"}),
    ("crop", {"width": "50%", "height": "50%"}),
    ("brush", {"op": "blur", "strokes": STROKE}),
    ("brush", {"op": "heal", "strokes": STROKE}),
)
SLACK_BYTES = 150 << 20


def _resident_bytes() -> int:
    (worker,) = children_pids()
    return int(psutil.Process(worker).memory_info().rss)


def _run_rounds(backend: LocalBackend, rounds: int) -> int:
    """The largest resident size after any of these rounds, in bytes."""
    photos = itertools.cycle(
        [jpeg_bytes(photo(name)[:300, :400]) for name in ("coffee", "chelsea", "rocket")]
    )
    largest = 0
    for _ in range(rounds):
        image = next(photos)
        for tool, form in ROUND:
            call = ToolCall(tool, TOOLS[tool].params.model_validate(form), {"image": image})
            backend.submit(call).answer.result(300)
        largest = max(largest, _resident_bytes())
    return largest


def _check(folder: Path, warm_rounds: int, rounds: int) -> None:
    config = LocalConfig(MODELS_DIR, folder, device="cpu", workers=1, calls_per_worker=100_000)
    with running(config) as backend:
        first_worker = children_pids()
        settled = _run_rounds(backend, warm_rounds)
        assert _run_rounds(backend, rounds) < settled + SLACK_BYTES
        # Nothing was hidden by a replacement.
        assert children_pids() == first_worker


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_memory_is_stable_over_500_mixed_calls(tmp_path: Path) -> None:
    _check(tmp_path, warm_rounds=5, rounds=50)
