"""Calls with a delivery: a source reduced before the tool runs, auto's format, a ZIP of the result."""

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from ml.backend import Delivery, ToolAnswer, ToolCall
from ml.catalogue import TOOLS
from ml.errors import BadParameter, PictureTooLarge
from ml.imaging import codecs
from ml.params import Length
from ml.pixels import Picture
from ml.runtime import planning, run_call
from ml.tools.bg_removal_params import BgRemovalParams
from tests.support.ml import hostile, photos

PHOTO = photos.photo("coffee")  # 600 x 400


def call(delivery: Delivery | None, picture: bytes, tool: str = "crop", **form: str) -> ToolCall:
    params = TOOLS[tool].params.model_validate(form)
    return ToolCall(tool, params, {"image": picture}, delivery=delivery)


def perform(delivery: Delivery | None, picture: bytes, **form: str) -> ToolAnswer:
    return run_call.perform(call(delivery, picture, **form), None, lambda *_: None)


@pytest.mark.parametrize(
    ("source", "max_pixels", "reduced"),
    [
        ((600, 400), 250_000, (600, 400)),
        ((600, 400), 240_000, (600, 400)),
        ((6250, 4000), 250_000, (625, 400)),
        ((1200, 800), 250_000, (612, 408)),
        ((50_000, 1), 250, (3535, 1)),
        ((601, 400), None, (601, 400)),
    ],
)
def test_a_source_is_reduced_to_the_limit(
    source: tuple[int, int], max_pixels: int | None, reduced: tuple[int, int]
) -> None:
    assert planning.reduced_size(source, Delivery(max_pixels)) == reduced
    assert planning.reduced_size(source, None) == source


def test_the_tool_gets_the_reduced_source_and_the_answer_says_by_how_much() -> None:
    answer = perform(Delivery(60_000), photos.png_bytes(PHOTO))
    assert (answer.width, answer.height) == (300, 200)
    assert (answer.source_width, answer.source_height) == (600, 400)
    assert answer.fields["source"] == {"width": 600, "height": 400, "scale": 0.5}
    halved = PHOTO.reshape(200, 2, 300, 2, 3).mean(axis=(1, 3))
    assert np.abs(photos.open_bytes(answer.content).astype(int) - halved).mean() < 3


def test_without_a_delivery_nothing_changes() -> None:
    answer = perform(None, photos.png_bytes(PHOTO))
    assert (answer.width, answer.format) == (600, "png")
    assert "source" not in answer.fields


def test_auto_becomes_the_opaque_format_unless_there_is_transparency() -> None:
    delivery = Delivery(opaque_format="jpg")
    assert perform(delivery, photos.png_bytes(PHOTO)).format == "jpg"
    assert perform(delivery, photos.png_bytes(PHOTO), format="png").format == "png"
    cut_out = np.dstack([PHOTO, np.full((400, 600), 100, np.uint8)])
    assert perform(delivery, photos.png_bytes(cut_out)).format == "png"


def test_an_archive_is_delivered_as_zip() -> None:
    cut_out = np.dstack([PHOTO, np.full((400, 600), 100, np.uint8)])
    answer = perform(Delivery(archive=True), photos.png_bytes(cut_out))
    assert answer.format == "zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert set(archive.namelist()) == {"color.jpg", "alpha.png"}


def test_a_mask_has_no_archive() -> None:
    grey = np.zeros((4, 4), np.uint8)
    with pytest.raises(BadParameter):
        run_call._encode(grey, Picture(PHOTO, "png"), call(Delivery(archive=True), photos.png_bytes(PHOTO)))


def test_the_plan_is_of_the_reduced_source() -> None:
    header = hostile.png(6000, 4000, idat=b"not a zlib stream")
    plan = planning.plan(call(Delivery(240_000), header))
    assert (plan.source, plan.reduced, plan.answer) == ((6000, 4000), (600, 400), (600, 400))
    assert plan.source_megapixels == pytest.approx(0.24)
    zipped = planning.plan(call(Delivery(240_000, archive=True), header))
    assert zipped.answer_format == "zip"
    assert zipped.memory_bytes > plan.memory_bytes
    with pytest.raises(PictureTooLarge):
        planning.plan(call(Delivery(240_000), hostile.png(8000, 8000, idat=b"")))


def test_a_region_in_pixels_is_scaled_with_the_source() -> None:
    params = BgRemovalParams.model_validate({"roi": "60 10% 600 400"})
    reduced = params.for_reduced((600, 400), (300, 200))
    assert reduced.roi == (
        Length(value=30),
        Length(value=10, percent=True),
        Length(value=300),
        Length(value=200),
    )
    assert replace(call(None, b"", "bg-removal"), params=reduced).params == reduced
    outside = BgRemovalParams.model_validate({"roi": "0 0 601 400"})
    with pytest.raises(BadParameter, match="600 x 400"):
        outside.for_reduced((600, 400), (300, 200))


def test_a_result_keeps_the_density_of_its_source() -> None:
    content = photos.file_bytes(PHOTO, "JPEG", dpi=(300, 300))
    answer = perform(Delivery(240_000), content)
    decoded = codecs.decode(answer.content)
    assert decoded.dpi == pytest.approx((300, 300), abs=0.02)
