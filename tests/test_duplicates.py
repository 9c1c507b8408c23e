"""Near-duplicates: copies are found, strangers are not, and parts are told apart."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from flowerlib import duplicates
from flowerlib.splits import Part, Split

SIZE = 96


def scenes(n, seed=0):
    """Unrelated pictures with something to see: eight by eight random colours, blurred."""
    cells = np.random.default_rng(seed).integers(30, 220, (n, 8, 8, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(cell).resize((SIZE, SIZE), Image.BICUBIC)) for cell in cells])


def brightened(image):
    return np.clip(image * 1.1 + 4, 0, 255).astype(np.uint8)


def re_encoded(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=40)
    return np.asarray(Image.open(file))


def shrunk_and_enlarged(image):
    small = Image.fromarray(image).resize((SIZE // 2, SIZE // 2), Image.BILINEAR)
    return np.asarray(small.resize((SIZE, SIZE), Image.BILINEAR))


def distance(one, other):
    return np.bitwise_count(duplicates.hashes(one) ^ duplicates.hashes(other))


def split_of(train, validation, test):
    return Split(*(Part(np.array(some, int), np.zeros(len(some), int)) for some in (train, validation, test)), ("x",))


@pytest.mark.parametrize("change", [brightened, re_encoded, shrunk_and_enlarged])
def test_the_hash_of_a_changed_copy_is_near(change):
    images = scenes(30)
    copies = np.stack([change(image) for image in images])
    assert (copies != images).any(axis=(1, 2, 3)).all()
    assert (distance(images, copies) <= duplicates.MAX_BITS).all()


def test_hashes_of_unrelated_pictures_are_far():
    assert (distance(scenes(200, seed=1), scenes(200, seed=2)) > duplicates.MAX_BITS).all()


def test_the_hash_of_noise_is_far_from_that_of_a_picture():
    noise = np.random.default_rng(3).integers(0, 256, (50, SIZE, SIZE, 3), dtype=np.uint8)
    assert (distance(noise, scenes(50)) > duplicates.MAX_BITS).all()


def test_a_hash_is_cut_at_the_median_so_that_half_of_its_63_bits_are_set():
    found = duplicates.hashes(scenes(20))
    assert found.dtype == np.uint64 and found.shape == (20,)
    assert np.bitwise_count(found).tolist() == [31] * 20


def test_a_hash_does_not_depend_on_the_other_pictures():
    images = scenes(5)
    assert duplicates.hashes(images)[3] == duplicates.hashes(images[3:4])[0]


def test_planted_copies_are_the_pairs_found():
    images = scenes(40)
    images[31], images[7], images[19] = images[4], re_encoded(images[25]), brightened(images[4])
    near = duplicates.pairs(duplicates.hashes(images))
    assert [4, 31, 0] in near.tolist()
    assert {tuple(pair) for pair in near[:, :2].tolist()} == {(4, 31), (4, 19), (19, 31), (7, 25)}


@given(st.lists(st.integers(0, 2**64 - 1), max_size=12), st.integers(0, 64))
def test_pairs_are_those_that_counting_bits_one_by_one_finds(values, max_bits):
    near = duplicates.pairs(np.array(values, dtype=np.uint64), max_bits)
    bits = {(i, j): (values[i] ^ values[j]).bit_count() for i in range(len(values)) for j in range(i + 1, len(values))}
    assert {(i, j): count for i, j, count in near.tolist()} == {k: v for k, v in bits.items() if v <= max_bits}
    assert near.shape[1] == 3 and (np.diff(near[:, 2]) >= 0).all()


def test_pairs_inside_a_part_or_outside_all_parts_do_not_count_as_across():
    split = split_of([0, 1, 2], [3, 4], [5, 6, 7])
    near = np.array([[0, 1, 0], [2, 3, 1], [4, 5, 2], [1, 7, 3], [5, 6, 4], [7, 9, 5], [8, 9, 6]])
    assert duplicates.across_parts(near, split).tolist() == [[2, 3, 1], [4, 5, 2], [1, 7, 3]]


def test_unseen_are_the_test_pictures_without_a_copy_in_train_or_validation():
    split = split_of([0, 1, 2], [3, 4], [5, 6, 7, 9])
    near = np.array([[0, 1, 0], [2, 3, 1], [4, 5, 2], [1, 7, 3], [5, 6, 4], [8, 9, 6]])
    assert duplicates.unseen(near, split).tolist() == [False, True, False, True]


def test_without_pairs_everything_is_unseen():
    split = split_of([0, 1], [], [2, 3])
    none = duplicates.pairs(duplicates.hashes(scenes(4)))
    assert none.shape == (0, 3)
    assert duplicates.across_parts(none, split).shape == (0, 3)
    assert duplicates.unseen(none, split).tolist() == [True, True]


def test_copies_are_found_from_pictures_to_unseen():
    images = scenes(12)
    images[9] = re_encoded(images[2])
    near = duplicates.pairs(duplicates.hashes(images))
    split = split_of(range(6), [6, 7], range(8, 12))
    assert duplicates.unseen(near, split).tolist() == [True, False, True, True]
