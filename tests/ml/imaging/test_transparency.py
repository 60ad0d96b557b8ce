"""Colours under transparency, and enlarged alpha."""

import cv2
import numpy as np

from ml.imaging import transparency
from ml.pixels import Pixels
from tests.support.ml.photos import photo


def _cutout(name: str, hidden: int) -> tuple[Pixels, Pixels]:
    """A photo, and the same with everything outside a soft disc transparent and of grey `hidden`."""
    whole = photo(name)[:256, :256]
    disc = np.zeros((256, 256), np.uint8)
    cv2.circle(disc, (128, 128), 90, 255, -1)
    alpha = cv2.GaussianBlur(disc, (0, 0), 1.2)
    colours = np.where(alpha[:, :, None] > 0, whole, np.uint8(hidden))
    return whole, np.dstack([colours, alpha])


def test_colours_outside_an_edge_extend_those_inside() -> None:
    whole, cutout = _cutout("coffee", hidden=0)
    spread = transparency.spread_colours(cutout)
    ring = cv2.dilate(cutout[:, :, 3], np.ones((9, 9), np.uint8)) > 0
    outside = ring & (cutout[:, :, 3] == 0)
    assert np.abs(spread[outside].astype(int) - whole[outside]).mean() < 20
    assert np.abs(cutout[outside][:, :3].astype(int) - whole[outside]).mean() > 60  # as it was


def test_hidden_colours_have_no_effect_and_visible_ones_are_unchanged() -> None:
    _, black = _cutout("astronaut", hidden=0)
    _, white = _cutout("astronaut", hidden=255)
    np.testing.assert_array_equal(transparency.spread_colours(black), transparency.spread_colours(white))
    visible = black[:, :, 3] >= transparency.TRUSTED_ALPHA
    np.testing.assert_array_equal(transparency.spread_colours(black)[visible], black[visible][:, :3])


def test_opaque_and_empty_images_keep_their_colours() -> None:
    colours = photo("chelsea")[:50, :70]
    for level in (0, transparency.TRUSTED_ALPHA, 255):
        pixels = np.dstack([colours, np.full((50, 70), level, np.uint8)])
        np.testing.assert_array_equal(transparency.spread_colours(pixels), colours)


def test_one_visible_pixel_colours_an_image_of_any_shape() -> None:
    for height, width in ((1, 1), (1, 9), (7, 1), (33, 129)):
        pixels = np.zeros((height, width, 4), np.uint8)
        pixels[height // 2, width // 3] = (200, 100, 50, 255)
        assert (transparency.spread_colours(pixels) == (200, 100, 50)).all()


def test_enlarged_alpha_stays_within_its_surroundings() -> None:
    _, cutout = _cutout("coffee", hidden=0)
    alpha = np.ascontiguousarray(cutout[:, :, 3])
    noise = np.random.default_rng(6).integers(-30, 31, (700, 700))
    enlarged = cv2.resize(alpha, (700, 700), interpolation=cv2.INTER_CUBIC)
    enlarged = np.clip(enlarged + noise, 0, 255).astype(np.uint8)
    transparency.hold_alpha(alpha, enlarged)
    middle = cv2.erode(alpha, np.ones((5, 5), np.uint8))
    opaque = cv2.resize(middle, (700, 700), interpolation=cv2.INTER_NEAREST) == 255
    assert opaque.sum() > 10_000
    assert (enlarged[opaque] == 255).all()
    assert not enlarged[:50].any()
    edge = (enlarged > 0) & (enlarged < 255)
    assert edge.sum() > 1000, "soft edges stay soft"
