"""Which photograph is in which part, against the reports' counts; and what is refused."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowerlib import data, splits
from flowerlib.errors import FlowerlibError
from flowerlib.fetch import fetch

SIZES = {
    "official": (1020, 1020, 6149),
    "swapped": (6149, 1020, 1020),
    "joint": (2040, 0, 6149),
    "kaggle": (6552, 818, 819),
}
GROUPS = (
    "Orchids",
    "Bell-shaped Flowers",
    "Lilies",
    "Tubular Flowers",
    "Composite Flowers",
    "Iris-like Flowers",
    "Dahlia Varieties",
    "Poppies",
    "Water Flowers",
    "Carnations",
)
# Photographs of each group on `swapped`. Test: table 2 of Hughes 2024. Totals and extremes of 2025: table 1 of Shen.
COARSE = {
    "coarse-2024": {
        "train": [115, 20, 164, 293, 368, 201, 136, 103, 291, 97],
        "validation": [30, 10, 50, 40, 70, 40, 20, 20, 20, 20],
        "test": [30, 10, 50, 40, 70, 40, 20, 20, 20, 20],
    },
    "coarse-2025": {
        "train": [115, 49, 164, 798, 368, 201, 136, 103, 291, 97],
        "validation": [30, 20, 50, 100, 70, 40, 20, 20, 20, 20],
        "test": [30, 20, 50, 100, 70, 40, 20, 20, 20, 20],
    },
}
FINE = np.arange(12) % 3  # the classes of twelve made-up images
FIVE = np.repeat(np.arange(5), 200)


@pytest.fixture(scope="module")
def oxford(photographs, tmp_path_factory):
    """Classes and official id sets of the 8,189 photographs, none of which is decoded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWERLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        return data._oxford_labels(fetch("oxford102/imagelabels.mat"), fetch("oxford102/setid.mat"))


def id_sets(train, valid, test):
    return {name: np.array(ids) for name, ids in zip(("trnid", "valid", "tstid"), (train, valid, test), strict=True)}


def sizes(split):
    return tuple(len(part) for part in split.parts().values())


def every_index(split):
    return np.concatenate([part.indices for part in split.parts().values()])


def refusal(*arguments):
    with pytest.raises(FlowerlibError) as caught:
        splits.make(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# The photographs


@pytest.mark.parametrize("name", SIZES)
def test_sizes_of_the_splits_of_the_photographs(oxford, name):
    split = splits.make(name, "fine", *oxford)
    assert sizes(split) == SIZES[name]
    np.testing.assert_array_equal(np.sort(every_index(split)), np.arange(8189))


@pytest.mark.parametrize("version", COARSE)
def test_supports_of_the_coarse_groups_are_the_reports(oxford, version):
    split = splits.make("swapped", version, *oxford)
    assert split.names == GROUPS
    found = {name: np.bincount(part.labels, minlength=10).tolist() for name, part in split.parts().items()}
    assert found == COARSE[version]


@pytest.mark.parametrize(("version", "sums"), [("coarse-2024", (1788, 320, 320)), ("coarse-2025", (2322, 390, 390))])
def test_sizes_of_the_coarse_parts_are_the_reports(oxford, version, sums):
    assert sizes(splits.make("swapped", version, *oxford)) == sums


def test_every_kind_has_40_to_258_photographs(oxford):
    counts = np.bincount(oxford[0])
    assert (len(counts), counts.min(), counts.max(), counts.sum()) == (102, 40, 258, 8189)


def test_official_train_and_validation_hold_ten_of_each_kind(oxford):
    split = splits.make("official", "fine", *oxford)
    for part in (split.train, split.validation):
        np.testing.assert_array_equal(np.bincount(part.labels), np.full(102, 10))


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("labels", ["fine", *COARSE])
def test_indices_ascend_and_are_in_one_part_with_their_own_label(oxford, name, labels):
    fine, sets = oxford
    split = splits.make(name, labels, fine, sets)
    everything = every_index(split)
    assert len(np.unique(everything)) == len(everything)
    mapping = np.arange(102) if labels == "fine" else splits.coarse_map(labels)[0]
    for part in split.parts().values():
        assert part.indices.dtype == part.labels.dtype == np.int64
        assert (np.diff(part.indices) > 0).all()
        np.testing.assert_array_equal(part.labels, mapping[fine[part.indices]])


@pytest.mark.parametrize("version", COARSE)
def test_coarse_parts_hold_every_photograph_of_their_kinds_and_no_other(oxford, version):
    fine, sets = oxford
    in_a_group = splits.coarse_map(version)[0] >= 0
    split = splits.make("official", version, fine, sets)
    np.testing.assert_array_equal(np.sort(every_index(split)), np.flatnonzero(in_a_group[fine]))


def test_swapped_is_official_with_train_and_test_exchanged(oxford):
    official, swapped = (splits.make(name, "fine", *oxford) for name in ("official", "swapped"))
    for one, other in (("train", "test"), ("validation", "validation"), ("test", "train")):
        np.testing.assert_array_equal(official.parts()[one].indices, swapped.parts()[other].indices)


# Any data


def test_an_image_id_is_its_position_plus_one():
    split = splits.make("official", "fine", FINE, id_sets([3, 1], [2], [12, 7]))
    assert [part.indices.tolist() for part in split.parts().values()] == [[0, 2], [1], [6, 11]]
    assert split.train.labels.tolist() == [0, 2]


def test_joint_puts_train_and_validation_together():
    split = splits.make("joint", "fine", FINE, id_sets([5, 1], [4, 2], [3]))
    assert split.train.indices.tolist() == [0, 1, 3, 4]
    assert sizes(split) == (4, 0, 1)


def test_names_are_in_the_official_order():
    names = splits.fine_names()
    assert (len(names), names[0], names[73], names[101]) == (102, "pink primrose", "rose", "blackberry lily")


@pytest.mark.parametrize(("version", "kinds"), [("coarse-2024", 32), ("coarse-2025", 39)])
def test_coarse_groups_take_in_as_many_kinds_as_the_reports_say(version, kinds):
    mapping, names = splits.coarse_map(version)
    assert mapping.shape == (102,) and (mapping >= 0).sum() == kinds
    assert names == GROUPS and set(mapping) == {-1, *range(10)}


def test_drawn_flowers_split_like_the_photographs():
    for labels in ("fine", *COARSE):
        split = splits.make("swapped", labels, *data.drawn_layout())
        for part in split.parts().values():
            assert set(part.labels) == set(range(len(split.names)))


# Five classes


def test_the_five_classes_split_700_150_150_with_140_30_30_of_each():
    split = splits.make("five", "five", FIVE, None)
    assert sizes(split) == (700, 150, 150)
    assert split.names == ("daisy", "dandelion", "roses", "sunflowers", "tulips")
    for part, count in zip(split.parts().values(), (140, 30, 30), strict=True):
        assert np.bincount(part.labels).tolist() == [count] * 5
        assert (np.diff(part.indices) > 0).all()
    np.testing.assert_array_equal(np.sort(every_index(split)), np.arange(1000))


def test_the_five_class_split_depends_on_its_seed_alone():
    one, again, other = (splits.make("five", "five", FIVE, None, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.test.indices, again.test.indices)
    assert set(one.test.indices) != set(other.test.indices)


def test_a_seed_does_not_change_a_split_that_is_a_list():
    one, other = (splits.make("swapped", "fine", *data.drawn_layout(), seed=seed) for seed in (1, 2))
    np.testing.assert_array_equal(one.train.indices, other.train.indices)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=120), st.integers(0, 2**31))
