"""Parameters shared by all tools: accepted spellings and refused values."""

import pytest
from pydantic import ValidationError

from ml.params import VALUE_LENGTH_MAX, ColorField, Params


class Coloured(Params):
    color: ColorField = (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("sent", "read"),
    [("jpeg", "jpg"), ("JPG", "jpg"), ("JPEG", "jpg"), ("Png", "png"), (" webp ", "webp"), ("AUTO", "auto")],
)
def test_a_format_is_case_insensitive_and_jpeg_is_jpg(sent: str, read: str) -> None:
    assert Params.model_validate({"format": sent}).format == read


@pytest.mark.parametrize("sent", ["bmp", "jpe", "", "jpegg", "tiff"])
def test_an_unknown_format_is_refused(sent: str) -> None:
    with pytest.raises(ValidationError):
        Params.model_validate({"format": sent})


@pytest.mark.parametrize("digits", ["fff", "81d4fa", "81D4FA", "81d4fa80", "abc", "facade", "000000"])
def test_a_hex_color_needs_no_hash(digits: str) -> None:
    bare, hashed = (Coloured.model_validate({"color": text}).color for text in (digits, f"#{digits}"))
    assert bare == hashed


@pytest.mark.parametrize("sent", ["##fff", "ffff", "ff", "#", "81d4f", "81d4fag", "nosuchcolor"])
def test_an_invalid_color_is_refused(sent: str) -> None:
    with pytest.raises(ValidationError):
        Coloured.model_validate({"color": sent})


@pytest.mark.parametrize("text", ["a" * (VALUE_LENGTH_MAX + 1), "re\0d"])
def test_overlong_text_is_refused_by_name_before_it_is_parsed(text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Coloured.model_validate({"color": text})
    (error,) = refused.value.errors()
    assert error["ctx"]["param"] == "color"


def test_the_schema_still_lists_the_formats() -> None:
    schema = Params.model_json_schema()["properties"]["format"]
    assert schema["enum"] == ["auto", "png", "jpg", "webp", "avif"]
