"""Groups through their kinds."""

import numpy as np
import pytest

from flowerlib import data, digests, groups, metrics, recipes, splits
from flowerlib.errors import FlowerlibError


@pytest.fixture(scope="module")
def drawn():
    return data.drawn_layout()


@pytest.mark.parametrize(("labels", "count"), [("coarse-2024", 32), ("coarse-2025", 39)])
def test_kinds_of_a_group_add_up_to_its_pictures(drawn, labels, count):
    fine, sets = drawn
    coarse = splits.make("swapped", labels, fine, sets)
    finer, group_of = groups.kinds(coarse, labels, fine)
    assert len(finer.names) == len(group_of) == count
    for name, part in coarse.parts().items():
        other = getattr(finer, name)
        np.testing.assert_array_equal(other.indices, part.indices)
        np.testing.assert_array_equal(group_of[other.labels], part.labels)
        assert [finer.names[label] for label in other.labels] == [splits.fine_names()[k] for k in fine[part.indices]]


def test_a_groups_probability_is_the_sum_of_its_kinds():
    logits, group_of = np.random.default_rng(0).normal(size=(20, 5)), np.array([0, 2, 1, 0, 2])
    found, each = groups.grouped(logits, group_of), metrics.softmax(logits)
    np.testing.assert_allclose(found, np.stack([each[:, [0, 3]].sum(1), each[:, 2], each[:, [1, 4]].sum(1)], axis=1))


def test_labels_without_groups_are_refused(drawn):
    fine, sets = drawn
    with pytest.raises(FlowerlibError, match="no groups of kinds"):
        groups.kinds(splits.make("swapped", "fine", fine, sets), "fine", fine)
    with pytest.raises(ValueError, match="labels fine are no groups"):
        recipes.Recipe.model_validate(
            recipes.load("ours-coarse-2025", "full").model_dump()
            | {"data": {"name": "drawn", "split": "swapped", "labels": "fine", "learned": "kinds"}}
        )


def test_what_is_learned_is_part_of_a_training():
    names = ("ours-coarse-2025", "ours-groups-2025")
    kinds, coarse = (digests.training_parts(recipes.load(name, "full"), "") for name in names)
    assert "groups.kinds" in kinds["functions"] and "groups.kinds" not in coarse["functions"]
    assert kinds["values"]["data"]["learned"] == "kinds" and "learned" not in coarse["values"]["data"]
