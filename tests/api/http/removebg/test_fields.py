"""What each of remove.bg's parameters means for our background removal."""

from typing import Any

import pytest

from api.errors import InvalidParameter
from api.http.removebg import fields
from ml.backend import Delivery
from ml.params import Length
from ml.tools.bg_removal_params import BgRemovalParams

MEGA = 1_000_000


def params(**texts: str) -> BgRemovalParams:
    return fields.read(texts).params()


def delivery(**texts: str) -> Delivery:
    form = fields.read(texts)
    return form.delivery(form.params(), has_background_image="bg_image_url" in texts)


@pytest.mark.parametrize(
    ("size", "pixels", "png_pixels"),
    [
        ("preview", 0.25, 0.25),
        ("small", 0.25, 0.25),
        ("regular", 0.25, 0.25),
        ("medium", 1.5, 1.5),
        ("hd", 4, 4),
        ("full", 25, 10),
        ("4k", 25, 10),
        ("auto", 25, 10),
        ("50MP", 50, 10),
        ("50mp", 50, 10),
        ("FULL", 25, 10),
    ],
)
def test_every_size_has_its_documented_limit(size: str, pixels: float, png_pixels: float) -> None:
    for format in ("jpg", "webp", "zip"):
        assert delivery(size=size, format=format).max_pixels == pixels * MEGA
    for format in ("png", "auto"):
        assert delivery(size=size, format=format).max_pixels == png_pixels * MEGA


def test_the_default_size_is_a_preview() -> None:
    assert delivery().max_pixels == 0.25 * MEGA


def test_auto_has_the_limit_of_the_format_that_it_becomes() -> None:
    assert delivery(size="full", bg_color="fff").max_pixels == 25 * MEGA
    assert delivery(size="full", bg_color="ffff").max_pixels == 25 * MEGA
    assert delivery(size="full", bg_color="fff8").max_pixels == 10 * MEGA
    assert delivery(size="full", bg_image_url="https://a.example.com/").max_pixels == 25 * MEGA
    assert delivery(size="full", bg_color="fff", channels="alpha").max_pixels == 10 * MEGA


@pytest.mark.parametrize(
    ("text", "format", "archive"),
    [
        ("auto", "auto", False),
        ("png", "png", False),
        ("PNG", "png", False),
        ("jpg", "jpg", False),
        ("jpeg", "jpg", False),
        ("webp", "webp", False),
        ("zip", "png", True),
    ],
)
def test_every_format(text: str, format: str, archive: bool) -> None:
    assert params(format=text).format == format
    assert delivery(format=text).archive is archive
    assert delivery(format=text).opaque_format == "jpg"


@pytest.mark.parametrize(
    ("color", "expected"),
    [
        ("81d4fa", (0x81, 0xD4, 0xFA, 255)),
        ("#81D4FA", (0x81, 0xD4, 0xFA, 255)),
        ("fff", (255, 255, 255, 255)),
        ("81d4fa77", (0x81, 0xD4, 0xFA, 0x77)),
        ("f0a8", (0xFF, 0, 0xAA, 0x88)),
        ("#f0a8", (0xFF, 0, 0xAA, 0x88)),
        ("green", (0, 128, 0, 255)),
    ],
)
def test_colours_with_and_without_hash(color: str, expected: tuple[int, ...]) -> None:
    assert params(bg_color=color).bg_color == expected


def test_a_region_may_mix_pixels_and_percentages() -> None:
    roi = params(roi="0 10px 100% 90%").roi
    assert roi == (
        Length(value=0),
        Length(value=10),
        Length(value=100, percent=True),
        Length(value=90, percent=True),
    )


@pytest.mark.parametrize("text", ["true", "True", "1", "yes", "on"])
def test_crop_and_its_margin(text: str) -> None:
    read = params(crop=text, crop_margin="10% 30px")
    assert read.crop
    assert read.crop_margin == (
        Length(value=10, percent=True),
        Length(value=30),
        Length(value=10, percent=True),
        Length(value=30),
    )


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"crop": "false", "crop_margin": "10%"}, {"crop": False, "crop_margin": None}),
        ({"crop": "true", "scale": "80%", "crop_margin": "10%"}, {"scale": 80.0, "crop_margin": None}),
        ({"crop": "true", "position": "center"}, {"crop": True, "position": None}),
        ({"scale": "50%", "position": "0% 100%"}, {"scale": 50.0, "position": (0.0, 100.0)}),
        ({"scale": "original", "position": "original"}, {"scale": "original", "position": "original"}),
        ({"channels": "alpha", "bg_color": "red"}, {"channels": "alpha", "bg_color": None}),
        ({"channels": "alpha", "add_shadow": "true"}, {"shadow": "none"}),
        ({"add_shadow": "false", "shadow_type": "drop", "shadow_opacity": "80"}, {"shadow": "none"}),
        ({"add_shadow": "true", "shadow_type": "none"}, {"shadow": "none"}),
        ({"add_shadow": "true"}, {"shadow": "drop", "shadow_opacity": 50}),
        (
            {"add_shadow": "true", "shadow_type": "3D", "shadow_opacity": "80"},
            {"shadow": "drop", "shadow_opacity": 80},
        ),
        ({"add_shadow": "true", "shadow_type": "car"}, {"shadow": "drop"}),
        ({"semitransparency": "false"}, {}),
        ({"shadow_method": "legacy", "nothing": "known"}, {}),
    ],
)
def test_what_has_no_effect_is_ignored(texts: dict[str, str], expected: dict[str, Any]) -> None:
    read = params(**texts)
    assert {name: getattr(read, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({}, "other"),
        ({"type": "auto"}, "other"),
        ({"type": "person"}, "person"),
        ({"type": "car", "type_level": "latest"}, "car"),
        ({"type": "something\r\nnew"}, "other"),
        ({"type": "person", "type_level": "none"}, None),
        ({"type_level": "2"}, "other"),
    ],
)
def test_the_type_is_the_named_one_or_other(texts: dict[str, str], expected: str | None) -> None:
    assert fields.read(texts).foreground_type == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("size", "huge"),
        ("format", "gif"),
        ("channels", "rgb"),
        ("crop", "maybe"),
        ("crop_margin", "wide"),
        ("scale", "5%"),
        ("position", "left"),
        ("roi", "0 0 1"),
        ("add_shadow", "please"),
        ("shadow_opacity", "101"),
        ("shadow_opacity", "dark"),
        ("semitransparency", "some"),
        ("bg_color", "no-colour"),
        ("type", "x" * 65),
        ("type_level", "x" * 65),
    ],
)
def test_what_cannot_be_meant_is_refused_by_remove_bgs_name(name: str, text: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        params(**{"crop": "true" if name == "crop_margin" else "false", name: text})
    assert raised.value.param == name
    assert raised.value.message.startswith(name)


def test_an_archive_of_a_mask_is_refused() -> None:
    with pytest.raises(InvalidParameter) as raised:
        params(channels="alpha", format="zip")
    assert raised.value.param == "format"
