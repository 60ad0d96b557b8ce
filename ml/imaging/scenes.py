"""Backgrounds that come with the program: studios, colour washes, tables, stone, fabric, blurred lights.

They are computed by `ml.imaging.scene_drawing`, none is a photo. Every scene is a small square file, which
fills a canvas; browsers show the same file.
"""

from pathlib import Path
from typing import Literal, get_args

from ml.imaging import codecs
from ml.pixels import Pixels

SceneName = Literal[
    "studio-white",
    "studio-grey",
    "studio-sand",
    "studio-blue",
    "studio-rose",
    "studio-mint",
    "studio-dark",
    "spotlight",
    "wash-sunrise",
    "wash-ocean",
    "wash-lavender",
    "wash-peach",
    "oak-table",
    "walnut-table",
    "marble-table",
    "marble-white",
    "marble-black",
    "concrete",
    "plaster",
    "linen",
    "terrazzo",
    "bokeh-warm",
    "bokeh-night",
    "bokeh-garden",
    "sky",
]
NAMES: tuple[SceneName, ...] = get_args(SceneName)

TITLES: dict[SceneName, str] = {
    "studio-white": "White studio",
    "studio-grey": "Grey studio",
    "studio-sand": "Sand studio",
    "studio-blue": "Blue studio",
    "studio-rose": "Rose studio",
    "studio-mint": "Mint studio",
    "studio-dark": "Dark studio",
    "spotlight": "Spotlight",
    "wash-sunrise": "Sunrise",
    "wash-ocean": "Ocean",
    "wash-lavender": "Lavender",
    "wash-peach": "Peach",
    "oak-table": "Oak table",
    "walnut-table": "Walnut table",
    "marble-table": "Marble table",
    "marble-white": "White marble",
    "marble-black": "Black marble",
    "concrete": "Concrete",
    "plaster": "Plaster",
    "linen": "Linen",
    "terrazzo": "Terrazzo",
    "bokeh-warm": "Warm lights",
    "bokeh-night": "City at night",
    "bokeh-garden": "Garden",
    "sky": "Sky",
}

FOLDER = Path(__file__).parent / "scene_files"
#: Width and height of the files in pixels.
SIDE = 1280


def read(name: SceneName) -> Pixels:
    """The scene: `SIDE` x `SIDE` x 3."""
    return codecs.decode(path_of(name).read_bytes()).pixels


def path_of(name: SceneName, *, is_thumbnail: bool = False) -> Path:
    return FOLDER / (f"{name}-thumbnail.webp" if is_thumbnail else f"{name}.webp")
