"""Lines that a network only suspects are found, and kept if it sees them from nearby."""

import cv2
import numpy as np
import pytest

from ml.imaging.geometry import Box
from ml.imaging.matting import thin_lines
from ml.imaging.matting.thin_lines import ThinLine
from ml.pixels import Matte

PICTURE = (2000, 2000)


def matte(line: float, *, start: tuple[int, int] = (200, 260), end: tuple[int, int] = (400, 420)) -> Matte:
    """A disc of 500 x 500 at full opacity and a line of two pixels of the opacity `line`."""
    answer = np.zeros((500, 500), np.float32)
    cv2.line(answer, start, end, line, 2)
    cv2.circle(answer, (200, 200), 60, 1.0, -1)
    return answer


def find(suspected: Matte) -> list[ThinLine]:
    return thin_lines.find(suspected, PICTURE, 2)


def test_a_suspected_line_at_the_object_is_found_with_a_window_around_it() -> None:
    (line,) = find(matte(0.2))
    assert line.suspected[330, 290] or line.suspected[331, 290]
    assert not line.suspected[200, 200]
    assert line.window.left < 880
    assert line.window.top < 1120
    assert line.window.right > 1604
    assert line.window.bottom > 1684
    assert line.window.width * line.window.height < 0.5 * 2000 * 2000


@pytest.mark.parametrize(
    "suspected",
    [
        pytest.param(matte(0.95), id="sure"),
        pytest.param(matte(0.03), id="invisible"),
        pytest.param(matte(0.2, start=(330, 330), end=(450, 450)), id="far from the object"),
        pytest.param(matte(0.2, end=(215, 290)), id="short"),
        pytest.param(cv2.GaussianBlur(matte(0), (0, 0), 25), id="haze"),
        pytest.param(np.zeros((500, 500), np.float32), id="nothing"),
    ],
)
def test_nothing_else_is_followed(suspected: Matte) -> None:
    assert find(suspected) == []


def test_only_the_longest_lines_are_followed() -> None:
    suspected = matte(0.2)
    for end in ((120, 30), (30, 180), (260, 60)):
        cv2.line(suspected, (200, 200), end, 0.2, 2)
    cv2.circle(suspected, (200, 200), 60, 1.0, -1)
    lines = find(suspected)
    assert len(lines) == 2
    assert lines[0].suspected[330:332, 290].any()


def closer(line: ThinLine, whole: Matte) -> Matte:
    """What a network sees of the window, at its own size."""
    window = line.window
    part = cv2.resize(whole, PICTURE, interpolation=cv2.INTER_LINEAR)[
        window.top : window.bottom, window.left : window.right
    ]
    answer: Matte = cv2.resize(part, (400, 400), interpolation=cv2.INTER_AREA)
    return answer


def test_a_line_that_is_sure_from_nearby_is_kept_with_its_missing_ends_and_without_the_object() -> None:
    (line,) = find(matte(0.2, start=(237, 270), end=(380, 404)))
    region = thin_lines.corridor(line, closer(line, matte(1.0)), PICTURE)
    assert region is not None
    assert region.shape == (line.window.height, line.window.width)
    whole = np.zeros(PICTURE, bool)
    whole[line.window.top : line.window.bottom, line.window.left : line.window.right] = region
    assert whole[1330:1340, 1170].any()
    assert whole[1672:1684, 1592].any()  # the end, which was not suspected
    assert not whole[900, 900]
    assert region.mean() < 0.1


def test_a_line_that_is_not_seen_from_nearby_is_not_kept() -> None:
    (line,) = find(matte(0.2))
    assert thin_lines.corridor(line, closer(line, matte(0)), PICTURE) is None
    assert thin_lines.corridor(line, np.zeros((400, 400), np.float32), PICTURE) is None


def test_a_window_at_the_border_stays_within_the_picture() -> None:
    (line,) = find(matte(0.2, end=(200, 499)))
    assert line.window == Box(*(max(0, value) for value in _corners(line.window)))
    assert line.window.bottom == 2000


def _corners(box: Box) -> tuple[int, int, int, int]:
    return box.left, box.top, box.right, box.bottom
