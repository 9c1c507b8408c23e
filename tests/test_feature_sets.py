"""Features side by side, and the setting that the validation parts prefer."""

import numpy as np
import pytest

from flowerlib import feature_sets, heads
from flowerlib.errors import FlowerlibError
from flowerlib.schema import HeadSweep

PLAN = HeadSweep(learning_rates=(1e-6, 0.1), momenta=(0.0, 0.9), draws=2, epochs=12, reference=(0.1, 0.9))


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


def test_the_setting_is_the_one_that_validation_prefers():
    features, labels = clouds(np.random.default_rng(2), 0.6)
    draws = [heads.draw(features, labels, seed) for seed in range(2)]
    choice = feature_sets.choose(draws, PLAN, PLAN.epochs)
    found = heads.train(draws, *heads.grid(PLAN.learning_rates, PLAN.momenta), epochs=PLAN.epochs)
    means = found.val_accuracy.mean(axis=0)
    assert choice.val_accuracy == means.max()
    chosen = (found.learning_rates == choice.learning_rate) & (found.momenta == choice.momentum)
    assert means[chosen] == means.max() and choice.weighted_f1.shape == (2,)


def test_the_table_pairs_each_set_with_the_reference():
    rng, choices = np.random.default_rng(3), {}
    for name, spread in (("good", 0.1), ("bad", 2.0)):
        features, labels = clouds(rng, spread)
        draws = [heads.draw(features, labels, seed) for seed in range(4)]
        choices[name] = feature_sets.choose(draws, PLAN, PLAN.epochs)
    table = feature_sets.table(choices, "bad").set_index("features")
    expected = choices["good"].weighted_f1.mean() - choices["bad"].weighted_f1.mean()
    assert table.loc["good", "difference"] == pytest.approx(expected) and expected > 0.2
    assert np.isnan(table.loc["bad", "difference"]) and table.loc["good", "validation"] > 0.9
