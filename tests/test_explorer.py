"""The explorer: what a click changes, without a browser."""

import numpy as np
import pytest
from test_finetuning import RECIPE, SIZE, dataset, recipe, split  # noqa: F401 - fixtures

from flowerlib import explorer, finetuning, networks
from flowerlib.networks import Network


@pytest.fixture
def shown(dataset, split, cache, monkeypatch):  # noqa: F811
    the_recipe = recipe(finetuning=RECIPE["finetuning"] | {"phases": [{"epochs": 1, "learning_rate": 0.05}]})
    model = finetuning.build(the_recipe, split)
    stages = finetuning.fit_or_load(the_recipe, model, dataset, split)
    network = Network(the_recipe, model, dataset, split, tuple(stages))
    monkeypatch.setattr(networks, "load", lambda run, profile: network)
    return explorer.Explorer(["one", "other"], "smoke")


def test_another_photograph_changes_map_answer_and_neighbours(shown):
    before = [shown.shown[0].value, shown.shown[1].value, shown.said.value, [each.value for each in shown.nearest]]
    shown.photographs[3].click()
    after = [shown.shown[0].value, shown.shown[1].value, shown.said.value, [each.value for each in shown.nearest]]
    assert all(one != other for one, other in zip(before, after, strict=True))
    assert bytes(after[0]).startswith(b"\x89PNG")


def test_another_class_or_method_changes_the_map_alone(shown):
    picture, heat = (each.value for each in shown.shown)
    shown.method.value = "saliency"
    assert shown.shown[0].value == picture and shown.shown[1].value != heat
    heat = shown.shown[1].value
    shown.label.value = (shown.label.value + 1) % 4
    assert shown.shown[0].value == picture and shown.shown[1].value != heat


def test_other_photographs_can_be_drawn_and_every_button_bears_one(shown):
    before = shown._look.value
    shown.more.click()
    assert shown._look.value != before
    assert shown._look.value.count("background-image") == explorer.THUMBS


def test_the_class_that_the_network_names_is_chosen(shown):
    place = shown._offered[5]
    shown.photographs[5].click()
    assert shown.label.value == int(np.argmax(shown._probabilities[place]))
