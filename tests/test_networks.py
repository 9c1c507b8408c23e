"""Networks that other runs have trained: loaded as they are, refused where they are not there."""

import numpy as np
import pytest

from flowerlib import data, finetuning, metrics, networks, recipes, splits, training
from flowerlib.errors import FlowerlibError


@pytest.fixture
def quick(cache, monkeypatch):
    """A run on drawn flowers that trains one epoch, known under its name."""
    recipe = recipes.load("qu-baseline-b-whitened", "smoke")
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update={"epochs": 1})})
    monkeypatch.setattr(recipes, "load", lambda run, profile: recipe)
    return recipe


def test_a_trained_network_answers_as_its_run_did(quick):
    dataset = data.load(quick.data.name, quick.data.size_px, quick.data.resize)
    split = splits.make(quick.data.split, quick.data.labels, dataset.fine, dataset.sets)
    model = training.build(quick, split, dataset)
    training.fit_or_load(quick, model, dataset, split)
    expected = metrics.softmax(training.predict(quick, model, dataset, split.test))
    assert networks.is_trained("quick", "smoke")
    found = networks.load("quick", "smoke")
    np.testing.assert_allclose(found.probabilities(found.split.test), expected, atol=1e-6)
    assert found.split.names == split.names


def test_a_network_that_was_not_trained_here_is_named_with_the_command(quick, monkeypatch):
    assert not networks.is_trained("qu-baseline-b-whitened", "smoke")
    for module in (training, finetuning):
        monkeypatch.setattr(module, "fit_or_load", lambda *_: pytest.fail("trained"))
    with pytest.raises(FlowerlibError, match="flowerlib run 'qu-baseline-b-whitened' --profile smoke --force"):
        networks.load("qu-baseline-b-whitened", "smoke")


@pytest.mark.parametrize("run", ["dataset", "shen-augmentation", "ours-coarse-2025", "ash-settings"])
def test_runs_without_one_network_on_their_own_labels_are_refused(run, cache):
    with pytest.raises(FlowerlibError, match=f"{run} trains no single network"):
        networks.load(run, "smoke")
