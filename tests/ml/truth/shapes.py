"""The objects of the truth set. One unit is about half of an object's larger side."""

from collections.abc import Callable

import cv2
import numpy as np

from ml.pixels import Pixels
from tests.ml.truth.drawing import Color, Drawing, Floats, Point, Stencil, ellipse, shaded, turned_profile
from tests.support.ml.photos import photo

Shape = Callable[[Drawing, Color], None]


def texture(name: str, box: tuple[float, float, float, float], width: int, height: int) -> Pixels:
    """A part (x1, y1, x2, y2 in shares) of a photo, enlarged to this size."""
    source = photo(name)
    rows, columns = source.shape[:2]
    part = source[int(box[1] * rows) : int(box[3] * rows), int(box[0] * columns) : int(box[2] * columns)]
    answer: Pixels = cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC)
    return answer


def _fur_texture(drawing: Drawing, color: Color) -> Floats:
    """Chelsea's fur, in another colour."""
    fur = texture("chelsea", (0.55, 0.05, 0.85, 0.35), drawing.width, drawing.height).astype(np.float32)
    brightness = fur.mean(axis=2, keepdims=True)
    answer: Floats = np.clip(np.asarray(color, np.float32) * brightness / brightness.mean(), 0, 255)
    return answer


def _strands(
    drawing: Drawing, body: Floats, color: Color, length: float, number: int, curl: float, gravity: float
) -> None:
    """Hairs from the outline of `body`, in several shades."""
    solid = (body > 0.5).astype(np.uint8)
    outlines, _ = cv2.findContours(solid, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=len)[:, 0].astype(np.float64)
    smooth_x = cv2.GaussianBlur(outline[None, :, 0], (0, 0), 6, borderType=cv2.BORDER_REFLECT)[0]
    smooth_y = cv2.GaussianBlur(outline[None, :, 1], (0, 0), 6, borderType=cv2.BORDER_REFLECT)[0]
    tangent = np.stack([np.gradient(smooth_x), np.gradient(smooth_y)], axis=1)
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-6
    frame, random = drawing.frame, drawing.random
    outside = outline + 6 * normal
    rows, columns = np.rint(outside[:, 1]).astype(int), np.rint(outside[:, 0]).astype(int)
    rows, columns = np.clip(rows, 0, solid.shape[0] - 1), np.clip(columns, 0, solid.shape[1] - 1)
    if solid[rows, columns].mean() > 0.5:
        normal = -normal
    inside = np.argwhere(solid)
    shades = [drawing.stencil() for _ in range(4)]
    steps = np.linspace(-0.15, 1, 14)
    for number_of in range(number):
        # Every other hair grows inside, so that a coat has no visible border to its rim of hair.
        if number_of % 2:
            row, column = inside[int(random.integers(len(inside)))]
            at = np.array([column, row], np.float64)
            heading = np.arctan2(at[1] - frame.center_y, at[0] - frame.center_x)
        else:
            index = int(random.integers(len(outline)))
            at, heading = outline[index], np.arctan2(normal[index, 1], normal[index, 0])
        root = (at - (frame.center_x, frame.center_y)) / frame.unit
        bend = random.normal(0, curl)
        reach = length * random.uniform(0.35, 1.0)
        turn = heading + random.normal(0, 0.35) + bend * steps
        fall = np.stack([np.cos(turn), np.sin(turn) + gravity * steps**2], axis=1)
        path = root + reach * fall * steps[:, None]
        points = [(float(x), float(y)) for x, y in path]
        shade: Stencil = shades[number_of % len(shades)]
        shade.line(points, 0.006)
        shade.line(points[: len(points) // 2], 0.011)
    for shade, brightness in zip(shades, (0.6, 0.8, 1.0, 1.25), strict=True):
        toned = np.clip(np.asarray(color, np.float32) * brightness, 0, 255)
        drawing.add(shade.opacity(), toned)


def _animal(drawing: Drawing, color: Color, length: float, number: int, curl: float) -> None:
    body = drawing.stencil()
    body.ellipse((0, 0.42), (0.5, 0.55)).ellipse((0, -0.36), (0.42, 0.38))
    for side in (-1, 1):
        body.polygon([(side * 0.38, -0.45), (side * 0.36, -0.92), (side * 0.08, -0.66)])
        body.ellipse((side * 0.28, 0.88), (0.19, 0.13))
    opacity = body.opacity()
    drawing.add(opacity, shaded(opacity, np.asarray(_fur_texture(drawing, color), np.uint8), gloss=0.05))
    _strands(drawing, opacity, color, length, number, curl, 0.3)
    _face(drawing)


def _face(drawing: Drawing) -> None:
    for side in (-1, 1):
        drawing.add(drawing.stencil().ellipse((side * 0.17, -0.42), (0.085, 0.095)).opacity(), (190, 170, 60))
        drawing.add(drawing.stencil().ellipse((side * 0.17, -0.42), (0.035, 0.085)).opacity(), (15, 15, 15))
        drawing.add(
            drawing.stencil().ellipse((side * 0.155, -0.46), (0.015, 0.015)).opacity(), (250, 250, 250)
        )
    drawing.add(
        drawing.stencil().polygon([(-0.06, -0.25), (0.06, -0.25), (0.0, -0.18)]).opacity(), (120, 60, 60)
    )
    whiskers = drawing.stencil()
    for side in (-1, 1):
        for up in (-0.08, 0.0, 0.08):
            whiskers.line(
                [(side * 0.1, -0.2), (side * 0.35, -0.2 + up), (side * 0.62, -0.16 + 2 * up)], 0.005
            )
    drawing.add(whiskers.opacity(), (235, 230, 225))


def cat(drawing: Drawing, color: Color) -> None:
    _animal(drawing, color, 0.12, 3600, 0.5)


def shaggy_dog(drawing: Drawing, color: Color) -> None:
    _animal(drawing, color, 0.26, 2400, 1.6)


def _bust(drawing: Drawing, color: Color, length: float, number: int, curl: float, gravity: float) -> None:
    coat = drawing.stencil()
    coat.polygon([(-0.85, 1.0), (-0.75, 0.55), (-0.25, 0.3), (0.25, 0.3), (0.75, 0.55), (0.85, 1.0)])
    opacity = coat.opacity()
    drawing.add(
        opacity, shaded(opacity, np.asarray(_fur_texture(drawing, (105, 95, 95)), np.uint8), gloss=0.1)
    )
    skin = drawing.stencil().polygon([(-0.14, 0.1), (0.14, 0.1), (0.17, 0.4), (-0.17, 0.4)]).opacity()
    drawing.add(skin, (190, 140, 115))
    hair = drawing.stencil().ellipse((0, -0.42), (0.4, 0.46)).opacity()
    drawing.add(hair, shaded(hair, color, gloss=0.15))
    _strands(drawing, hair, color, length, number, curl, gravity)
    face = drawing.stencil().ellipse((0, -0.28), (0.28, 0.38)).opacity()
    drawing.add(face, shaded(face, (225, 175, 150), gloss=0.15))
    for side in (-1, 1):
        drawing.add(drawing.stencil().ellipse((side * 0.11, -0.34), (0.05, 0.028)).opacity(), (250, 250, 248))
        drawing.add(drawing.stencil().ellipse((side * 0.11, -0.34), (0.024, 0.026)).opacity(), (60, 40, 30))
        brow = [(side * 0.05, -0.42), (side * 0.17, -0.43)]
        drawing.add(drawing.stencil().line(brow, 0.02).opacity(), color)
    drawing.add(drawing.stencil().ellipse((0, -0.08), (0.09, 0.028)).opacity(), (180, 80, 80))
    drawing.add(
        drawing.stencil().line([(0.0, -0.3), (0.03, -0.17), (-0.02, -0.17)], 0.012).opacity(), (185, 130, 110)
    )
    fringe = drawing.stencil().polygon(ellipse((0, -0.62), (0.3, 0.16))).opacity()
    drawing.add(fringe, shaded(fringe, color, gloss=0.15))


def long_hair(drawing: Drawing, color: Color) -> None:
    _bust(drawing, color, 0.55, 1200, 0.5, 0.9)


def curly_hair(drawing: Drawing, color: Color) -> None:
    _bust(drawing, color, 0.34, 1600, 2.6, 0.0)


_GOBLET = [(0.42, -1.0), (0.46, -0.55), (0.36, -0.15), (0.05, 0.05), (0.04, 0.75), (0.34, 0.9), (0.36, 0.96)]
_BOTTLE = [(0.12, -1.0), (0.12, -0.5), (0.3, -0.25), (0.33, -0.1), (0.33, 0.95), (0.3, 1.0)]
_JAR = [(0.4, -0.8), (0.4, -0.68), (0.55, -0.5), (0.58, 0.6), (0.5, 0.8)]
_TUMBLER = [(0.48, -0.8), (0.44, 0.2), (0.38, 0.85)]
_VASE = [(0.26, -1.0), (0.17, -0.75), (0.3, -0.4), (0.55, 0.1), (0.5, 0.6), (0.26, 0.95), (0.28, 1.0)]
_EGG = [(0.05, -0.85), (0.3, -0.65), (0.5, -0.1), (0.55, 0.25), (0.42, 0.7), (0.1, 0.9)]


def _glass(drawing: Drawing, profile: list[Point], color: Color, body: float) -> None:
    """Glass as a matte can describe it: the background shines through, but is not refracted."""
    outline = turned_profile(profile)
    inside = drawing.stencil().polygon(outline).opacity()
    middle = cv2.GaussianBlur(inside, (0, 0), max(1.0, 0.06 * drawing.frame.unit))
    edge = np.clip(inside * 2 * (1 - middle), 0, 1)
    drawing.add(
        np.asarray(inside * (body + (0.85 - body) * edge), np.float32), shaded(inside, color, gloss=0.2)
    )
    drawing.add(0.9 * drawing.stencil().line([*outline, outline[0]], 0.018).opacity(), (225, 232, 236))
    top = profile[0][1]
    rim = ellipse((0, top), (profile[0][0], 0.07))
    drawing.add(0.85 * drawing.stencil().line([*rim, rim[0]], 0.018).opacity(), (240, 245, 248))
    widest = max(profile)[0]
    high, low = profile[1][1], profile[-2][1]
    for at, width in ((-0.6, 0.05), (0.55, 0.025)):
        streak = [(at * widest, high + 0.25 * (low - high)), (at * widest, high + 0.7 * (low - high))]
        shine = 0.85 * inside * drawing.stencil().line(streak, width).opacity()
        drawing.add(np.asarray(shine, np.float32), (255, 255, 255))


def wine_glass(drawing: Drawing, color: Color) -> None:
    wine = [(0.43, -0.5), (0.36, -0.17), (0.06, 0.02)]
    opacity = 0.9 * drawing.stencil().polygon(turned_profile(wine)).opacity()
    drawing.add(np.asarray(opacity, np.float32), color)
    _glass(drawing, _GOBLET, (200, 210, 215), 0.2)


def glass_bottle(drawing: Drawing, color: Color) -> None:
    _glass(drawing, _BOTTLE, color, 0.6)


def jar(drawing: Drawing, color: Color) -> None:
    _glass(drawing, _JAR, color, 0.4)
    lid = drawing.stencil().polygon([(-0.45, -0.95), (0.45, -0.95), (0.45, -0.72), (-0.45, -0.72)]).opacity()
    drawing.add(lid, shaded(lid, (185, 150, 60)))


def tumbler(drawing: Drawing, color: Color) -> None:
    straw = drawing.stencil().line([(0.5, -1.05), (0.05, 0.7)], 0.07).opacity()
    drawing.add(straw, (210, 50, 60))
    juice = drawing.stencil().polygon(turned_profile([(0.46, -0.4), (0.4, 0.2), (0.36, 0.78)])).opacity()
    drawing.add(np.asarray(0.8 * juice, np.float32), color)
    _glass(drawing, _TUMBLER, (205, 215, 220), 0.25)


def vase(drawing: Drawing, color: Color) -> None:
    body = drawing.stencil().polygon(turned_profile(_VASE)).opacity()
    drawing.add(body, shaded(body, color))
    mouth = drawing.stencil().ellipse((0, -1.0), (0.26, 0.06)).opacity()
    drawing.add(mouth, tuple(int(0.5 * channel) for channel in color))  # type: ignore[arg-type]


def egg(drawing: Drawing, color: Color) -> None:
    body = drawing.stencil().polygon(turned_profile(_EGG)).opacity()
    drawing.add(body, shaded(body, color, gloss=0.2))


def bottle(drawing: Drawing, color: Color) -> None:
    body = drawing.stencil().polygon(turned_profile(_BOTTLE)).opacity()
    drawing.add(body, shaded(body, color, gloss=0.6))
    label = drawing.stencil().polygon([(-0.325, 0.15), (0.325, 0.15), (0.325, 0.7), (-0.325, 0.7)]).opacity()
    lighter = tuple(min(255, int(0.5 * channel + 70)) for channel in color)
    drawing.add(label, shaded(label, lighter, gloss=0))  # type: ignore[arg-type]


def mug(drawing: Drawing, color: Color) -> None:
    handle = (
        drawing.stencil().ellipse((0.62, 0.0), (0.36, 0.42)).ellipse((0.62, 0.0), (0.22, 0.28), 0).opacity()
    )
    drawing.add(handle, shaded(handle, color))
    body = drawing.stencil().polygon(turned_profile([(0.62, -0.75), (0.62, 0.6), (0.5, 0.8)])).opacity()
    drawing.add(body, shaded(body, color))
    rim = drawing.stencil().ellipse((0, -0.75), (0.62, 0.13)).opacity()
    drawing.add(rim, shaded(rim, color, gloss=0))
    coffee = drawing.stencil().ellipse((0, -0.74), (0.55, 0.1)).opacity()
    drawing.add(coffee, tuple(int(0.35 * channel) for channel in color))  # type: ignore[arg-type]


def ring(drawing: Drawing, color: Color) -> None:
    body = drawing.stencil().ellipse((0, 0), (0.9, 0.9)).ellipse((0, 0), (0.22, 0.22), 0).opacity()
    drawing.add(body, shaded(body, color))


def scissors(drawing: Drawing, color: Color) -> None:
    for side in (-1, 1):
        blade = drawing.stencil().polygon([(side * 0.03, 0.15), (-side * 0.1, 0.1), (-side * 0.16, -1.0)])
        opacity = blade.opacity()
        drawing.add(opacity, shaded(opacity, (170, 175, 180), gloss=0.7))
    for side in (-1, 1):
        grip = drawing.stencil().ellipse((side * 0.26, 0.66), (0.26, 0.36), turned=side * -18)
        grip.ellipse((side * 0.26, 0.66), (0.16, 0.26), 0, turned=side * -18)
        grip.line([(-side * 0.05, 0.05), (side * 0.14, 0.4)], 0.1)
        opacity = grip.opacity()
        drawing.add(opacity, shaded(opacity, color))


def key(drawing: Drawing, color: Color) -> None:
    body = (
        drawing.stencil()
        .ellipse((0, -0.6), (0.4, 0.4))
        .polygon([(-0.09, -0.3), (0.09, -0.3), (0.09, 1), (-0.09, 1)])
    )
    body.polygon([(0.05, 0.6), (0.36, 0.6), (0.36, 0.74), (0.05, 0.74)])
    body.polygon([(0.05, 0.84), (0.3, 0.84), (0.3, 0.97), (0.05, 0.97)])
    body.ellipse((0, -0.6), (0.22, 0.22), 0)
    opacity = body.opacity()
    drawing.add(opacity, shaded(opacity, color, gloss=0.6))


def basket(drawing: Drawing, color: Color) -> None:
    """A perforated bowl with a bail."""
    bail = drawing.stencil()
    arc = [(0.72 * np.cos(angle), -0.1 - 0.85 * np.sin(angle)) for angle in np.linspace(0, np.pi, 60)]
    opacity = bail.line(arc, 0.08).opacity()
    drawing.add(opacity, shaded(opacity, color))
    bowl = drawing.stencil().polygon(turned_profile([(0.82, -0.15), (0.74, 0.4), (0.5, 0.85)]))
    for row in range(3):
        for column in range(-3, 4):
            bowl.ellipse((0.19 * column * (1 - 0.06 * row), 0.08 + 0.24 * row), (0.055, 0.07), 0)
    opacity = bowl.opacity()
    drawing.add(opacity, shaded(opacity, color))


def chair(drawing: Drawing, color: Color) -> None:
    body = drawing.stencil()
    for side in (-1, 1):
        body.line([(side * 0.42, -1.0), (side * 0.44, 0.1)], 0.09)
        body.line([(side * 0.44, 0.1), (side * 0.5, 1.0)], 0.09).line(
            [(side * 0.3, 0.1), (side * 0.34, 0.85)], 0.06
        )
    for at in (-0.92, -0.68, -0.44):
        body.line([(-0.42, at), (0.42, at)], 0.08)
    body.polygon([(-0.5, 0.02), (0.5, 0.02), (0.56, 0.2), (-0.56, 0.2)]).line(
        [(-0.48, 0.6), (0.48, 0.6)], 0.05
    )
    opacity = body.opacity()
    drawing.add(opacity, shaded(opacity, color))


def bicycle(drawing: Drawing, color: Color) -> None:
    wires = drawing.stencil()
    for x in (-0.58, 0.58):
        for angle in np.linspace(0, 2 * np.pi, 18, endpoint=False):
            wires.line([(x, 0.3), (x + 0.4 * np.cos(angle), 0.3 + 0.4 * np.sin(angle))], 0.006)
    drawing.add(wires.opacity(), (190, 190, 195))
    tyres = drawing.stencil()
    for x in (-0.58, 0.58):
        rim = ellipse((x, 0.3), (0.4, 0.4))
        tyres.line([*rim, rim[0]], 0.05)
    drawing.add(tyres.opacity(), (35, 35, 38))
    tubes = drawing.stencil()
    tubes.line([(-0.58, 0.3), (-0.2, -0.3), (0.4, -0.3), (0.02, 0.3), (-0.58, 0.3)], 0.055)
    tubes.line([(-0.24, -0.42), (0.02, 0.3)], 0.055).line([(0.36, -0.5), (0.58, 0.3)], 0.055)
    opacity = tubes.opacity()
    drawing.add(opacity, shaded(opacity, color))
    dark = (
        drawing.stencil()
        .line([(-0.38, -0.45), (-0.12, -0.44)], 0.08)
        .line([(0.22, -0.58), (0.36, -0.52)], 0.05)
    )
    drawing.add(dark.opacity(), (40, 32, 28))


def balloon(drawing: Drawing, color: Color) -> None:
    string = [(0.0, 0.1), (0.05, 0.4), (-0.06, 0.7), (0.04, 1.0)]
    drawing.add(drawing.stencil().line(string, 0.012).opacity(), (230, 230, 225))
    body = drawing.stencil().polygon(
        turned_profile([(0.06, -1.0), (0.42, -0.8), (0.52, -0.45), (0.3, -0.02), (0.04, 0.1)])
    )
    opacity = body.opacity()
    drawing.add(opacity, shaded(opacity, color, gloss=0.7))


def desk_lamp(drawing: Drawing, color: Color) -> None:
    cord = [(0.35, 0.92), (0.6, 0.9), (0.75, 0.7), (0.95, 0.85)]
    drawing.add(drawing.stencil().line(cord, 0.02).opacity(), (40, 40, 42))
    arms = drawing.stencil().line([(0.0, 0.85), (-0.32, 0.1), (0.22, -0.5)], 0.045).opacity()
    drawing.add(arms, shaded(arms, (150, 152, 156)))
    head = drawing.stencil().polygon([(0.1, -0.62), (0.32, -0.78), (0.85, -0.35), (0.42, 0.02)]).opacity()
    drawing.add(head, shaded(head, color))
    foot = drawing.stencil().ellipse((0.0, 0.9), (0.42, 0.09)).opacity()
    drawing.add(foot, shaded(foot, color))


def headphones(drawing: Drawing, color: Color) -> None:
    cable = [(-0.55, 0.6), (-0.45, 0.85), (-0.1, 0.8), (0.1, 0.95), (0.5, 0.9)]
    drawing.add(drawing.stencil().line(cable, 0.022).opacity(), (50, 50, 52))
    arc = [(0.62 * np.cos(angle), -0.85 * np.sin(angle)) for angle in np.linspace(-0.1, np.pi + 0.1, 80)]
    band = drawing.stencil().line(arc, 0.12).opacity()
    drawing.add(band, shaded(band, color))
    for side in (-1, 1):
        cup = drawing.stencil().ellipse((side * 0.6, 0.25), (0.22, 0.38)).opacity()
        drawing.add(cup, shaded(cup, color))


def bird_cage(drawing: Drawing, color: Color) -> None:
    bird = drawing.stencil().ellipse((0.0, 0.3), (0.2, 0.26)).ellipse((0.1, 0.02), (0.12, 0.12))
    bird.polygon([(-0.1, 0.4), (-0.4, 0.6), (-0.05, 0.55)]).opacity()
    opacity = bird.opacity()
    drawing.add(opacity, shaded(opacity, (235, 190, 40)))
    bars = drawing.stencil()
    for at in np.linspace(-0.6, 0.6, 11):
        top = -0.35 - 0.5 * np.sqrt(max(0.0, 1 - (at / 0.62) ** 2))
        bars.line([(at, 0.85), (at, -0.35), (at * 0.6, top * 0.9), (0, -0.92)], 0.014)
    opacity = bars.opacity()
    drawing.add(opacity, color)
    frame = drawing.stencil().polygon([(-0.68, 0.82), (0.68, 0.82), (0.68, 0.97), (-0.68, 0.97)])
    frame.line([(-0.62, -0.35), (0.62, -0.35)], 0.04).ellipse((0, -0.96), (0.07, 0.07))
    opacity = frame.opacity()
    drawing.add(opacity, shaded(opacity, color))


def hat(drawing: Drawing, color: Color) -> None:
    brim = drawing.stencil().ellipse((0, 0.35), (0.98, 0.26)).opacity()
    drawing.add(brim, shaded(brim, color, gloss=0.15))
    crown = drawing.stencil().polygon(turned_profile([(0.4, -0.6), (0.52, -0.4), (0.58, 0.3)])).opacity()
    drawing.add(crown, shaded(crown, color, gloss=0.15))
    ribbon = drawing.stencil().polygon([(-0.575, 0.1), (0.575, 0.1), (0.59, 0.32), (-0.59, 0.32)]).opacity()
    drawing.add(ribbon, tuple(int(0.6 * channel) for channel in color))  # type: ignore[arg-type]


def apple(drawing: Drawing, color: Color) -> None:
    stalk = drawing.stencil().line([(0.0, -0.55), (0.04, -0.8), (0.14, -0.95)], 0.06).opacity()
    drawing.add(stalk, (90, 60, 30))
    body = drawing.stencil().ellipse((-0.22, 0.08), (0.5, 0.68)).ellipse((0.22, 0.08), (0.5, 0.68)).opacity()
    drawing.add(body, shaded(body, color, gloss=0.5))
