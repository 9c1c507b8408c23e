"""Order and augmentation: functions of seed and epoch; one warp that is what other libraries call it."""

import numpy as np
import pytest
import skimage.transform
from hypothesis import given, settings
from hypothesis import strategies as st

from flowerlib import augment
from flowerlib.augment import DRAWS
from flowerlib.schema import Augment

LABELS = np.repeat([0, 1, 2, 4], [7, 2, 5, 1])  # no picture of class 3
INDICES = np.arange(100, 100 + 3 * len(LABELS), 3)  # positions in a larger array
EVERYTHING = Augment(
    flip=True,
    shift=0.1,
    rotation_deg=20,
    shear_deg=10,
    zoom=0.1,
    brightness=0.2,
    contrast=0.2,
    saturation=0.2,
    hue_deg=10,
)
GEOMETRY = {"flip", "shift_x", "shift_y", "rotation", "shear", "zoom"}


def draws(n=1, **values):
    """Draws that do nothing (a share of 0.5 is the middle of every range, and no flip) but for those named."""
    rows = np.full((n, len(DRAWS)), 0.5, dtype=np.float32)
    for name, value in values.items():
        rows[:, DRAWS.index(name)] = value
    return rows


def noise(n=1, size=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def smooth(size=64):
    """A picture whose neighbouring pixels differ little: interpolation is then nearly exact."""
    y, x = np.mgrid[:size, :size] / size
    channels = [np.sin(5 * x + 2 * y), np.cos(4 * y - x), np.sin(3 * x * y + 1)]
    return (127.5 + 120 * np.stack(channels, axis=2))[None].astype(np.uint8)


def rows_of(epoch):
    return list(zip(epoch.indices.tolist(), epoch.augmented.tolist(), strict=True))


def identical(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("indices", "augmented", "draws"))


# The plan of an epoch


@pytest.mark.parametrize("balance", [False, True])
def test_a_plan_is_a_function_of_seed_and_epoch(balance):
    what = EVERYTHING.model_copy(update={"balance": balance})
    one = augment.plan(INDICES, LABELS, what, seed=3, epoch=5)
    augment.plan(INDICES, LABELS, what, seed=3, epoch=4)
    assert identical(one, augment.plan(INDICES, LABELS, what, seed=3, epoch=5))
    for seed, epoch in ((3, 6), (4, 5), (5, 3)):
        other = augment.plan(INDICES, LABELS, what, seed, epoch)
        assert not np.array_equal(one.indices, other.indices)
        assert not np.isin(one.draws, other.draws).mean() > 0.01


def test_an_unbalanced_plan_shows_every_picture_once_and_augments_each():
    epoch = augment.plan(INDICES, LABELS, EVERYTHING, 1, 0)
    assert sorted(rows_of(epoch)) == [(index, True) for index in INDICES.tolist()]
    assert epoch.indices.tolist() != INDICES.tolist()


def test_a_plan_without_augmentation_augments_nothing():
    epoch = augment.plan(INDICES, LABELS, Augment(), 1, 0)
    assert sorted(rows_of(epoch)) == [(index, False) for index in INDICES.tolist()]


@settings(max_examples=40)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(0, 99), st.integers(0, 99))
def test_balance_fills_every_class_up_to_the_largest_and_keeps_each_original_once(labels, seed, epoch):
    labels = np.array(labels)
    indices = 10 * np.arange(len(labels))[::-1]
    shown = augment.plan(indices, labels, EVERYTHING.model_copy(update={"balance": True}), seed, epoch)
    class_of = dict(zip(indices.tolist(), labels.tolist(), strict=True))
    counts = np.bincount([class_of[index] for index in shown.indices.tolist()])
    assert set(counts) - {0} == {np.bincount(labels).max()}
    assert set(np.flatnonzero(counts)) == set(labels)
    assert sorted(shown.indices[~shown.augmented]) == sorted(indices)


def test_balance_draws_other_copies_each_epoch():
    what = EVERYTHING.model_copy(update={"balance": True})
    first, second = (augment.plan(np.arange(60), np.repeat([0, 1], [50, 10]), what, 1, epoch) for epoch in (0, 1))
    copies = [np.bincount(epoch.indices[epoch.augmented], minlength=60) for epoch in (first, second)]
    assert not np.array_equal(*copies)


