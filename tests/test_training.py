"""Training: fitted once, loaded after, and a killed run ends with the numbers of one that was not killed.

The runs are tiny: six kinds of drawn flowers at 16 px, one convolution or two blocks, three epochs of a moment each.
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

from flowerlib import augment, checkpoints, schedules, synthetic, training, whitening
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
# Whatever else shapes a training: crops, mixing, soft targets, rates by step, growing pictures, counted presentations.
RESIDUAL = RECIPE | {
    "model": {"builder": "residual_cnn", "widths": [8, 16], "blocks": [1, 1], "dropout": 0.2},
    "augment": {"crop": 0.4, "flip": True, "hue_deg": 10, "cutmix": 0.5, "mixup": 0.25},
    "training": {
        "optimizer": "adamw",
        "learning_rate": 0.01,
        "weight_decay": 0.05,
        "schedule": "one_cycle",
        "epochs": 3,
        "batch_size": 24,
        "presentations": 200,
        "sizes_px": [16, 24],
        "label_smoothing": 0.1,
        "logit_adjustment": 1.0,
    },
}


def recipe(base=RECIPE, **changes):
    """The tiny recipe with values changed: ``recipe(training__epochs=1, seed=2)``."""
    values = {key: dict(value) if isinstance(value, dict) else value for key, value in base.items()}
    for key, value in changes.items():
        section, _, inner = key.rpartition("__")
        (values[section] if section else values)[inner] = value
    return Recipe.model_validate(values)


def residual(**changes):
    return recipe(RESIDUAL, **changes)


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
    model = training.build(the_recipe, parts, dataset)
    trained = training.fit_or_load(the_recipe, model, dataset, parts)
    return trained, training.logits(model, dataset.images, np.arange(len(dataset.images)))


def watched(dataset, the_recipe, folder):
    """A run without interruption, its cache, and in checkpoints/ what lay there after each epoch."""
    real = training.EpochLine.epoch
    (folder / "checkpoints").mkdir()

    def epoch(line, row):
        real(line, row)
        (checkpoint,) = (folder / "trained").glob("*/checkpoint.npz")
        shutil.copy(checkpoint, folder / "checkpoints" / f"{line.done}.npz")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWERLIB_CACHE", str(folder))
        patch.setattr(training.EpochLine, "epoch", epoch)
        return *run(dataset, the_recipe), folder


@pytest.fixture(scope="module")
def unbroken(dataset, tmp_path_factory):
    return watched(dataset, recipe(), tmp_path_factory.mktemp("unbroken"))


@pytest.fixture(scope="module")
def unbroken_residual(dataset, tmp_path_factory):
    return watched(dataset, residual(), tmp_path_factory.mktemp("residual"))


@pytest.fixture
def stopped_after(unbroken, cache):
    """Make this test's cache that of a run which ended after some epoch; returns its checkpoint."""

    def stop(epoch, of=unbroken):
        folder = cache / "trained" / of[0].digest
        folder.mkdir(parents=True)
        return Path(shutil.copy(of[2] / "checkpoints" / f"{epoch}.npz", folder / "checkpoint.npz"))

    return stop


def files(cache):
    """What lies under the cache's trained weights."""
    return sorted(path.name for path in (cache / "trained").glob("*/*"))


DONE = ["model.weights.h5", "training.json"]


def assert_same_run(one, other):
    """Bit-equal histories, minutes apart, first steps and logits."""
    histories = [{name: values for name, values in run[0].history.items() if name != "minutes"} for run in (one, other)]
    assert histories[0] == histories[1]
    assert one[0].first_steps == other[0].first_steps
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


