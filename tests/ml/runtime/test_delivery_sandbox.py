"""Deliveries with `max_side` and `mark`: results of the whole picture's parameters, small and marked."""

import json
from typing import Any

import numpy as np
import pytest

from ml.backend import Chaining, Delivery, ToolCall
from ml.catalogue import TOOLS
from ml.errors import BadParameter, PictureTooLarge
from ml.imaging import codecs, intermediates
from ml.params import Params
from ml.runtime import planning, run_call
from tests.support.ml import photos

SANDBOX = Delivery(max_side=512, mark="Test")
WHOLE = (1200, 800)


def parameters(tool: str, **form: Any) -> Params:
    return TOOLS[tool].params.model_validate(form)


def reduced(tool: str, **form: Any) -> tuple[tuple[int, int], Params]:
    call = ToolCall(tool, parameters(tool, **form), {"image": b""}, delivery=SANDBOX)
    return planning.reduce(call, WHOLE)


@pytest.mark.parametrize(
    ("tool", "form", "size"),
    [
        ("crop", {"width": "50%"}, (512, 341)),
        ("upscale", {"scale": "4"}, (128, 85)),
        ("upscale", {"target_width": "2400"}, (256, 171)),
        ("crop", {"resize": "3000x3000"}, (512, 341)),  # smaller would only be coarser
        ("bg-removal", {"preset": "marketplace"}, (512, 341)),
    ],
)
def test_the_source_is_as_small_as_its_result_requires(
    tool: str, form: dict[str, str], size: tuple[int, int]
) -> None:
    assert reduced(tool, **form)[0] == size


def test_a_small_source_is_not_reduced() -> None:
    call = ToolCall("crop", parameters("crop", width="10"), {"image": b""}, delivery=SANDBOX)
    assert planning.reduce(call, (300, 512)) == ((300, 512), call.params)


def test_lengths_and_points_are_scaled_with_the_source() -> None:
    _, crop = reduced("crop", x="600", y="25%", width="300", height="400")
    found = [getattr(crop, name).pixels(1) for name in ("x", "y", "width", "height")]
    assert found == [256, 85, 128, 171]
    _, select = reduced("magic-select", points="[[600,400,1],[0,800,0]]", box="[0,0,1200,800]", grow="20")
    assert select.points == (((256.0, 170.5, 1), (0.0, 341.0, 0)),)  # type: ignore[attr-defined]
    assert select.box == ((0.0, 0.0, 512.0, 341.0),)  # type: ignore[attr-defined]
    assert select.grow == 9  # type: ignore[attr-defined]
    strokes = '[{"points":[[1200,800]],"size":60,"hardness":0.5}]'
    for tool, more in (("brush", {"op": "erase"}), ("generative-fill", {"feather": "30"})):
        _, params = reduced(tool, strokes=strokes, **more)
        (stroke,) = json.loads(params.strokes)  # type: ignore[attr-defined]
        assert stroke["points"] == [[512.0, 341.0]]
        assert stroke["size"] == pytest.approx(60 * 512 / 1200, rel=0.01)
        assert (stroke["hardness"], stroke["opacity"]) == (0.5, 1.0)


def test_a_box_at_the_edge_stays_in_the_picture() -> None:
    for x in range(0, 1190, 7):
        size, params = reduced("crop", x=str(x), width=str(1200 - x), height="10")
        assert TOOLS["crop"].answer_size(params, size) is not None


@pytest.mark.parametrize(
    ("tool", "form", "error"),
    [
        ("crop", {"x": "1000", "width": "300", "height": "9"}, BadParameter),
        ("upscale", {"target_width": "1000"}, BadParameter),
        ("generative-expand", {"left": "60000", "right": "60000"}, PictureTooLarge),
    ],
)
def test_what_is_impossible_for_the_whole_picture_stays_impossible(
    tool: str, form: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        reduced(tool, **form)


def test_the_original_of_a_restoration_is_reduced_with_the_source() -> None:
    source = np.full((800, 1200, 3), 50, np.uint8)
    original = np.full((800, 1200, 3), 200, np.uint8)
    params = parameters("brush", op="restore", strokes='[{"points":[[600,400]],"size":400,"hardness":1}]')
    files = {"image": photos.png_bytes(source), "original": photos.png_bytes(original)}
    call = ToolCall("brush", params, files, delivery=Delivery(max_side=512))
    result = photos.open_bytes(run_call.perform(call, None, lambda *_: None).content)
    assert result.shape[:2] == (341, 512)
    assert abs(int(result[170, 256, 0]) - 200) <= 1
    assert abs(int(result[20, 20, 0]) - 50) <= 1
    small = {**files, "original": photos.png_bytes(original[:400])}
    with pytest.raises(BadParameter, match="original is 1200 x 400"):
        run_call.perform(ToolCall("brush", params, small, delivery=SANDBOX), None, lambda *_: None)


def test_only_the_last_of_several_steps_is_marked_and_the_whole_size_is_handed_on() -> None:
    grey = np.full((800, 1200, 3), 90, np.uint8)
    step = parameters("crop", x="200", width="1000", height="800")
    first = ToolCall(
        "crop",
        step,
        {"image": photos.png_bytes(grey)},
        delivery=SANDBOX,
        chaining=Chaining(is_last=False, raw_bytes_max=1 << 20),
    )
    handed = run_call.perform(first, None, lambda *_: None).content
    assert (intermediates.read(handed).pixels == 90).all()
    assert intermediates.whole_size(handed) == (1000, 800)
    last = ToolCall(
        "crop",
        parameters("crop", x="500", width="500", height="400"),
        {"image": handed},
        delivery=SANDBOX,
        chaining=Chaining(is_last=True, raw_bytes_max=1 << 20),
    )
    answer = run_call.perform(last, None, lambda *_: None)
    assert (answer.width, answer.height) == pytest.approx((214, 171), abs=1)
    assert (codecs.decode(answer.content).pixels != 90).any()


def test_a_result_of_a_fixed_size_is_reduced_after_the_tool() -> None:
    params = parameters("crop", resize="2000x1000", fit="cover", format="png")
    picture = photos.png_bytes(photos.photo("coffee"))
    call = ToolCall("crop", params, {"image": picture}, delivery=Delivery(max_side=512))
    answer = run_call.perform(call, None, lambda *_: None)
    assert (answer.width, answer.height) == (512, 256)
