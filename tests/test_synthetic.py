"""The drawn flowers: what the smoke profile may rely on."""

import hashlib

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from threadpoolctl import threadpool_limits

from flowerlib import synthetic
from flowerlib.errors import FlowerlibError

ALL = np.arange(synthetic.KINDS)


@pytest.fixture(scope="module")
def one_of_each():
    return synthetic.draw(ALL, np.zeros_like(ALL), 64)


@pytest.fixture(scope="module")
def classroom():
    """Twenty individuals of each kind to learn from and five to be asked about, at 24 px."""
    kinds, indices = np.repeat(ALL, 25), np.tile(np.arange(25), synthetic.KINDS)
    images, masks = synthetic.draw(kinds, indices, 24)
    return images / 255, masks, kinds, indices < 20


def accuracy(classifier, features, kinds, train):
    with threadpool_limits(1):  # small products: threads only wait for each other on a busy machine
        return classifier.fit(features[train], kinds[train]).score(features[~train], kinds[~train])


def centres(masks, axis):
    """Centre of mass of each mask, x and y."""
    total = masks.sum((1, 2))
    return masks.sum(1) @ axis / total, masks.sum(2) @ axis / total


def test_shapes_and_types_for_lists_arrays_and_nothing():
    images, masks = synthetic.draw([3, 4], [0, 1], 16)
    assert images.shape == (2, 16, 16, 3) and images.dtype == np.uint8
    assert masks.shape == (2, 16, 16) and masks.dtype == bool
    images, masks = synthetic.draw([], [], 20)
    assert images.shape == (0, 20, 20, 3) and masks.shape == (0, 20, 20)


def test_same_call_gives_the_same_pictures(one_of_each):
    again = synthetic.draw(ALL, np.zeros_like(ALL), 64)
    np.testing.assert_array_equal(again[0], one_of_each[0])
    np.testing.assert_array_equal(again[1], one_of_each[1])


def test_pictures_are_the_same_on_every_machine():
    """The pinned digest changes with a wilful change of the drawing alone; then every smoke run is stale."""
    images, masks = synthetic.draw(ALL, ALL % 7, 24, seed=1)
    digest = hashlib.sha256(images.tobytes() + np.packbits(masks).tobytes()).hexdigest()
    assert digest[:16] == "904ce733843608e1"


def test_a_picture_does_not_depend_on_its_batch(monkeypatch):
    rng = np.random.default_rng(0)
    kinds, indices = rng.integers(0, 102, 40), rng.integers(0, 1000, 40)
    images, masks = synthetic.draw(kinds, indices, 32)
    order = rng.permutation(40)
    shuffled = synthetic.draw(kinds[order], indices[order], 32)
    np.testing.assert_array_equal(shuffled[0], images[order])
    np.testing.assert_array_equal(shuffled[1], masks[order])
    monkeypatch.setattr(synthetic, "CHUNK_PIXELS", 1)  # one picture at a time
    alone = synthetic.draw(kinds, indices, 32)
    np.testing.assert_array_equal(alone[0], images)
    np.testing.assert_array_equal(alone[1], masks)


def test_size_sets_the_resolution_not_the_flower():
    kinds = ALL[::3]
    small, small_masks = synthetic.draw(kinds, kinds, 32)
    large, large_masks = synthetic.draw(kinds, kinds, 96)
    averaged = large.reshape(-1, 32, 3, 32, 3, 3).mean((2, 4))
    assert np.abs(averaged - small).mean() < 8  # of 255
    np.testing.assert_allclose(small_masks.mean((1, 2)), large_masks.mean((1, 2)), atol=0.03)


def test_masks_cover_a_flower_near_the_middle(classroom):
    _, masks, _, _ = classroom
    share = masks.mean((1, 2))
    assert 0.05 < share.min() and share.max() < 0.70
    axis = (np.arange(24) + 0.5) / 12 - 1
    x, y = centres(masks, axis)
    assert np.abs(x).max() < 0.35 and np.abs(y).max() < 0.40


def test_masks_are_where_the_picture_differs_from_its_bare_background(one_of_each):
    images, masks = one_of_each
    axis = (np.arange(64) + 0.5) / 32 - 1
    flowers = synthetic._individuals(ALL, np.zeros_like(ALL), 0)
    bare = synthetic._background(flowers, axis[None, None, :], axis[None, :, None], 1 / 32)
    differs = np.abs(images / 255 - np.clip(bare, 0, 1).transpose(0, 2, 3, 1)).max(-1) > 2 / 255
    assert differs[masks].mean() > 0.98
    shadow_px = 6
    far = np.array([distance_transform_edt(~mask) > shadow_px for mask in masks])
    assert far.mean() > 0.2 and not differs[far].any()