def train_and_die(the_recipe):
    """In a process of its own: a run that is killed by SIGKILL as soon as its second epoch is over."""
    real = training.EpochLine.epoch

    def epoch(line, row):
        real(line, row)
        if line.done == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    training.EpochLine.epoch = epoch
    run(drawn(), the_recipe)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize(
    ("made", "whole"),
    [(recipe, "unbroken"), pytest.param(residual, "unbroken_residual", marks=pytest.mark.slow)],
)
def test_a_run_killed_after_its_second_epoch_goes_on_to_the_same_numbers(made, whole, dataset, cache, request):
    unbroken = request.getfixturevalue(whole)
    here = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {here!r}); import test_training as t; t.train_and_die(t.{made.__name__}())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert files(cache) == ["checkpoint.npz"] and "epoch 2/3" in done.stdout
    assert_same_run(run(dataset, made()), unbroken)
    assert files(cache) == DONE


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_run_with_crops_mixing_growing_pictures_and_a_cycle_goes_on_to_the_same_numbers(
    unbroken_residual, dataset, cache, stopped_after, capsys, epoch
):
    stopped_after(epoch, unbroken_residual)
    resumed = run(dataset, residual())
    assert f"going on after epoch {epoch}" in capsys.readouterr().out
    assert_same_run(resumed, unbroken_residual)
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
    """The tiny run as a plain loop that averages in numpy: losses by epoch, the average of the weights, each loss."""
    model, what = training.build(recipe(training__ema=None), split()), recipe()
    average, losses, each = None, np.zeros(3), []
    for epoch in range(3):
        plan = augment.plan(np.arange(len(TRAIN)), TRAIN, what.augment, what.seed, epoch)
        model.optimizer.learning_rate = schedules.two_drops(epoch, 3, 0.01)
        for pictures, labels in augment.batches(dataset.images, FINE, plan, what.augment, 48):
            model.reset_metrics()
            scores = model.train_on_batch(pictures, labels, return_dict=True)
            each.append(float(scores["cross_entropy"]))
            losses[epoch] += each[-1] * len(labels) / len(plan.indices)
            now = [np.array(variable.numpy(), dtype=np.float64) for variable in model.trainable_variables]
            average = now if average is None else [0.8 * a + 0.2 * b for a, b in zip(average, now, strict=True)]
    return losses, average, each


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


# Steps


def test_the_first_steps_are_those_of_a_plain_loop(unbroken, by_hand):
    steps = unbroken[0].first_steps
    assert len(steps) == 3  # of the first epoch: 6 times 24 pictures, 48 a step
    assert steps[0] == pytest.approx(by_hand[2][0], rel=1e-5)
    assert steps == pytest.approx(by_hand[2][:3], rel=1e-2)


@pytest.mark.parametrize("sizes", [(44, 44), (60, 28)])
def test_the_mean_over_the_pictures_of_the_first_steps_is_the_loss_of_the_first_epoch(dataset, cache, sizes):
    values = dict(augment__balance=False, training__batch_size=sizes[0], training__epochs=1, training__ema=None)
    trained, _ = run(dataset, recipe(**values))
    assert len(trained.first_steps) == 2
    assert np.average(trained.first_steps, weights=sizes) == pytest.approx(trained.history["loss"][0], rel=1e-6)


def test_a_hundred_first_steps_are_kept(dataset, cache):
    values = dict(training__presentations=240, training__batch_size=2, training__epochs=1, augment__balance=False)
    trained, _ = run(dataset, recipe(**values))
    assert len(trained.first_steps) == 100 and np.isfinite(trained.first_steps).all()


def test_the_rate_of_each_step_is_the_schedules_and_a_history_has_each_epochs_last(dataset, cache, monkeypatch):
    rates, real = [], training._Steps.on_train_batch_end

    def on_train_batch_end(steps, batch, logs=None):
        rates.append(float(steps.optimizer.learning_rate))
        real(steps, batch, logs)

    monkeypatch.setattr(training._Steps, "on_train_batch_end", on_train_batch_end)
    trained, _ = run(dataset, residual(training__presentations=None))  # four steps an epoch
    assert rates == pytest.approx([schedules.one_cycle(step / 4, 3, 0.01) for step in range(12)], rel=1e-6)
    assert rates[0] == 0 < rates[1] < rates[2] > rates[3] and max(rates) > 0.0099
    assert trained.history["learning_rate"] == rates[3::4]


def test_a_step_at_rate_zero_trains_nothing(dataset, cache):
    """The first of a cycle: the rate is set before the step, not after it."""
    one_step = residual(training__epochs=1, training__presentations=24)
    model = training.build(one_step, split())
    before = [variable.numpy() for variable in model.trainable_variables]
    assert len(training.fit_or_load(one_step, model, dataset, split()).first_steps) == 1
    for variable, value in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


# What is shown


@pytest.fixture
def shown(monkeypatch):
    """Of each epoch of the runs of a test: positions of its pictures, and their side."""
    epochs, real = [], augment.batches

    def batches(images, labels, epoch, *arguments, **options):
        made = real(images, labels, epoch, *arguments, **options)
        epochs.append((epoch.indices, next(made.as_numpy_iterator())[0].shape[1]))
        return made

    monkeypatch.setattr(augment, "batches", batches)
    return epochs


def test_a_run_with_presentations_shows_so_many_pictures_each_as_often_as_any_other(dataset, cache, shown):
    run(dataset, residual())
    assert [len(indices) for indices, _ in shown] == [67, 66, 67]  # 200 in three epochs
    times = np.bincount(np.concatenate([indices for indices, _ in shown]), minlength=len(TRAIN))
    assert len(times) == len(TRAIN) and set(times) == {2, 3}  # 88 pictures


