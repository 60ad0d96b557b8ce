"""Selections of large pictures follow the picture's edges, not the network's grid."""

import cv2
import numpy as np

from ml.imaging import selection_edges
from ml.pixels import Mask, Pixels
from tests.ml.truth import selections

HEIGHT, WIDTH = 3000, 4000


def star() -> Mask:
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    radii = np.where(np.arange(24) % 2, 500, 1200)
    corners = np.stack([2000 + radii * np.cos(angles), 1500 + radii * np.sin(angles)], axis=1)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], 255)
    return mask


def picture_of(mask: Mask) -> Pixels:
    picture = np.where(mask[..., None] > 0, np.uint8(60), np.uint8(170)).repeat(3, axis=2)
    picture[..., 0] += 30
    return picture


def logits_of(mask: Mask) -> np.ndarray:
    """As a network's decoder computes them: at 256 pixels, enlarged to 1024."""
    small = cv2.resize(mask, (256, 192), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    blurred = cv2.GaussianBlur(small, (0, 0), 1.2)
    return np.asarray(cv2.resize(12 * (blurred - np.float32(0.5)), (1024, 768)), np.float32)


def test_a_contour_of_12_megapixels_is_that_of_the_object() -> None:
    truth = star()
    logits = logits_of(truth)
    enlarged = (cv2.resize(logits, (WIDTH, HEIGHT)) > 0).astype(np.uint8) * 255
    refined = selection_edges.refine(picture_of(truth), logits)
    assert refined.shape == truth.shape
    assert set(np.unique(refined)) == {0, 255}
    before, after = (selections.contour_score(mask, truth) for mask in (enlarged, refined))
    assert before < 0.9
    assert after > 0.97
    assert after > before


def test_without_an_edge_in_the_picture_the_selection_stays() -> None:
    truth = star()
    plain = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    refined = selection_edges.refine(plain, logits_of(truth))
    assert selections.overlap(refined, truth) > 0.95


def test_background_of_the_object_s_colour_is_not_selected() -> None:
    truth = star()
    picture = picture_of(truth)
    picture[100:400, 100:3900] = picture[1500, 2000]
    refined = selection_edges.refine(picture, logits_of(truth))
    assert not refined[:250].any()
    assert selections.overlap(refined, truth) > 0.98
