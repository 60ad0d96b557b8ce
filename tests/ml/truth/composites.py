"""The truth set: 60 pictures with the exact alpha and foreground colours of the object in them.

Nothing is downloaded: the objects are drawn, the backgrounds are photos that scikit-image ships. Each picture
is `alpha * foreground + (1 - alpha) * background`, rounded once, so alpha and foreground are exact.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from ml.pixels import Mask, Pixels
from tests.ml.truth import shapes
from tests.ml.truth.drawing import Color, Drawing, Floats, Frame
from tests.ml.truth.recipes import RECIPES, Recipe

#: Width and height, from 0.3 to 12 megapixels.
SIZES = {"0.3": (640, 480), "0.5": (640, 800), "1": (1224, 816), "3": (2048, 1536), "12": (4032, 3024)}
_NOISE = 2.0  # standard deviation of sensor noise, levels


@dataclass(frozen=True)
class Composite:
    """H x W x 3 and H x W; `foreground` is meaningless where `alpha` is 0."""

    recipe: Recipe
    picture: Pixels
    alpha: Mask
    foreground: Pixels


#: A part of a photo (x1, y1, x2, y2 in shares), its blur as a share of the longer side, and
#: a tint for grey photos.
_BACKGROUNDS: dict[str, tuple[str, tuple[float, float, float, float], float, Color]] = {
    "table": ("coffee", (0.0, 0.0, 1.0, 1.0), 1 / 90, (255, 255, 255)),
    "plank": ("coffee", (0.0, 0.86, 0.16, 1.0), 1 / 300, (255, 255, 255)),
    "sky": ("rocket", (0.0, 0.0, 0.4, 0.55), 1 / 200, (255, 255, 255)),
    "horizon": ("rocket", (0.25, 0.1, 1.0, 1.0), 1 / 240, (255, 255, 255)),
    "lawn": ("grass", (0.0, 0.0, 1.0, 1.0), 1 / 150, (150, 220, 110)),
    "sharp lawn": ("grass", (0.0, 0.0, 0.7, 0.7), 0, (150, 210, 110)),
    "gravel": ("gravel", (0.0, 0.0, 1.0, 1.0), 1 / 200, (235, 220, 200)),
    "wall": ("brick", (0.0, 0.0, 0.8, 0.8), 1 / 250, (235, 160, 130)),
    "garage": ("motorcycle_left", (0.0, 0.0, 1.0, 1.0), 1 / 120, (255, 255, 255)),
    "bokeh": ("chelsea", (0.0, 0.0, 1.0, 1.0), 1 / 60, (255, 255, 255)),
    "studio": ("astronaut", (0.0, 0.0, 1.0, 1.0), 1 / 60, (255, 255, 255)),
}


def _background(name: str, width: int, height: int, random: np.random.Generator) -> Floats:
    if name in ("white", "black"):
        return _plain(name, width, height, random)
    source, box, blur, tint = _BACKGROUNDS[name]
    picture = shapes.texture(source, box, width, height).astype(np.float32)
    if blur:
        picture = cv2.GaussianBlur(picture, (0, 0), max(0.5, blur * max(width, height)))
    return np.asarray(picture * (np.array(tint) / 255), np.float32)


def _plain(name: str, width: int, height: int, random: np.random.Generator) -> Floats:
    """Paper or cloth, evenly lit from one side."""
    base, slope = ((236, 235, 231), 14) if name == "white" else ((21, 21, 24), 9)
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    light = slope * (random.uniform(0.3, 0.7) * across - random.uniform(0.3, 0.7) * down)
    answer: Floats = np.array(base, np.float32) + light[..., None]
    return answer


def composites(recipes: tuple[Recipe, ...] = RECIPES) -> Iterator[Composite]:
    """The composites one after another, because all at once take gigabytes."""
    return map(compose, recipes)


def compose(recipe: Recipe) -> Composite:
    """The same for the same recipe on every machine."""
    width, height = SIZES[recipe.megapixels]
    random = np.random.default_rng(zlib.crc32(f"{recipe.category}/{recipe.name}".encode()))
    background = _background(recipe.background, width, height, random)
    covered: Floats = np.zeros((height, width), np.float32)
    colors: Floats = np.zeros((height, width, 3), np.float32)
    shorter = min(width, height)
    for placed in recipe.objects:
        frame = Frame(placed.x * width, placed.y * height, placed.unit * shorter)
        drawing = Drawing(width, height, frame, random)
        placed.shape(drawing, placed.color)
        share: Floats = (drawing.alpha / 255).astype(np.float32)
        colors += share[..., None] * (drawing.colors - colors)
        covered += share * (1 - covered)
    alpha: Mask = np.rint(covered * 255).astype(np.uint8)
    noise = random.normal(0, _NOISE, (height, width, 1)).astype(np.float32)
    own_colors = colors / np.maximum(covered, 1e-6)[..., None]
    foreground = _bytes(np.asarray(own_colors * recipe.brightness + noise, np.float32))
    behind = _bytes(np.asarray(background * recipe.brightness + noise, np.float32))
    opacity = (alpha / 255).astype(np.float32)[..., None]
    picture = np.rint(opacity * foreground + (1 - opacity) * behind).astype(np.uint8)
    return Composite(recipe, picture, alpha, foreground)


def _bytes(values: Floats) -> Pixels:
    answer: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return answer