def test_a_stratified_split_puts_every_image_in_one_part_and_keeps_the_shares_of_each_class(fine, seed):
    fine = np.array(fine)
    parts = splits.stratified(fine, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(1, len(fine) + 1))
    for part, share in zip(parts, (0.7, 0.15, 0.15), strict=True):
        held = np.bincount(fine[part - 1], minlength=5)
        assert (np.abs(held - share * np.bincount(fine, minlength=5)) <= 1).all()


# What is refused


@pytest.mark.parametrize(
    ("sets", "image", "count"),
    [
        (id_sets([1, 2], [3, 4], [4, 5, 6]), 4, 1),
        (id_sets([7, 9], [3, 4], [9, 7, 6]), 7, 2),
        (id_sets([1, 12], [12], [5]), 12, 1),
    ],
)
def test_an_image_in_two_parts_stops_with_its_number(sets, image, count):
    message = refusal("official", "fine", FINE, sets)
    assert "split official" in message and f"image {image} " in message and f"({count} such" in message


@pytest.mark.parametrize("image", [13, 8189])
def test_an_image_that_the_data_do_not_hold_stops_with_its_number(image):
    message = refusal("official", "fine", FINE, id_sets([1, image], [2], [3]))
    assert f"image {image} " in message and "12 images" in message


def test_the_kaggle_list_is_refused_for_data_of_another_size():
    assert "2448 images" in refusal("kaggle", "fine", *data.drawn_layout())


def test_an_unknown_split_is_refused_with_those_there_are():
    message = refusal("offical", "fine", FINE, id_sets([1], [2], [3]))
    assert "'offical'" in message
    assert all(name in message for name in ("official", "swapped", "joint", "kaggle", "five"))


def test_unknown_labels_are_refused_with_those_there_are():
    message = refusal("official", "coarse-2023", FINE, id_sets([1], [2], [3]))
    assert "'coarse-2023'" in message
    assert all(name in message for name in ("fine", "coarse-2024", "coarse-2025", "five"))


@pytest.mark.parametrize("name", SIZES)
def test_a_split_that_needs_id_sets_is_refused_without_them(name):
    message = refusal(name, "five", FIVE, None)
    assert f"'{name}'" in message and "five" in message


# The walls of the house


def test_what_needs_no_network_library_imports_none():
    modules = "splits schedules metrics data fetch recipes synthetic errors pipeline".split()
    code = (
        f"import sys, {', '.join(f'flowerlib.{name}' for name in modules)}\n"
        "print(sorted({'tensorflow', 'keras', 'torch', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
