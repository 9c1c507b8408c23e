"""Fit a network, or load it: seeds, epochs, checkpoints. A killed run goes on at its last epoch.

Everything random in an epoch comes from seed, epoch and position (``augment.plan``) or lives in the variables of the
model (dropout's generators), so a checkpoint of variables and history is all that a run needs to end with the
numbers of one that was not killed.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from filelock import FileLock, Timeout

from flowerlib import augment, digests, schedules
from flowerlib.data import Dataset, manifest
from flowerlib.errors import FlowerlibError
from flowerlib.fetch import cache_folder
from flowerlib.models import builder
from flowerlib.progress import EpochLine, machine
from flowerlib.recipes import Recipe, Training
from flowerlib.splits import Part, Split


@dataclass
class Trained:
    """What is stored beside trained weights.

    Attributes:
        history: one value an epoch: loss (cross-entropy), objective (with the weight penalty), accuracy, val_loss,
            val_accuracy, val_balanced_accuracy, learning_rate and minutes (since the start, sessions added up).
        diverged_at: the epoch (from 1) whose loss was not a number, or None.
        machine: processor and cores that trained.
        date: when the last epoch ended, UTC.
    """

    digest: str
    history: dict[str, list[float]] = field(default_factory=dict)
    diverged_at: int | None = None
    machine: str = ""
    date: str = ""

    @property
    def epochs(self) -> int:
        return len(self.history.get("loss", []))

    @property
    def minutes(self) -> float:
        return self.history["minutes"][-1] if self.epochs else 0.0


def set_seeds(seed: int) -> None:
    """Seed Python, numpy and TensorFlow and ask for deterministic operations, in one call."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def build(recipe: Recipe, split: Split) -> keras.Model:
    """The recipe's network with freshly seeded weights, compiled."""
    assert recipe.model is not None and recipe.data is not None and recipe.training is not None
    set_seeds(recipe.seed)
    model = builder(recipe.model.builder)(len(split.names), recipe.data.size_px, **recipe.model.options())
    model.compile(
        _optimizer(recipe.training),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", keras.metrics.SparseCategoricalCrossentropy("cross_entropy", from_logits=True)],
    )
    return model


def _optimizer(training: Training) -> keras.optimizers.Optimizer:
    average = {"use_ema": True, "ema_momentum": training.ema} if training.ema else {}
    makers: dict[str, Callable[..., keras.optimizers.Optimizer]] = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "sgd": keras.optimizers.SGD,
        "rmsprop": keras.optimizers.RMSprop,
    }
    return makers[training.optimizer](training.learning_rate, **average)


def fit_or_load(recipe: Recipe, model: keras.Model, dataset: Dataset, split: Split) -> Trained:
    """Train the model, go on where a killed run stopped, or load what was trained before.

    Args:
        recipe: the run.
        model: from ``build``; holds the trained weights afterwards.
        dataset: the pictures.
        split: its parts; train and validation are used, test is not looked at.

    Raises:
        FlowerlibError: the loss is not a number and the recipe does not say ``may_diverge``.
    """
    digest = digests.training_digest(recipe, manifest(dataset.name))
    folder = cache_folder() / "trained" / digest
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "training.json"
    if not done.exists():
        with _one_training():
            if not done.exists():
                _fit(recipe, model, dataset, split, Trained(digest), folder)
    trained = Trained(**json.loads(done.read_text(encoding="utf-8")))
    _check_divergence(recipe, trained, folder / "checkpoint.npz")
    _weights(model).load_weights(folder / "model.weights.h5")
    return trained


def _one_training() -> FileLock:
    """A training takes all cores: wait for the one that runs on this machine."""
    lock = FileLock(cache_folder() / "training.lock")
    try:
        lock.acquire(timeout=0)
        lock.release()
    except Timeout:
        print("another training runs on this machine; this one starts when it has ended", flush=True)
    return lock


def _fit(recipe: Recipe, model: keras.Model, dataset: Dataset, split: Split, trained: Trained, folder: Path) -> None:
    training = recipe.training
    assert training is not None
    checkpoint = folder / "checkpoint.npz"
    model.optimizer.build(model.trainable_variables)
    if checkpoint.exists():
        trained.history = _restore(model, checkpoint)
    labels = np.full(len(dataset.fine), -1, dtype=np.int64)
    labels[split.train.indices] = split.train.labels
    rate = schedules.SCHEDULES[training.schedule]
    line = EpochLine(training.epochs, trained.minutes, trained.epochs)
    for epoch in range(trained.epochs, training.epochs):
        started = time.monotonic()
        shown = augment.plan(split.train.indices, split.train.labels, recipe.augment, recipe.seed, epoch)
        model.optimizer.learning_rate = rate(epoch, training.epochs, training.learning_rate)
        batches = augment.batches(dataset.images, labels, shown, recipe.augment, training.batch_size)
        fitted = _fit_epoch(model, batches, line)
        row = {name: values[-1] for name, values in fitted.history.items()}
        # Keras calls loss what is minimized, weight penalty included; validation has no penalty.
        row["objective"], row["loss"] = row["loss"], row.pop("cross_entropy")
        row |= validate(model, dataset, split.validation)
        row["learning_rate"] = float(model.optimizer.learning_rate)
        row["minutes"] = trained.minutes + (time.monotonic() - started) / 60
        for name, value in row.items():
            trained.history.setdefault(name, []).append(float(value))
        if not np.isfinite(row["objective"]):
            trained.diverged_at = trained.epochs
            _check_divergence(recipe, trained, checkpoint)
            break
        _save(model, trained.history, checkpoint)
        line.epoch(row)
    if model.optimizer.use_ema:
        model.optimizer.finalize_variable_values(model.trainable_variables)
    _keep(model, trained, folder)


