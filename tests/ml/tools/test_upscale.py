"""The upscale tool on real checkpoints and photos."""

import dataclasses
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from ml.backend import ToolCall
from ml.catalogue import TOOLS
from ml.device import Precision
from ml.engines import upscaling
from ml.engines.network_facts import UPSCALING_FACTS, UpscalerFacts
from ml.engines.upscaling import Upscaler
from ml.errors import BadParameter, Cancelled, PictureTooLarge
from ml.imaging import codecs, enlargement_checks
from ml.imaging.tiling import TilingFacts
from ml.pixels import Picture, Pixels
from ml.runtime import planning
from ml.tools import upscale
from ml.tools.upscale import UpscaleParams
from tests.support import checkpoints
from tests.support.ml.enlarging import Run, by_lanczos, engines, enlarge
from tests.support.ml.ncnn_reference import Reference
from tests.support.ml.photos import photo, png_bytes


def _reduced(pixels: Pixels, factor: int) -> Pixels:
    size = pixels.shape[1] // factor, pixels.shape[0] // factor
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def _jpeg(pixels: Pixels, quality: int) -> Picture:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=quality)
    return codecs.decode(content.getvalue())


@pytest.mark.parametrize("name", ["coffee", "chelsea"])
def test_blocks_of_a_jpeg_are_not_sharpened(name: str) -> None:
    original = photo(name)[:288, :384]
    source = _jpeg(_reduced(original, 2), 40)
    cleaned = upscale.run(source, UpscaleParams(), Run())
    sharpened = enlarge(source.pixels)
    better = [peak_signal_noise_ratio(original, found.pixels) for found in (sharpened, cleaned)]
    assert better[1] > better[0] + 0.25, better
    assert cleaned.warnings == sharpened.warnings == []
    fine = _jpeg(_reduced(original, 2), 97)
    assert np.array_equal(upscale.run(fine, UpscaleParams(), Run()).pixels, enlarge(fine.pixels).pixels)


@pytest.mark.parametrize("deviation", [6, 10])
def test_noise_is_not_amplified(deviation: int) -> None:
    original = photo("coffee")[:288, :384]
    small = _reduced(original, 2)
    noise = np.random.default_rng(1).normal(0, deviation, small.shape)
    noisy = np.clip(np.rint(small + noise), 0, 255).astype(np.uint8)
    found = enlarge(noisy)
    plain = peak_signal_noise_ratio(original, by_lanczos(noisy, 2))
    assert peak_signal_noise_ratio(original, found.pixels) > plain + 0.5
    assert found.warnings == [upscale.NOISE_REDUCED]


PHOTOS = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "ihc", "motorcycle_left", "rocket")


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("name", PHOTOS)
def test_fast_is_closer_to_the_original_than_lanczos(name: str, factor: int) -> None:
    original = photo(name)[:288, :384]
    small = _reduced(original, factor)
    ours = enlarge(small, scale=str(factor)).pixels
    lanczos = by_lanczos(small, factor)
    assert ours.shape == original.shape
    assert peak_signal_noise_ratio(original, ours) > peak_signal_noise_ratio(original, lanczos) + 0.5
    similar = [structural_similarity(original, result, channel_axis=2) for result in (ours, lanczos)]
    assert similar[0] > similar[1] + 0.01


def test_scale_8_is_closer_to_the_original_than_lanczos() -> None:
    for name in ("astronaut", "coffee"):
        original = photo(name)[:384, :384]
        small = _reduced(original, 8)
        outcome = enlarge(small, scale=8)
        assert outcome.pixels.shape == original.shape
        ours, lanczos = (
            peak_signal_noise_ratio(original, result) for result in (outcome.pixels, by_lanczos(small, 8))
        )
        assert ours > lanczos


def _sharpness(pixels: Pixels) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())


