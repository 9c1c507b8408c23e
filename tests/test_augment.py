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
COLOURS = {"brightness", "contrast", "saturation", "hue"}
CROPS = {"crop_area", "crop_aspect", "crop_x", "crop_y"}
MIXES = {"mix", "mix_share", "mix_x", "mix_y"}
ROWS = st.lists(st.floats(0, 0.999), min_size=len(DRAWS), max_size=len(DRAWS)).map(lambda row: np.array([row]))


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


@given(st.lists(st.integers(1, 25), max_size=8), st.booleans(), st.integers(0, 9))
def test_excerpts_laid_end_to_end_are_the_plans_of_the_epochs_laid_end_to_end(counts, balance, seed):
    what = EVERYTHING.model_copy(update={"balance": balance})
    starts = np.cumsum([0, *counts])
    excerpts = [
        augment.excerpt(INDICES, LABELS, what, seed, int(first), count)
        for first, count in zip(starts, counts, strict=False)
    ]
    plans = [augment.plan(INDICES, LABELS, what, seed, epoch) for epoch in range(1 + starts[-1] // len(LABELS))]
    for name in ("indices", "augmented", "draws"):
        whole = np.concatenate([getattr(plan, name) for plan in plans])[: starts[-1]]
        shown = np.concatenate([whole[:0], *(getattr(excerpt, name) for excerpt in excerpts)])
        np.testing.assert_array_equal(shown, whole)


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


@given(ROWS, st.integers(16, 128))
def test_without_shift_every_warp_keeps_the_centre_and_zoom_alone_changes_the_area(row, size):
    what = EVERYTHING.model_copy(update={"shift": 0.0, "zoom": 0.4})
    matrix = augment.warps(row, what, size)[0]
    centre = np.array([(size - 1) / 2, (size - 1) / 2, 1])
    np.testing.assert_allclose(matrix @ centre, centre[:2], atol=1e-9)
    scale = 1 + 0.4 * (2 * row[0, DRAWS.index("zoom")] - 1)
    mirror = -1 if row[0, DRAWS.index("flip")] < 0.5 else 1
    assert np.linalg.det(matrix[:, :2]) == pytest.approx(mirror * scale**2)


@pytest.mark.parametrize("crop", [None, 0.3])
@pytest.mark.parametrize("column", DRAWS)
def test_each_draw_moves_what_it_is_named_after(column, crop):
    what = EVERYTHING.model_copy(update={"crop": crop, "cutmix": 0.5, "mixup": 0.5})
    before, after = draws(), draws(**{column: 0.1})
    moved = not np.allclose(augment.warps(before, what, 32), augment.warps(after, what, 32))
    mean = np.array([100.0])
    coloured = not np.allclose(augment.colours(before, what, mean), augment.colours(after, what, mean))
    assert (moved, coloured) == (column in (GEOMETRY | CROPS if crop else GEOMETRY), column in COLOURS)
    assert column in GEOMETRY | COLOURS | CROPS | MIXES


# Crops and sides


def cropped_sides(row, crop, size=32, out=32):
    """Width and height that a crop keeps, as shares of the side."""
    matrix = augment.warps(row, Augment(crop=crop), size, out)[0]
    assert matrix[0, 1] == matrix[1, 0] == 0
    return matrix[0, 0] * out / size, matrix[1, 1] * out / size


@given(ROWS, st.floats(0.01, 1), st.integers(16, 128), st.integers(16, 128))
def test_a_crop_keeps_the_drawn_share_of_the_area_up_to_a_side_that_would_not_fit(row, crop, size, out):
    width, height = cropped_sides(row, crop, size, out)
    assert 3 / 4 - 1e-9 <= width / height <= 4 / 3 + 1e-9
    area = crop + (1 - crop) * row[0, DRAWS.index("crop_area")]
    if max(width, height) < 1 - 1e-9:
        assert width * height == pytest.approx(area)
    else:  # one side is clipped, which happens from 3/4 of the area on
        assert max(width, height) == pytest.approx(1) and area >= 3 / 4 - 1e-9 and width * height <= area + 1e-9
    assert min(crop, 3 / 4) - 1e-9 <= width * height <= 1 + 1e-9


@given(ROWS, st.floats(0.01, 1), st.booleans(), st.integers(16, 128), st.integers(16, 128))
def test_a_crop_stays_inside_the_picture(row, crop, flip, size, out):
    matrix = augment.warps(row, Augment(crop=crop, flip=flip), size, out)[0]
    edges = (-0.5, out - 0.5)  # of the outermost pixels
    corners = np.array([matrix @ [x, y, 1] for x in edges for y in edges])
    assert corners.min() >= -0.5 - 1e-6 and corners.max() <= size - 0.5 + 1e-6


@pytest.mark.parametrize(("left", "top"), [(0, 0), (5, 0), (3, 15), (8, 8)])
def test_a_crop_of_a_quarter_at_its_own_size_is_numpys_slice(left, top):
    images = noise(2)
    shares = draws(2, crop_area=0, crop_x=left / 16, crop_y=top / 16)
    cropped = augment.apply(images, shares, Augment(crop=0.25), out_px=16)
    np.testing.assert_array_equal(cropped, images[:, top : top + 16, left : left + 16])


def test_a_crop_of_everything_leaves_the_middle_aspect_bit_equal_and_cuts_one_side_at_others():
    images = noise(3)
    np.testing.assert_array_equal(augment.apply(images, draws(3), Augment(crop=1.0)), images)
    assert cropped_sides(draws(crop_aspect=0), 1.0) == pytest.approx(((3 / 4) ** 0.5, 1))
    assert cropped_sides(draws(crop_aspect=1), 1.0) == pytest.approx((1, (3 / 4) ** 0.5))


def test_crops_lie_anywhere_and_in_the_middle_on_average():
    random = np.random.default_rng(0).random((4000, len(DRAWS)))
    centres = augment.warps(random, Augment(crop=0.2), 32) @ [15.5, 15.5, 1]
    assert np.abs(centres.mean(axis=0) - 15.5).max() < 0.3
    assert centres.min() < 8 and centres.max() > 24


@pytest.mark.parametrize("out", [16, 24, 32, 48])
def test_pictures_have_the_side_that_is_asked_for(out):
    shown = augment.apply(noise(5), np.random.default_rng(1).random((5, len(DRAWS))), EVERYTHING, out_px=out)
    assert shown.shape == (5, out, out, 3) and shown.dtype == np.uint8


def test_half_the_side_without_a_crop_is_the_mean_of_four_pixels():
    images = noise(3)
    shown = augment.apply(images, draws(3), Augment(), out_px=16)
    assert np.abs(shown - images.reshape(3, 16, 2, 16, 2, 3).mean(axis=(2, 4))).max() <= 0.5


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
    angle = np.deg2rad(reach) * (2 * float(np.float32(share)) - 1)
    assert np.trace(matrix) == pytest.approx(1 + 2 * np.cos(angle))


def test_a_third_of_a_turn_of_the_hue_exchanges_the_channels():
    matrix, _ = colour_map(Augment(hue_deg=120), hue=1.0)
    np.testing.assert_allclose(matrix, np.roll(np.eye(3), 1, axis=0), atol=1e-7)


def test_colours_are_clipped_not_wrapped():
    white = np.full((1, 16, 16, 3), 250, dtype=np.uint8)
    assert (augment.apply(white, draws(brightness=1.0), Augment(brightness=0.5)) == 255).all()


# Mixing


def soft_targets(n, classes=5, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(classes), n).astype(np.float32)


@settings(max_examples=50)
@given(ROWS, st.integers(1, 7), st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_mixed_targets_are_shares_that_sum_to_one(row, n, one, other, hard):
    what = Augment(cutmix=min(one, other), mixup=max(one, other) - min(one, other))
    targets = np.eye(5, dtype=np.float32)[np.arange(n) % 5] if hard else soft_targets(n)
    pictures, mixed = augment.mix(noise(n, 16), targets, row[0], what)
    assert pictures.shape == (n, 16, 16, 3) and pictures.dtype == np.uint8 and mixed.dtype == np.float32
    assert mixed.min() >= 0
    np.testing.assert_allclose(mixed.sum(axis=1), 1, rtol=1e-6)


@settings(max_examples=50)
@given(ROWS, st.integers(16, 40))
def test_cutmix_gives_a_picture_pasted_in_the_label_share_of_its_pixels(row, size):
    images = np.broadcast_to(np.arange(4, dtype=np.uint8)[:, None, None, None], (4, size, size, 3))
    pasted, targets = augment.mix(images, np.eye(4, dtype=np.float32), row[0], Augment(cutmix=1))
    for position, other in enumerate((3, 2, 1, 0)):
        there = (pasted[position] == other).all(axis=2)
        assert set(np.unique(pasted[position])) <= {position, other}
        assert targets[position, other] == pytest.approx(there.sum() / size**2, abs=1e-7)
        side = round(there.sum() ** 0.5)
        rows, columns = (np.flatnonzero(there.any(axis=axis)) for axis in (1, 0))
        assert there.sum() == side**2 and len(rows) == len(columns) == side  # one square


@given(ROWS)
def test_mixup_blends_pictures_and_targets_by_the_same_share(row):
    images, targets, kept = noise(5, 16), soft_targets(5), row[0, DRAWS.index("mix_share")]
    blended, shares = augment.mix(images, targets, row[0], Augment(mixup=1))
    assert np.abs(blended - (kept * images + (1 - kept) * images[::-1])).max() <= 0.5 + 1e-4
    np.testing.assert_allclose(shares, kept * targets + (1 - kept) * targets[::-1], atol=1e-6)


@pytest.mark.parametrize(("draw", "kind"), [(0.0, "cutmix"), (0.29, "cutmix"), (0.31, "mixup"), (0.69, "mixup")])
def test_cutmix_and_mixup_take_their_shares_of_the_batches(draw, kind):
    row = draws(mix=draw, mix_share=0.3)[0]
    found = augment.mix(noise(4), soft_targets(4), row, Augment(cutmix=0.3, mixup=0.4))
    expected = augment.mix(noise(4), soft_targets(4), row, Augment(**{kind: 1}))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("what", [Augment(), Augment(cutmix=0.3, mixup=0.4)])
def test_what_is_not_mixed_is_handed_back_itself(what):
    images, targets = noise(4), soft_targets(4)
    found = augment.mix(images, targets, draws(mix=0.71)[0], what)
    assert found[0] is images and found[1] is targets


@pytest.mark.parametrize("kind", ["cutmix", "mixup"])
def test_mixing_leaves_the_given_arrays_as_they_were(kind):
    images, targets = noise(4), soft_targets(4)
    augment.mix(images, targets, draws(mix_share=0.3)[0], Augment(**{kind: 1}))
    np.testing.assert_array_equal(images, noise(4))
    np.testing.assert_array_equal(targets, soft_targets(4))


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


def test_batches_with_classes_hand_out_each_pictures_row_of_the_identity(photos):
    labels = np.arange(50) % 3
    epoch = augment.plan(np.arange(50), labels, Augment(), 1, 0)
    batches = augment.batches(photos, labels, epoch, Augment(), 8, classes=4)
    assert batches.element_spec[1].shape.as_list() == [None, 4]
    targets = np.concatenate([some for _, some in batches.as_numpy_iterator()])
    np.testing.assert_array_equal(targets, np.eye(4, dtype=np.float32)[labels[epoch.indices]])


def test_mixed_batches_are_what_mix_makes_and_their_targets_sum_to_one(photos):
    labels, what = np.arange(50) % 3, Augment(cutmix=0.5, mixup=0.5)
    epoch = augment.plan(np.arange(50), labels, what, 1, 0)
    shown = list(augment.batches(photos, labels, epoch, what, 8, classes=3).as_numpy_iterator())
    for start, (pictures, targets) in zip(range(0, 50, 8), shown, strict=True):
        some = slice(start, start + 8)
        own = np.eye(3, dtype=np.float32)[labels[epoch.indices[some]]]
        expected = augment.mix(photos[epoch.indices[some]], own, epoch.draws[start], what)
        np.testing.assert_array_equal(pictures, expected[0])
        np.testing.assert_array_equal(targets, expected[1])
        np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)
    assert any((targets.max(axis=1) < 1).any() for _, targets in shown)


@pytest.mark.parametrize("out", [16, 24])
def test_batches_have_the_side_that_is_asked_for(photos, out):
    what = Augment(crop=0.5)
    epoch = augment.plan(np.arange(50), np.zeros(50, int), what, 1, 0)
    batches = augment.batches(photos, np.zeros(50, int), epoch, what, 20, out_px=out)
    assert [pictures.shape for pictures, _ in batches.as_numpy_iterator()] == [(n, out, out, 3) for n in (20, 20, 10)]


def test_balanced_batches_show_every_class_equally_often(photos):
    labels = np.repeat([0, 1, 2], [30, 15, 5])
    what = Augment(flip=True, balance=True)
    for epoch in range(3):
        plan = augment.plan(np.arange(50), labels, what, 1, epoch)
        shown = [classes for _, classes in augment.batches(photos, labels, plan, what, 16).as_numpy_iterator()]
        np.testing.assert_array_equal(np.bincount(np.concatenate(shown)), [30, 30, 30])
