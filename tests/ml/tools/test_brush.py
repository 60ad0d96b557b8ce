"""The brush: exact pixels for each of its five modes, and refusals."""

import json

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from ml.errors import BadParameter, EmptyMask
from ml.pixels import Mask, Picture, Pixels
from ml.tools import brush
from ml.tools.brush import BrushParams
from tests.support.ml import photos
from tests.support.ml.contexts import Calm
from tests.support.ml.fill_figures import disc, figures, painted_over

PHOTO = photos.photo("coffee")[100:200, 100:250]  # 150 wide, 100 high
#: Rows 40..59 fully, row 60 by 51/255, the rest not at all.
BAND = np.zeros((100, 150), np.uint8)
BAND[40:60] = 255
BAND[60] = 51


def brushed(pixels: Pixels, mask: Mask | None = BAND, original: Pixels | None = None, **form: str) -> Pixels:
    """Run the tool with parameters as a form sends them: as text."""
    files = {} if mask is None else {"mask": photos.png_bytes(mask)}
    if original is not None:
        files["original"] = photos.png_bytes(original)
    return brush.run(Picture(pixels, "png"), BrushParams.model_validate(form), Calm(files)).pixels


def refused_parameter(**form: str) -> str:
    """The parameter that validation names, without any picture."""
    with pytest.raises(ValidationError) as refusal:
        BrushParams.model_validate(form)
    (error,) = refusal.value.errors()
    return str(error.get("ctx", {}).get("param") or error["loc"][0])


def with_alpha(pixels: Pixels, alpha: int) -> Pixels:
    return np.dstack([pixels, np.full(pixels.shape[:2], alpha, np.uint8)])


class TestErase:
    def test_erasing_reduces_alpha_by_the_mask_and_keeps_colors(self) -> None:
        answer = brushed(PHOTO, op="erase")
        assert np.array_equal(answer[..., :3], PHOTO)
        assert (answer[40:60, :, 3] == 0).all()
        assert (answer[60, :, 3] == 204).all()
        assert (answer[:40, :, 3] == 255).all()
        assert (answer[61:, :, 3] == 255).all()

    def test_erasing_half_transparent_pixels_multiplies_their_alpha(self) -> None:
        answer = brushed(with_alpha(PHOTO, 100), op="erase")
        assert (answer[60, :, 3] == 80).all()
        assert (answer[0, :, 3] == 100).all()

    def test_opacity_and_hardness_of_a_stroke_are_respected(self) -> None:
        stroke = {"points": [[75.5, 50.5]], "size": 40, "hardness": 0.5, "opacity": 0.6}
        answer = brushed(PHOTO, None, op="erase", strokes=json.dumps([stroke]))
        row = answer[50, :, 3].astype(int)
        assert row[75] == row[84] == 255 - 153
        assert row[80:100].tolist() == sorted(row[80:100].tolist())
        assert row[90] == 255 - round(153 * 0.5)
        assert row[96] == 255


class TestRestore:
    def test_erased_pixels_are_restored_exactly(self) -> None:
        erased = brushed(PHOTO, op="erase")
        assert np.array_equal(brushed(erased, original=PHOTO, op="restore")[40:60, :, :3], PHOTO[40:60])
        everywhere = np.full_like(BAND, 255)
        everywhere[0, 0] = 0
        assert np.array_equal(brushed(erased, everywhere, PHOTO, op="restore"), PHOTO)

    def test_restoring_changes_only_pixels_under_the_brush(self) -> None:
        changed = 255 - PHOTO
        answer = brushed(changed, original=PHOTO, op="restore")
        assert np.array_equal(answer[40:60], PHOTO[40:60])
        assert np.array_equal(answer[:40], changed[:40])
        expected = np.rint(changed[60] * 0.8 + PHOTO[60] * 0.2)
        assert np.abs(answer[60] - expected).max() <= 1

    def test_restoring_from_a_transparent_original_restores_its_alpha(self) -> None:
        answer = brushed(PHOTO, original=with_alpha(PHOTO, 0), op="restore")
        assert (answer[40:60, :, 3] == 0).all()
        assert (answer[60, :, 3] == 204).all()
        assert np.array_equal(answer[:40], with_alpha(PHOTO, 255)[:40])


class TestPaint:
    def test_an_opaque_color_replaces_the_pixels(self) -> None:
        answer = brushed(PHOTO, op="paint", color="#0a141e")
        assert (answer[40:60] == (10, 20, 30)).all()
        assert np.array_equal(answer[:40], PHOTO[:40])
        expected = np.rint(PHOTO[60] * 0.8 + np.array((10, 20, 30)) * 0.2)
        assert np.abs(answer[60] - expected).max() <= 1

    def test_a_half_transparent_color_is_blended(self) -> None:
        answer = brushed(PHOTO, op="paint", color="#ff000080")
        share = 128 / 255
        expected = PHOTO[40:60] * (1 - share) + np.array((255, 0, 0)) * share
        assert np.abs(answer[40:60] - expected).max() <= 0.51

    def test_on_transparency_the_color_is_unblended(self) -> None:
        answer = brushed(with_alpha(PHOTO, 0), op="paint", color="red")
        assert (answer[40:60] == (255, 0, 0, 255)).all()
        assert (answer[60] == (255, 0, 0, 51)).all()
        assert np.array_equal(answer[:40], with_alpha(PHOTO, 0)[:40])


