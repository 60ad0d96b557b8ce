"""The browser resamples cut-outs as the server does."""

import base64
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ml.imaging.resampling import resize
from ml.pixels import Pixels
from tests.js.test_modules import NODE
from tests.support.ml.photos import photo

_SCRIPT = """
import { covering, resampled } from "./resampling.js";
import { finished } from "./steps.js";
let text = "";
for await (const part of process.stdin) text += part;
const { pixels, width, height, size, isOpaque } = JSON.parse(text);
const data = Uint8ClampedArray.from(Buffer.from(pixels, "base64"));
const visible = { x: 0, y: 0, width, height };
const place = { x: 0, y: 0, ...size };
const answer = isOpaque
  ? finished(covering({ data, width, height }, place, size))
  : resampled({ data, width, height }, visible, place, size);
console.log(Buffer.from(answer).toString("base64"));
"""


def _in_the_browser(pixels: Pixels, width: int, height: int) -> Pixels:
    question = {
        "pixels": base64.b64encode(pixels.tobytes()).decode(),
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "size": {"width": width, "height": height},
        "isOpaque": bool((pixels[..., 3] == 255).all()),
    }
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", _SCRIPT],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2] / "web" / "static" / "editor",
    )
    assert done.returncode == 0, done.stderr
    answer = np.frombuffer(base64.b64decode(done.stdout), np.uint8)
    return answer.reshape(height, width, 4)


@pytest.mark.parametrize("size", [(331, 221), (90, 60), (75, 200)], ids=["larger", "smaller", "both"])
def test_a_cutout_in_another_size_has_the_servers_pixels(size: tuple[int, int]) -> None:
    colors = photo("coffee")[100:220, 200:380]
    rows, columns = np.mgrid[:120, :180]
    alpha = np.clip(400 - 6 * np.hypot(rows - 60, columns - 90), 0, 255).astype(np.uint8)
    cutout = np.dstack([colors, alpha])
    found = _in_the_browser(cutout, *size).astype(int)
    expected = resize(cutout, size).astype(int)
    assert np.abs(found[..., 3] - expected[..., 3]).max() <= 1
    seen = expected[..., 3] > 20
    assert np.abs(found[seen] - expected[seen]).max() <= 2


@pytest.mark.parametrize("size", [(331, 221), (90, 60)], ids=["larger", "smaller"])
def test_a_background_in_another_size_has_the_servers_pixels(size: tuple[int, int]) -> None:
    colors = photo("coffee")[100:220, 200:380]
    opaque = np.dstack([colors, np.full(colors.shape[:2], 255, np.uint8)])
    found = _in_the_browser(opaque, *size)[..., :3].astype(int)
    assert np.abs(found - resize(colors, size).astype(int)).max() <= 2
