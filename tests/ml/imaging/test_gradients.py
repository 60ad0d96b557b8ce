"""Gradients as CSS draws them."""

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from ml.imaging import gradients
from ml.imaging.gradients import Gradient, GradientField

FIELD: TypeAdapter[Gradient] = TypeAdapter(GradientField)


def test_a_gradient_runs_downwards_unless_an_angle_is_given() -> None:
    down = gradients.linear(FIELD.validate_python("black white"), (4, 256))
    assert down.shape == (256, 4, 3)
    assert np.array_equal(down[:, 0, 0], np.arange(256))
    right = gradients.linear(FIELD.validate_python("#000 #fff 90deg"), (256, 4))
    assert np.array_equal(right[0, :, 1], np.arange(256))
    back = gradients.linear(FIELD.validate_python("#000, #fff, 270"), (256, 4))
    assert np.array_equal(back[0, :, 1], np.arange(256)[::-1])


def test_a_diagonal_gradient_ends_in_the_corners() -> None:
    pixels = gradients.linear(FIELD.validate_python("#000 #fff 135"), (300, 300))[..., 0].astype(int)
    assert (pixels[0, 0], pixels[-1, -1]) == (0, 255)
    assert abs(pixels[0, -1] - 127.5) < 1


def test_a_translucent_gradient_is_weighted_by_alpha() -> None:
    pixels = gradients.linear(FIELD.validate_python("#ff000000 #00ff00ff 90"), (255, 1))[0]
    assert pixels.shape == (255, 4)
    assert (pixels[1:, 0] == 0).all(), "the transparent red tints nothing"
    assert pixels[-1].tolist()[:3] == [0, 255, 0]
    assert (np.diff(pixels[:, 3].astype(int)) >= 0).all()


@pytest.mark.parametrize(
    "text", ["", "red", "red blue 400", "red blue x", "red blue 1 2", "red nocolour", "[]"]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        FIELD.validate_python(text)