class TestBlur:
    def test_the_blur_radius_is_one_percent_of_the_longer_side(self) -> None:
        large = cv2.resize(PHOTO, (600, 400), interpolation=cv2.INTER_CUBIC)
        mask = np.zeros((400, 600), np.uint8)
        mask[100:380, 50:500] = 255
        answer = brushed(large, mask, op="blur")
        expected = cv2.GaussianBlur(large, (0, 0), 6)
        within = mask == 255
        assert np.abs(answer[within].astype(int) - expected[within]).max() <= 1
        assert np.array_equal(answer[~within], large[~within])

    def test_blurring_takes_no_color_from_transparent_pixels(self) -> None:
        pixels = with_alpha(np.full_like(PHOTO, 200), 255)
        pixels[:, :70] = (0, 0, 0, 0)
        answer = brushed(pixels, op="blur")
        seen = answer[40:60][answer[40:60, :, 3] > 8]
        assert (np.abs(seen[:, :3].astype(int) - 200) <= 2).all()
        assert 0 < answer[50, 69, 3] < 255


class TestHeal:
    def test_a_blemish_is_replaced_by_its_surroundings(self) -> None:
        photo = photos.photo("gravel")
        blemish = disc(photo, 200, 300, 14)
        stroke = {"points": [[300.5, 200.5]], "size": 40}
        pixels = painted_over(photo, blemish)
        answer = brushed(pixels, None, op="heal", strokes=json.dumps([stroke]))
        found = figures(answer, blemish)
        assert found.mean_difference < 25
        assert 0.6 < found.texture_ratio < 1.6
        assert found.seam_ratio < 1.5
        beyond = ~disc(photo, 200, 300, 22)
        assert np.array_equal(answer[beyond], photo[beyond])

    def test_transparency_is_preserved(self) -> None:
        answer = brushed(with_alpha(PHOTO, 130), op="heal")
        assert (answer[..., 3] == 130).all()

    @pytest.mark.parametrize("marked", [254, 255])
    def test_healing_without_surroundings_is_refused(self, marked: int) -> None:
        """Also of a cut-out, of which only what is visible can be continued."""
        almost_all = np.full((100, 150), marked, np.uint8)
        almost_all[:4] = 0
        object_only = np.zeros((100, 150), np.uint8)
        object_only[20:80, 20:80] = marked
        cutout = np.dstack([PHOTO, np.where(object_only > 0, 255, 0).astype(np.uint8)])
        for pixels, mask in ((PHOTO, almost_all), (PHOTO, np.maximum(almost_all, 1)), (cutout, object_only)):
            with pytest.raises(BadParameter) as refused:
                brushed(pixels, mask, op="heal")
            assert refused.value.name == "mask"
        with pytest.raises(BadParameter) as refused:
            brushed(PHOTO, None, op="heal", strokes=json.dumps([{"points": [[75, 50]], "size": 176}]))
        assert refused.value.name == "strokes"
        assert refused.value.message.endswith("of the image; a part must remain to be continued")

    def test_healing_most_of_the_image_is_warned_of(self) -> None:
        mask = np.full((100, 150), 255, np.uint8)
        mask[:40] = 0
        healed = brush.run(
            Picture(PHOTO, "png"), BrushParams(op="heal"), Calm({"mask": photos.png_bytes(mask)})
        )
        assert "more than was left" in healed.warnings[0]


class TestRefusals:
    @pytest.mark.parametrize(
        ("form", "name"),
        [
            ({}, "op"),
            ({"op": "smudge"}, "op"),
            ({"op": "paint"}, "color"),
            ({"op": "erase", "color": "red"}, "color"),
            ({"op": "paint", "color": "reddish"}, "color"),
            ({"op": "erase", "strokes": "[]"}, "strokes"),
            ({"op": "erase", "strokes": '[{"points":[[NaN,0]]}]'}, "strokes"),
            ({"op": "erase", "strokes": json.dumps([{"points": [[1, 2]]}] * 10_000)}, "strokes"),
            ({"op": "erase", "size": "3"}, "size"),
        ],
    )
    def test_a_bad_parameter_is_named(self, form: dict[str, str], name: str) -> None:
        assert refused_parameter(**form) == name

    def test_exactly_one_of_mask_and_strokes_is_required(self) -> None:
        with pytest.raises(BadParameter) as refused:
            brushed(PHOTO, None, op="erase")
        assert refused.value.name == "strokes"
        with pytest.raises(BadParameter) as refused:
            brushed(PHOTO, op="erase", strokes='[{"points":[[1,2]]}]')
        assert refused.value.name == "mask"

    def test_an_original_is_accepted_for_restore_only_and_must_have_the_same_size(self) -> None:
        for form, original in (
            ({"op": "restore"}, None),
            ({"op": "erase"}, PHOTO),
            ({"op": "restore"}, PHOTO[1:]),
        ):
            with pytest.raises(BadParameter) as refused:
                brush.run(
                    Picture(PHOTO, "png"),
                    BrushParams.model_validate(form),
                    Calm(
                        {"mask": photos.png_bytes(BAND)}
                        | ({} if original is None else {"original": photos.png_bytes(original)})
                    ),
                )
            assert refused.value.name == "original"

    def test_empty_full_and_misshapen_masks_are_refused(self) -> None:
        with pytest.raises(EmptyMask):
            brushed(PHOTO, np.zeros_like(BAND), op="erase")
        for mask in (np.full_like(BAND, 255), BAND[:50]):
            with pytest.raises(BadParameter) as refused:
                brushed(PHOTO, mask, op="erase")
            assert refused.value.name == "mask"

    def test_points_far_outside_are_refused(self) -> None:
        with pytest.raises(BadParameter) as refused:
            brushed(PHOTO, None, op="erase", strokes='[{"points":[[-400,2]],"size":10}]')
        assert refused.value.name == "strokes"
