"""Placement of objects on a canvas, to the pixel."""

import cv2
import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from ml.errors import PictureTooLarge
from ml.imaging.framing import object_box
from ml.imaging.geometry import Box
from ml.imaging.placement import Placement, PositionField, ScaleField, place_object
from ml.params import Length
from tests.support.ml.photos import photo

scales = TypeAdapter(ScaleField).validate_python
positions = TypeAdapter(PositionField).validate_python

PICTURE = (600, 400)
OBJECT = Box(100, 50, 300, 150)  # 200 x 100


def placed(
    crop: bool = False,
    margin: int | None = None,
    scale: str = "original",
    position: str = "original",
    output_size: tuple[int, int] | None = None,
) -> Placement:
    margins = None if margin is None else (Length(value=margin),) * 4
    return place_object(
        OBJECT,
        PICTURE,
        crop=crop,
        margins=margins,
        scale=scales(scale),
        position=positions(position),
        output_size=output_size,
    )


def test_scales_and_positions_are_parsed() -> None:
    assert scales("original") == "original"
    assert (scales("10%"), scales(" 85.5% "), scales(85.5)) == (10, 85.5, 85.5)
    assert positions("center") == (50, 50)
    assert positions("20%") == (20, 20)
    assert positions("0% 100%") == positions((0.0, 100.0)) == (0, 100)


@pytest.mark.parametrize("text", ["9.9%", "100.1%", "nan", "-50%", "0.5", ""])
def test_invalid_scales_are_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        scales(text)


def test_defaults_change_nothing() -> None:
    assert placed() == Placement(Box(0, 0, *PICTURE), Box(0, 0, *PICTURE), PICTURE)


def test_a_crop_is_the_object_and_its_margins() -> None:
    assert placed(crop=True).frame() == OBJECT
    assert placed(crop=True, margin=60).frame() == Box(40, -10, 360, 210)


@pytest.mark.parametrize(
    ("position", "target"),
    [
        ("center", Box(200, 150, 400, 250)),
        ("0%", Box(0, 0, 200, 100)),
        ("100% 50%", Box(400, 150, 600, 250)),
        ("25% 100%", Box(100, 300, 300, 400)),
    ],
)
def test_a_position_moves_the_object_and_keeps_its_pixels(position: str, target: Box) -> None:
    placement = placed(position=position)
    assert (placement.source, placement.target, placement.canvas) == (OBJECT, target, PICTURE)
    assert placement.keeps_pixels


def test_a_scale_is_the_share_of_the_object_in_the_tighter_direction() -> None:
    placement = placed(scale="50%", position="center")
    assert (placement.target, placement.canvas) == (Box(150, 125, 450, 275), PICTURE)
    square = placed(scale="85%", position="center", output_size=(2000, 2000))
    assert (square.target, square.canvas) == (Box(150, 575, 1850, 1425), (2000, 2000))
    wide = placed(scale="100%", position="0% 0%", output_size=(1000, 100))
    assert wide.target == Box(0, 0, 200, 100)


def test_a_scaled_object_keeps_its_position_on_request() -> None:
    # A quarter of the free space was to its left and a sixth above.
    assert placed(scale="50%", position="original").target == Box(75, 42, 375, 192)


def test_a_scaled_crop_is_padded_and_keeps_its_pixels() -> None:
    placement = placed(crop=True, scale="50%", position="center")
    assert (placement.target, placement.canvas) == (Box(100, 50, 300, 150), (400, 200))
    assert placement.keeps_pixels


def test_an_output_size_contains_the_whole_image_or_the_crop() -> None:
    whole = placed(output_size=(300, 300))
    assert (whole.source, whole.target) == (Box(0, 0, 600, 400), Box(0, 50, 300, 250))
    centered = placed(output_size=(300, 300), position="center")
    assert (centered.source, centered.target) == (OBJECT, Box(100, 125, 200, 175))
    cropped = placed(crop=True, margin=50, output_size=(600, 600), position="0% 100%")
    assert (cropped.source, cropped.target) == (Box(50, 0, 350, 200), Box(0, 200, 600, 600))


def test_resampled_pixels_are_at_the_computed_placement() -> None:
    alpha = np.zeros((400, 600), np.uint8)
    alpha[50:150, 100:300] = 255
    colors = np.full((400, 600, 3), (10, 200, 30), np.uint8)
    for size in ((2000, 2000), (77, 50), (400, 30)):
        placement = placed(scale="85%", position="20% 70%", output_size=size)
        laid, edge = placement.cutout(colors, alpha)
        assert edge.shape == (size[1], size[0])
        assert object_box(np.where(edge > 127, edge, 0)) == placement.target
        assert np.abs(laid[edge > 127].astype(int) - (10, 200, 30)).max() <= 1
        assert np.abs(placement.mask(alpha).astype(int) - edge).max() <= 1


def test_an_object_at_the_image_edge_reaches_the_edge_of_the_canvas() -> None:
    whole = np.full((33, 47), 255, np.uint8)
    placement = place_object(
        Box(0, 0, 47, 33),
        (47, 33),
        crop=False,
        margins=None,
        scale=85.0,
        position=(50.0, 50.0),
        output_size=(200, 200),
    )
    edge = placement.mask(whole)
    target = placement.target
    assert (target.width, target.left) == (170, 15)
    assert (edge[target.top : target.bottom, target.left : target.right] == 255).all()
    assert edge.astype(int).sum() == 255 * target.width * target.height


def test_shrinking_equals_a_plain_resize() -> None:
    picture = photo("coffee")
    placement = placed(output_size=(300, 200))
    laid, _ = placement.cutout(picture, np.full((400, 600), 255, np.uint8))
    expected = cv2.resize(picture, (300, 200), interpolation=cv2.INTER_AREA)
    assert np.abs(laid.astype(int) - expected).mean() < 3


def test_a_canvas_of_too_many_pixels_is_refused_before_allocation() -> None:
    with pytest.raises(PictureTooLarge):
        placed(scale="50%", output_size=(90_000, 90_000)).mask(np.zeros((400, 600), np.uint8))
