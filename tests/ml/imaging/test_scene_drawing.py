"""The code that draws the backgrounds draws the files that are delivered."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.imaging import codecs, scene_drawing, scenes
from ml.imaging.scenes import SceneName


@pytest.mark.parametrize("name", scenes.NAMES)
def test_a_scene_is_drawn_as_its_file_shows_it(name: SceneName) -> None:
    """At a small size, which shows the same picture."""
    drawn = scene_drawing.draw(name, 160)
    assert drawn.shape == (160, 160, 3)
    delivered = Image.fromarray(scenes.read(name)).resize((40, 40), Image.Resampling.BOX)
    reduced = Image.fromarray(drawn).resize((40, 40), Image.Resampling.BOX)
    difference = np.abs(np.asarray(delivered, int) - np.asarray(reduced, int))
    assert difference.mean() < 6


def test_drawing_is_repeatable() -> None:
    assert np.array_equal(scene_drawing.draw("terrazzo", 64), scene_drawing.draw("terrazzo", 64))


def test_files_are_written_with_thumbnails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "NAMES", ("spotlight",))
    scene_drawing.write_files(tmp_path)
    written = codecs.decode((tmp_path / "spotlight.webp").read_bytes()).pixels.astype(int)
    assert np.abs(written - scenes.read("spotlight")).max() <= 2
    thumbnail = codecs.decode((tmp_path / "spotlight-thumbnail.webp").read_bytes()).pixels
    assert thumbnail.shape == (120, 120, 3)
