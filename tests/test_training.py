"""Training: fitted once, loaded after, and a killed run ends with the numbers of one that was not killed.

The runs are tiny: six kinds of drawn flowers at 16 px, one convolution, three epochs of a moment each.
The split's test part names pictures that do not exist, so a training that looked at them would stop.
"""

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
import sklearn.metrics
from filelock import FileLock

from flowerlib import augment, schedules, synthetic, training
from flowerlib.data import Dataset
from flowerlib.errors import FlowerlibError
from flowerlib.schema import Recipe
from flowerlib.splits import Part, Split

SIZE, KINDS = 16, 6
TRAIN = np.repeat(np.arange(KINDS), [24, 10, 16, 6, 20, 12])
FINE = np.concatenate([TRAIN, np.repeat(np.arange(KINDS), 4)])
VALIDATION = np.arange(len(TRAIN), len(FINE))
RECIPE = {
    "name": "tiny",
    "profile": "smoke",
    "notebook": "01_classification",
    "title": "A small network on few drawn flowers",
    "report": "ours",
    "data": {"name": "drawn", "split": "official", "labels": "fine", "size_px": SIZE},
    "model": {"builder": "shen_cnn", "widths": [8], "dropout": 0.2},
    "augment": {"flip": True, "rotation_deg": 15, "brightness": 0.1, "balance": True},
    "training": {"learning_rate": 0.01, "schedule": "two_drops", "epochs": 3, "batch_size": 48, "ema": 0.8},
}


def recipe(**changes):
    """The tiny recipe with values changed: ``recipe(training__epochs=1, seed=2)``."""
    values = {key: dict(value) if isinstance(value, dict) else value for key, value in RECIPE.items()}
    for key, value in changes.items():
        section, _, inner = key.rpartition("__")
        (values[section] if section else values)[inner] = value
    return Recipe.model_validate(values)


def drawn():
    kinds = FINE * 17  # far from each other
    return Dataset("drawn", synthetic.draw(kinds, np.arange(len(FINE)), SIZE)[0], FINE, None)


def split(validation=VALIDATION):
    nowhere = np.arange(10**6, 10**6 + 5)
    parts = Part(np.arange(len(TRAIN)), TRAIN), Part(validation, FINE[validation]), Part(nowhere, nowhere % KINDS)
    return Split(*parts, names=tuple("abcdef"))


@pytest.fixture(scope="module")
def dataset():
    return drawn()


def run(dataset, the_recipe, parts=None):
    """Build, then fit or load: what is known of the training, and the logits of all pictures."""
    parts = parts or split()
    model = training.build(the_recipe, parts)
    trained = training.fit_or_load(the_recipe, model, dataset, parts)
    return trained, training.logits(model, dataset.images, np.arange(len(dataset.images)))


@pytest.fixture(scope="module")
def unbroken(dataset, tmp_path_factory):
    """The tiny run without interruption, its cache, and in checkpoints/ what lay there after each epoch."""
    folder, real = tmp_path_factory.mktemp("unbroken"), training.EpochLine.epoch
    (folder / "checkpoints").mkdir()

    def epoch(line, row):
        real(line, row)
        (checkpoint,) = (folder / "trained").glob("*/checkpoint.npz")
        shutil.copy(checkpoint, folder / "checkpoints" / f"{line.done}.npz")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWERLIB_CACHE", str(folder))
        patch.setattr(training.EpochLine, "epoch", epoch)
        return *run(dataset, recipe()), folder


@pytest.fixture
def stopped_after(unbroken, cache):
    """Make this test's cache that of a run which ended after some epoch; returns its checkpoint."""

    def stop(epoch):
        folder = cache / "trained" / unbroken[0].digest
        folder.mkdir(parents=True)
        return Path(shutil.copy(unbroken[2] / "checkpoints" / f"{epoch}.npz", folder / "checkpoint.npz"))

    return stop


def files(cache):
    """What lies under the cache's trained weights."""
    return sorted(path.name for path in (cache / "trained").glob("*/*"))


DONE = ["model.weights.h5", "training.json"]


def assert_same_run(one, other):
    """Bit-equal histories, minutes apart, and logits."""
    histories = [{name: values for name, values in run[0].history.items() if name != "minutes"} for run in (one, other)]
    assert histories[0] == histories[1]
    np.testing.assert_array_equal(one[1], other[1])