def test_every_pair_of_shape_and_colours_is_one_kind():
    shapes, schemes = ALL % len(synthetic.SHAPES), ALL % len(synthetic.SCHEMES)
    assert len(set(zip(shapes, schemes, strict=True))) == synthetic.KINDS
    assert len(np.unique(synthetic.SCHEMES.reshape(17, -1), axis=0)) == 17
    traits = np.concatenate([values.reshape(102, -1) for values in synthetic.DESIGN.values()], axis=1)
    apart = np.abs(traits[:, None] - traits[None]).max(-1)[np.triu_indices(102, 1)]
    assert apart.min() > 0.3


def test_kinds_use_every_petal_count_ring_count_and_centre():
    design = synthetic.DESIGN
    for kind in ALL:
        counts = list(synthetic.SHAPES.values())[kind % 6][0]
        assert design["petals"][kind] in counts
    assert set(design["petals"].ravel()) == {c for shape in synthetic.SHAPES.values() for c in shape[0]}
    assert set(design["rings"].ravel()) == {1, 2, 3}
    assert np.bincount(design["centre"].ravel().astype(int), minlength=4).min() >= 15


def test_petals_can_be_counted_at_the_rim():
    """A circle near the tips of a flat single ring crosses as many petals as the kind has."""
    design = synthetic.DESIGN
    single = [k for k in ALL if design["rings"][k] == 1 and k % 6 in (0, 1, 3) and not design["lopsided"][k]]
    flowers = synthetic._individuals(np.array(single), np.zeros(len(single), int), 0)
    angle = np.linspace(0, 2 * np.pi, 2000, endpoint=False)[None, None, :]
    depth, _ = synthetic._ring(flowers, 0, np.full_like(angle, 0.85), angle, np.full((1, 1, 1), 0.01))
    inside = depth[:, 0] > 0
    entries = (inside & ~np.roll(inside, 1, axis=1)).sum(1)
    np.testing.assert_array_equal(entries, design["petals"][single, 0, 0])


def test_individuals_of_a_kind_vary(classroom):
    images, masks, kinds, _ = classroom
    assert len({image.tobytes() for image in images}) == len(images)
    for kind in ALL:
        assert masks[kinds == kind].mean((1, 2)).std() > 0.02
    grounds = images[:, 0, 0]  # the corner shows the background
    between = np.array([grounds[kinds == kind].mean(0) for kind in ALL]).std(0)
    assert (between < 0.35 * grounds.std(0)).all()  # 1 / sqrt(25) = 0.2 when nothing tells the kind


def test_seeds_give_other_individuals():
    first, _ = synthetic.draw(ALL, ALL, 16, seed=0)
    second, _ = synthetic.draw(ALL, ALL, 16, seed=1)
    assert (first != second).any((1, 2, 3)).all()


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
def test_weak_classifiers_do_badly(classroom):
    images, _, kinds, train = classroom
    colour = images.mean((1, 2))
    assert accuracy(NearestCentroid(), colour, kinds, train) < 0.15
    pixels = images.reshape(-1, 12, 2, 12, 2, 3).mean((2, 4)).reshape(len(images), -1)
    assert accuracy(KNeighborsClassifier(1), pixels, kinds, train) < 0.40
    assert 0.15 < accuracy(LogisticRegression(C=0.1, max_iter=60), pixels, kinds, train) < 0.50


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
def test_kinds_are_told_apart_by_colour_and_shape_around_the_centre(classroom):
    """Colour and coverage in eight zones around the flower's centre are enough, whatever its turn."""
    images, masks, kinds, train = classroom
    axis = (np.arange(24) + 0.5) / 12 - 1
    x, y = (c[:, None, None] for c in centres(masks, axis))
    zone = np.hypot(axis[None, None, :] - x, axis[None, :, None] - y) / np.sqrt(masks.mean((1, 2)))[:, None, None]
    features = []
    for low in np.arange(8) * 0.2:
        where = (zone >= low) & (zone < low + 0.2)
        size = np.maximum(where.sum((1, 2)), 1)[:, None]
        flower = where & masks
        features += [(images * flower[..., None]).sum((1, 2)) / size, flower.sum((1, 2))[:, None] / size]
    features = np.concatenate(features, axis=1)
    assert accuracy(LogisticRegression(C=100, max_iter=100), features, kinds, train) > 0.85


@pytest.mark.parametrize(
    ("kinds", "indices", "size_px", "seed", "message"),
    [
        ([102], [0], 32, 0, "kinds must be 0 to 101, not 102 to 102"),
        ([-1, 5], [0, 0], 32, 0, "kinds must be 0 to 101, not -1 to 5"),
        ([1, 2], [0], 32, 0, "equally long"),
        ([[1]], [[0]], 32, 0, "equally long"),
        ([1.5], [0], 32, 0, "whole numbers"),
        ([1], [-1], 32, 0, "0 or more"),
        ([1], [0], 32, -1, "0 or more"),
        ([1], [0], 15, 0, "size_px must be 16 or more, not 15"),
    ],
)
def test_bad_input_gets_one_line(kinds, indices, size_px, seed, message):
    with pytest.raises(FlowerlibError, match=message) as caught:
        synthetic.draw(kinds, indices, size_px, seed)
    assert "\n" not in str(caught.value)
