"""What the 60 composites of the truth set show."""

from dataclasses import dataclass

from tests.ml.truth import lettering, shapes
from tests.ml.truth.drawing import Color
from tests.ml.truth.shapes import Shape


@dataclass(frozen=True)
class Placed:
    """One object: its centre in shares of the picture, and its unit as a share of the shorter side."""

    shape: Shape
    color: Color
    x: float = 0.5
    y: float = 0.52
    unit: float = 0.4


@dataclass(frozen=True)
class Recipe:
    category: str
    name: str
    objects: tuple[Placed, ...]
    background: str
    megapixels: str = "1"
    brightness: float = 1.0  # of the whole photo: below 1 it is underexposed


RECIPES: tuple[Recipe, ...] = (
    Recipe("hair and fur", "cat", (Placed(shapes.cat, (200, 130, 70)),), "lawn"),
    Recipe("hair and fur", "white cat", (Placed(shapes.cat, (225, 222, 215)),), "garage", "0.3"),
    Recipe("hair and fur", "dog", (Placed(shapes.shaggy_dog, (120, 85, 60)),), "sky", "3"),
    Recipe("hair and fur", "brown hair", (Placed(shapes.long_hair, (95, 60, 35), y=0.56),), "bokeh"),
    Recipe("hair and fur", "fair hair", (Placed(shapes.long_hair, (225, 190, 120), y=0.56),), "wall", "0.5"),
    Recipe("hair and fur", "curls", (Placed(shapes.curly_hair, (60, 40, 32), y=0.56),), "horizon", "12"),
    Recipe("glass", "wine glass", (Placed(shapes.wine_glass, (120, 20, 40)),), "table"),
    Recipe("glass", "green bottle", (Placed(shapes.glass_bottle, (50, 120, 70)),), "bokeh", "0.5"),
    Recipe("glass", "jar", (Placed(shapes.jar, (190, 200, 205)),), "plank", "0.3"),
    Recipe("glass", "juice", (Placed(shapes.tumbler, (245, 150, 40)),), "garage"),
    Recipe("glass", "brown bottle", (Placed(shapes.glass_bottle, (130, 75, 30)),), "lawn", "3"),
    Recipe("glass", "white wine", (Placed(shapes.wine_glass, (235, 215, 120)),), "sky", "1"),
    Recipe("holes and handles", "mug", (Placed(shapes.mug, (70, 110, 170), x=0.46),), "table"),
    Recipe("holes and handles", "ring", (Placed(shapes.ring, (150, 40, 30)),), "gravel", "0.3"),
    Recipe("holes and handles", "scissors", (Placed(shapes.scissors, (220, 90, 40)),), "plank"),
    Recipe("holes and handles", "key", (Placed(shapes.key, (190, 150, 60)),), "wall", "0.5"),
    Recipe("holes and handles", "basket", (Placed(shapes.basket, (190, 60, 60)),), "lawn", "3"),
    Recipe("holes and handles", "chair", (Placed(shapes.chair, (160, 100, 55)),), "studio"),
    Recipe("wires and spokes", "bicycle", (Placed(shapes.bicycle, (200, 50, 45), y=0.48),), "horizon"),
    Recipe(
        "wires and spokes", "large bicycle", (Placed(shapes.bicycle, (40, 100, 180), y=0.48),), "wall", "12"
    ),
    Recipe("wires and spokes", "balloon", (Placed(shapes.balloon, (210, 40, 60)),), "sky"),
    Recipe("wires and spokes", "lamp", (Placed(shapes.desk_lamp, (230, 180, 40)),), "garage", "0.5"),
    Recipe("wires and spokes", "headphones", (Placed(shapes.headphones, (45, 45, 50)),), "table", "0.3"),
    Recipe("wires and spokes", "cage", (Placed(shapes.bird_cage, (90, 80, 60)),), "bokeh"),
    Recipe("letters and logos", "OPEN", (Placed(lettering.word("OPEN"), (215, 45, 45), unit=0.6),), "wall"),
    Recipe(
        "letters and logos", "hello", (Placed(lettering.word("hello"), (40, 30, 25), unit=0.6),), "sky", "0.3"
    ),
    Recipe(
        "letters and logos",
        "ampersand",
        (Placed(lettering.word("&"), (30, 80, 160), unit=0.3),),
        "plank",
        "0.5",
    ),
    Recipe("letters and logos", "badge", (Placed(lettering.badge, (25, 95, 60)),), "studio"),
    Recipe("letters and logos", "star", (Placed(lettering.star, (230, 170, 30)),), "horizon", "3"),
    Recipe("letters and logos", "arrow", (Placed(lettering.arrow, (225, 130, 30), unit=0.5),), "lawn"),
    Recipe("white on white", "vase", (Placed(shapes.vase, (250, 250, 248)),), "white"),
    Recipe("white on white", "mug", (Placed(shapes.mug, (248, 248, 246), x=0.46),), "white", "0.3"),
    Recipe("white on white", "egg", (Placed(shapes.egg, (245, 243, 238)),), "white", "0.5"),
    Recipe("white on white", "bottle", (Placed(shapes.bottle, (250, 250, 250)),), "white", "3"),
    Recipe("white on white", "cat", (Placed(shapes.cat, (240, 238, 232)),), "white"),
    Recipe("white on white", "chair", (Placed(shapes.chair, (250, 249, 246)),), "white", "1"),
    Recipe("black on black", "hat", (Placed(shapes.hat, (52, 50, 54)),), "black", "1", 0.3),
    Recipe("black on black", "bottle", (Placed(shapes.bottle, (48, 46, 52)),), "black", "0.5", 0.35),
    Recipe("black on black", "headphones", (Placed(shapes.headphones, (56, 56, 60)),), "black", "3", 0.4),
    Recipe("black on black", "cat", (Placed(shapes.cat, (50, 48, 48)),), "black", "0.3", 0.5),
    Recipe("black on black", "vase", (Placed(shapes.vase, (60, 56, 58)),), "black", "1", 0.25),
    Recipe(
        "black on black", "mug at night", (Placed(shapes.mug, (150, 90, 80), x=0.46),), "garage", "1", 0.12
    ),
    Recipe(
        "several objects",
        "apples",
        (
            Placed(shapes.apple, (200, 40, 40), 0.28, 0.55, 0.24),
            Placed(shapes.apple, (120, 170, 50), 0.7, 0.58, 0.26),
        ),
        "table",
    ),
    Recipe(
        "several objects",
        "bottles",
        (
            Placed(shapes.bottle, (30, 90, 60), 0.25, 0.52, 0.36),
            Placed(shapes.bottle, (150, 50, 40), 0.5, 0.5, 0.38),
            Placed(shapes.bottle, (60, 60, 130), 0.75, 0.52, 0.36),
        ),
        "wall",
        "0.5",
    ),
    Recipe(
        "several objects",
        "breakfast",
        (
            Placed(shapes.mug, (225, 225, 220), 0.3, 0.5, 0.3),
            Placed(shapes.apple, (210, 60, 40), 0.72, 0.62, 0.22),
        ),
        "plank",
    ),
    Recipe(
        "several objects",
        "cats",
        (
            Placed(shapes.cat, (190, 120, 60), 0.3, 0.54, 0.34),
            Placed(shapes.cat, (90, 85, 85), 0.7, 0.56, 0.32),
        ),
        "lawn",
        "3",
    ),
    Recipe(
        "several objects",
        "balloons",
        (
            Placed(shapes.balloon, (220, 50, 60), 0.25, 0.4, 0.26),
            Placed(shapes.balloon, (240, 200, 50), 0.5, 0.55, 0.26),
            Placed(shapes.balloon, (60, 110, 200), 0.75, 0.4, 0.26),
        ),
        "sky",
    ),
    Recipe(
        "several objects",
        "tools",
        (
            Placed(shapes.scissors, (40, 120, 180), 0.33, 0.5, 0.34),
            Placed(shapes.key, (180, 140, 60), 0.68, 0.5, 0.34),
        ),
        "gravel",
        "0.3",
    ),
    Recipe(
        "cut by the border", "dog", (Placed(shapes.shaggy_dog, (150, 110, 75), y=0.72, unit=0.55),), "garage"
    ),
    Recipe(
        "cut by the border",
        "mug",
        (Placed(shapes.mug, (200, 150, 60), x=0.16, y=0.6, unit=0.5),),
        "table",
        "0.5",
    ),
    Recipe(
        "cut by the border",
        "portrait",
        (Placed(shapes.long_hair, (70, 45, 30), y=0.72, unit=0.62),),
        "bokeh",
        "3",
    ),
    Recipe(
        "cut by the border",
        "bottle",
        (Placed(shapes.bottle, (40, 100, 130), x=0.4, y=0.75, unit=0.6),),
        "wall",
    ),
    Recipe(
        "cut by the border",
        "chair",
        (Placed(shapes.chair, (60, 50, 45), x=0.8, y=0.7, unit=0.6),),
        "lawn",
        "0.3",
    ),
    Recipe(
        "cut by the border", "cat", (Placed(shapes.cat, (225, 180, 120), x=0.1, y=0.6, unit=0.5),), "horizon"
    ),
    Recipe("small in the picture", "apple", (Placed(shapes.apple, (205, 45, 45), 0.4, 0.6, 0.13),), "table"),
    Recipe("small in the picture", "cat", (Placed(shapes.cat, (120, 85, 65), 0.62, 0.6, 0.2),), "lawn", "12"),
    Recipe(
        "small in the picture", "mug", (Placed(shapes.mug, (60, 120, 150), 0.3, 0.55, 0.17),), "wall", "3"
    ),
    Recipe(
        "small in the picture", "balloon", (Placed(shapes.balloon, (215, 60, 50), 0.65, 0.4, 0.2),), "sky"
    ),
    Recipe(
        "small in the picture",
        "bicycle",
        (Placed(shapes.bicycle, (220, 170, 40), 0.4, 0.6, 0.22),),
        "horizon",
        "3",
    ),
    Recipe(
        "small in the picture",
        "bottle",
        (Placed(shapes.bottle, (140, 60, 40), 0.7, 0.55, 0.22),),
        "plank",
        "1",
    ),
)

CATEGORIES = tuple(dict.fromkeys(recipe.category for recipe in RECIPES))