def test_quality_matches_ncnn_and_is_sharper_than_lanczos() -> None:
    small = photo("chelsea")[90:122, 120:152]
    folder = checkpoints.models_dir()
    files = folder / "realesrgan-x4plus.param", folder / "realesrgan-x4plus.bin"
    whole = dataclasses.replace(UPSCALING_FACTS["realesrgan-x4plus"], tiling=TilingFacts(4, 32, 16, 8))
    channels_first = np.divide(small.transpose(2, 0, 1), 255, dtype=np.float32)
    theirs = Reference(*files, exact=True).run(channels_first)
    source = np.divide(small, 255, dtype=np.float32)
    projected = enlargement_checks.back_project(source, np.ascontiguousarray(theirs.transpose(1, 2, 0)))
    expected = np.clip(np.rint(projected * 255), 0, 255).astype(np.uint8)
    enlargement_checks.hold_colours(small, expected)
    fastest = engines().upscaler("realesrgan-x4plus").precision
    tolerances: list[tuple[Precision, int, float]] = [("f32", 1, 0.01), (fastest, 24, 1.5)]
    for precision, worst, mean in tolerances:
        ours = np.empty((128, 128, 3), np.uint8)
        Upscaler(whole, *files, threads=1, precision=precision).enlarge(small, ours, lambda share: None)
        difference = np.abs(ours.astype(int) - expected)
        assert difference.max() <= worst
        assert difference.mean() <= mean
    assert _sharpness(ours) > 1.5 * _sharpness(by_lanczos(small, 4))
    outcome = enlarge(small, scale=4, mode="quality")
    assert outcome.model == "realesrgan-x4plus"
    assert np.abs(outcome.pixels.astype(int) - ours).mean() < 3  # its tile is larger, with reflected borders


def _tiled_and_whole(checkpoint: str, picture: Pixels, precision: Precision) -> tuple[Pixels, Pixels]:
    folder = checkpoints.models_dir()
    param, weights = (folder / name for name in UPSCALING_FACTS[checkpoint].files)
    facts = UPSCALING_FACTS[checkpoint]
    one_tile = dataclasses.replace(facts.tiling, side=max(picture.shape), multiple=8)
    results = []
    for tiling_facts, threads in ((facts.tiling, 2), (one_tile, 1)):
        engine = Upscaler(dataclasses.replace(facts, tiling=tiling_facts), param, weights, threads, precision)
        factor = facts.tiling.factor
        result = np.empty((picture.shape[0] * factor, picture.shape[1] * factor, 3), np.uint8)
        assert (engine.grid(picture.shape, result.shape).count == 1) == (threads == 1)
        engine.enlarge(picture, result, lambda share: None)
        results.append(result)
    return results[0], results[1]


@pytest.mark.parametrize("checkpoint", ["span-x2", pytest.param("span-x4", marks=pytest.mark.long)])
def test_fast_tiled_equals_whole(checkpoint: str) -> None:
    picture = photo("astronaut")[:400]  # no block of it fails; blocks lie differently in tiles
    tiled, whole = _tiled_and_whole(checkpoint, picture, "f32")
    assert np.abs(tiled.astype(int) - whole).max() <= 1


@pytest.mark.parametrize("size", [(96, 320), pytest.param((400, 600), marks=pytest.mark.long)])
def test_quality_tiled_is_close_to_whole_without_seams(size: tuple[int, int]) -> None:
    # This network sees far beyond any affordable overlap, so tiles differ a little wherever they are.
    picture = photo("coffee")[: size[0], : size[1]]
    tiled, whole = _tiled_and_whole(
        "realesrgan-x4plus", picture, engines().upscaler("realesrgan-x4plus").precision
    )
    difference = np.abs(tiled.astype(int) - whole)
    assert difference.mean() < 1
    assert np.percentile(difference, 99.9) < 20
    # No column or row of pixels is steeper, against its neighbours, than in the picture made whole.
    for axis in (0, 1):
        steps = [
            np.abs(np.diff(result.astype(int), axis=axis)).mean(axis=(1 - axis, 2))
            for result in (tiled, whole)
        ]
        assert (steps[0] - steps[1]).max() < 1


@pytest.mark.parametrize(
    ("params", "width", "height"),
    [
        ({}, 80, 120),
        ({"scale": "3"}, 120, 180),
        ({"scale": 8}, 320, 480),
        ({"target_width": "100"}, 100, 150),
        ({"target_height": "61"}, 41, 61),
        ({"target_width": 320}, 320, 480),
        ({"target_width": 80, "target_height": 120}, 80, 120),
        ({"target_width": 300, "target_height": 150}, 100, 150),
    ],
)
def test_the_result_has_the_requested_size(params: dict[str, Any], width: int, height: int) -> None:
    source = photo("chelsea")[100:160, 100:140]
    outcome = enlarge(source, **params)
    assert outcome.pixels.shape == (height, width, 3)
    expected = np.asarray(Image.fromarray(source).resize((width, height), Image.Resampling.LANCZOS))
    assert peak_signal_noise_ratio(expected, outcome.pixels) > 28, "the same picture, not shifted"
    fits = "target_width" not in params or "target_height" not in params or params["target_width"] == width
    assert bool(outcome.warnings) == (not fits)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 70), (3, 2), (129, 1)])