def refuse_fitting(monkeypatch):
    def fit(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(keras.Model, "fit", fit)


def failure(dataset, the_recipe):
    with pytest.raises(FlowerlibError) as caught:
        run(dataset, the_recipe)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Fit once, load after


def test_a_run_is_kept_whole_and_its_checkpoint_removed(unbroken):
    assert files(unbroken[2]) == DONE


def test_a_history_has_one_value_an_epoch(unbroken):
    trained = unbroken[0]
    names = {"loss", "accuracy", "val_loss", "val_accuracy", "val_balanced_accuracy", "learning_rate", "minutes"}
    assert names <= set(trained.history)
    assert {len(values) for values in trained.history.values()} == {3} == {trained.epochs}
    assert all(np.isfinite(values).all() for values in trained.history.values())
    assert trained.history["learning_rate"] == pytest.approx([0.01, 0.01, 0.001])
    assert trained.history["minutes"] == sorted(trained.history["minutes"]) and trained.minutes > 0
    assert trained.diverged_at is None and trained.machine and trained.date.endswith("+00:00")


@pytest.mark.filterwarnings("error:Skipping variable loading")
def test_a_trained_run_is_loaded_and_not_trained_again(unbroken, dataset, monkeypatch):
    monkeypatch.setenv("FLOWERLIB_CACHE", str(unbroken[2]))
    refuse_fitting(monkeypatch)
    trained, logits = run(dataset, recipe())
    assert trained == unbroken[0]
    np.testing.assert_array_equal(logits, unbroken[1])


def test_loading_does_not_wait_for_a_training(unbroken, dataset, monkeypatch):
    monkeypatch.setenv("FLOWERLIB_CACHE", str(unbroken[2]))
    refuse_fitting(monkeypatch)
    with FileLock(unbroken[2] / "training.lock"):
        loading = threading.Thread(target=run, args=(dataset, recipe()), daemon=True)
        loading.start()
        loading.join(300)
        assert not loading.is_alive()


def test_a_second_training_says_that_it_waits(dataset, cache, stopped_after, monkeypatch):
    stopped_after(3)
    holding, said = threading.Event(), threading.Event()

    def hear(*words, **_):
        if "another training runs on this machine" in words[0]:
            said.set()

    def hold():
        with FileLock(cache / "training.lock"):
            holding.set()
            said.wait(300)

    monkeypatch.setattr(training, "print", hear, raising=False)
    holder = threading.Thread(target=hold)
    holder.start()
    assert holding.wait(300)
    assert run(dataset, recipe())[0].epochs == 3
    holder.join(300)
    assert said.is_set()


def test_another_seed_or_value_is_another_training(unbroken, dataset, monkeypatch):
    monkeypatch.setenv("FLOWERLIB_CACHE", str(unbroken[2]))
    refuse_fitting(monkeypatch)
    for change in ({"seed": 2}, {"training__epochs": 4}, {"model__dropout": 0.1}, {"augment__flip": False}):
        with pytest.raises(AssertionError, match="trained again"):
            run(dataset, recipe(**change))


def test_a_seed_decides_the_first_weights():
    one, again, other = (training.build(recipe(seed=seed), split()).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_split_without_validation_trains_and_has_no_validation_scores(dataset, cache):
    trained, _ = run(dataset, recipe(training__epochs=1), split(validation=np.arange(0)))
    assert trained.epochs == 1 and not [name for name in trained.history if name.startswith("val_")]


# A killed run goes on


def test_a_run_interrupted_in_its_second_epoch_goes_on_to_the_same_numbers(unbroken, dataset, cache, capsys):
    """Ctrl-C comes after the pictures were shown and before the checkpoint of the epoch is written."""
    calls, real = [], training.validate

    def validate(*arguments):
        calls.append(real(*arguments))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return calls[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "validate", validate)
        with pytest.raises(KeyboardInterrupt):
            run(dataset, recipe())
    assert files(cache) == ["checkpoint.npz"]
    capsys.readouterr()
    resumed = run(dataset, recipe())
    assert "going on after epoch 1" in capsys.readouterr().out
    assert_same_run(resumed, unbroken)
    assert files(cache) == DONE


def train_and_die():
    """In a process of its own: the tiny run, killed by SIGKILL as soon as its second epoch is over."""
    real = training.EpochLine.epoch

    def epoch(line, row):
        real(line, row)
        if line.done == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    training.EpochLine.epoch = epoch
    run(drawn(), recipe())


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_run_killed_after_its_second_epoch_goes_on_to_the_same_numbers(unbroken, dataset, cache):
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_training as t; t.train_and_die()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert files(cache) == ["checkpoint.npz"] and "epoch 2/3" in done.stdout
    assert_same_run(run(dataset, recipe()), unbroken)
    assert files(cache) == DONE


def test_a_run_that_only_had_to_be_kept_is_kept_without_another_epoch(
    unbroken, dataset, cache, stopped_after, monkeypatch
):
    stopped_after(3)
    refuse_fitting(monkeypatch)
    kept = run(dataset, recipe())
    assert_same_run(kept, unbroken)
    assert kept[0].history["minutes"] == unbroken[0].history["minutes"]
    assert files(cache) == DONE


def test_a_resumed_run_adds_up_its_minutes_and_clears_away_what_was_cut_off(unbroken, dataset, cache, stopped_after):
    checkpoint = stopped_after(1)
    checkpoint.with_suffix(".part.npz").write_bytes(checkpoint.read_bytes()[:1000])
    resumed = run(dataset, recipe())
    assert_same_run(resumed, unbroken)
    assert files(cache) == DONE
    minutes = resumed[0].history["minutes"]
    assert minutes[0] == unbroken[0].history["minutes"][0] < minutes[1] < minutes[2]


# The moving average of the weights


@pytest.fixture(scope="module")
def by_hand(dataset):
    """The tiny run as a plain loop that averages in numpy: losses by epoch, and the average of the weights."""
    model, what = training.build(recipe(training__ema=None), split()), recipe()
    average, losses = None, np.zeros(3)
    for epoch in range(3):
        plan = augment.plan(np.arange(len(TRAIN)), TRAIN, what.augment, what.seed, epoch)
        model.optimizer.learning_rate = schedules.two_drops(epoch, 3, 0.01)
        for pictures, labels in augment.batches(dataset.images, FINE, plan, what.augment, 48):
            model.reset_metrics()
            scores = model.train_on_batch(pictures, labels, return_dict=True)
            losses[epoch] += float(scores["cross_entropy"]) * len(labels) / len(plan.indices)
            now = [np.array(variable.numpy(), dtype=np.float64) for variable in model.trainable_variables]
            average = now if average is None else [0.8 * a + 0.2 * b for a, b in zip(average, now, strict=True)]
    return losses, average


def test_the_moving_average_does_not_change_how_a_run_trains(unbroken, by_hand):
    assert unbroken[0].history["loss"] == pytest.approx(by_hand[0], rel=1e-2)


def test_the_weights_kept_are_the_moving_average_of_every_step(unbroken, by_hand, dataset, monkeypatch):
    monkeypatch.setenv("FLOWERLIB_CACHE", str(unbroken[2]))
    model = training.build(recipe(), split())
    training.fit_or_load(recipe(), model, dataset, split())
    away = [
        np.abs(found.numpy() - expected)
        for found, expected in zip(model.trainable_variables, by_hand[1], strict=True)
        if found.path.endswith(("kernel", "gamma", "beta"))  # a bias before a norm is moved by rounding alone
    ]
    assert max(one.mean() for one in away) < 5e-4


# A loss that is not a number


def diverging(monkeypatch, first_rate=1e-4, **changes):
    """A recipe whose decay turns weights over and makes them nine times larger each step, from its second epoch on."""
    monkeypatch.setitem(schedules.SCHEDULES, "constant", lambda epoch, _, rate: rate if epoch else first_rate)
    values = dict(optimizer="sgd", learning_rate=10, schedule="constant", epochs=3, batch_size=2, ema=None)
    values = {f"training__{key}": value for key, value in values.items()}
    return recipe(**values, model__weight_decay=1.0, augment__balance=False, **changes)


@pytest.fixture(scope="module")
def diverged(dataset, tmp_path_factory):
    """The diverging run of a recipe that may diverge: what is known of it, and its cache."""
    folder = tmp_path_factory.mktemp("diverged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWERLIB_CACHE", str(folder))
        return run(dataset, diverging(patch, may_diverge=True))[0], folder


def test_a_loss_that_is_not_a_number_stops_with_epoch_and_rate(dataset, cache, monkeypatch):
    message = failure(dataset, diverging(monkeypatch))
    assert "tiny" in message and "epoch 2 " in message and "learning rate 10" in message
    assert files(cache) == ["checkpoint.npz"]  # of the first epoch


def test_a_run_whose_first_epoch_broke_does_not_point_to_a_checkpoint(dataset, cache, monkeypatch):
    message = failure(dataset, diverging(monkeypatch, first_rate=10))
    assert "epoch 1 " in message and "checkpoint" not in message
    assert files(cache) == []


def test_a_run_that_may_diverge_is_kept_with_the_epoch_at_which_it_broke(diverged, dataset, monkeypatch):
    trained, folder = diverged
    assert trained.diverged_at == 2 == trained.epochs
    assert np.isfinite(trained.history["loss"]).tolist() == [True, False]
    assert files(folder) == DONE
    monkeypatch.setenv("FLOWERLIB_CACHE", str(folder))
    refuse_fitting(monkeypatch)
    again, _ = run(dataset, diverging(monkeypatch, may_diverge=True))
    assert again.diverged_at == 2 == again.epochs


def test_a_diverged_run_is_not_loaded_for_a_recipe_that_may_not_diverge(diverged, dataset, monkeypatch):
    monkeypatch.setenv("FLOWERLIB_CACHE", str(diverged[1]))
    refuse_fitting(monkeypatch)
    message = failure(dataset, diverging(monkeypatch))
    assert "tiny" in message and "epoch 2 " in message


# No space left


class FullDisk(io.FileIO):
    """A file on a disk that takes 20 kB more."""

    def write(self, chunk, /):
        if self.tell() + len(chunk) > 20_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(chunk)


def test_a_checkpoint_that_finds_no_space_is_one_line_and_leaves_the_one_before(
    dataset, cache, stopped_after, monkeypatch
):
    checkpoint = stopped_after(2)
    before = checkpoint.read_bytes()
    monkeypatch.setattr(training, "open", FullDisk, raising=False)
    message = failure(dataset, recipe())
    assert "No space left on device" in message and str(checkpoint) in message
    assert files(cache) == ["checkpoint.npz"] and checkpoint.read_bytes() == before


def test_weights_that_find_no_space_are_one_line_and_leave_the_checkpoint(
    unbroken, dataset, cache, stopped_after, monkeypatch
):
    def save_weights(_, path, **__):
        Path(path).write_bytes(b"the first bytes")
        raise OSError(errno.ENOSPC, "No space left on device")

    stopped_after(3)
    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "save_weights", save_weights)
        message = failure(dataset, recipe())
    assert "No space left on device" in message and str(cache) in message
    assert files(cache) == ["checkpoint.npz"]
    assert_same_run(run(dataset, recipe()), unbroken)


# Scores and logits


def test_validation_scores_equal_scikit_learns(unbroken, dataset, monkeypatch):
    monkeypatch.setenv("FLOWERLIB_CACHE", str(unbroken[2]))
    model = training.build(recipe(), split())
    training.fit_or_load(recipe(), model, dataset, split())
    part = Part(np.arange(len(TRAIN)), TRAIN)  # imbalanced, so that the two accuracies differ
    scores = training.validate(model, dataset, part)
    values = training.logits(model, dataset.images, part.indices)
    shares = np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)
    answers = values.argmax(axis=1)
    assert scores["val_loss"] == pytest.approx(sklearn.metrics.log_loss(TRAIN, shares), rel=1e-6)
    assert scores["val_accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(TRAIN, answers))
    balanced = sklearn.metrics.balanced_accuracy_score(TRAIN, answers)
    assert scores["val_balanced_accuracy"] == pytest.approx(balanced) != scores["val_accuracy"]


def test_logits_do_not_depend_on_the_batch_and_stand_in_the_order_asked_for(dataset):
    model = training.build(recipe(), split())
    order = np.random.default_rng(0).permutation(len(FINE))
    one, other = (training.logits(model, dataset.images, order, batch_size=size) for size in (128, 7))
    assert one.dtype == np.float64 and one.shape == (len(FINE), KINDS)
    np.testing.assert_allclose(one, other, atol=1e-5)
    ordered = training.logits(model, dataset.images, np.arange(len(FINE)))
    np.testing.assert_allclose(one, ordered[order], atol=1e-5)
