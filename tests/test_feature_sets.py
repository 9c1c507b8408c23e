"""Features side by side, and the setting that the validation parts prefer."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from flowerlib import feature_sets, heads, synthetic
from flowerlib.data import Dataset
from flowerlib.errors import FlowerlibError


def clouds(rng, spread):
    """60 points around three corners, by class."""
    labels = np.repeat(np.arange(3), 20)
    return (np.eye(3)[labels] + spread * rng.normal(size=(60, 3))).astype(np.float32), labels


def test_a_network_of_large_numbers_speaks_no_louder():
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(8, 2, 5)), 1000 * rng.normal(size=(8, 2, 3))
    found = feature_sets.joined([one, other])
    assert found.shape == (8, 2, 8) and found.dtype == np.float32
    np.testing.assert_allclose([np.mean(found[..., :5] ** 2), np.mean(found[..., 5:] ** 2)], 1, rtol=1e-5)
    np.testing.assert_allclose(found[..., 5:] * np.sqrt(np.mean(other**2)), other, rtol=1e-5)


def test_features_of_other_photographs_are_refused():
    with pytest.raises(FlowerlibError, match="joined"):
        feature_sets.joined([np.ones((4, 2)), np.ones((5, 2))])


def test_the_penalty_is_the_one_that_validation_prefers():
    features, labels = clouds(np.random.default_rng(2), 0.6)
    draws = [heads.draw(features, labels, seed) for seed in range(3)]
    alone = {inverse: feature_sets.choose(draws, (inverse,)) for inverse in (1e-9, 0.1, 10.0)}
    assert len({each.val_accuracy for each in alone.values()}) > 1
    choice, best = feature_sets.choose(draws, tuple(alone)), max(alone.values(), key=lambda each: each.val_accuracy)
    assert (choice.inverse_penalty, choice.val_accuracy) == (best.inverse_penalty, best.val_accuracy)
    first = LogisticRegression(C=best.inverse_penalty, max_iter=1000).fit(draws[0].train_x, draws[0].train_y)
    expected = f1_score(draws[0].test_y, first.predict(draws[0].test_x), average="weighted")
    assert choice.weighted_f1[0] == pytest.approx(expected) and choice.weighted_f1.shape == (3,)


def test_the_table_pairs_each_set_with_the_reference():
    rng, choices = np.random.default_rng(3), {}
    for name, spread in (("good", 0.1), ("bad", 2.0)):
        features, labels = clouds(rng, spread)
        choices[name] = feature_sets.choose([heads.draw(features, labels, seed) for seed in range(4)], (1.0,))
    table = feature_sets.table(choices, "bad").set_index("features")
    expected = choices["good"].weighted_f1.mean() - choices["bad"].weighted_f1.mean()
    assert table.loc["good", "difference"] == pytest.approx(expected) and expected > 0.2
    assert np.isnan(table.loc["bad", "difference"]) and table.loc["good", "validation"] > 0.9


def test_a_mirror_turns_every_photograph_and_nothing_else():
    images, _ = synthetic.draw(np.arange(3), np.arange(3), 16)
    dataset = Dataset("drawn", images, np.arange(3), None)
    found = feature_sets.mirrored(dataset)
    np.testing.assert_array_equal(found.images[:, :, ::-1], images)
    assert found.name == "drawn" and found.fine is dataset.fine


def test_the_first_kinds_are_kept_with_their_labels():
    dataset = Dataset(
        "drawn", np.arange(8, dtype=np.uint8).reshape(8, 1, 1, 1), np.array([0, 7, 4, 5, 1, 0, 9, 2]), None
    )
    found = feature_sets.first_kinds(dataset)
    assert found.fine.tolist() == [0, 4, 1, 0, 2] and found.images.ravel().tolist() == [0, 2, 4, 5, 7]
    everything = feature_sets.first_kinds(found)
    np.testing.assert_array_equal(everything.images, found.images)
