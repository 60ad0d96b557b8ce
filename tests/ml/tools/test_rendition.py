"""Renditions: smaller or re-encoded images; and other tools outside the catalogue."""

import numpy as np
import pytest

from ml import catalogue
from ml.backend import ToolCall
from ml.pixels import Pixels
from ml.runtime.run_call import perform
from ml.tools.rendition import RenditionParams, fitting_size
from tests.support.ml.photos import open_bytes, photo, png_bytes


def rendered(pixels: Pixels, **params: object) -> Pixels:
    call = ToolCall("rendition", RenditionParams.model_validate(params), {"image": png_bytes(pixels)})
    answer = perform(call, None, lambda _stage, _fraction: None)
    return open_bytes(answer.content)


@pytest.mark.parametrize(
    ("size", "wanted", "expected"),
    [
        ((4000, 3000), 1600, (1600, 1200)),
        ((800, 600), 1600, (800, 600)),
        ((800, 600), None, (800, 600)),
        ((3, 50_000), 2, (1, 16_383)),  # what WebP can hold
        ((50_000, 3), 100, (100, 1)),
    ],
)
def test_a_rendition_keeps_the_aspect_ratio_and_never_enlarges(
    size: tuple[int, int], wanted: int | None, expected: tuple[int, int]
) -> None:
    assert fitting_size(*size, wanted) == expected


def test_without_a_width_only_the_file_type_changes() -> None:
    assert np.array_equal(rendered(photo("coffee"), format="png"), photo("coffee"))


def test_a_reduced_cutout_says_to_the_pixel_what_is_visible_of_it() -> None:
    cutout = np.zeros((200, 300, 4), np.uint8)
    cutout[31:77, 53:101] = 255

    def box_of(pixels: Pixels) -> object:
        params = RenditionParams(width=100, finds_object=True)
        call = ToolCall("rendition", params, {"image": png_bytes(pixels)})
        return perform(call, None, lambda _stage, _fraction: None).fields["box"]

    assert box_of(cutout) == [53, 31, 101, 77]
    assert box_of(np.zeros_like(cutout)) is None
    assert box_of(cutout[..., :3]) == [0, 0, 300, 200], "everything is visible of an opaque picture"


def test_hidden_colour_does_not_bleed_into_a_smaller_image() -> None:
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[:, :20] = (255, 0, 0, 255)
    pixels[:, 20:] = (0, 255, 0, 0)
    seen = rendered(pixels, width=13, format="png")
    assert (seen[seen[..., 3] > 0][:, 1] == 0).all()


def test_a_colour_is_put_behind_transparent_parts_only() -> None:
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[:, :20] = (255, 0, 0, 255)
    seen = rendered(pixels, bg_color="#00f", format="png")
    assert seen[5, 5, :3].tolist() == [255, 0, 0]
    assert seen[5, 30, :3].tolist() == [0, 0, 255]
    assert np.array_equal(rendered(photo("coffee"), bg_color="#00f", format="png"), photo("coffee"))


def test_unlisted_tools_are_callable_but_not_in_the_catalogue() -> None:
    assert not set(catalogue.UNLISTED_TOOLS) & set(catalogue.TOOLS)
    for name in (*catalogue.TOOLS, *catalogue.UNLISTED_TOOLS):
        assert catalogue.find(name).name == name
    with pytest.raises(KeyError):
        catalogue.find("none")