def test_the_smallest_images_work(width: int, height: int) -> None:
    source = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    assert enlarge(source, scale=3).pixels.shape == (3 * height, 3 * width, 3)
    grey = np.full((height, width, 3), 93, np.uint8)
    assert (enlarge(grey, target_width=2 * width).pixels == 93).all()


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"target_width": 40}, "target_width"),
        ({"target_height": 20}, "target_height"),
        ({"target_width": 321}, "target_width"),
        ({"target_width": 100, "target_height": 50}, "target_height"),
        ({"target_width": 400, "target_height": 481}, "target_height"),
    ],
)
def test_targets_that_do_not_enlarge_or_enlarge_too_much_are_refused(
    params: dict[str, Any], name: str
) -> None:
    with pytest.raises(BadParameter) as refused:
        enlarge(photo("chelsea")[:60, :40], **params)
    assert refused.value.name == name


def test_more_than_64_megapixels_are_refused_before_any_work() -> None:
    run = Run()
    with pytest.raises(PictureTooLarge, match="16008 x 4000"):
        enlarge(np.zeros((2000, 8004, 3), np.uint8), run)
    assert run.steps == []


def test_a_side_that_the_format_cannot_hold_is_refused_before_any_work() -> None:
    params = TOOLS["upscale"].params.model_validate({"format": "webp"})
    call = ToolCall("upscale", params, {"image": png_bytes(np.zeros((8, 8192, 3), np.uint8))})
    with pytest.raises(BadParameter, match="16383") as refused:
        planning.plan(call)  # from the header alone
    assert refused.value.name == "format"


@pytest.mark.parametrize(
    "params",
    [
        {"scale": 5},
        {"scale": "2.0"},
        {"scale": True},
        {"mode": "best"},
        {"scale": 2, "target_width": 100},
        {"target_width": 0},
        {"target_height": 65536},
        {"target_width": "nan"},
        {"scales": 2},
    ],
)
def test_invalid_parameters_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        UpscaleParams.model_validate(params)


