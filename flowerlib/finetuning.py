"""Fine-tune a pretrained network: first its head on features that are computed once, then layers below it.

A frozen base gives the same features for a picture every epoch, so ``features`` keeps them. What is kept is what the
last layer gives below everything that any phase trains; the phases run from there upwards only.
"""

import copy
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from flowerlib import checkpoints, comparisons, digests, frozen, objective, training
from flowerlib.checkpoints import Trained
from flowerlib.data import Dataset, manifest
from flowerlib.errors import FlowerlibError
from flowerlib.fetch import cache_folder
from flowerlib.metrics import Score
from flowerlib.models import backbones
from flowerlib.models.transfer import transfer
from flowerlib.schema import Recipe
from flowerlib.splits import Part, Split

ALL_LAYERS = "all layers"  # the phase on photographs


@dataclass(frozen=True)
class Stage:
    """One phase that was trained.

    Attributes:
        name: "head", "10 layers" or "all layers".
        learned: names of the layers below the head that learned.
        trained: history and minutes of this phase; the minutes of the features are in the first one's.
        weights: file of the whole network's weights after it.
    """

    name: str
    learned: tuple[str, ...]
    trained: Trained
    weights: Path


def build(recipe: Recipe, split: Split) -> keras.Model:
    """The recipe's network: pretrained below, a freshly seeded head on top, nothing below the head learning.

    Args:
        recipe: the run; its model has the builder "transfer".
        split: its parts; their classes are those of the logits.

    Raises:
        FlowerlibError: weights that are not here or another network's, or no such layer to cut at.
    """
    assert recipe.model is not None and recipe.data is not None
    training.set_seeds(recipe.seed)
    model = transfer(len(split.names), recipe.data.size_px, **recipe.model.options())
    backbones.unfreeze(model, 0)
    return model


def halves(model: keras.Model, lowest: str) -> tuple[keras.Model, keras.Model]:
    """The model in two that share its layers, divided at the last layer below ``lowest`` that everything passes.

    Args:
        model: from ``build``.
        lowest: name of the lowest layer that is to learn.

    Returns:
        Pictures -> what can be kept of them, and from there -> logits.
    """
    names = [layer.name for layer in model.layers]
    for layer in reversed(model.layers[: names.index(lowest)]):
        try:
            return keras.Model(model.inputs, layer.output), keras.Model(layer.output, model.outputs)
        except ValueError:  # something passes it by: a shortcut, another branch
            continue
    raise AssertionError("everything passes the input")


def fit_or_load(recipe: Recipe, model: keras.Model, dataset: Dataset, split: Split) -> list[Stage]:
    """Train the phases of a recipe one after the other, or load those that are kept.

    A phase that was killed starts again, the one on all layers goes on at its last epoch.

    Args:
        recipe: the run; has ``finetuning``.
        model: from ``build``; holds the last phase's weights afterwards.
        dataset: the pictures, at the network's size.
        split: its parts; train and validation are used, test is not looked at.

    Raises:
        FlowerlibError: the loss is not a number and the recipe does not say ``may_diverge``; a full disk.
    """
    assert recipe.finetuning is not None
    digest = digests.training_digest(recipe, manifest(dataset.name))
    folder = cache_folder() / "trained" / digest
    stages = [_phase(recipe, number, model, dataset, split, folder) for number in range(len(recipe.finetuning.phases))]
    if recipe.training is not None:
        stages.append(_all_layers(recipe, model, dataset, split, folder))
    _write(folder / "training.json", {"digest": digest, "stages": [stage.name for stage in stages]})
    return stages


def of_any_side(model: keras.Model) -> keras.Model:
    """The same layers, with the same weights, for square pictures of any side.

    Args:
        model: from ``build``.

    Raises:
        FlowerlibError: a head on the flat map, whose width would change with the side.
    """
    if isinstance(model.get_layer(backbones.POOLED), keras.layers.Flatten):
        raise FlowerlibError("training.sizes_px and training.test_px need model.pooling average")
    pictures = keras.Input((None, None, 3), dtype="uint8", name="pictures")
    return keras.models.clone_model(model, input_tensors=pictures, clone_function=lambda layer: layer)


def try_rates(recipe: Recipe, model: keras.Model, dataset: Dataset, split: Split, rates: np.ndarray) -> np.ndarray:
    """The loss of each step of a range test of the first phase (Smith 2015, section 3.3); the model stays as it is.

    Args:
        recipe: the run.
        model: from ``build``.
        dataset: the pictures.
        split: its parts; the training part is used.
        rates: float (steps,), from ``range_test.rates``.

    Returns:
        float64 (steps,), NaN from where the training broke.
    """
    lower, upper = halves(model, _lowest(recipe, model))
    backbones.unfreeze(model, 0)
    return frozen.losses(recipe, upper, frozen.look(recipe, lower, dataset, split), split.train.labels, rates)


def predict(recipe: Recipe, model: keras.Model, stage: Stage, dataset: Dataset, part: Part) -> np.ndarray:
    """Logits float64 (n, classes) of a part from the network as a phase left it; the model has its weights then."""
    restore(model, stage)
    if stage.name == ALL_LAYERS:
        return training.predict(recipe, _learning(recipe, model), dataset, part)
    lower, upper = halves(model, _lowest(recipe, model))
    return training.logits(upper, frozen.plain(recipe, lower, dataset, part)[:, 0], np.arange(len(part)))


