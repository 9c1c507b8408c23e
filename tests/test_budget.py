"""Trainings that have a budget of minutes or steps."""

import itertools

import keras
import numpy as np
import pytest

from flowerlib import budget, checkpoints, progress
from flowerlib.errors import FlowerlibError
from flowerlib.schema import Budget

WEIGHTS = np.array([[2.0], [-1.0]], np.float32)


def line():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])


def batch(random):
    seen = random.normal(size=(16, 2)).astype(np.float32)
    return seen, seen @ WEIGHTS


def plan(**values):
    return Budget.model_validate({"steps": 400, "learning_rate": 0.05, "marks": 4} | values)


def test_a_network_learns_and_is_loaded_afterwards(tmp_path):
    model = line()
    trained = budget.fit_or_load(model, plan(), batch, tmp_path / "a", seed=1)
    np.testing.assert_allclose(model.layers[-1].get_weights()[0], WEIGHTS, atol=1e-2)
    assert trained.history["steps"] == np.linspace(20, 400, 20).tolist()
    assert trained.history["loss"][-1] < 1e-3 < trained.history["loss"][0]
    assert np.all(np.diff(trained.history["minutes"]) > 0)
    other = line()
    again = budget.fit_or_load(other, plan(), lambda _: pytest.fail("trained again"), tmp_path / "a", seed=1)
    np.testing.assert_array_equal(other.get_weights()[0], model.get_weights()[0])
    assert again == trained


def test_a_killed_training_ends_as_one_that_was_not(tmp_path):
    whole = line()
    budget.fit_or_load(whole, plan(), batch, tmp_path / "whole", seed=1)
    killed, calls = line(), itertools.count()

    def dies(random):
        if next(calls) == 250:
            raise KeyboardInterrupt
        return batch(random)

    with pytest.raises(KeyboardInterrupt):
        budget.fit_or_load(killed, plan(), dies, tmp_path / "killed", seed=1)
    went_on = line()
    trained = budget.fit_or_load(went_on, plan(), batch, tmp_path / "killed", seed=1)
    np.testing.assert_array_equal(went_on.get_weights()[0], whole.get_weights()[0])
    assert trained.history["steps"][-1] == 400


def test_minutes_end_a_training_too(tmp_path):
    trained = budget.fit_or_load(line(), plan(steps=None, minutes=0.02), batch, tmp_path / "a", seed=1)
    assert 0.02 <= trained.minutes < 0.1 and trained.history["steps"][-1] >= 20


def test_marks_hold_the_moving_averages_and_leave_the_training_alone(tmp_path):
    model, values = line(), plan(ema=0.9)
    trained = budget.fit_or_load(model, values, batch, tmp_path / "a", seed=1)
    marks = budget.marks(trained, values, tmp_path / "a")
    assert [mark.steps for mark in marks] == [100, 200, 300, 400]
    found = []
    for mark in marks:
        checkpoints.weights(model).load_weights(mark.weights)
        found.append(np.abs(model.layers[-1].get_weights()[0] - WEIGHTS).max())
    assert found[0] > found[-1] and found[-1] < 0.02
    plain = line()
    budget.fit_or_load(plain, plan(ema=0.9, marks=1), batch, tmp_path / "b", seed=1)
    np.testing.assert_array_equal(plain.get_weights()[0], model.get_weights()[0])


def test_a_rate_follows_its_schedule(tmp_path):
    rates = budget.fit_or_load(line(), plan(schedule="one_cycle"), batch, tmp_path / "a", seed=1).history[
        "learning_rate"
    ]
    assert max(rates) <= 0.05 and rates.index(max(rates)) in (2, 3) and rates[-1] < 0.001  # highest after 15 %


def test_a_loss_that_is_no_number_stops_the_training_and_is_named(tmp_path):
    with pytest.raises(FlowerlibError, match="the loss is not a number after 20 steps.*lower the learning rate"):
        budget.fit_or_load(line(), plan(), lambda _: (np.ones((2, 2)), np.full((2, 1), np.nan)), tmp_path / "a", seed=1)
    assert not (tmp_path / "a" / "training.json").exists()


@pytest.mark.parametrize("values", [{"steps": None}, {"minutes": 3}])
def test_minutes_or_steps_one_of_them(values):
    with pytest.raises(ValueError, match="minutes or steps, one of them"):
        plan(**values)


def test_the_line_says_no_time_before_there_is_one_and_no_more_than_all(monkeypatch, capsys):
    monkeypatch.delenv(progress.HEADLESS, raising=False)
    seconds = iter([0, 60, 120, 180])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))
    shown = progress.BudgetLine()
    shown.step(1, 0.5, 0.0)
    assert capsys.readouterr().out.split() == ["0%", "step", "1", "loss", "0.5000"]
    shown.step(2, 0.5, 1.4)
    assert capsys.readouterr().out.split() == ["100%", "step", "2", "loss", "0.5000", "0", "s", "left"]
