import numpy as np

from ml.imaging.spreading import colors_beyond_edge, spread
from tests.support.ml.photos import photo


def test_a_flat_colour_is_spread_everywhere_from_wherever_it_is_known() -> None:
    colors = np.zeros((60, 90, 3), np.float32)
    share = np.zeros((60, 90), np.float32)
    colors[:20, :20], share[:20, :20] = (200, 100, 50), 1
    colors[40:] = (0, 255, 0)  # hidden
    np.testing.assert_allclose(
        spread(colors, share, 2.0), np.broadcast_to((200, 100, 50), colors.shape), atol=0.1
    )


def test_known_colours_are_only_blurred_and_unknown_ones_follow_the_nearest() -> None:
    colors = np.zeros((80, 80, 3), np.float32)
    colors[:, :40], colors[:, 40:] = (255, 0, 0), (0, 0, 255)
    share = np.ones((80, 80), np.float32)
    share[20:60] = 0
    answer = spread(colors, share, 1.0)
    np.testing.assert_allclose(answer[5, [10, 70]], [(255, 0, 0), (0, 0, 255)], atol=0.5)
    assert answer[40, 4, 0] > 200
    assert answer[40, 75, 2] > 200


def test_nothing_known_and_a_single_pixel_are_no_problem() -> None:
    assert np.isfinite(spread(np.ones((7, 5, 3), np.float32), np.zeros((7, 5), np.float32), 0.3)).all()
    one = spread(np.full((1, 1, 3), 9, np.float32), np.ones((1, 1), np.float32), 1.0)
    np.testing.assert_allclose(one, 9, atol=0.01)
    assert spread(np.ones((1, 9, 3), np.float32), np.eye(1, 9, dtype=np.float32), 4.0).shape == (1, 9, 3)


def test_a_softer_edge_shows_the_objects_colours_and_not_hidden_ones() -> None:
    colors = np.zeros((100, 100, 3), np.uint8)
    colors[...] = (0, 255, 0)  # hidden
    colors[30:70, 30:70] = (200, 100, 50)
    alpha = np.zeros((100, 100), np.uint8)
    alpha[30:70, 30:70] = 255
    alpha[29, 30:70] = 64
    edge = np.full((100, 100), 128, np.uint8)
    answer = colors_beyond_edge(colors, alpha, edge)
    np.testing.assert_array_equal(answer[30:70, 30:70], colors[30:70, 30:70])
    assert np.abs(answer[50, 27].astype(int) - (200, 100, 50)).max() <= 3
    # A pixel that was faint keeps as much of its own colour as was visible.
    assert np.abs(answer[29, 50].astype(int) - (100, 178, 25)).max() <= 25


def test_colours_that_stay_as_visible_are_kept() -> None:
    colors = photo("coffee")
    alpha = np.full(colors.shape[:2], 200, np.uint8)
    np.testing.assert_array_equal(colors_beyond_edge(colors, alpha, alpha - 50), colors)
