"""The layers of a cut-out and the look drawn from them."""

import pytest

from api.editor.layers import Layers, look_of


@pytest.mark.parametrize(
    ("look", "is_plain"),
    [
        ({}, True),
        ({"bg_blur": "0", "shadow": "none", "feather": "0"}, True),
        ({"roi": "0 0 50% 50%"}, True),  # the cut-out was made in it
        ({"bg_color": "red"}, False),
        ({"bg_image_id": "img_1"}, False),
        ({"decontaminate": "false"}, False),
        ({"subject_x": "3"}, False),
        ({"crop": "true"}, False),
        ({"preset": "marketplace"}, False),
    ],
)
def test_a_plain_look_is_the_cutout_itself(look: dict[str, str], is_plain: bool) -> None:
    assert Layers("img_c", "img_p", 60, 40, look).is_plain is is_plain


def test_a_look_keeps_the_region_that_was_paid_and_none_of_the_rest() -> None:
    form = {
        "model": "fast",
        "roi": "0 0 5 5",
        "format": "png",
        "quality": "90",
        "bg_color": "red",
        "bg_blur": "",
    }
    assert look_of(form) == {"roi": "0 0 5 5", "bg_color": "red"}
    paid = Layers("img_c", "img_p", 60, 40, {"roi": "0 0 5 5", "bg_color": "red"})
    assert paid.with_look({"roi": "0 0 60 40", "bg_color": "blue"}).look == {
        "roi": "0 0 5 5",
        "bg_color": "blue",
    }
    whole = Layers("img_c", "img_p", 60, 40)
    assert whole.with_look({"roi": "0 0 9 9", "feather": "2"}).look == {"feather": "2"}


def test_the_background_of_a_crop_belongs_to_the_looks_that_show_it() -> None:
    cropped = Layers("img_c", "img_p", 60, 40, {"bg_image_id": "img_b"}, "img_b")
    assert cropped.with_look({"bg_image_id": "img_b", "shadow": "drop"}).background_id == "img_b"
    for look in ({"bg_image_id": "img_mine"}, {"bg_color": "red"}, {}):
        assert cropped.with_look(look).background_id is None
