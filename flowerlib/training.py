"""Fit a network, or load it: seeds, epochs, checkpoints. A killed run goes on at its last epoch.

Everything random in an epoch comes from seed, epoch and position (``augment.plan``) or lives in the variables of the
model (dropout's generators), so a checkpoint of variables and history is all that a run needs to end with the
numbers of one that was not killed.
"""

import json
import time
from pathlib import Path

import cv2
import keras
import numpy as np
import tensorflow as tf
from filelock import FileLock, Timeout

from flowerlib import augment, checkpoints, digests, objective, schedules, whitening
from flowerlib.checkpoints import Trained
from flowerlib.data import Dataset, manifest
from flowerlib.errors import FlowerlibError
from flowerlib.fetch import cache_folder
from flowerlib.models import builder
from flowerlib.progress import EpochLine
from flowerlib.schema import Recipe, Training
from flowerlib.splits import Part, Split


def set_seeds(seed: int) -> None:
    """Seed Python, numpy and TensorFlow and ask for deterministic operations, in one call."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def build(recipe: Recipe, split: Split, dataset: Dataset | None = None) -> keras.Model:
    """The recipe's network with freshly seeded weights, compiled.

    Args:
        recipe: the run.
        split: its parts; the training part's classes set the output bias and the logit adjustment.
        dataset: the pictures, where the recipe whitens them: whitening is fitted on the training part.
    """
    assert recipe.model is not None and recipe.data is not None and recipe.training is not None
    set_seeds(recipe.seed)
    options = recipe.model.options()
    if recipe.augment.whitening_epsilon is not None:
        assert dataset is not None, "whitening is fitted on the pictures"
        fitted = whitening.fit(dataset.images[split.train.indices], recipe.augment.whitening_epsilon)
        options["whitening_rank"] = len(fitted.components)
    model = builder(recipe.model.builder)(len(split.names), recipe.data.size_px, **options)
    _check_sizes(recipe, model)
    if recipe.augment.whitening_epsilon is not None:
        model.get_layer("whitening").set_weights([fitted.mean, fitted.components, fitted.gains])
    shares = np.bincount(split.train.labels, minlength=len(split.names)) / max(1, len(split.train))
    if recipe.model.output_bias != "zeros":
        model.get_layer("logits").bias.assign(objective.output_bias(recipe.model.output_bias, shares))
    model.compile(
        objective.optimizer(recipe.training), objective.loss(recipe, shares), metrics=objective.metrics(recipe)
    )
    return model


def _check_sizes(recipe: Recipe, model: keras.Model) -> None:
    """Refuse training or test pictures of a side that the network does not take."""
    assert recipe.training is not None and recipe.model is not None
    side = model.input_shape[1]
    wanted = {*recipe.training.sizes_px, recipe.training.test_px} - {None}
    if side is not None and wanted - {side}:
        raise FlowerlibError(
            f"{recipe.name}: {recipe.model.builder} takes pictures of data.size_px {side} only:"
            " leave training.sizes_px and training.test_px out"
        )


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
                fit(recipe, model, dataset, split, Trained(digest), folder)
    trained = Trained(**json.loads(done.read_text(encoding="utf-8")))
    _check_divergence(recipe, trained, folder / "checkpoint.npz")
    checkpoints.weights(model).load_weights(folder / "model.weights.h5")
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


def fit(recipe: Recipe, model: keras.Model, dataset: Dataset, split: Split, trained: Trained, folder: Path) -> None:
    """Train a model from its beginning, or from the checkpoint in a folder, and keep it there.

    Args:
        recipe: the run.
        model: from ``build``; holds the trained weights afterwards.
        dataset: the pictures.
        split: its parts; train and validation are used, test is not looked at.
        trained: is filled with what becomes known of the training.
        folder: of checkpoint, weights and what is known of them.

    Raises:
        FlowerlibError: the loss is not a number and the recipe does not say ``may_diverge``; a full disk.
    """
    training = recipe.training
    assert training is not None
    checkpoint, best = folder / "checkpoint.npz", folder / "best.npz"
    model.optimizer.build(model.trainable_variables)
    if checkpoint.exists():
        trained.history, trained.first_steps = checkpoints.restore(model, checkpoint)
        print(f"going on after epoch {trained.epochs}", flush=True)
    elif recipe.may_diverge:
        checkpoints.save(model, trained, checkpoint)  # what is left when the first epoch breaks
    line = EpochLine(training.epochs, trained.minutes, trained.epochs)
    for epoch in range(trained.epochs, training.epochs):
        if _has_stopped(trained.history, training):
            break
        started = time.monotonic()
        batches = epoch_batches(recipe, dataset, split, epoch)
        steps = _Steps(model, training, epoch, len(shown(recipe, split, epoch).indices))
        fitted = _fit_epoch(model, batches, [steps, line.batches(len(batches))])
        row = {name: values[-1] for name, values in fitted.history.items()}
        # Keras calls loss what is minimized, weight penalty included; validation has no penalty.
        row["objective"], row["loss"] = row["loss"], row.pop("cross_entropy")
        row |= validate(model, dataset, split.validation, training.test_px)
        row["learning_rate"] = float(model.optimizer.learning_rate)
        row["minutes"] = trained.minutes + (time.monotonic() - started) / 60
        for name, value in row.items():
            trained.history.setdefault(name, []).append(float(value))
        trained.first_steps += steps.losses
        if not np.isfinite(row["objective"]):
            trained.diverged_at = trained.epochs
            _check_divergence(recipe, trained, checkpoint)
            checkpoints.restore(model, checkpoint)  # scores are those of the last epoch whose loss was a number
            break
        if training.best_by and best_epoch(trained.history, training.best_by) == epoch:
            checkpoints.save(model, trained, best)  # before the checkpoint: a kill between them repeats this epoch
        checkpoints.save(model, trained, checkpoint)
        line.epoch(row)
    if model.optimizer.use_ema and trained.diverged_at is None:
        model.optimizer.finalize_variable_values(model.trainable_variables)
    if best.exists():
        checkpoints.restore(model, best)
    checkpoints.keep(model, trained, folder)


def best_epoch(history: dict[str, list[float]], by: str) -> int:
    """The epoch (0-based) with the highest validation accuracy or the lowest validation loss; the first of equals."""
    values = np.asarray(history[by]) * (-1 if by == "val_loss" else 1)
    return int(np.where(np.isnan(values), -np.inf, values).argmax())


def _has_stopped(history: dict[str, list[float]], training: Training) -> bool:
    """Whether so many epochs brought nothing better that the run ends."""
    if training.patience is None or training.best_by is None or not history:
        return False
    values = np.asarray(history[training.best_by]) * (-1 if training.best_by == "val_loss" else 1)
    last, highest = 0, values[0]
    for epoch, value in enumerate(values):
        if value > highest + training.min_delta:
            last, highest = epoch, value
    return len(values) - 1 - last >= training.patience


def shown(recipe: Recipe, split: Split, epoch: int) -> augment.Epoch:
    """Which pictures one epoch (0-based) of a recipe shows, in which order and changed by which draws."""
    training, part = recipe.training, split.train
    assert training is not None
    if training.presentations is None:
        return augment.plan(part.indices, part.labels, recipe.augment, recipe.seed, epoch)
    first, end = (round(training.presentations * each / training.epochs) for each in (epoch, epoch + 1))
    return augment.excerpt(part.indices, part.labels, recipe.augment, recipe.seed, first, end - first)


def epoch_batches(recipe: Recipe, dataset: Dataset, split: Split, epoch: int) -> tf.data.Dataset:
    """What one epoch of a recipe shows: pictures and targets (see ``augment.batches``).

    Args:
        recipe: the run.
        dataset: the pictures.
        split: its parts; only the training part is used.
        epoch: 0-based.
    """
    training, part = recipe.training, split.train
    assert training is not None
    labels = np.full(len(dataset.fine), -1, dtype=np.int64)
    labels[part.indices] = part.labels
    sizes = training.sizes_px or (None,)
    return augment.batches(
        dataset.images,
        labels,
        shown(recipe, split, epoch),
        recipe.augment,
        training.batch_size,
        out_px=sizes[epoch * len(sizes) // training.epochs],
        classes=len(split.names) if objective.has_soft_targets(recipe) else None,
    )


class _Steps(keras.callbacks.Callback):
    """Set the rate before each step; keep the cross-entropy of each of the first epoch's first 100.

    Args:
        model: whose optimizer it is.
        training: names the schedule.
        epoch: 0-based.
        count: pictures that the epoch shows; its last batch may be smaller.
    """

    FIRST = 100

    def __init__(self, model: keras.Model, training: Training, epoch: int, count: int) -> None:
        super().__init__()
        self.rate, self.optimizer = schedules.SCHEDULES[training.schedule], model.optimizer
        self.training, self.epoch, self.count = training, epoch, count
        self.losses: list[float] = []
        self.sum = 0.0

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        done = self.epoch + batch / -(-self.count // self.training.batch_size)
        self.optimizer.learning_rate = self.rate(done, self.training.epochs, self.training.learning_rate)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if logs and self.epoch == 0 and batch < self.FIRST:
            before, after = (min(each * self.training.batch_size, self.count) for each in (batch, batch + 1))
            total = logs["cross_entropy"] * after  # Keras hands out the mean over all pictures so far
            self.losses.append((total - self.sum) / (after - before))
            self.sum = total


def _fit_epoch(
    model: keras.Model, batches: tf.data.Dataset, callbacks: list[keras.callbacks.Callback]
) -> keras.callbacks.History:
    """One epoch. Keras overwrites the weights with their moving average whenever ``fit`` ends; here only a run ends."""
    averaged = model.optimizer.use_ema
    keep_weights = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: setattr(model.optimizer, "use_ema", False))
    fitted = model.fit(batches, verbose=0, shuffle=False, callbacks=[*callbacks, keep_weights])
    model.optimizer.use_ema = averaged
    return fitted


def validate(model: keras.Model, dataset: Dataset, part: Part, size_px: int | None = None) -> dict[str, float]:
    """Loss, accuracy and mean class accuracy on a part, without flips; empty where the split has no such part."""
    if not len(part):
        return {}
    values = logits(model, dataset.images, part.indices, size_px=size_px)
    shifted = values - values.max(axis=1, keepdims=True)
    negative = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(part)), part.labels]
    right = values.argmax(axis=1) == part.labels
    classes = np.unique(part.labels)
    return {
        "val_loss": float(negative.mean()),
        "val_accuracy": float(right.mean()),
        "val_balanced_accuracy": float(np.mean([right[part.labels == label].mean() for label in classes])),
    }


def predict(recipe: Recipe, model: keras.Model, dataset: Dataset, part: Part) -> np.ndarray:
    """Logits float64 (n, classes) of a part as the recipe predicts: at its size, with mirror images if it says so."""
    assert recipe.training is not None
    size_px, flips = recipe.training.test_px, recipe.training.flips_at_test
    return logits(model, dataset.images, part.indices, flips=flips, size_px=size_px)


def logits(
    model: keras.Model,
    images: np.ndarray,
    indices: np.ndarray,
    batch_size: int = 128,
    *,
    flips: bool = False,
    size_px: int | None = None,
) -> np.ndarray:
    """Logits float64 (n, classes) of pictures by position, a batch at a time from the memory map.

    Args:
        model: from ``build``.
        images: uint8 (all, side, side, 3).
        indices: int (n,) positions.
        batch_size: pictures that are predicted at once.
        flips: average each picture's logits with those of its mirror image.
        size_px: side that pictures are brought to, by their mean over each area; as they are by default.
    """
    parts = []
    for start in range(0, len(indices), batch_size):
        pictures = np.asarray(images[indices[start : start + batch_size]])
        if size_px and size_px != images.shape[1]:
            pictures = np.stack(
                [cv2.resize(each, (size_px, size_px), interpolation=cv2.INTER_AREA) for each in pictures]
            )
        found = np.asarray(model.predict_on_batch(pictures), dtype=np.float64)
        if flips:
            found = (found + np.asarray(model.predict_on_batch(pictures[:, :, ::-1]), dtype=np.float64)) / 2
        parts.append(found)
    return np.concatenate(parts)


def _check_divergence(recipe: Recipe, trained: Trained, checkpoint: Path) -> None:
    if trained.diverged_at is None or recipe.may_diverge:
        return
    rate = trained.history["learning_rate"][-1]
    good = "no epoch before it was good"
    if trained.diverged_at > 1:
        good = f"the last good checkpoint is {checkpoint}" if checkpoint.exists() else "the epoch before it was kept"
    raise FlowerlibError(
        f"{recipe.name}: the loss is not a number in epoch {trained.diverged_at} at learning rate {rate:g};"
        f" {good}: lower training.learning_rate, or say may_diverge"
    )