def test_draws_are_uniform_and_independent_of_each_other():
    many = augment.plan(np.arange(4000), np.zeros(4000, int), EVERYTHING, 1, 0).draws
    assert many.shape == (4000, len(DRAWS)) and many.min() >= 0 and many.max() < 1
    assert np.abs(many.mean(axis=0) - 0.5).max() < 0.03
    assert np.abs(np.corrcoef(many.T) - np.eye(len(DRAWS))).max() < 0.08


# The warp


@pytest.mark.parametrize("size", [31, 32])
def test_ranges_of_zero_leave_pictures_bit_equal(size):
    images, every = noise(8, size), np.random.default_rng(1).random((8, len(DRAWS)), dtype=np.float32)
    np.testing.assert_array_equal(augment.apply(images, every, Augment()), images)


def test_draws_from_the_middle_of_every_range_leave_pictures_bit_equal():
    images = noise(8)
    np.testing.assert_array_equal(augment.apply(images, draws(8), EVERYTHING), images)


def test_the_result_is_new_and_the_pictures_stay_as_they_were():
    images = noise(4)
    before = images.copy()
    augment.apply(images, np.random.default_rng(2).random((4, len(DRAWS))), EVERYTHING)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("size", [31, 32])
def test_flip_is_numpys_flip_of_the_columns(size):
    images = noise(2, size)
    flipped = augment.apply(images, draws(2, flip=[0.2, 0.8]), Augment(flip=True))
    np.testing.assert_array_equal(flipped[0], images[0][:, ::-1])
    np.testing.assert_array_equal(flipped[1], images[1])


def test_half_of_the_pictures_are_flipped():
    matrices = augment.warps(np.random.default_rng(0).random((4000, len(DRAWS))), Augment(flip=True), 32)
    assert 0.47 < (matrices[:, 0, 0] < 0).mean() < 0.53


@pytest.mark.parametrize(("right", "down"), [(3, 0), (0, -5), (-2, 4)])
def test_a_shift_by_whole_pixels_is_numpys_roll_and_repeats_the_edge(right, down):
    images = noise(1, 40)
    reach = 10  # a quarter of 40 px
    shares = draws(shift_x=0.5 - right / (2 * reach), shift_y=0.5 - down / (2 * reach))
    shifted = augment.apply(images, shares, Augment(shift=0.25))[0]
    inside = slice(6, -6)
    np.testing.assert_array_equal(shifted[inside, inside], np.roll(images[0], (down, right), (0, 1))[inside, inside])
    rows, columns = (np.clip(np.arange(40) - by, 0, 39) for by in (down, right))
    np.testing.assert_array_equal(shifted, images[0][np.ix_(rows, columns)])


@pytest.mark.parametrize("size", [31, 32])
def test_a_quarter_turn_is_numpys(size):
    images = noise(1, size)
    turned = augment.apply(images, draws(rotation=0.75), Augment(rotation_deg=180))[0]
    np.testing.assert_array_equal(turned, np.rot90(images[0]))


@pytest.mark.parametrize(("share", "angle_deg"), [(1.0, 20), (0.25, -10), (0.6, 4)])
def test_rotation_equals_scikit_images(share, angle_deg):
    image = smooth()
    turned = augment.apply(image, draws(rotation=share), Augment(rotation_deg=20))[0]
    expected = skimage.transform.rotate(image[0], angle_deg, order=1, mode="edge", preserve_range=True)
    inside = slice(12, -12)
    assert np.abs(turned - expected)[inside, inside].max() < 2
    assert np.abs(turned.astype(int) - image[0])[inside, inside].max() > 4


