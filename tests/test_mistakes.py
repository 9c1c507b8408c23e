"""Mistakes looked up among training photographs, on features whose neighbours are known."""

from types import SimpleNamespace

import numpy as np
import pytest

from flowerlib import mistakes
from flowerlib.splits import Part, Split

# Two classes on a line: training at 0, 1 and 10, 11; test pictures in between, one of them far over.
KNOWN = np.array([[0.0, 1], [1, 1], [10, 1], [11, 1], [0.4, 1], [9.0, 1], [2.0, 1], [10.4, 1]], np.float32)
TRAIN = Part(np.arange(4), np.array([0, 0, 1, 1]))
TEST = Part(np.arange(4, 8), np.array([0, 0, 1, 1]))
NETWORK = SimpleNamespace(split=Split(TRAIN, Part(np.arange(0), np.arange(0)), TEST, names=("low", "high")))
SAID = np.array([[0.9, 0.1], [0.3, 0.7], [0.8, 0.2], [0.4, 0.6]])  # wrong about the two in the middle


def test_every_mistake_stands_beside_its_neighbours_the_surest_first():
    table = mistakes.lookup(NETWORK, KNOWN, SAID)
    assert table["picture"].tolist() == [6, 5]
    assert table["probability"].tolist() == [0.8, 0.7]
    assert table["nearest_true"].tolist() == [2, 1]
    assert table["nearest_predicted"].tolist() == [1, 2]
    assert table["closer"].tolist() == ["predicted", "predicted"]


def test_the_list_of_mistakes_bears_official_numbers_and_names_by_class():
    found = mistakes.listed(mistakes.lookup(NETWORK, KNOWN, SAID), NETWORK.split.names)
    assert found.to_numpy().tolist() == [
        [6, "low", "high", 0.7, 2, 3, "the other"],
        [7, "high", "low", 0.8, 3, 2, "the other"],
    ]


def test_a_mistake_of_the_head_alone_lies_nearer_to_its_own_class_and_angles_may_say_otherwise():
    """Picture 4 lies at 0.4 among the low ones and is taken for high; by its angle too it stands between 0 and 1."""
    said = np.array([[0.2, 0.8], *SAID[1:]])
    table = mistakes.lookup(NETWORK, KNOWN, said).set_index("picture")
    assert table.loc[4, "closer"] == table.loc[4, "closer_by_angle"] == "true"
    angles = np.degrees(np.arctan2(1, KNOWN[:, 0]))
    for picture, (true, taken) in {5: ((0, 1), (2, 3)), 6: ((2, 3), (0, 1))}.items():
        far = [min(abs(angles[picture] - angles[each]) for each in places) for places in (true, taken)]
        assert table.loc[picture, "closer_by_angle"] == ("true" if far[0] < far[1] else "predicted")


def test_the_neighbours_of_test_pictures_are_training_pictures_nearest_first():
    train = Part(np.array([3, 0, 1, 2, 7, 6]), np.array([1, 0, 0, 1, 1, 0]))
    network = SimpleNamespace(split=Split(train, NETWORK.split.validation, TEST, names=("low", "high")))
    found = mistakes.by_neighbours(network, KNOWN, "euclidean")
    assert found.shape == (4, mistakes.NEIGHBOURS)
    assert found[0].tolist() == [0, 0, 0, 1, 1]  # of 0.4: 0, 1, 2, 10, 10.4
    assert found[1].tolist() == [1, 1, 1, 0, 0]  # of 9: 10, 10.4, 11, 2, 1


def test_confusions_are_counted_by_pair_with_the_size_of_the_class():
    table = mistakes.lookup(NETWORK, KNOWN, SAID)
    found = mistakes.confusions(table, TEST.labels, NETWORK.split.names)
    columns = ["true", "taken for", "mistakes", "of", "share"]
    assert found[columns].to_numpy().tolist() == [["low", "high", 1, 2, 0.5], ["high", "low", 1, 2, 0.5]]
    assert mistakes.of_pair(table, 1, 0)["picture"].tolist() == [6]


def test_neighbours_vote_and_the_nearest_breaks_a_tie():
    assert mistakes.vote(np.array([[3, 1, 1, 3, 1], [2, 5, 5, 2, 7], [4, 4, 6, 6, 6]])).tolist() == [1, 2, 6]


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_as_many_labels_as_asked_for_are_wrong_and_no_others(share):
    labels = np.arange(1000) % 7
    changed, wrong = mistakes.flipped(labels, 7, share)
    assert wrong.sum() == round(1000 * share)
    assert ((changed != labels) == wrong).all()
    assert changed.min() >= 0 and changed.max() < 7