@pytest.mark.parametrize(("presentations", "epochs"), [(101, 3), (400, 7), (88, 1)])
def test_the_batches_of_all_epochs_hold_so_many_pictures(dataset, presentations, epochs):
    counted = residual(training__presentations=presentations, training__epochs=epochs, training__batch_size=10)
    batches = [training.epoch_batches(counted, dataset, split(), epoch) for epoch in range(epochs)]
    sizes = [sum(len(targets) for _, targets in each.as_numpy_iterator()) for each in batches]
    assert sum(sizes) == presentations and max(sizes) - min(sizes) <= 1


def test_balanced_presentations_show_every_class_equally_often(dataset):
    balanced = recipe(training__presentations=288, training__epochs=3)  # twice six times 24
    batches = [training.epoch_batches(balanced, dataset, split(), epoch) for epoch in range(3)]
    labels = np.concatenate([targets for each in batches for _, targets in each.as_numpy_iterator()])
    np.testing.assert_array_equal(np.bincount(labels), [48] * KINDS)


@pytest.mark.parametrize(
    ("sizes_px", "epochs", "expected"),
    [([16, 24], 3, [16, 16, 24]), ([16, 24, 32], 3, [16, 24, 32]), ([16, 24], 4, [16, 16, 24, 24]), ([], 2, [16, 16])],
)
def test_pictures_grow_by_equal_shares_of_the_epochs(dataset, shown, sizes_px, epochs, expected):
    growing = residual(training__sizes_px=sizes_px, training__epochs=epochs)
    for epoch in range(epochs):
        batches = training.epoch_batches(growing, dataset, split(), epoch)
        pictures, targets = next(batches.as_numpy_iterator())
        assert pictures.shape == (24, expected[epoch], expected[epoch], 3) and targets.shape == (24, KINDS)
    assert [side for _, side in shown] == expected


def test_a_run_trains_on_pictures_of_the_sides_it_names(dataset, cache, shown):
    run(dataset, residual())
    assert [side for _, side in shown] == [16, 16, 24]


# Whitening


WHITENED = RECIPE | {"model": {"builder": "qu_cnn"}, "augment": {"whitening_epsilon": 0.01, "whitening_fit": "train"}}


def test_whitening_is_fitted_on_the_pictures_of_the_training_part(dataset):
    model = training.build(recipe(WHITENED), split(), dataset)
    fitted = whitening.fit(dataset.images[: len(TRAIN)], 0.01)
    for held, expected in zip(
        model.get_layer("whitening").weights, (fitted.mean, fitted.components, fitted.gains), strict=True
    ):
        np.testing.assert_array_equal(held.numpy(), expected)


def test_a_whitened_run_goes_on_to_the_same_numbers_and_is_loaded_with_its_whitening(
    dataset, cache, tmp_path, monkeypatch
):
    whole = watched(dataset, recipe(WHITENED), tmp_path)
    folder = cache / "trained" / whole[0].digest
    folder.mkdir(parents=True)
    shutil.copy(tmp_path / "checkpoints" / "1.npz", folder / "checkpoint.npz")
    assert_same_run(run(dataset, recipe(WHITENED)), whole)
    refuse_fitting(monkeypatch)
    assert_same_run(run(dataset, recipe(WHITENED)), whole)


# The best epoch


def worsening(monkeypatch, by):
    """A recipe that keeps its best epoch, and whose rate ruins what it has learnt in the third."""
    monkeypatch.setitem(schedules.SCHEDULES, "constant", lambda epoch, _, rate: rate if epoch < 2 else 3.0)
    values = dict(schedule="constant", learning_rate=0.002, epochs=4, batch_size=24, ema=None, best_by=by)
    return recipe(**{f"training__{key}": value for key, value in values.items()}, model__batch_norm=False)


def assert_best_is_kept(dataset, the_recipe, by, trained):
    model = training.build(the_recipe, split())
    assert training.fit_or_load(the_recipe, model, dataset, split()).history == trained.history
    best = (min if by == "val_loss" else max)(trained.history[by])
    assert training.validate(model, dataset, split().validation)[by] == pytest.approx(best, rel=1e-6)
    assert trained.history[by][-1] != pytest.approx(best, rel=1e-2)


