"""Pictures beneath their heat maps."""

import numpy as np
import pytest

from flowerlib import pictures
from flowerlib.errors import FlowerlibError

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


def test_a_brighter_place_of_the_map_is_brighter_in_print():
    grey = np.full((1, 8, 8, 3), 127, np.uint8)
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8)
    luma = pictures.blended(grey, ramp).reshape(64, 3) @ [0.299, 0.587, 0.114]
    assert (np.diff(luma) > -1).all()
    assert luma[-1] - luma[0] > 100


def test_a_map_of_zeros_leaves_the_picture_grey_and_dark():
    found = pictures.blended(IMAGES, np.zeros(IMAGES.shape[:3]))
    assert found.max() <= 0.4 * 255 + 3
    assert np.ptp(found.astype(int), axis=-1).max() <= 3  # the colour map's lowest is nearly black


def test_photographs_of_the_report_are_small():
    large = np.repeat(np.repeat(IMAGES, 7, axis=1), 7, axis=2)
    assert pictures.small(large).shape == (3, 96, 96, 3)
    np.testing.assert_array_equal(pictures.small(IMAGES), IMAGES)
    assert pictures.small(large).mean() == pytest.approx(large.mean(), abs=0.5)


def test_an_explained_picture_has_a_row_a_method_and_refuses_maps_that_do_not_fit():
    maps = np.random.default_rng(1).random((3, 32, 32))
    image = pictures.explained(IMAGES, {"one": maps, "other": maps}, list("abc"))
    assert len(image.axes[0].images) == 9
    with pytest.raises(FlowerlibError, match="do not fit"):
        pictures.explained(IMAGES, {"one": maps[:2]}, list("abc"))
