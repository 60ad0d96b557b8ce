"""Calls that are steps on one picture: the pixels go from one to the next without a file between them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ml.backend import Chaining, ToolAnswer, ToolCall
from ml.errors import UnsupportedFormat
from ml.imaging import codecs, intermediates
from ml.runtime import planning, run_call
from ml.tools.crop import CropParams
from tests.support.ml import photos

MIB = 1 << 20
PHOTO = photos.photo("coffee")[:150, :200]
CUTOUT = np.dstack([PHOTO, np.tile(np.arange(200, dtype=np.uint8), (150, 1))])


def chained(content: bytes, *forms: dict[str, str], raw_bytes_max: int = MIB) -> ToolAnswer:
    for form in forms:
        chaining = Chaining(is_last=form is forms[-1], raw_bytes_max=raw_bytes_max)
        answer = perform(content, form, chaining)
        content = answer.content
    return answer


def perform(content: bytes, form: dict[str, str], chaining: Chaining | None = None) -> ToolAnswer:
    return run_call.perform(call(content, form, chaining), None, lambda _stage, _fraction: None)


def call(content: bytes, form: dict[str, str], chaining: Chaining | None = None) -> ToolCall:
    return ToolCall("crop", CropParams.model_validate(form), {"image": content}, chaining=chaining)


def by_hand(content: bytes, forms: Sequence[dict[str, str]]) -> ToolAnswer:
    for form in forms:
        answer = perform(content, form)
        content = answer.content
    return answer


@pytest.mark.parametrize("raw_bytes_max", [MIB, 0])
@pytest.mark.parametrize("source", [photos.png_bytes(PHOTO, dpi=(300, 300)), photos.png_bytes(CUTOUT)])
def test_the_last_result_is_that_of_the_same_calls_one_by_one(source: bytes, raw_bytes_max: int) -> None:
    forms = [{"x": "20", "width": "50%"}, {"rotate": "90"}, {"flip": "h"}]
    answer, expected = chained(source, *forms, raw_bytes_max=raw_bytes_max), by_hand(source, forms)
    assert answer.content == expected.content
    assert (answer.width, answer.height, answer.format) == (expected.width, expected.height, "png")


def test_the_results_between_are_not_encoded_and_the_last_one_has_the_sources_format(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []

    def counted(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            done.append(name)
            return work(*given)

        return run

    monkeypatch.setattr(codecs, "decode", counted("decode", codecs.decode))
    monkeypatch.setattr(codecs, "encode", counted("encode", codecs.encode))
    answer = chained(photos.jpeg_bytes(PHOTO), {"flip": "h", "quality": "1"}, {"flip": "h"}, {})
    assert done == ["decode", "encode"]
    assert answer.format == "jpg"
    source = photos.open_bytes(photos.jpeg_bytes(PHOTO)).astype(int)
    assert np.abs(photos.open_bytes(answer.content) - source).mean() < 2


def test_a_result_that_is_handed_on_describes_itself() -> None:
    answer = perform(photos.png_bytes(CUTOUT), {"width": "50%", "format": "jpg"}, Chaining(False, MIB))
    assert (answer.format, answer.width, answer.height) == ("raw", 100, 150)
    assert answer.warnings == (
        "JPEG does not support transparency: the image was placed on a white background.",
    )
    handed_on = call(answer.content, {"width": "50%"}, Chaining(is_last=True, raw_bytes_max=MIB))
    plan = planning.plan(handed_on)
    assert (plan.source_format, plan.source, plan.answer, plan.answer_format) == (
        "raw",
        (100, 150),
        (50, 150),
        "jpg",
    )


def test_the_metadata_that_a_step_keeps_reaches_the_last_result() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    source = photos.jpeg_bytes(PHOTO, exif=exif)
    keep = {"keep_metadata": "true"}
    kept = codecs.decode(chained(source, keep, keep).content).exif
    assert kept is not None
    assert b"Maker" in kept
    assert codecs.decode(chained(source, {}, keep).content).exif is None


def test_a_call_on_its_own_takes_no_result_that_was_handed_on() -> None:
    content = intermediates.write(PHOTO, "png", raw_bytes_max=MIB)
    with pytest.raises(UnsupportedFormat):
        perform(content, {})