@pytest.mark.parametrize("scale", [2, 4])
def test_blocks_that_the_network_spoils_come_from_a_steadier_method(scale: int) -> None:
    stripes = np.zeros((128, 192, 3), np.uint8)
    for left in range(0, 192, 6):
        stripes[:, left : left + 1 + left // 48] = 255
    stripes[::9, ::5] = (255, 0, 255)
    result = enlarge(stripes, scale=scale).pixels
    reduced = cv2.resize(result, (192, 128), interpolation=cv2.INTER_AREA).astype(int)
    blocks = np.abs(reduced - stripes).reshape(16, 8, 24, 8, 3).mean(axis=(1, 3, 4))
    assert blocks.max() < 40


def test_a_warning_says_where_the_network_was_not_used(tmp_path: Path) -> None:
    engine = _network(tmp_path, _DARK)("f32")
    source = 255 - photo("coffee")[:64, :64]  # bright
    result = np.empty((128, 128, 3), np.uint8)
    assert engine.enlarge(source, result, lambda share: None) > 0.9
    assert peak_signal_noise_ratio(by_lanczos(source, 2), result) > 30
    size = upscale.result_size(64, 64, UpscaleParams())
    (warning,) = upscale._warnings(UpscaleParams(), size, 0.5)
    assert warning.startswith("In 50% of the image")
    assert upscale._warnings(UpscaleParams(), size, 0.01) == []


def test_quality_keeps_the_colours() -> None:
    source = photo("coffee")[:96, :96]
    result = enlarge(source, scale=4, mode="quality").pixels
    reduced = cv2.resize(result, (96, 96), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs((reduced - source).mean(axis=(0, 1))).max() < 0.5


def _cutout(name: str) -> tuple[Pixels, Pixels]:
    """A photo, and the same as a cutout: a disc with a soft edge, black under what is transparent."""
    whole = photo(name)[:300, :300]
    disc = np.zeros((600, 600), np.uint8)
    cv2.circle(disc, (300, 300), 210, 255, -1)
    alpha = cv2.resize(disc, (300, 300), interpolation=cv2.INTER_AREA)
    return whole, np.dstack([np.where(alpha[:, :, None] > 0, whole, np.uint8(0)), alpha])


@pytest.mark.parametrize("params", [{"scale": 2}, {"scale": 3}, {"target_width": 512}])
def test_transparency_is_upscaled_without_a_dark_fringe(params: dict[str, Any]) -> None:
    whole, cutout = _cutout("coffee")
    result = enlarge(cutout, **params).pixels
    opaque = enlarge(whole, **params).pixels
    height, width = opaque.shape[:2]
    assert result.shape == (height, width, 4)
    alpha = result[:, :, 3]
    ideal = cv2.resize(cutout[:, :, 3], (width, height), interpolation=cv2.INTER_CUBIC)
    assert np.abs(alpha.astype(int) - ideal).mean() < 1
    inside = cv2.erode(ideal, np.ones((25, 25), np.uint8)) == 255
    assert (alpha[inside] == 255).all()
    assert np.abs(result[inside][:, :3].astype(int) - opaque[inside]).mean() < 0.1
    outside = cv2.dilate(ideal, np.ones((15, 15), np.uint8)) == 0
    assert not alpha[outside].any()
    # Along the edge, wherever anything is visible, the colours are the photo's own.
    edge = (alpha > 8) & (alpha < 250)
    assert edge.sum() > 500
    assert np.abs(result[edge][:, :3].astype(int) - opaque[edge]).mean() < 12
    assert result[edge][:, :3].mean() > opaque[edge].mean() - 3


@pytest.mark.long
def test_progress_increases_by_tiles_from_0_to_1() -> None:
    run = Run()
    enlarge(_cutout("astronaut")[1][:300, :300], run, scale=8, mode="fast")
    assert run.steps == sorted(run.steps)
    assert len(set(run.steps)) > 20
    assert run.steps[0] == 0
    assert run.steps[-1] == pytest.approx(1)


def test_a_cancelled_call_stops_between_tiles_and_the_engine_stays_usable() -> None:
    source = photo("astronaut")
    expected = enlarge(source, scale=2).pixels
    for stop_at in (1, 2, 4):
        run = Run(stop_at=stop_at)
        with pytest.raises(Cancelled):
            enlarge(source, run, scale=2)
        assert len(run.steps) == stop_at
    np.testing.assert_array_equal(enlarge(source, scale=2).pixels, expected)


def test_a_slow_tile_polls_for_cancellation() -> None:
    run = Run(stop_at=3)
    # One tile, which takes far longer than the first three questions.
    with pytest.raises(Cancelled):
        enlarge(photo("coffee")[:192, :192], run, scale=4, mode="quality")
    assert run.steps[-1] < 0.5


def test_expected_time_follows_size_scale_and_mode() -> None:
    def cost(megapixels: float, **params: object) -> float:
        return upscale.cost(UpscaleParams.model_validate(params), megapixels)

    assert cost(2) == pytest.approx(2 * cost(1), rel=0.01)
    assert cost(1, mode="quality") > 10 * cost(1)
    assert cost(1, scale=8) > 5 * cost(1, scale=4)
    assert cost(1, target_width=8000) == pytest.approx(cost(1, scale=8))
    assert cost(1, target_width=10) > 0  # refused later; weighing a call never fails


# What low precision can do to a network: 1 + x/1000 is 1 in bf16, so that everything is lost.
_LOST = ("Convolution a 1 1 data x 0=3 1=1 5=1 6=9", "Convolution b 1 1 x y 0=3 1=1 5=1 6=9")
_BLACK = (*_LOST, "BinaryOp m 1 1 y z 0=2 1=1 2=1000", "Interp i 1 1 z output 0=1 1=2.0 2=2.0")
# Answers a darker picture, which fails everywhere but in the darkest blocks.
_DARK = (*_LOST, "BinaryOp m 1 1 y z 0=2 1=1 2=700", "Interp i 1 1 z output 0=1 1=2.0 2=2.0")
_NAN = (
    "Split s0 1 2 data data0 data1",
    "Convolution a 1 1 data0 x 0=3 1=1 5=1 6=9",
    "Convolution b 1 1 x y 0=3 1=1 5=1 6=9",
    "Split s 1 2 y y0 y1",
    "BinaryOp d 2 1 y0 y1 one 0=3",
    "BinaryOp m 2 1 one data1 z 0=2",
    "Interp i 1 1 z output 0=1 1=2.0 2=2.0",
)


def _network(folder: Path, layers: tuple[str, ...], bias: float = -1.0) -> Callable[[Precision], Upscaler]:
    def convolution(weight: float, bias: float) -> bytes:
        kernel, biases = np.eye(3, dtype="<f4") * weight, np.full(3, bias, "<f4")
        return struct.pack("<I", 0) + kernel.tobytes() + biases.tobytes()

    lines = ["Input in 0 1 data", *layers]
    param, weights = folder / "n.param", folder / "n.bin"
    param.write_text("\n".join(["7767517", f"{len(lines)} 9", *lines]))
    weights.write_bytes(convolution(1e-3, 1.0) + convolution(1.0, bias))
    facts = UpscalerFacts("tiny", TilingFacts(2, 64, 16, 8), 1.0, 1, ("n.param", "n.bin"))
    return lambda precision: Upscaler(facts, param, weights, threads=2, precision=precision)


def _has_bf16() -> bool:
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.skipif(not _has_bf16(), reason="this processor computes in f32 anyway")
@pytest.mark.parametrize("layers", [_BLACK, _NAN], ids=["black", "NaN"])
def test_tiles_with_overflows_are_recomputed_in_f32(layers: tuple[str, ...], tmp_path: Path) -> None:
    source = np.maximum(photo("coffee")[:100, :150], 1)
    result = np.empty((200, 300, 3), np.uint8)
    engine = _network(tmp_path, layers)("bf16")
    engine.enlarge(source, result, lambda share: None)
    assert np.abs(result.astype(int) - source.repeat(2, axis=0).repeat(2, axis=1)).max() <= 1


def test_a_failed_tile_is_recomputed_while_others_are_being_computed(tmp_path: Path) -> None:
    darker = tuple(line.replace("2=700", "2=300") for line in _DARK)  # as whole tiles, too
    engine = _network(tmp_path, darker)("f32")
    source = 255 - photo("coffee")[:64, :300]  # bright, of several tiles
    result = np.empty((128, 600, 3), np.uint8)
    assert engine.enlarge(source, result, lambda share: None) > 0.9
    assert peak_signal_noise_ratio(by_lanczos(source, 2), result) > 30


def test_non_finite_results_are_an_error(tmp_path: Path) -> None:
    engine = _network(tmp_path, _BLACK, bias=float("nan"))("f32")
    with pytest.raises(RuntimeError, match="non-finite pixels"):
        engine.enlarge(photo("coffee")[:64, :64], np.empty((128, 128, 3), np.uint8), lambda share: None)


def test_tiles_with_invalid_values_are_detected() -> None:
    tile = (photo("coffee")[:64, :64] / 255).astype(np.float32)
    enlarged = tile.repeat(2, axis=0).repeat(2, axis=1)
    assert upscaling.is_sound(tile, enlarged)
    for value in (np.nan, np.inf, -np.inf):
        spoilt = enlarged.copy()
        spoilt[17, 19, 1] = value
        assert not upscaling.is_sound(tile, spoilt)
    assert not upscaling.is_sound(tile, np.zeros_like(enlarged))
    night = np.zeros_like(tile)
    night[3, 3] = 0.2
    assert upscaling.is_sound(night, np.zeros_like(enlarged))


@pytest.mark.parametrize("factor", [2, 4])
def test_alpha_edges_are_sharper_than_resampling_and_free_of_artefacts(factor: int) -> None:
    shape = np.zeros((2048, 2048), np.uint8)
    cv2.ellipse(shape, (1024, 1024), (900, 620), 31, 0, 360, 255, -1)
    cv2.line(shape, (500, 900), (1500, 1180), 0, 22)
    shape = cv2.resize(shape, (512, 512), interpolation=cv2.INTER_AREA)
    small = cv2.resize(shape, (512 // factor, 512 // factor), interpolation=cv2.INTER_AREA)
    result = np.empty_like(shape)
    engines().upscaler(f"span-x{factor}").enlarge(small, result, lambda share: None)
    cubic = cv2.resize(small, (512, 512), interpolation=cv2.INTER_CUBIC)
    ours, theirs = (np.abs(plane.astype(int) - shape).mean() for plane in (result, cubic))
    assert ours < 0.7 * theirs
    # Nothing floats in the air and no hole opens: the shape and its background are as many parts as before.
    for thresholded, expected in ((result > 127, shape > 127), (result <= 127, shape <= 127)):
        counts = [cv2.connectedComponents(part.astype(np.uint8))[0] for part in (thresholded, expected)]
        assert counts[0] == counts[1]


def test_a_target_follows_the_reduced_source() -> None:
    wide = UpscaleParams(target_width=3000).for_reduced((1800, 1200), (614, 409))
    assert upscale.result_size(614, 409, wide).width == 1023
    least = UpscaleParams(target_height=1201).for_reduced((1800, 1200), (600, 400))
    assert upscale.result_size(600, 400, least).height == 401  # still enlarges
    scaled = UpscaleParams(scale=4)
    assert scaled.for_reduced((1800, 1200), (256, 171)) == scaled
