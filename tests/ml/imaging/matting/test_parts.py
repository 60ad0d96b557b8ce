"""False detections in mattes, and specks in refined alphas."""

import cv2
import numpy as np

from ml.imaging.matting import parts
from ml.pixels import Matte


def matte_of(*discs: tuple[int, int, int, float], side: int = 512) -> Matte:
    """Soft discs of (x, y, radius, peak)."""
    matte = np.zeros((side, side), np.float32)
    for x, y, radius, peak in discs:
        cv2.circle(matte, (x, y), radius, peak, -1, cv2.LINE_AA)
    answer: Matte = cv2.GaussianBlur(matte, (0, 0), 2)
    return answer


def test_an_uncertain_part_far_from_the_object_is_removed_with_its_haze() -> None:
    matte = matte_of((150, 150, 80, 1.0), (400, 400, 60, 0.7))
    cleaned = parts.remove_uncertain(matte)
    assert cleaned[330:470, 330:470].max() < 0.01
    np.testing.assert_array_equal(cleaned[:300, :300], matte[:300, :300])


def test_a_large_uncertain_part_beside_the_object_is_removed() -> None:
    matte = matte_of((150, 250, 80, 1.0), (300, 250, 60, 0.6))
    assert parts.remove_uncertain(matte)[200:300, 250:360].max() < 0.01


def test_small_uncertain_parts_near_the_object_are_its_hair_and_stay() -> None:
    matte = matte_of((200, 200, 80, 1.0))
    cv2.line(matte, (285, 200), (310, 205), 0.6, 3, cv2.LINE_AA)
    np.testing.assert_array_equal(parts.remove_uncertain(matte), matte)


def test_several_certain_objects_stay() -> None:
    matte = matte_of((120, 120, 60, 1.0), (400, 400, 20, 0.97))
    np.testing.assert_array_equal(parts.remove_uncertain(matte), matte)


def test_where_nothing_is_certain_nothing_is_removed() -> None:
    matte = matte_of((120, 120, 60, 0.85), (400, 400, 60, 0.8))
    np.testing.assert_array_equal(parts.remove_uncertain(matte), matte)


def test_parts_of_an_object_stay_where_the_network_is_uncertain_of_all_of_it() -> None:
    """A cat that the border cuts: one hair is certain, everything else of it is not."""
    matte = matte_of((200, 300, 120, 0.5), (200, 120, 50, 0.5))
    cv2.line(matte, (200, 300), (220, 300), 0.98, 3)
    np.testing.assert_array_equal(parts.remove_uncertain(matte), matte)


def test_islands_that_the_matte_does_not_support_are_removed() -> None:
    matte = matte_of((250, 250, 100, 1.0))
    alpha = np.rint(cv2.resize(matte, (1600, 1600)) * 255).astype(np.uint8)
    clean = alpha.copy()
    cv2.circle(alpha, (1400, 200), 6, 200, -1)
    np.testing.assert_array_equal(parts.remove_islands(alpha, matte), clean)


def test_detached_ends_of_hair_stay() -> None:
    matte = matte_of((250, 250, 100, 1.0))
    cv2.line(matte, (352, 250), (365, 250), 0.3, 2)
    alpha = np.rint(cv2.resize(matte_of((250, 250, 100, 1.0)), (1024, 1024)) * 255).astype(np.uint8)
    cv2.line(alpha, (712, 500), (728, 500), 150, 2)
    np.testing.assert_array_equal(parts.remove_islands(alpha, matte), alpha)


def test_joints_of_a_wall_are_a_texture_and_a_fence_in_front_of_something_is_not() -> None:
    wall = np.zeros((512, 512), np.float32)
    for at in range(0, 512, 40):
        wall[:, at : at + 8] = 1
        wall[at : at + 8] = 1
    assert parts.is_texture(wall)
    cv2.circle(wall, (250, 250), 60, 1, -1)
    assert not parts.is_texture(wall)


def test_the_letters_of_a_page_are_a_texture_and_those_of_a_sign_are_not() -> None:
    page = np.zeros((512, 512), np.uint8)
    for row in range(12):
        cv2.putText(page, "letters of a page", (30, 40 + 36 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.9, 1, 2)
    assert parts.is_texture(page.astype(np.float32))
    sign = np.zeros((512, 512), np.uint8)
    cv2.putText(sign, "OPEN TODAY", (20, 280), cv2.FONT_HERSHEY_SIMPLEX, 2.4, 1, 6)
    assert not parts.is_texture(sign.astype(np.float32))


def test_a_page_whose_letters_a_haze_connects_is_a_page_and_a_product_with_a_label_is_not() -> None:
    page = np.full((512, 512, 3), 250, np.uint8)
    for row in range(24):
        place = (30, 30 + 20 * row)
        cv2.putText(page, "small letters of a page", place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, (20, 20, 20), 1)
    letters = (page[..., 0] < 128).astype(np.float32)
    hazy = letters.copy()
    hazy[120:400, 20:300] = 0.8
    assert not parts.is_texture(hazy)
    for picture in (page, 255 - page):
        assert parts.is_page_of_text(hazy, picture)
    product = np.zeros((512, 512), np.float32)
    product[10:500, 10:500] = 1
    assert not parts.is_page_of_text(product, page)
    cv2.circle(page, (256, 256), 90, (200, 30, 30), -1)
    assert not parts.is_page_of_text(hazy, page)


def test_an_empty_matte_is_not_a_texture() -> None:
    assert not parts.is_texture(np.zeros((64, 64), np.float32))
