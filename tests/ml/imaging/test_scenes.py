"""The backgrounds that come with the program."""

import numpy as np
import pytest

from ml.imaging import codecs, scenes
from ml.imaging.scenes import SceneName


@pytest.mark.parametrize("name", scenes.NAMES)
def test_every_scene_has_a_square_file_and_a_thumbnail(name: SceneName) -> None:
    size = codecs.probe(scenes.path_of(name).read_bytes())
    assert size == (scenes.SIDE, scenes.SIDE)
    assert scenes.path_of(name).stat().st_size < 300_000
    assert scenes.path_of(name, is_thumbnail=True).stat().st_size < 10_000
    assert scenes.TITLES[name]


def test_no_two_scenes_look_alike() -> None:
    files = [scenes.path_of(name, is_thumbnail=True).read_bytes() for name in scenes.NAMES]
    small = [codecs.decode(content).pixels.astype(int) for content in files]
    for at, one in enumerate(small):
        for other in small[:at]:
            assert np.abs(one - other).mean() > 4


def test_the_folder_holds_no_other_files() -> None:
    expected = {
        scenes.path_of(name, is_thumbnail=small).name for name in scenes.NAMES for small in (True, False)
    }
    assert {path.name for path in scenes.FOLDER.iterdir()} == expected