@pytest.mark.parametrize("by", ["val_loss", "val_accuracy"])
def test_the_weights_kept_are_those_of_the_best_epoch(dataset, cache, monkeypatch, by):
    the_recipe = worsening(monkeypatch, by)
    trained, _ = run(dataset, the_recipe)
    assert trained.epochs == 4 and files(cache) == DONE
    assert_best_is_kept(dataset, the_recipe, by, trained)


@pytest.mark.parametrize("epoch", [2, 4])
def test_a_run_interrupted_before_a_checkpoint_keeps_the_best_epoch_all_the_same(
    dataset, cache, tmp_path, monkeypatch, epoch
):
    """Before that of the second epoch, the best so far, whose weights were just put aside; and long after it."""
    the_recipe = worsening(monkeypatch, "val_loss")
    with monkeypatch.context() as patch:
        patch.setenv("FLOWERLIB_CACHE", str(tmp_path / "whole"))
        whole = run(dataset, the_recipe)
    assert training.best_epoch(whole[0].history, "val_loss") == 1
    real = checkpoints.save

    def save(model, trained, path):
        if path.name == "checkpoint.npz" and trained.epochs == epoch:
            raise KeyboardInterrupt
        real(model, trained, path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save", save)
        with pytest.raises(KeyboardInterrupt):
            run(dataset, the_recipe)
    assert files(cache) == ["best.npz", "checkpoint.npz"]
    resumed = run(dataset, the_recipe)
    assert_same_run(resumed, whole)
    assert files(cache) == DONE
    assert_best_is_kept(dataset, the_recipe, "val_loss", resumed[0])


@pytest.mark.parametrize(
    ("by", "values", "epoch"),
    [
        ("val_loss", [3.0, 1.0, 2.0], 1),
        ("val_accuracy", [0.1, 0.3, 0.2], 1),
        ("val_loss", [1.0, 1.0], 0),
        ("val_accuracy", [0.3, 0.3], 0),
        ("val_loss", [3.0, 1.0, np.nan], 1),
        ("val_accuracy", [np.nan, 0.3, 0.2], 1),
    ],
)
def test_the_best_epoch_is_the_first_of_equals_and_never_one_without_a_number(by, values, epoch):
    assert training.best_epoch({by: values}, by) == epoch


# Patience


def scripted(monkeypatch, values):
    """Let epochs have these validation accuracies."""
    left = list(values)

    def validate(*_):
        value = left.pop(0)
        return {"val_loss": 1 - value, "val_accuracy": value, "val_balanced_accuracy": value}

    monkeypatch.setattr(training, "validate", validate)


@pytest.mark.parametrize("by", ["val_accuracy", "val_loss"])
@pytest.mark.parametrize(
    ("patience", "epochs"),
    [(1, 3), (2, 6), (3, 7)],
)
def test_a_run_stops_after_so_many_epochs_that_were_not_better_by_enough(
    dataset, cache, monkeypatch, by, patience, epochs
):
    """Better by 0.02 in epochs 1, 2 and 4; the third and the fifth are better by less, the others worse."""
    scripted(monkeypatch, [0.1, 0.3, 0.31, 0.35, 0.36, 0.2, 0.2, 0.2])
    values = dict(ema=None, epochs=8, best_by=by, patience=patience, min_delta=0.02)
    trained, _ = run(dataset, recipe(**{f"training__{key}": value for key, value in values.items()}))
    assert trained.epochs == epochs and files(cache) == DONE


def test_a_run_that_had_stopped_when_it_was_killed_shows_no_more_pictures(dataset, cache, monkeypatch):
    values = dict(training__ema=None, training__best_by="val_accuracy", training__patience=1, training__min_delta=1)

    def keep(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoints, "keep", keep)
        run(dataset, recipe(**values))
    assert files(cache) == ["best.npz", "checkpoint.npz"]
    refuse_fitting(monkeypatch)
    assert run(dataset, recipe(**values))[0].epochs == 2


# A loss that is not a number


def diverging(monkeypatch, first_rate=1e-4, **changes):
    """A recipe whose decay turns weights over and makes them nine times larger each step, from its second epoch on."""
    monkeypatch.setitem(schedules.SCHEDULES, "constant", lambda epoch, _, rate: rate if epoch >= 1 else first_rate)
    values = dict(optimizer="sgd", learning_rate=10, schedule="constant", epochs=3, batch_size=2, ema=None)
    values = {f"training__{key}": value for key, value in values.items()}
    return recipe(**values, model__weight_decay=1.0, augment__balance=False, **changes)


@pytest.fixture(scope="module")
def diverged(dataset, tmp_path_factory):
    """The diverging run of a recipe that may diverge: what is known of it, its logits, and its cache."""
    folder = tmp_path_factory.mktemp("diverged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWERLIB_CACHE", str(folder))
        return *run(dataset, diverging(patch, may_diverge=True)), folder


def test_a_loss_that_is_not_a_number_stops_with_epoch_and_rate(dataset, cache, monkeypatch):
    message = failure(dataset, diverging(monkeypatch))
    assert "tiny" in message and "epoch 2 " in message and "learning rate 10" in message
    assert files(cache) == ["checkpoint.npz"]  # of the first epoch


def test_a_run_whose_first_epoch_broke_does_not_point_to_a_checkpoint(dataset, cache, monkeypatch):
    message = failure(dataset, diverging(monkeypatch, first_rate=10))
    assert "epoch 1 " in message and "checkpoint" not in message
    assert files(cache) == []


def test_a_run_that_may_diverge_is_kept_with_the_epoch_at_which_it_broke(diverged, dataset, monkeypatch):
    trained, _, folder = diverged
    assert trained.diverged_at == 2 == trained.epochs
    assert np.isfinite(trained.history["loss"]).tolist() == [True, False]
    assert files(folder) == DONE
    monkeypatch.setenv("FLOWERLIB_CACHE", str(folder))
    refuse_fitting(monkeypatch)
    again, _ = run(dataset, diverging(monkeypatch, may_diverge=True))
    assert again.diverged_at == 2 == again.epochs


def test_a_diverged_run_is_not_loaded_for_a_recipe_that_may_not_diverge(diverged, dataset, monkeypatch):
    monkeypatch.setenv("FLOWERLIB_CACHE", str(diverged[2]))
    refuse_fitting(monkeypatch)
    message = failure(dataset, diverging(monkeypatch))
    assert "tiny" in message and "epoch 2 " in message


def test_a_run_that_may_diverge_predicts_from_the_last_epoch_whose_loss_was_a_number(diverged, dataset):
    trained, logits, _ = diverged
    assert np.isfinite(logits).all()
    values = logits[VALIDATION]
    assert (values.argmax(axis=1) == FINE[VALIDATION]).mean() == pytest.approx(trained.history["val_accuracy"][0])
    shares = np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)
    assert sklearn.metrics.log_loss(FINE[VALIDATION], shares) == pytest.approx(trained.history["val_loss"][0], rel=1e-5)


