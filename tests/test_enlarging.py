"""Pictures at twice their side, as photographs taught."""

import cv2
import numpy as np

from flowerlib import enlarging, synthetic

DRAWN = synthetic.draw(np.arange(40) % synthetic.KINDS, np.arange(40), 64)[0]
ENLARGER = enlarging.fit(DRAWN[:30])


def test_the_small_picture_is_kept():
    small = enlarging.halve(DRAWN[30:].astype(np.float32) / 255)
    large = ENLARGER.enlarge(small)
    assert large.shape == (10, 64, 64, 3) and large.dtype == np.float32
    np.testing.assert_allclose(enlarging.halve(large), small, atol=1e-6)


def test_it_is_nearer_than_bicubic_on_pictures_that_it_has_not_seen():
    whole = DRAWN[30:].astype(np.float32) / 255
    small = enlarging.halve(whole)
    bicubic = np.stack([cv2.resize(each, (64, 64), interpolation=cv2.INTER_CUBIC) for each in small])
    assert np.square(ENLARGER.enlarge(small) - whole).mean() < 0.98 * np.square(bicubic - whole).mean()


def test_a_grey_picture_stays_grey_and_the_mean_is_of_four():
    grey = np.full((1, 8, 8, 3), 0.3, np.float32)
    np.testing.assert_allclose(ENLARGER.enlarge(grey), 0.3, atol=1e-6)
    four = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1).repeat(3, axis=3)
    np.testing.assert_allclose(enlarging.halve(four), np.full((1, 1, 1, 3), 1.5))


def test_the_same_seed_gives_the_same_weights():
    np.testing.assert_array_equal(enlarging.fit(DRAWN[:30]).weights, ENLARGER.weights)