def test_the_fused_warp_equals_the_product_of_single_ones():
    each = {"flip": 0.1, "shift_x": 0.7, "shift_y": 0.2, "rotation": 0.9, "shear": 0.3, "zoom": 0.8}
    square = {name: np.eye(3) for name in ("shift", "rotation", "shear", "zoom", "flip")}
    for name in square:
        own = {key: value for key, value in each.items() if key.startswith(name)}
        square[name][:2] = augment.warps(draws(**own), EVERYTHING, 64)[0]
    product = square["shift"] @ square["flip"] @ square["zoom"] @ square["rotation"] @ square["shear"]
    np.testing.assert_allclose(augment.warps(draws(**each), EVERYTHING, 64)[0], product[:2], atol=1e-6)


@given(st.lists(st.floats(0, 0.999), min_size=len(DRAWS), max_size=len(DRAWS)), st.integers(16, 128))
def test_without_shift_every_warp_keeps_the_centre_and_zoom_alone_changes_the_area(row, size):
    what = EVERYTHING.model_copy(update={"shift": 0.0, "zoom": 0.4})
    row = np.array([row])
    matrix = augment.warps(row, what, size)[0]
    centre = np.array([(size - 1) / 2, (size - 1) / 2, 1])
    np.testing.assert_allclose(matrix @ centre, centre[:2], atol=1e-9)
    scale = 1 + 0.4 * (2 * row[0, DRAWS.index("zoom")] - 1)
    mirror = -1 if row[0, DRAWS.index("flip")] < 0.5 else 1
    assert np.linalg.det(matrix[:, :2]) == pytest.approx(mirror * scale**2)


@pytest.mark.parametrize("column", DRAWS)
def test_each_draw_moves_what_it_is_named_after(column):
    before, after = draws(), draws(**{column: 0.1})
    moved = not np.allclose(augment.warps(before, EVERYTHING, 32), augment.warps(after, EVERYTHING, 32))
    mean = np.array([100.0])
    coloured = not np.allclose(augment.colours(before, EVERYTHING, mean), augment.colours(after, EVERYTHING, mean))
    assert (moved, coloured) == (column in GEOMETRY, column not in GEOMETRY)


# Colours


def colour_map(what, mean=100.0, **values):
    matrix = augment.colours(draws(**values), what, np.array([mean]))[0]
    return matrix[:, :3], matrix[:, 3]


def test_colour_ranges_of_zero_change_no_colour():
    every = np.random.default_rng(0).random((20, len(DRAWS)))
    expected = np.tile(np.eye(3, 4), (20, 1, 1))
    np.testing.assert_allclose(augment.colours(every, Augment(), np.linspace(0, 255, 20)), expected, atol=1e-12)


@pytest.mark.parametrize(("share", "factor"), [(0.0, 0.8), (0.75, 1.1), (1.0, 1.2)])
def test_brightness_scales(share, factor):
    images = noise(3)
    brighter = augment.apply(images, draws(3, brightness=share), Augment(brightness=0.2))
    assert np.abs(brighter - np.clip(factor * images.astype(float), 0, 255)).max() <= 0.5 + 1e-4


@pytest.mark.parametrize(("share", "factor"), [(0.0, 0.5), (0.9, 1.4)])
def test_contrast_turns_about_the_mean_grey(share, factor):
    image = (noise(1) // 4 + 96).astype(np.uint8)  # 96 to 159: nothing is clipped
    changed = augment.apply(image, draws(contrast=share), Augment(contrast=0.5))
    grey = [0.299, 0.587, 0.114]
    mean = (image.mean(axis=(0, 1, 2)) @ grey).item()
    assert np.abs(changed - (mean + factor * (image - mean))).max() <= 0.51
    assert changed.mean(axis=(0, 1, 2)) @ grey == pytest.approx(mean, abs=0.1)


def test_contrast_turns_about_the_grey_that_brightness_made():
    matrix, offset = colour_map(Augment(brightness=0.5, contrast=0.5), mean=90, brightness=0.8, contrast=0.1)
    np.testing.assert_allclose(matrix @ [90, 90, 90] + offset, [1.3 * 90] * 3, rtol=1e-6)
    np.testing.assert_allclose(matrix, 1.3 * 0.6 * np.eye(3), atol=1e-6)


def test_saturation_of_zero_is_the_grey_of_itu_601_and_grey_stays():
    matrix, offset = colour_map(Augment(saturation=1.0), saturation=0.0)
    np.testing.assert_allclose(matrix, np.tile([0.299, 0.587, 0.114], (3, 1)), atol=1e-12)
    for share in (0.0, 0.3, 1.0):
        matrix, offset = colour_map(Augment(saturation=0.7), saturation=share)
        np.testing.assert_allclose(matrix @ [80, 80, 80] + offset, [80, 80, 80])


@given(st.floats(0, 1), st.floats(0, 180))
def test_hue_is_a_rotation_that_keeps_grey(share, reach):
    matrix, offset = colour_map(Augment(hue_deg=reach), hue=share)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)
    np.testing.assert_allclose(matrix @ [1, 1, 1] + offset, [1, 1, 1], atol=1e-12)
    angle = np.deg2rad(reach) * (2 * np.float32(share) - 1)
    assert np.trace(matrix) == pytest.approx(1 + 2 * np.cos(angle))


