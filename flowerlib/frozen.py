"""Train the upper part of a network on what its frozen lower part gives for the pictures, which is computed once."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from flowerlib import cycles, features, training, weights
from flowerlib.checkpoints import Trained
from flowerlib.data import Dataset
from flowerlib.errors import FlowerlibError
from flowerlib.models import backbones
from flowerlib.progress import EpochLine
from flowerlib.schema import Phase, Recipe
from flowerlib.splits import Part, Split

ROOTS = (("models.backbones", "backbone"), ("models.transfer", "transfer"))  # code that a lower part comes from


@dataclass(frozen=True)
class Seen:
    """What the lower part of a network gives for the pictures: training (n, views, ...), validation (m, 1, ...)."""

    train: np.ndarray
    validation: np.ndarray | None
    minutes: float


def look(recipe: Recipe, lower: keras.Model, dataset: Dataset, split: Split) -> Seen:
    """What the lower part gives for the training pictures' views and for the validation pictures as they are."""
    train = _views(recipe, lower, dataset, split.train)
    minutes, validation = features.made(train)["minutes"], None
    if len(split.validation):
        validation = plain(recipe, lower, dataset, split.validation)
        minutes += features.made(validation)["minutes"]
    return Seen(train, validation, minutes)


def _views(recipe: Recipe, lower: keras.Model, dataset: Dataset, part: Part) -> np.memmap:
    assert recipe.finetuning is not None
    augment = recipe.augment
    if recipe.training is not None:  # pictures are mixed in the phase on all layers, which sees photographs
        augment = augment.model_copy(update={"cutmix": 0.0, "mixup": 0.0})
    return features.extract(
        lower,
        _identity(recipe, lower),
        dataset,
        part.indices,
        views=recipe.finetuning.views,
        augment=augment if augment.changes_pictures() else None,
        seed=recipe.seed,
        roots=ROOTS,
    )


def plain(recipe: Recipe, lower: keras.Model, dataset: Dataset, part: Part) -> np.memmap:
    """What the lower part gives for a part's pictures as they are, float32 (n, 1, ...)."""
    return features.extract(lower, _identity(recipe, lower), dataset, part.indices, roots=ROOTS)


def pooled(recipe: Recipe, dataset: Dataset, *, views: int = 0) -> np.memmap:
    """Averages over the last feature map of the recipe's backbone, of every picture of a data set.

    Args:
        recipe: its model names the backbone.
        dataset: the pictures, at the backbone's size.
        views: augmented views of each; 0: each picture as it is.

    Returns:
        float32 (n, views or 1, channels), a read-only memory map.
    """
    assert recipe.model is not None and recipe.model.backbone is not None and recipe.data is not None
    chosen = recipe.model.model_dump(include={"weights", "cut", "preprocessing"}, exclude_none=True)
    base = backbones.backbone(recipe.model.backbone, size_px=recipe.data.size_px, pooled=True, **chosen)
    everything = np.arange(len(dataset.images))
    if not views:
        return features.extract(base, _identity(recipe, base), dataset, everything, roots=ROOTS)
    return features.extract(
        base,
        _identity(recipe, base),
        dataset,
        everything,
        views=views,
        augment=recipe.augment,
        seed=recipe.seed,
        roots=ROOTS,
    )


def _identity(recipe: Recipe, lower: keras.Model) -> dict[str, Any]:
    """What names a lower part: its features are kept under it."""
    assert recipe.model is not None
    return {
        "backbone": recipe.model.backbone,
        "preprocessing": recipe.model.preprocessing or "own",
        "layer": lower.layers[-1].name,
        "weights": _network_weights(recipe),
    }


def _network_weights(recipe: Recipe) -> str:
    """Checksum of the pretrained weights; of random ones the seed says it all."""
    assert recipe.model is not None and recipe.model.backbone is not None
    return (
        f"random, seed {recipe.seed}" if recipe.model.weights == "random" else weights.checksum(recipe.model.backbone)
    )