def _fit_epoch(model: keras.Model, batches: tf.data.Dataset, line: EpochLine) -> keras.callbacks.History:
    """One epoch. Keras overwrites the weights with their moving average whenever ``fit`` ends; here only a run ends."""
    averaged = model.optimizer.use_ema
    keep_weights = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: setattr(model.optimizer, "use_ema", False))
    fitted = model.fit(batches, verbose=0, shuffle=False, callbacks=[line.batches(len(batches)), keep_weights])
    model.optimizer.use_ema = averaged
    return fitted


def validate(model: keras.Model, dataset: Dataset, part: Part) -> dict[str, float]:
    """Loss, accuracy and mean class accuracy on a part; empty where the split has no such part."""
    if not len(part):
        return {}
    values = logits(model, dataset.images, part.indices)
    shifted = values - values.max(axis=1, keepdims=True)
    negative = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(part)), part.labels]
    right = values.argmax(axis=1) == part.labels
    classes = np.unique(part.labels)
    return {
        "val_loss": float(negative.mean()),
        "val_accuracy": float(right.mean()),
        "val_balanced_accuracy": float(np.mean([right[part.labels == label].mean() for label in classes])),
    }


def logits(model: keras.Model, images: np.ndarray, indices: np.ndarray, batch_size: int = 128) -> np.ndarray:
    """Logits float64 (n, classes) of pictures by position, a batch at a time from the memory map."""
    starts = range(0, len(indices), batch_size)
    parts = [np.asarray(model.predict_on_batch(images[indices[start : start + batch_size]])) for start in starts]
    return np.concatenate(parts).astype(np.float64)


def _save(model: keras.Model, history: dict[str, list[float]], path: Path) -> None:
    """Write model, optimizer and history beside the checkpoint and rename: a kill leaves the old or the new one."""
    arrays = {f"variable_{i}": np.asarray(variable) for i, variable in enumerate(_variables(model))}
    part = path.with_suffix(".part.npz")
    try:
        with open(part, "wb") as file:
            np.savez(file, allow_pickle=False, history=json.dumps(history), **arrays)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise FlowerlibError(f"cannot write the checkpoint {path}: {error.strerror}") from error


def _restore(model: keras.Model, path: Path) -> dict[str, list[float]]:
    with np.load(path, allow_pickle=False) as arrays:
        for i, variable in enumerate(_variables(model)):
            variable.assign(arrays[f"variable_{i}"])
        history: dict[str, list[float]] = json.loads(str(arrays["history"]))
    print(f"going on after epoch {len(history['loss'])}", flush=True)
    return history


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Weights, statistics, dropout's generators, optimizer state (its moving averages among it)."""
    return [*model.variables, *model.optimizer.variables]


def _weights(model: keras.Model) -> keras.Model:
    """The same layers without the optimizer, whose state Keras would store with the weights at twice their size."""
    return keras.Model(model.inputs, model.outputs)


def _check_divergence(recipe: Recipe, trained: Trained, checkpoint: Path) -> None:
    if trained.diverged_at is None or recipe.may_diverge:
        return
    rate = trained.history["learning_rate"][-1]
    good = f"the last good checkpoint is {checkpoint}" if checkpoint.exists() else "no epoch before it was good"
    raise FlowerlibError(
        f"{recipe.name}: the loss is not a number in epoch {trained.diverged_at} at learning rate {rate:g};"
        f" {good}: lower training.learning_rate, or say may_diverge"
    )


def _keep(model: keras.Model, trained: Trained, folder: Path) -> None:
    """Store weights, then what is known of them: the second file says that the first is whole."""
    trained.machine, trained.date = machine(), datetime.now(UTC).isoformat(timespec="seconds")
    part, note = folder / "part.weights.h5", folder / "training.part.json"
    try:
        _weights(model).save_weights(part)
        os.replace(part, folder / "model.weights.h5")
        note.write_text(json.dumps(asdict(trained), indent=1), encoding="utf-8")
        os.replace(note, folder / "training.json")
    except OSError as error:
        part.unlink(missing_ok=True)
        note.unlink(missing_ok=True)
        raise FlowerlibError(f"cannot write the trained weights to {folder}: {error.strerror or error}") from error
    (folder / "checkpoint.npz").unlink(missing_ok=True)
