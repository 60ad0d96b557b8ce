"""The browser places cut-outs in their frames exactly as the server does."""

import json
import random
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ml.imaging.geometry import Box
from ml.imaging.placement import Placement, place_object
from ml.tools.bg_removal_params import BgRemovalParams
from ml.tools.cutout_presets import NAMES, PRESETS
from tests.js.test_modules import NODE

_CASES = 3000
_SCRIPT = """
import { resolved } from "./looks.js";
import { placementOf } from "./placement.js";
let text = "";
for await (const part of process.stdin) text += part;
const { presets, cases } = JSON.parse(text);
const answers = cases.map(({ look, box, picture }) => placementOf(resolved(look, presets), box, picture));
console.log(JSON.stringify(answers));
"""


def _accepted_look(chance: random.Random) -> dict[str, str]:
    while True:
        look = _look(chance)
        with suppress(ValidationError):  # some have no effect together, which the server refuses
            BgRemovalParams.model_validate(look)
            return look


def _look(chance: random.Random) -> dict[str, str]:
    """Fields of a frame as the panel writes them, most of them with several of its parameters."""
    look: dict[str, str] = {}
    if chance.random() < 0.3:
        look["preset"] = chance.choice(NAMES)
    if chance.random() < 0.5:
        look["crop"] = "true"
        if chance.random() < 0.7:
            lengths = [chance.choice([f"{chance.randint(0, 90)}", f"{chance.randint(0, 250) / 2}%"])] * 4
            lengths[1:] = [f"{chance.randint(0, 40)}%" for _ in range(3)]
            look["crop_margin"] = " ".join(lengths[: chance.choice((1, 2, 4))])
    if chance.random() < 0.4:
        look["scale"] = chance.choice(["original", f"{chance.randint(20, 200) / 2}%"])
    if chance.random() < 0.4:
        places = ["original", "center", f"{chance.randint(0, 100)}%"]
        look["position"] = chance.choice([*places, f"{chance.randint(0, 100)}% {chance.randint(0, 100)}%"])
    if chance.random() < 0.4:
        look["output_size"] = f"{chance.randint(1, 4000)}x{chance.randint(1, 4000)}"
    return look


def _case(chance: random.Random) -> dict[str, Any]:
    width, height = chance.randint(2, 5000), chance.randint(2, 5000)
    x, y = chance.randrange(width), chance.randrange(height)
    box = {"x": x, "y": y, "width": chance.randint(1, width - x), "height": chance.randint(1, height - y)}
    if chance.random() < 0.3:  # an outline around it may reach beyond the picture
        wide = chance.randint(1, 500)
        box = {
            "x": x - wide,
            "y": y - wide,
            "width": box["width"] + 2 * wide,
            "height": box["height"] + 2 * wide,
        }
    return {"look": _accepted_look(chance), "box": box, "picture": {"width": width, "height": height}}


def _by_the_server(case: dict[str, Any]) -> Placement:
    params = BgRemovalParams.model_validate(case["look"])
    box, picture = case["box"], case["picture"]
    return place_object(
        Box(box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]),
        (picture["width"], picture["height"]),
        crop=params.crop,
        margins=params.crop_margin,
        scale=params.scale,
        position=params.position or ("original" if params.scale == "original" else (50.0, 50.0)),
        output_size=params.output_size,
    )


def _frame(box: Box) -> dict[str, int]:
    return {"x": box.left, "y": box.top, "width": box.width, "height": box.height}


def test_every_frame_is_that_of_the_server_to_the_pixel() -> None:
    chance = random.Random(20_261_129)
    cases = [_case(chance) for _ in range(_CASES)]
    presets = [{"name": name, "fields": dict(PRESETS[name].fields), "background": None} for name in NAMES]
    folder = Path(__file__).parents[2] / "web" / "static" / "editor"
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", _SCRIPT],
        input=json.dumps({"presets": presets, "cases": cases}),
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    for case, found in zip(cases, json.loads(done.stdout), strict=True):
        placement = _by_the_server(case)
        width, height = placement.canvas
        assert found == {
            "source": _frame(placement.source),
            "target": _frame(placement.target),
            "canvas": {"width": width, "height": height},
        }, case
