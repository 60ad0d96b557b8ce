"""Letters and logos of the truth set."""

from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tests.ml.truth.drawing import Color, Drawing, Floats, ellipse, shaded

Shape = Callable[[Drawing, Color], None]


def _text(drawing: Drawing, text: str, em: float, down: float = 0) -> Floats:
    """The opacity of `text`, centred `down` units below the object's centre, in Pillow's own font."""
    frame, factor = drawing.frame, drawing.oversampling
    canvas = Image.new("L", (drawing.width * factor, drawing.height * factor), 0)
    font = ImageFont.load_default(em * frame.unit * factor)
    place = (frame.center_x * factor, (frame.center_y + down * frame.unit) * factor)
    ImageDraw.Draw(canvas).text(
        place, text, fill=255, font=font, anchor="mm", stroke_width=int(0.02 * em * frame.unit)
    )
    reduced = cv2.resize(np.asarray(canvas), (drawing.width, drawing.height), interpolation=cv2.INTER_AREA)
    answer: Floats = reduced.astype(np.float32) / 255
    return answer


def word(text: str) -> Shape:
    def draw(drawing: Drawing, color: Color) -> None:
        opacity = _text(drawing, text, 2.6 / len(text))
        drawing.add(opacity, shaded(opacity, color, gloss=0.2))

    return draw


def badge(drawing: Drawing, color: Color) -> None:
    """A round logo with letters punched out of it and a ring around it."""
    disc = drawing.stencil().ellipse((0, 0), (0.78, 0.78)).opacity()
    opacity = np.asarray(disc * (1 - _text(drawing, "SA", 0.85)), np.float32)
    drawing.add(opacity, color)
    rim = ellipse((0, 0), (0.92, 0.92))
    drawing.add(drawing.stencil().line([*rim, rim[0]], 0.07).opacity(), color)


def star(drawing: Drawing, color: Color) -> None:
    """A star with a hole above a line of small letters."""
    radii = [0.85 if point % 2 == 0 else 0.36 for point in range(10)]
    points = [
        (radius * np.sin(np.pi * point / 5), -0.2 - radius * np.cos(np.pi * point / 5))
        for point, radius in enumerate(radii)
    ]
    body = drawing.stencil().polygon(points).ellipse((0, -0.2), (0.14, 0.14), 0).opacity()
    drawing.add(body, shaded(body, color, gloss=0.2))
    drawing.add(_text(drawing, "NORTH STAR", 0.3, 0.85), color)


def arrow(drawing: Drawing, color: Color) -> None:
    """A sign made of a plate, a border and an arrow cut out of it."""
    plate = drawing.stencil().polygon([(-0.95, -0.6), (0.95, -0.6), (0.95, 0.6), (-0.95, 0.6)])
    plate.polygon(
        [(-0.6, -0.13), (0.1, -0.13), (0.1, -0.36), (0.62, 0), (0.1, 0.36), (0.1, 0.13), (-0.6, 0.13)], 0
    )
    opacity = plate.opacity()
    drawing.add(opacity, shaded(opacity, color, gloss=0.1))