def whole(stages: list[Stage]) -> Trained:
    """One history of all phases, their minutes added up."""
    first = copy.deepcopy(stages[0].trained)
    for stage in stages[1:]:
        other = stage.trained
        minutes = first.minutes
        shared = [name for name in first.history if name in other.history]
        offset = {"minutes": minutes}
        first.history = {
            name: first.history[name] + [value + offset.get(name, 0.0) for value in other.history[name]]
            for name in shared
        }
        first.date, first.machine = other.date, other.machine
        if other.diverged_at is not None:
            first.diverged_at = first.epochs - other.epochs + other.diverged_at
    return first


def stage_table(
    stages: list[Stage], scores: dict[str, dict[str, Score]], labels: np.ndarray, logits: dict[str, np.ndarray]
) -> pd.DataFrame:
    """One row a phase: what learned, epochs, scores on the test part, what it adds to the one before, minutes.

    Args:
        stages: from ``fit_or_load``.
        scores: phase -> scores of ``metrics.classification``.
        labels: int (n,) of the test part.
        logits: phase -> float (n, classes); two phases are compared picture by picture (McNemar).
    """
    rows: list[dict[str, Any]] = []
    for before, stage in zip([None, *stages], stages, strict=False):
        found = scores[stage.name]
        row = {"phase": stage.name, "layers that learned": len(stage.learned), "epochs": stage.trained.epochs}
        row |= {"loss": found["loss"].value, "accuracy": found["accuracy"].value, "low": found["accuracy"].low}
        row |= {"high": found["accuracy"].high, "adds": None, "p": None}
        if before is not None:
            answers = (logits[each.name].argmax(axis=1) for each in (stage, before))
            added = comparisons.mcnemar(labels, *answers)
            row |= {"adds": added.value, "p": added.p}
        row |= {"balanced": found["balanced_accuracy"].value, "n": found["accuracy"].n}
        rows.append(row | {"minutes": stage.trained.minutes})
    frame = pd.DataFrame(rows)
    return frame.astype({"adds": "float64", "p": "float64"})


def restore(model: keras.Model, stage: Stage) -> None:
    """Put the weights that a phase ended with into the model."""
    checkpoints.weights(model).load_weights(stage.weights)


def _phase(recipe: Recipe, number: int, model: keras.Model, dataset: Dataset, split: Split, folder: Path) -> Stage:
    """Train one phase on what is kept of the pictures, or load it."""
    assert recipe.finetuning is not None
    phase, place = recipe.finetuning.phases[number], folder / f"phase_{number + 1}"
    learned = backbones.unfreeze(model, phase.unfreeze)
    if not (place / "training.json").exists():
        place.mkdir(parents=True, exist_ok=True)
        with training._one_training():
            if not (place / "training.json").exists():
                lower, upper = halves(model, _lowest(recipe, model))
                backbones.unfreeze(model, phase.unfreeze)
                seen = frozen.look(recipe, lower, dataset, split)
                trained = Trained(folder.name)
                frozen.fit(recipe, phase, upper, seen, dataset, split, trained, seen.minutes if number == 0 else 0.0)
                checkpoints.keep(model, trained, place)
    trained = Trained(**json.loads((place / "training.json").read_text(encoding="utf-8")))
    stage = Stage(phase.name, tuple(learned), trained, place / "model.weights.h5")
    restore(model, stage)
    return stage


def _lowest(recipe: Recipe, model: keras.Model) -> str:
    """The lowest layer that any phase trains; all of them run from there, so that one pass is enough."""
    assert recipe.finetuning is not None
    learned = backbones.unfreeze(model, max(phase.unfreeze for phase in recipe.finetuning.phases))
    names = [layer.name for layer in model.layers]
    return learned[0] if learned else names[names.index(backbones.POOLED) + 1]


def _all_layers(recipe: Recipe, model: keras.Model, dataset: Dataset, split: Split, folder: Path) -> Stage:
    """Train all layers but the base's batch norms, from photographs, as the recipe's ``training`` says."""
    assert recipe.training is not None
    place = folder / "all_layers"
    place.mkdir(parents=True, exist_ok=True)
    training.set_seeds(recipe.seed)
    frozen.reseed(model, recipe.seed)
    depth = [layer.name for layer in model.layers].index(backbones.POOLED)
    learned = backbones.unfreeze(model, depth, (keras.layers.Layer,))
    shares = np.bincount(split.train.labels, minlength=len(split.names)) / len(split.train)
    learning = _learning(recipe, model)
    learning.compile(
        objective.optimizer(recipe.training), objective.loss(recipe, shares), metrics=objective.metrics(recipe)
    )
    done = place / "training.json"
    if not done.exists():
        with training._one_training():
            if not done.exists():
                training.fit(recipe, learning, dataset, split, Trained(folder.name), place)
    stage = Stage(
        "all layers",
        tuple(learned),
        Trained(**json.loads(done.read_text(encoding="utf-8"))),
        place / "model.weights.h5",
    )
    restore(model, stage)
    return stage


def _learning(recipe: Recipe, model: keras.Model) -> keras.Model:
    """The model as the phase on photographs shows it pictures: of its own side, or of any."""
    assert recipe.training is not None
    return of_any_side(model) if recipe.training.sizes_px or recipe.training.test_px else model


def _write(path: Path, content: dict[str, Any]) -> None:
    part = path.with_suffix(".part.json")
    part.write_text(json.dumps(content), encoding="utf-8")
    os.replace(part, path)
