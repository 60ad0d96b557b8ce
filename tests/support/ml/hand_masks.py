"""Objects in real photos, outlined by hand, and where one would click to pick them."""

from dataclasses import dataclass

import cv2
import numpy as np

from ml.pixels import Mask
from tests.support.ml.photos import photo

Point = tuple[int, int]


@dataclass(frozen=True)
class HandMask:
    """`outline` is a polygon in pixels of the photo; `points` and `box` as magic-select takes them."""

    photo: str
    name: str
    outline: tuple[Point, ...]
    points: str = ""
    box: str = ""

    @property
    def form(self) -> dict[str, str]:
        return {name: text for name, text in (("points", self.points), ("box", self.box)) if text}

    @property
    def mask(self) -> Mask:
        """H x W, 0 or 255."""
        mask = np.zeros(photo(self.photo).shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.array(self.outline, np.int32)], 255)
        return mask


def _ellipse(center: Point, radii: Point) -> tuple[Point, ...]:
    return tuple((int(x), int(y)) for x, y in cv2.ellipse2Poly(center, radii, 0, 0, 360, 6))


# fmt: off
HAND_MASKS = (
    HandMask("coffee", "the coffee", (
        (203, 148), (210, 128), (225, 107), (245, 98), (275, 95), (305, 97), (330, 105), (350, 118),
        (362, 135), (369, 152), (367, 164), (355, 178), (340, 187), (315, 192), (290, 193), (262, 191),
        (240, 184), (222, 172), (210, 160),
    ), points="[[280, 160, 1], [188, 110, 0]]"),
    HandMask("coffee", "the spoon's bowl", (
        (327, 275), (332, 263), (342, 252), (355, 246), (372, 243), (386, 244), (398, 252), (405, 264),
        (406, 276), (402, 292), (394, 306), (382, 317), (368, 323), (352, 324), (340, 318), (332, 305),
        (327, 290),
    ), points="[[365, 300, 1]]"),
    HandMask("coffee", "the cup", (
        (173, 105), (175, 90), (183, 70), (200, 48), (225, 30), (255, 20), (290, 18), (325, 22), (360, 35),
        (385, 55), (402, 80), (408, 105), (406, 125), (402, 148), (396, 170), (388, 192), (380, 208),
        (365, 226), (352, 243), (340, 252), (328, 268), (315, 278), (295, 284), (275, 284), (258, 279),
        (252, 258), (246, 272), (238, 290), (230, 303), (218, 306), (204, 303), (197, 292), (197, 278),
        (203, 260), (214, 243), (222, 236), (205, 222), (192, 200), (183, 178), (176, 150), (173, 125),
    ), box="[172, 17, 410, 308]"),
    HandMask("astronaut", "the mission's badge", _ellipse((170, 385), (37, 37)), points="[[172, 385, 1]]"),
    HandMask("astronaut", "the name tag", ((281, 339), (328, 346), (326, 361), (313, 376), (283, 374)),
        points="[[305, 358, 1]]"),
    HandMask("astronaut", "the helmet", (
        (277, 505), (277, 470), (282, 440), (292, 415), (305, 390), (325, 365), (350, 352), (375, 345),
        (400, 343), (425, 346), (445, 355), (465, 371), (480, 390), (490, 415), (495, 440), (496, 455),
        (505, 458), (508, 475), (511, 490), (511, 511), (278, 511),
    ), points="[[340, 420, 1], [470, 390, 1]]"),
    HandMask("chelsea", "the left eye", (
        (136, 105), (140, 93), (152, 87), (165, 86), (182, 87), (195, 94), (203, 105), (206, 118), (205, 130),
        (200, 140), (188, 145), (172, 145), (155, 139), (143, 128), (137, 116),
    ), points="[[150, 110, 1]]"),
    HandMask("chelsea", "the right eye", (
        (297, 140), (300, 125), (308, 116), (320, 111), (334, 111), (341, 118), (342, 132), (337, 147),
        (327, 158), (313, 163), (302, 159), (298, 150),
    ), points="[[328, 140, 1]]"),
    HandMask("chelsea", "the nose", (
        (240, 232), (248, 230), (262, 230), (277, 230), (291, 232), (290, 236), (278, 243), (268, 255),
        (262, 263), (257, 265), (253, 258), (250, 246), (246, 238),
    ), points="[[268, 238, 1], [240, 180, 0]]"),
    HandMask("rocket", "the rocket", (
        (322, 127), (328, 133), (333, 143), (334, 178), (331, 181), (331, 407), (313, 407), (313, 181),
        (311, 178), (311, 143), (316, 133),
    ), points="[[322, 250, 1]]"),
)
# fmt: on
