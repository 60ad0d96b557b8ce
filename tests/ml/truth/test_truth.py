"""The truth set is what it claims to be, and its measures tell good cut-outs from bad ones."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from ml.pixels import Pixels
from tests.ml.truth import __main__ as report
from tests.ml.truth import enlargements
from tests.ml.truth.composites import SIZES, Composite, compose
from tests.ml.truth.cutters import Cutout
from tests.ml.truth.metrics import Errors, errors
from tests.ml.truth.page import PAGE, write_part
from tests.ml.truth.recipes import CATEGORIES, RECIPES, Recipe

# The smallest of each category: large ones take seconds.
SMALL = [
    min((one for one in RECIPES if one.category == category), key=lambda one: float(one.megapixels))
    for category in CATEGORIES
]


def cutout(composite: Composite) -> Pixels:
    return np.dstack([composite.foreground, composite.alpha])


def test_the_set_has_sixty_pictures_in_ten_categories_up_to_12_megapixels() -> None:
    assert len(RECIPES) == 60
    assert len({(one.category, one.name) for one in RECIPES}) == 60
    assert all(sum(one.category == category for one in RECIPES) == 6 for category in CATEGORIES)
    assert {one.megapixels for one in RECIPES} == set(SIZES)
    for megapixels, (width, height) in SIZES.items():
        assert width * height == pytest.approx(float(megapixels) * 1e6, rel=0.1)


@pytest.mark.parametrize("recipe", SMALL, ids=lambda one: f"{one.category}: {one.name}")
def test_a_picture_shows_its_object_by_its_exact_alpha(recipe: Recipe) -> None:
    composite = compose(recipe)
    width, height = SIZES[recipe.megapixels]
    assert composite.picture.shape == composite.foreground.shape == (height, width, 3)
    assert composite.alpha.shape == (height, width)
    opaque = composite.alpha == 255
    np.testing.assert_array_equal(composite.picture[opaque], composite.foreground[opaque])
    share = (composite.alpha > 127).mean()
    assert 0.01 < share < 0.7
    assert ((composite.alpha > 0) & (composite.alpha < 255)).any()
    assert (composite.alpha == 0).mean() > 0.2


def test_pictures_are_the_same_each_time() -> None:
    first, second = compose(SMALL[0]), compose(SMALL[0])
    np.testing.assert_array_equal(first.picture, second.picture)
    np.testing.assert_array_equal(first.alpha, second.alpha)


def test_the_truth_itself_has_no_errors() -> None:
    composite = compose(SMALL[0])
    found = errors(composite.alpha, composite.foreground, cutout(composite))
    assert (found.sad, found.mse, found.color, found.iou) == (0, 0, 0, 1)
    assert found.gradient == pytest.approx(0, abs=1e-9)


def test_each_measure_grows_with_its_own_kind_of_error() -> None:
    composite = compose(SMALL[0])
    truth = cutout(composite)
    blurred = truth.copy()
    blurred[..., 3] = cv2.GaussianBlur(composite.alpha, (0, 0), 4)
    slightly_blurred = truth.copy()
    slightly_blurred[..., 3] = cv2.GaussianBlur(composite.alpha, (0, 0), 1)
    little, much = (
        errors(composite.alpha, composite.foreground, answer) for answer in (slightly_blurred, blurred)
    )
    assert 0 < little.sad < much.sad
    assert 0 < little.mse < much.mse
    assert 0 < little.gradient < much.gradient
    tinted = truth.copy()
    tinted[..., 1] = np.maximum(tinted[..., 1].astype(int) - 30, 0)
    found = errors(composite.alpha, composite.foreground, tinted)
    assert found.sad == 0
    assert found.color == pytest.approx(10, abs=0.5)
    missed = truth.copy()
    missed[..., 3] = 0
    assert not errors(composite.alpha, composite.foreground, missed).is_found


def test_errors_do_not_depend_on_the_resolution() -> None:
    composite = compose(SMALL[0])
    half = truth_at_half_size(composite)
    shift = 4
    whole = errors(composite.alpha, composite.foreground, moved(cutout(composite), shift))
    reduced = errors(half[..., 3].copy(), half[..., :3].copy(), moved(half, shift // 2))
    assert reduced.sad == pytest.approx(whole.sad, rel=0.1)


def truth_at_half_size(composite: Composite) -> Pixels:
    height, width = composite.alpha.shape
    answer: Pixels = cv2.resize(cutout(composite), (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return answer


def moved(pixels: Pixels, columns: int) -> Pixels:
    answer: Pixels = np.roll(pixels, columns, axis=1)
    return answer


def test_the_report_replaces_only_its_own_part_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "quality.md"
    page.write_text(PAGE.read_text())
    measured = report.Measured(SMALL[0], Errors(1, 2, 3, 4, 0.9), 0.5)
    write_part("cut-outs", report.tables({"bgeraser": [measured], "rembg": [measured]}), page)
    lines = page.read_text().splitlines()
    original = PAGE.read_text().splitlines()
    assert f"| {SMALL[0].category} | 1.00 | 1.00 |" in lines
    assert lines[:3] == original[:3]
    assert lines[-1] == original[-1]


def test_the_report_groups_cutouts_by_confidence() -> None:
    measured = [
        report.Measured(SMALL[0], Errors(1, 2, 3, 4, iou), 0.5, confidence)
        for confidence, iou in ((0.0, 0.0), (0.7, 0.8), (0.75, 1.0), (1.0, 0.95))
    ]
    lines = report.tables({"bgeraser": measured}).splitlines()
    assert "| 0 to 0.4 | 1 | 0.00 | 1 |" in lines
    assert "| 0.6 to 0.8 | 2 | 0.90 | 1 |" in lines
    assert "| 0.8 to 1 | 1 | 0.95 | 0 |" in lines
    assert not any(line.startswith("| 0.4 to 0.6") for line in lines)


def test_the_report_compares_categories_on_pictures_that_every_way_was_measured_on() -> None:
    large = next(one for one in RECIPES if one.megapixels == "12")
    ours = [report.Measured(one, Errors(sad, 0, 0, 0, 1), 0.5) for one, sad in ((SMALL[0], 1), (large, 5))]
    lines = report.tables({"bgeraser": ours, "rembg": ours[:1]}).splitlines()
    assert f"| {SMALL[0].category} | 1.00 | 1.00 |" in lines
    assert "| these 1 | 1.00 | 1.00 |" in lines
    assert "| the 1 larger ones | 5.00 |  |" in lines


def test_pictures_beyond_a_limit_are_not_measured() -> None:
    def perfect(picture: Pixels) -> Cutout:
        return Cutout(np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)]))

    measured = report.measure({"one": perfect, "other": perfect}, SMALL[:1], {"other": 0.2})
    assert (len(measured["one"]), len(measured["other"])) == (1, 0)


def test_the_part_of_an_original_is_measured_in_a_size_that_can_be_reduced() -> None:
    whole = enlargements.line_art()
    small = enlargements.part(whole, 256)
    assert small.shape == (256, 256, 3)
    assert np.array_equal(small, whole[96:352, 96:352])
    assert np.array_equal(enlargements.part(whole, 768), whole)
    assert enlargements.part(whole[:300], 256).shape == (256, 256, 3)
