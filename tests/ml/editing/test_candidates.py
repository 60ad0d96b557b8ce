"""Which of a segmenter's candidates is preferred, and what is cleaned from it."""

import cv2
import numpy as np

from ml.editing import candidates
from ml.engines.segmenting import Candidate
from ml.imaging.selection_prompts import Click
from ml.pixels import Pixels
from tests.ml.truth import selections
from tests.ml.truth.composites import compose
from tests.ml.truth.recipes import RECIPES

GREY, RED = (120, 125, 130), (190, 40, 30)
SIZE = 400


def picture_of(shape: np.ndarray) -> Pixels:
    """A red shape on grey, with mild noise."""
    noise = np.random.default_rng(1).normal(0, 2, (*shape.shape, 1))
    return np.clip(np.where(shape[..., None], RED, GREY) + noise, 0, 255).astype(np.uint8)


def disc(radius: float, x: float = 200, y: float = 200) -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return np.asarray(np.hypot(columns - x, rows - y) < radius)


def candidate(shape: np.ndarray, score: float) -> Candidate:
    blurred = cv2.GaussianBlur(shape.astype(np.float32), (0, 0), 1) - np.float32(0.5)
    return Candidate(16 * blurred, score)


def test_of_near_equal_candidates_the_one_with_a_visible_contour_is_preferred() -> None:
    picture = picture_of(disc(100))
    part, whole = candidate(disc(60), 0.97), candidate(disc(100), 0.95)
    colors = candidates.colors_of(picture, part.logits)
    assert candidates.preferred_first([part, whole], colors) == [whole, part]
    more = candidate(disc(140), 0.96)
    assert candidates.preferred_first([more, part, whole], colors) == [whole, more, part]


def test_a_much_higher_score_outweighs_the_contour() -> None:
    picture = picture_of(disc(100))
    sure, unlikely = candidate(disc(90), 0.95), candidate(disc(100), 0.4)
    colors = candidates.colors_of(picture, sure.logits)
    assert candidates.preferred_first([sure, unlikely], colors)[0] is sure


def test_the_border_of_the_picture_is_no_contour() -> None:
    colors = np.zeros((SIZE, SIZE, 3), np.float32)
    assert candidates.contrast_share(np.ones((SIZE, SIZE), bool), colors) == 0
    half = np.arange(SIZE)[:, None] < np.full(SIZE, 200)
    colors[half] = (50, 0, 0)
    assert candidates.contrast_share(half, colors) > 0.99
    assert candidates.contrast_share(disc(50, 200, 100), colors) == 0


def test_a_filled_hole_is_opened_unless_it_was_clicked_on() -> None:
    ring = disc(150) & ~disc(100)
    picture = picture_of(ring)
    filled = candidate(disc(150), 1.0)
    opened = candidates.open_holes(filled, picture, [(325.0, 200.0, 1)])
    assert np.count_nonzero((opened.logits > 0) != ring) < 0.03 * np.count_nonzero(ring)
    kept = candidates.open_holes(filled, picture, [(325.0, 200.0, 1), (200.0, 200.0, 1)])
    assert np.array_equal(kept.logits, filled.logits)
    assert np.array_equal(
        candidates.open_holes(filled, picture_of(disc(150)), [(200.0, 200.0, 1)]).logits, filled.logits
    )


def test_objects_that_were_not_clicked_on_are_rejected() -> None:
    found = candidate(disc(40, 100, 100), 0.9)
    assert candidates.is_object(found, [(100.0, 100.0, 1)])
    assert not candidates.is_object(found, [(300.0, 300.0, 1)])
    assert not candidates.is_object(candidate(disc(40), 0.2), [])
    assert not candidates.is_object(candidate(np.ones((SIZE, SIZE), bool), 1.0), [])


def test_specks_and_pinholes_go_but_not_where_one_clicked() -> None:
    shape = (disc(100) & ~disc(4, 220, 200)) | disc(4, 30, 30)
    cleaned = candidates.clean(candidate(shape, 1.0), [(200.0, 200.0, 1)]).logits > 0
    assert not cleaned[30, 30]
    assert cleaned[200, 220]
    kept = candidates.clean(candidate(shape, 1.0), [(30.0, 30.0, 1), (220.0, 200.0, 0)]).logits > 0
    assert kept[30, 30]
    assert not kept[200, 220]


def test_small_uncertain_parts_far_from_the_object_are_removed() -> None:
    far, near = disc(15, 50, 50), disc(15, 303, 200)
    logits = candidate(disc(85) | far | near, 1.0).logits
    uncertain = np.where(far | near, logits / 4, logits)

    def kept(logits: np.ndarray, click: Click) -> np.ndarray:
        return candidates.clean(Candidate(logits, 1.0), [click]).logits > 0

    center, in_part = (200.0, 200.0, 1), (50.0, 50.0, 1)
    np.testing.assert_array_equal(kept(logits, center), logits > 0)
    np.testing.assert_array_equal(kept(uncertain, center), (logits > 0) & ~disc(20, 50, 50))
    np.testing.assert_array_equal(kept(uncertain, in_part), logits > 0)


def test_clicks_on_composites_find_more_of_the_objects_than_the_network_alone() -> None:
    names = {("hair and fur", "fair hair"), ("cut by the border", "chair"), ("holes and handles", "ring")}
    ours, alone = [], []
    for recipe in RECIPES:
        if (recipe.category, recipe.name) in names:
            composite = compose(recipe)
            for click in selections.clicks(composite.alpha):
                ours.append(selections.overlap(selections.select(composite, click), composite.alpha))
                alone.append(
                    selections.overlap(selections.select_by_network(composite, click), composite.alpha)
                )
    assert len(ours) == 6
    assert np.mean(ours) > 0.85, (ours, alone)
    assert np.mean(ours) > np.mean(alone) + 0.1, (ours, alone)


def test_parts_outside_a_region_are_removed_whole_and_others_stay_whole() -> None:
    large, island = disc(80, 120), disc(20, 320)
    found = candidates.without_parts_outside(candidate(large | island, 0.9), disc(10, 60))
    np.testing.assert_array_equal(found.logits > 0, candidate(large, 0.9).logits > 0)
    assert found.score == 0.9
