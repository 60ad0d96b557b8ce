"""The form fields of a look after its layers were cropped, turned, mirrored or resized."""

from dataclasses import replace
from typing import Any

import pytest

from ml.tools.bg_removal_params import BgRemovalParams
from ml.tools.cropped_looks import FrameChange, cropped_look

NOTHING = FrameChange(
    quarter_turns=0,
    flip=None,
    zoom=1,
    scale=1,
    edge_before=100,
    edge_after=100,
    shown_before=100,
    shown_after=100,
    longer_side_before=400,
    longer_side_after=400,
)


def changed(look: dict[str, str], *, has_own_background: bool = False, **change: Any) -> dict[str, str]:
    made = cropped_look(
        look,
        BgRemovalParams.model_validate(look),
        replace(NOTHING, **change),
        has_own_background=has_own_background,
    )
    BgRemovalParams.model_validate(made)  # it can be drawn
    return made


def test_a_look_that_fits_the_new_frame_is_kept() -> None:
    look = {"bg_color": "red", "shadow": "drop", "outline_width": "3%", "outline_color": "#fff"}
    assert changed(look) == look
    assert changed({**look, "shadow_blur": "12", "feather": "2"}) == {
        **look,
        "shadow_blur": "12",
        "feather": "2",
    }
    assert changed({}) == {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"quarter_turns": 1}, ("-2%", "10%")),
        ({"quarter_turns": -1}, ("2%", "-10%")),
        ({"quarter_turns": 2}, ("-10%", "-2%")),
        ({"flip": "h"}, ("-10%", "2%")),
        ({"quarter_turns": 1, "flip": "v"}, ("-2%", "-10%")),
        ({"shown_after": 50}, ("20%", "4%")),
        ({"shown_after": 10}, ("50%", "20%")),  # no shadow is longer
    ],
    ids=str,
)
def test_a_shadow_stays_at_the_same_side_of_the_subject(
    change: dict[str, Any], expected: tuple[str, str]
) -> None:
    look = changed({"shadow": "drop", "shadow_x": "10%", "shadow_y": "2%"}, **change)
    assert (look["shadow_x"], look["shadow_y"]) == expected


def test_the_usual_shadow_is_stated_once_it_is_turned() -> None:
    assert changed({"shadow": "drop"}, flip="h") == {
        "shadow": "drop",
        "shadow_x": "-1.5%",
        "shadow_y": "3.5%",
    }
    assert changed({"shadow": "contact"}, quarter_turns=1) == {"shadow": "contact"}
    assert changed({"shadow": "drop", "shadow_x": "40"}, scale=0.5)["shadow_x"] == "20"


@pytest.mark.parametrize(
    ("angle", "change", "expected"),
    [
        ("", {}, "180"),
        (" 45", {"quarter_turns": 1}, "135"),
        (" 135", {"quarter_turns": 1}, "225"),
        (" 45", {"flip": "h"}, "315"),
        (" 300", {"quarter_turns": 1}, "30"),
        (" 45", {"flip": "v"}, "135"),
        ("", {"flip": "v"}, "0"),
    ],
    ids=str,
)
def test_a_gradient_turns_with_the_picture(angle: str, change: dict[str, Any], expected: str) -> None:
    made = changed({"bg_gradient": f"#fff, #dbe7f3{angle}"}, **change)["bg_gradient"]
    assert made.split() == ["#fff", "#dbe7f3", expected if expected != "180" else made.split()[2]]
    assert float(made.split()[2]) % 360 == float(expected) % 360


def test_lengths_of_the_edge_follow_the_zoom_within_their_limits() -> None:
    look = {"feather": "10", "shift_edge": "-3", "outline_width": "4"}
    assert changed(look, zoom=0.5) == {"feather": "5", "shift_edge": "-1.5", "outline_width": "2"}
    assert changed(look, zoom=8) == {"feather": "50", "shift_edge": "-20", "outline_width": "32"}
    assert changed({"shift_edge": "-3"}, edge_after=0) == {"shift_edge": "0"}
    assert changed({"outline_width": "4%"}, zoom=2, edge_after=200) == {"outline_width": "4%"}


def test_a_blur_looks_the_same_in_a_smaller_frame() -> None:
    assert changed({"bg_blur": "30"}, longer_side_after=200) == {"bg_blur": "60"}
    assert changed({"bg_blur": "30"}, longer_side_after=20) == {"bg_blur": "100"}
    assert changed({"bg_blur": "30"}, scale=0.5, longer_side_after=200) == {"bg_blur": "30"}


def test_the_frame_of_a_preset_becomes_that_of_the_layers() -> None:
    assert changed({"preset": "amazon"}) == {"bg_color": "#ffffff"}
    assert changed({"preset": "passport"}) == {"bg_color": "#eeeeee", "dpi": "600"}
    assert changed({"preset": "etsy", "bg_color": "#123"}) == {"bg_color": "#123"}
    framed = {"crop": "true", "crop_margin": "5%", "subject_x": "9", "subject_rotate": "4", "roi": "0 0 9 9"}
    assert changed({**framed, "bg_color": "red"}) == {"bg_color": "red"}


def test_a_background_of_its_own_replaces_the_fields() -> None:
    for look in ({"bg_color": "red"}, {"bg_blur": "40"}, {"preset": "ebay"}):
        assert changed(look, has_own_background=True) == {}