def test_a_third_of_a_turn_of_the_hue_exchanges_the_channels():
    matrix, _ = colour_map(Augment(hue_deg=120), hue=1.0)
    np.testing.assert_allclose(matrix, np.roll(np.eye(3), 1, axis=0), atol=1e-7)


def test_colours_are_clipped_not_wrapped():
    white = np.full((1, 16, 16, 3), 250, dtype=np.uint8)
    assert (augment.apply(white, draws(brightness=1.0), Augment(brightness=0.5)) == 255).all()


# Batches


@pytest.fixture
def photos(tmp_path):
    """A read-only memory map of fifty pictures, each of one grey that is its position."""
    path = tmp_path / "photos.npy"
    np.save(path, np.broadcast_to(np.arange(50, dtype=np.uint8)[:, None, None, None], (50, 16, 16, 3)))
    return np.load(path, mmap_mode="r")


@pytest.mark.parametrize("batch_size", [1, 7, 8, 64])
def test_batches_show_every_picture_once_in_the_planned_order(photos, batch_size):
    indices = np.arange(1, 50, 2)  # 25
    labels = np.full(50, -1)
    labels[indices] = indices % 3
    epoch = augment.plan(indices, labels[indices], EVERYTHING.model_copy(update={"hue_deg": 0}), 1, 0)
    epoch = augment.Epoch(epoch.indices, np.zeros(25, bool), epoch.draws)
    shown = list(augment.batches(photos, labels, epoch, EVERYTHING, batch_size).as_numpy_iterator())
    sizes = [len(pictures) for pictures, _ in shown]
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1) and sum(sizes) == 25 and 0 < sizes[-1] <= batch_size
    pictures, classes = (np.concatenate(both) for both in zip(*shown, strict=True))
    assert pictures.dtype == np.uint8 and pictures.shape == (25, 16, 16, 3) and classes.dtype == np.int32
    np.testing.assert_array_equal(pictures, photos[epoch.indices])
    np.testing.assert_array_equal(classes, epoch.indices % 3)


def test_batches_augment_the_planned_pictures_alone_and_as_apply_does(photos):
    indices, labels = np.arange(50), np.repeat([0, 1], [40, 10])
    what = Augment(brightness=0.5, balance=True)
    epoch = augment.plan(indices, labels, what, 1, 0)
    batches = augment.batches(photos, labels, epoch, what, 9)
    pictures = np.concatenate([some for some, _ in batches.as_numpy_iterator()])
    expected = photos[epoch.indices]
    expected[epoch.augmented] = augment.apply(expected[epoch.augmented], epoch.draws[epoch.augmented], what)
    np.testing.assert_array_equal(pictures, expected)
    assert epoch.augmented.sum() == 30 and (expected != photos[epoch.indices]).any()


def test_batches_know_their_number_and_shape(photos):
    epoch = augment.plan(np.arange(50), np.zeros(50, int), Augment(), 1, 0)
    batches = augment.batches(photos, np.zeros(50, int), epoch, Augment(), 8)
    pictures, classes = batches.element_spec
    assert len(batches) == 7
    assert pictures.shape.as_list() == [None, 16, 16, 3] and classes.shape.as_list() == [None]