def test_a_run_that_may_diverge_and_breaks_at_once_predicts_from_its_first_weights(dataset, cache, monkeypatch):
    breaking = diverging(monkeypatch, first_rate=10, may_diverge=True)
    trained, logits = run(dataset, breaking)
    assert trained.diverged_at == 1 == trained.epochs and not np.isfinite(trained.history["loss"]).any()
    fresh = training.logits(training.build(breaking, split()), dataset.images, np.arange(len(FINE)))
    assert np.isfinite(logits).all() and files(cache) == DONE
    np.testing.assert_allclose(logits, fresh, atol=1e-6)


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
    monkeypatch.setattr(checkpoints, "open", FullDisk, raising=False)
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


@pytest.mark.parametrize("flips", [False, True])
def test_a_recipe_with_flips_predicts_the_mean_of_a_picture_and_its_mirror_image(dataset, flips):
    the_recipe = recipe(training__flips_at_test=flips)
    model, part = training.build(the_recipe, split()), split().validation
    mirrored = Dataset("drawn", np.ascontiguousarray(dataset.images[:, :, ::-1]), FINE, None)
    plain, mirror = (training.logits(model, some.images, part.indices) for some in (dataset, mirrored))
    assert np.abs(plain - mirror).max() > 1e-3
    expected = (plain + mirror) / 2 if flips else plain
    np.testing.assert_allclose(training.predict(the_recipe, model, dataset, part), expected, atol=1e-6)
    assert training.validate(model, dataset, part)["val_accuracy"] == (plain.argmax(axis=1) == part.labels).mean()


def test_a_recipe_with_a_size_of_its_own_predicts_from_the_means_of_the_areas(dataset):
    """Pictures of doubled pixels at half their side are the pictures themselves."""
    the_recipe = residual(training__test_px=SIZE)
    model, part = training.build(the_recipe, split()), split().validation
    doubled = Dataset("drawn", dataset.images.repeat(2, axis=1).repeat(2, axis=2), FINE, None)
    expected = training.logits(model, dataset.images, part.indices)
    np.testing.assert_allclose(training.predict(the_recipe, model, doubled, part), expected, atol=1e-6)
    halved = training.validate(model, doubled, part, SIZE)
    assert halved == pytest.approx(training.validate(model, dataset, part), rel=1e-6)