def fit(
    recipe: Recipe,
    phase: Phase,
    upper: keras.Model,
    seen: Seen,
    dataset: Dataset,
    split: Split,
    trained: Trained,
    minutes: float,
) -> None:
    """Train the upper part for a phase's epochs, and leave the best epoch's weights in it where the phase says so."""
    assert recipe.finetuning is not None
    batch_size, labels = recipe.finetuning.batch_size, split.train.labels
    epochs = min(phase.epochs, recipe.finetuning.most_epochs or phase.epochs)
    training.set_seeds(recipe.seed)
    reseed(upper, recipe.seed)
    upper.compile(_optimizer(phase), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=_metrics())
    steps = math.ceil(len(labels) / batch_size)
    rate, line = _rate(phase, steps), EpochLine(epochs, minutes, 0)
    best: list[np.ndarray] | None = None
    for epoch in range(epochs):
        started = time.monotonic()
        batches = features.batches(seen.train, labels, recipe.seed, epoch, batch_size)
        fitted = upper.fit(batches, verbose=0, shuffle=False, callbacks=[_Rate(upper, rate, epoch * steps)])
        row = {name: values[-1] for name, values in fitted.history.items()}
        row["objective"], row["loss"] = row["loss"], row.pop("cross_entropy")
        if seen.validation is not None:  # the scores of training.validate, from what is kept of the pictures
            kept = replace(dataset, images=seen.validation[:, 0])
            row |= training.validate(upper, kept, Part(np.arange(len(split.validation)), split.validation.labels))
        row["learning_rate"] = rate(epoch * steps + steps - 1)
        minutes += (time.monotonic() - started) / 60
        for name, value in (row | {"minutes": minutes}).items():
            trained.history.setdefault(name, []).append(float(value))
        if not np.isfinite(row["objective"]):
            _diverged(recipe, phase, trained)
            break
        if phase.best_by and training.best_epoch(trained.history, phase.best_by) == epoch:
            best = upper.get_weights()
        line.epoch(row)
        if phase.best_by and phase.patience:
            if epoch - training.best_epoch(trained.history, phase.best_by) >= phase.patience:
                break
    if best is not None:
        upper.set_weights(best)


def reseed(model: keras.Model, seed: int) -> None:
    """Start every dropout's draws anew: files of weights do not hold how far they came, a phase that follows must."""
    for variable in model.non_trainable_variables:
        if "seed_generator" in variable.path:
            variable.assign(np.array([seed, 0], dtype=np.uint32))


def losses(recipe: Recipe, upper: keras.Model, seen: Seen, labels: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """The loss of each step of a range test of the first phase; the upper part's weights are as before afterwards.

    Args:
        recipe: the run.
        upper: the part that learns.
        seen: what the lower part gives.
        labels: int (n,) of the training part.
        rates: float (steps,), from ``range_test.rates``.

    Returns:
        float64 (steps,), NaN from where the training broke.
    """
    assert recipe.finetuning is not None
    before, found = upper.get_weights(), np.full(len(rates), np.nan)
    training.set_seeds(recipe.seed)
    upper.compile(_optimizer(recipe.finetuning.phases[0]), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    size = recipe.finetuning.batch_size
    epochs = range(-(-len(rates) // math.ceil(len(labels) / size)))
    steps = (step for epoch in epochs for step in features.batches(seen.train, labels, recipe.seed, epoch, size))
    for i, (rate, (x, y)) in enumerate(zip(rates, steps, strict=False)):
        upper.optimizer.learning_rate = rate
        upper.reset_metrics()  # or Keras would give the mean over all steps so far
        found[i] = upper.train_on_batch(x, y, return_dict=True)["loss"]
        if not np.isfinite(found[i]):
            break
    upper.set_weights(before)
    return found


def _diverged(recipe: Recipe, phase: Phase, trained: Trained) -> None:
    trained.diverged_at = trained.epochs
    if not recipe.may_diverge:
        raise FlowerlibError(
            f"{recipe.name}: the loss is not a number in epoch {trained.diverged_at} of phase '{phase.name}' at"
            f" learning rate {trained.history['learning_rate'][-1]:g}: lower it, or say may_diverge"
        )


def _optimizer(phase: Phase) -> keras.optimizers.Optimizer:
    rate = phase.learning_rate or 0.01  # a cycle sets it before each step
    if phase.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=phase.momentum)
    return keras.optimizers.Adam(rate)


def _metrics() -> list:
    return ["accuracy", keras.metrics.SparseCategoricalCrossentropy("cross_entropy", from_logits=True)]


def _rate(phase: Phase, steps: int) -> Callable[[int], float]:
    """The learning rate of each iteration of a phase; ``steps`` make an epoch."""
    cycle = phase.cycle
    if cycle is None:
        assert phase.learning_rate is not None
        constant = phase.learning_rate
        return lambda iteration: constant
    size = cycle.step_size * (steps if cycle.unit == "epochs" else 1)
    return lambda iteration: cycles.CYCLES[cycle.policy](iteration, size, cycle.low, cycle.high)


class _Rate(keras.callbacks.Callback):
    """Set the rate before each step; ``first`` iterations were done before this epoch."""

    def __init__(self, model: keras.Model, rate: Callable[[int], float], first: int) -> None:
        super().__init__()
        self.optimizer, self.rate, self.first = model.optimizer, rate, first

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.optimizer.learning_rate = self.rate(self.first + batch)
