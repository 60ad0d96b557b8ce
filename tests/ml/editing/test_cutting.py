"""Small objects are looked at twice, large ones once, and finished cut-outs not at all."""

from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest

from ml.device import Device
from ml.editing import cutting, foreground
from ml.errors import NothingFound
from ml.imaging.geometry import Box
from ml.pixels import Mask, Matte, Picture, Pixels
from tests.ml.truth.composites import compose
from tests.ml.truth.recipes import RECIPES
from tests.ml.truth.selections import overlap
from tests.ml.truth.shapes import texture
from tests.support.ml.cutouts import engines
from tests.support.ml.photos import photo

SIZE = (600, 900)


def scene(radius: int) -> tuple[Pixels, Mask]:
    """A red disc on grey, with a thin handle, and its alpha."""
    alpha = np.zeros(SIZE, np.uint8)
    cv2.circle(alpha, (300, 300), radius, 255, -1, cv2.LINE_AA)
    cv2.line(alpha, (300, 300), (300 + round(1.4 * radius), 300), 255, 5, cv2.LINE_AA)
    share = alpha[..., None] / 255
    picture = np.rint(share * (200, 40, 30) + (1 - share) * (120, 125, 130)).astype(np.uint8)
    return picture, alpha


@dataclass
class Redness:
    """A network of few pixels that finds what is red; it sees `ghost` in whole pictures only."""

    side_pixels: int = 96
    checkpoint: str = "redness"
    device: Device = "cpu"
    wrong_when_close: bool = False
    seen: list[tuple[int, ...]] = field(default_factory=list)

    def matte(self, picture: Pixels) -> Matte:
        self.seen.append(picture.shape)
        red = np.clip((picture[..., 0].astype(np.float32) - picture[..., 1] - 5) / 150, 0, 1)
        if self.wrong_when_close and len(self.seen) > 1:
            red[:, red.shape[1] // 3 :] = 0
        answer: Matte = cv2.resize(red, (self.side_pixels, self.side_pixels), interpolation=cv2.INTER_AREA)
        return answer


def cut(engine: Redness, picture: Pixels) -> cutting.Cut:
    return cutting.cut_out(engine, Picture(picture, "png"), lambda: None)


def figure_in_a_veil() -> tuple[Pixels, Mask]:
    """A brown figure under a white veil, in front of a blurred photo, and its alpha without the veil."""
    width, height = 640, 480
    y, x = np.mgrid[:height, :width].astype(np.float32)
    figure = (np.hypot(x - 320, y - 150) < 55) | ((abs(x - 320) < 60) & (y > 190))
    half_width = np.maximum(y - 90, 1) * 0.6
    veil = (y > 120) & (abs(x - 320) < half_width)
    alpha = np.where(veil, np.clip(0.75 - abs(x - 320) / half_width * 0.6, 0, 1), 0)
    alpha = cv2.GaussianBlur(np.where(figure, 1, alpha).astype(np.float32), (0, 0), 1)[..., None]
    colors = np.where(figure[..., None], (190, 120, 90), (245, 243, 240)).astype(np.float32)
    behind = cv2.resize(photo("coffee"), (width, height), interpolation=cv2.INTER_AREA)
    behind = cv2.GaussianBlur(behind.astype(np.float32), (0, 0), 6)
    return np.rint(colors * alpha + behind * (1 - alpha)).astype(np.uint8), figure.astype(np.uint8) * 255


def error(alpha: Mask, truth: Mask) -> float:
    return float(np.abs(alpha.astype(np.float32) - truth).sum() / 255)


def test_a_closer_look_that_is_less_certain_does_not_close_a_ring() -> None:
    """With 8 bits, the network takes the wall behind the key's ring for a part of it from nearby."""
    key = compose(next(one for one in RECIPES if one.name == "key"))
    found = cutting.cut_out(engines().matting("isnet-general-use"), Picture(key.picture, "png"), lambda: None)
    assert overlap(found.alpha, key.alpha) > 0.9


def test_a_small_object_is_looked_at_closer_and_gets_better_edges() -> None:
    picture, truth = scene(60)
    engine = Redness()
    alpha = cut(engine, picture).alpha
    assert len(engine.seen) == 2
    assert max(engine.seen[1]) < 300
    blind = Redness(wrong_when_close=True)
    assert error(alpha, truth) < 0.7 * error(cut(blind, picture).alpha, truth)


def test_a_large_object_is_looked_at_once() -> None:
    picture, _ = scene(250)
    engine = Redness()
    cut(engine, picture)
    assert len(engine.seen) == 1


def test_if_both_looks_disagree_the_first_one_counts() -> None:
    picture, truth = scene(60)
    engine = Redness(wrong_when_close=True)
    alpha = cut(engine, picture).alpha
    assert len(engine.seen) == 2
    assert (alpha[truth == 255] > 200).mean() > 0.9


def test_an_object_at_the_border_is_looked_at_within_the_picture() -> None:
    picture, truth = scene(60)
    corner = np.ascontiguousarray(picture[270:, 280:])
    engine = Redness()
    alpha = cut(engine, corner).alpha
    assert len(engine.seen) == 2
    assert alpha.shape == corner.shape[:2]
    assert error(alpha, np.ascontiguousarray(truth[270:, 280:])) < 0.1 * (truth > 0).sum()


def test_a_finished_cutout_keeps_its_alpha_without_a_look() -> None:
    picture, truth = scene(150)
    engine = Redness()
    kept = cut(engine, np.dstack([picture, truth]))
    np.testing.assert_array_equal(kept.alpha, truth)
    assert kept.is_kept
    assert kept.confidence == 1
    assert not engine.seen


@pytest.mark.parametrize("shape", ["rectangle", "rotated", "ellipse", "erased strokes", "rounded corners"])
def test_a_photo_in_a_frame_is_no_finished_cutout(shape: str) -> None:
    picture, _ = scene(100)
    frame = np.zeros(SIZE, np.uint8)
    if shape == "rectangle":
        frame[50:550, 50:850] = 255
    elif shape == "rotated":
        corners = cv2.boxPoints(((450, 300), (640, 400), 12))
        cv2.fillConvexPoly(frame, np.int32(np.rint(corners)), 255, cv2.LINE_AA)
    elif shape == "ellipse":
        cv2.ellipse(frame, (450, 300), (400, 280), 0, 0, 360, 255, -1, cv2.LINE_AA)
    elif shape == "erased strokes":
        frame[:] = 255
        cv2.line(frame, (500, 50), (850, 550), 0, 60)
    else:
        cv2.rectangle(frame, (100, 0), (799, 599), 255, -1)
        cv2.rectangle(frame, (0, 100), (899, 499), 255, -1)
        for x in (100, 799):
            for y in (100, 499):
                cv2.circle(frame, (x, y), 100, 255, -1)
    source = Picture(np.dstack([picture, frame]), "png")
    found = cutting.cut_out(Redness(), source, lambda: None)
    assert not found.is_kept
    visible = foreground.visible_colors(source)
    assert np.abs(visible[0, 0].astype(int) - (120, 125, 130)).max() < 4, "the network does not see the frame"
    assert 0 < (found.alpha > 127).mean() < 0.2


def test_confidence_is_higher_for_a_sharp_matte_than_for_a_hazy_one() -> None:
    disc = np.zeros((256, 256), np.float32)
    cv2.circle(disc, (128, 128), 70, 1, -1, cv2.LINE_AA)
    values = [cutting.certainty(cv2.GaussianBlur(disc, (0, 0), sigma)) for sigma in (0.5, 4, 20)]
    assert values[0] > values[1] + 0.1
    assert values[1] > values[2]
    assert all(0 <= value <= 1 for value in values)


def test_confidence_is_lower_where_the_inside_is_uncertain_too() -> None:
    """An edge like any other, but a body that the network half believes in."""
    disc = np.zeros((256, 256), np.float32)
    cv2.circle(disc, (128, 128), 70, 1, -1, cv2.LINE_AA)
    disc = cv2.GaussianBlur(disc, (0, 0), 1)
    assert cutting.certainty(disc * 0.6) < 0.7 * cutting.certainty(disc)
    assert cutting.certainty(np.zeros((64, 64), np.float32)) == 0


def test_a_cable_that_the_network_only_suspects_is_followed() -> None:
    """A cable of three pixels at 12 megapixels is less than a pixel wide at the network's size."""
    height, width = 3024, 4032
    truth = np.zeros((height, width), np.uint8)
    along = np.linspace(0, 1, 200)
    cable = np.stack([1612 + along * 2339, 1814 - 907 * np.sin(along * 3)], 1)
    cv2.polylines(truth, [np.int32(np.rint(cable))], False, 255, 3, cv2.LINE_AA)
    on_cable = truth > 128
    on_cable[:, :1650] = False
    cv2.ellipse(truth, (1210, 1814), (605, 393), 0, 0, 360, 255, -1, cv2.LINE_AA)
    photo = texture("coffee", (0.0, 0.86, 0.16, 1.0), width, height).astype(np.float32)
    opacity = truth[..., None].astype(np.float32) / 255
    foreground = np.where(on_cable[..., None], (190, 170, 150), (205, 205, 203)).astype(np.float32)
    picture = np.rint(opacity * foreground + (1 - opacity) * photo).astype(np.uint8)
    alpha = cutting.cut_out(
        engines().matting("isnet-general-use"), Picture(picture, "png"), lambda: None
    ).alpha
    assert (alpha[on_cable] > 128).mean() > 0.7
    assert (alpha[truth == 0] > 128).mean() < 1e-4


def test_a_region_of_a_finished_cutout_keeps_its_alpha() -> None:
    """Within the region, the object may look like a photo in a frame."""
    alpha = np.zeros(SIZE, np.uint8)
    cv2.ellipse(alpha, (400, 320), (300, 200), 0, 0, 360, 255, -1, cv2.LINE_AA)
    cv2.circle(alpha, (400, 110), 80, 255, -1, cv2.LINE_AA)
    white = np.full((*SIZE, 3), 245, np.uint8)
    region = Box(200, 150, 600, 500)
    source = Picture(np.dstack([white, alpha]), "png")
    found = cutting.cut_out(Redness(), source, lambda: None, region)
    assert found.is_kept
    np.testing.assert_array_equal(found.alpha, alpha[150:500, 200:600])


def test_the_faint_outline_of_something_is_no_cutout() -> None:
    picture, truth = figure_in_a_veil()
    engine = engines().matting(foreground.QUALITY)
    try:
        found = cutting.cut_out(engine, Picture(picture, "png"), lambda: None)
    except NothingFound:
        return
    assert (found.alpha[truth > 0] > 128).mean() > 0.9
