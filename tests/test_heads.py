"""Heads trained together against Keras's ``fit``, against each other and against what is known of them."""

import functools
import warnings

import numpy as np
import pytest
from sklearn.metrics import f1_score
from test_figures import LAYOUT, texts_of

from flowerlib import comparisons, heads, settings
from flowerlib.errors import FlowerlibError

RATES, MOMENTA = [0.001, 0.01, 0.05], [0.0, 0.1, 0.9, 1.0]
GRID = heads.grid(RATES, MOMENTA)
SHORT = {"epochs": 5, "batch_size": 32}
FIELDS = ("best_epoch", "val_accuracy", "train_loss", "predictions", "kernels", "biases")


@functools.cache
def a_draw(seed=0, photographs=200, features=60):
    """Five classes that overlap, so that heads go on changing; 140 to train on: four batches of 32 and one of 12."""
    random = np.random.default_rng([seed, 7])
    labels = np.arange(photographs) % 5
    centres = random.normal(0, 0.3, (5, features))
    x = np.maximum(0, random.normal(0, 1, (photographs, features)) + centres[labels])
    return heads.draw(x, labels, seed)


@functools.cache
def trained():
    return heads.train([a_draw(0), a_draw(1)], *GRID, **SHORT)


def column(found, setting):
    return [getattr(found, field)[:, setting] for field in FIELDS]


@pytest.mark.parametrize("setting", [(0.01, 0.0), (0.01, 0.1), (0.01, 1.0), (0.05, 0.9)])
def test_a_head_of_the_sweep_equals_the_same_head_trained_by_fit(setting):
    fitted, place = heads.fit_one(a_draw(1), *setting, **SHORT), settings.place(trained(), *setting)
    first_weights, _ = heads._start(a_draw(1), 5, 1)
    assert np.abs(fitted.kernels[0, 0] - first_weights).max() > 1e-3
    assert np.abs(trained().kernels[1, place] - fitted.kernels[0, 0]).max() < 1e-4
    assert np.abs(trained().biases[1, place] - fitted.biases[0, 0]).max() < 1e-4
    assert trained().train_loss[1, place] == pytest.approx(fitted.train_loss[0, 0], rel=1e-4)
    assert np.array_equal(trained().predictions[1, place], fitted.predictions[0, 0])
    assert trained().val_accuracy[1, place] == fitted.val_accuracy[0, 0]
    assert trained().best_epoch[1, place] == fitted.best_epoch[0, 0] > 1


def test_a_fit_and_a_sweep_of_one_have_the_same_form():
    fitted, swept = heads.fit_one(a_draw(), 0.01, 0.5, epochs=1), heads.train([a_draw()], [0.01], [0.5], epochs=1)
    for field in ("learning_rates", "momenta", *FIELDS):
        assert np.shape(getattr(fitted, field)) == np.shape(getattr(swept, field)), field


def test_a_step_is_momentum_times_velocity_less_rate_times_gradient():
    draw, rate, momentum = a_draw(), 0.02, 0.7
    kernel, orders = heads._start(draw, 5, 2)
    w, v, after = np.vstack([kernel, np.zeros(5)]).astype(np.float64), 0.0, []
    x = np.hstack([draw.train_x, np.ones((140, 1))]).astype(np.float64)
    for order in orders:  # one batch an epoch
        logits = x[order] @ w
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        v = momentum * v - rate * x[order].T @ (shares - np.eye(5)[draw.train_y[order]]) / 140
        w = w + v
        after.append(w)
    found = heads.train([draw], [rate], [momentum], epochs=2, batch_size=140)
    logits = x @ w
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(140), draw.train_y]
    assert found.train_loss[0, 0] == pytest.approx(losses.mean(), rel=1e-5)
    best = after[found.best_epoch[0, 0] - 1]
    assert found.kernels[0, 0] == pytest.approx(best[:-1], abs=1e-6)
    assert found.biases[0, 0] == pytest.approx(best[-1], abs=1e-6)


def test_a_head_does_not_depend_on_what_is_trained_beside_it():
    for setting, (rate, momentum) in enumerate(zip(*GRID, strict=True)):
        alone = heads.train([a_draw(1)], [rate], [momentum], **SHORT)
        for one, many in zip(column(alone, 0), column(trained(), setting), strict=True):
            assert one[0] == pytest.approx(many[1], abs=1e-4, rel=1e-4), (rate, momentum)


def test_training_twice_gives_the_same_bytes_on_one_thread_or_more():
    for threads in 1, 2, 3:
        again = heads.train([a_draw(0), a_draw(1)], *GRID, **SHORT, threads=threads)
        for field in FIELDS:
            assert getattr(again, field).tobytes() == getattr(trained(), field).tobytes()


def test_draws_differ_in_their_parts_their_first_weights_and_their_order():
    assert not np.array_equal(a_draw(0).train_x, a_draw(1).train_x)
    (first, orders), (second, others) = (heads._start(a_draw(seed), 5, 2) for seed in (0, 1))
    assert not np.array_equal(first, second)
    assert not np.array_equal(next(orders), next(others))


def test_a_draw_takes_70_15_and_15_percent_of_every_class_and_no_photograph_twice():
    x, y = np.arange(1000.0)[:, None], np.repeat(np.arange(5), 200)
    draw = heads.draw(x, y, seed=3)
    for labels, each in (draw.train_y, 140), (draw.val_y, 30), (draw.test_y, 30):
        assert np.bincount(labels).tolist() == [each] * 5
    everything = np.concatenate([draw.train_x, draw.val_x, draw.test_x])[:, 0]
    assert sorted(everything.tolist()) == list(range(1000))
    for values, labels in (draw.train_x, draw.train_y), (draw.val_x, draw.val_y), (draw.test_x, draw.test_y):
        assert np.array_equal(values[:, 0] // 200, labels)


def test_first_weights_lie_within_glorots_limit_and_fill_it():
    kernel, _ = heads._start(a_draw(), 5, 1)
    limit = (6 / 65) ** 0.5
    assert kernel.dtype == np.float32 and 0.95 * limit < np.abs(kernel).max() <= limit


def test_the_best_epoch_is_the_first_with_the_highest_validation_accuracy():
    draw, setting = a_draw(), (0.05, 0.9)
    found, by_epoch = heads.train([draw], [setting[0]], [setting[1]], epochs=12), []
    for epochs in range(1, 13):  # the best of as many epochs
        by_epoch.append(heads.train([draw], [setting[0]], [setting[1]], epochs=epochs))
    bests = [each.val_accuracy[0, 0] for each in by_epoch]
    first = 1 + int(np.argmax(bests))
    assert bests == sorted(bests) and found.best_epoch[0, 0] == first
    assert np.array_equal(found.kernels, by_epoch[first - 1].kernels)
    right = (draw.val_x @ found.kernels[0, 0] + found.biases[0, 0]).argmax(axis=1) == draw.val_y
    assert found.val_accuracy[0, 0] == right.mean()


def test_predictions_are_those_of_the_kept_weights_on_the_test_part():
    for each, kernels, biases, predicted in zip(
        [a_draw(0), a_draw(1)], trained().kernels, trained().biases, trained().predictions, strict=True
    ):
        logits = np.einsum("nf,sfc->snc", each.test_x, kernels) + biases[:, None]
        assert np.array_equal(logits.argmax(axis=2), predicted)


def test_the_loss_is_that_of_the_last_epoch_not_of_the_best():
    low = heads.train([a_draw()], [0.001], [0], epochs=1).train_loss
    assert low > heads.train([a_draw()], [0.001], [0], epochs=30).train_loss


def test_a_head_with_rate_zero_stays_as_it_began():
    found = heads.train([a_draw()], [0.0], [0.9], epochs=3)
    assert np.array_equal(found.kernels[0, 0], heads._start(a_draw(), 5, 3)[0])
    assert not found.biases.any() and found.best_epoch[0, 0] == 1


def test_heads_that_diverge_are_told_by_nan_without_a_warning_and_leave_the_others_as_they_are():
    wild = [(1e30, 0.0), (1e38, 1.0), (0.1, 1.0)]
    rates, momenta = ([*values, *more] for values, more in zip(GRID, zip(*wild, strict=True), strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = heads.train([a_draw(0), a_draw(1)], rates, momenta, **SHORT)
    assert np.isnan(found.train_loss[:, settings.place(found, 1e38, 1)]).all()
    assert np.isfinite(found.train_loss[:, settings.place(found, 0.1, 1)]).all()
    assert ((found.predictions >= 0) & (found.predictions < 5)).all()
    for setting in range(len(GRID[0])):
        for beside, before in zip(column(found, setting), column(trained(), setting), strict=True):
            assert beside == pytest.approx(before, abs=1e-4, rel=1e-4)


def test_velocities_that_decay_do_not_become_denormal_numbers():
    draw, (rates, momenta) = a_draw(photographs=1000), (np.float32([0.01] * 3), np.float32([0.01, 0.1, 0.3]))
    gram, first = draw.train_x @ draw.train_x.T + 1, np.zeros((700, 5), np.float32)
    state, order = np.zeros((2, 700, 5, 3), np.float32), np.arange(700)
    for _ in range(3):
        heads._epoch((gram, first, draw.train_y), order, state, rates, momenta, 32)
    velocity = np.abs(state[1])
    assert (velocity == 0).any() and not ((velocity > 0) & (velocity < np.finfo(np.float32).tiny)).any()


def test_weighted_f1_is_scikit_learns():
    draws = [a_draw(0), a_draw(1)]
    values = settings.weighted_f1(trained(), draws)
    assert values.shape == (2, 12)
    for draw, row, predictions in zip(draws, values, trained().predictions, strict=True):
        expected = [f1_score(draw.test_y, each, average="weighted", zero_division=0) for each in predictions]
        assert row == pytest.approx(expected)


def test_differences_are_paired_over_the_draws_and_adjusted_by_holm():
    found = heads.train([a_draw(seed) for seed in range(4)], *GRID, epochs=3)
    scores = settings.weighted_f1(found, [a_draw(seed) for seed in range(4)])
    pairs = {"rate": ((0.05, 0.0), (0.001, 0.0)), "momentum": ((0.01, 0.9), (0.01, 0.0))}
    told = settings.differences(found, scores, pairs)
    expected = {
        "rate": comparisons.paired_seeds(scores[:, 8], scores[:, 0]),
        "momentum": comparisons.paired_seeds(scores[:, 6], scores[:, 4]),
    }
    assert {name: each for name, (each, _) in told.items()} == expected
    assert [p for _, p in told.values()] == comparisons.holm([each.p for each in expected.values()]).tolist()


def test_the_reports_seven_settings():
    assert len(settings.REPORTED) == 7
    assert {rate for rate, momentum in settings.REPORTED[:4]} == {0.1, 0.01, 0.001, 0.0001}
    assert [momentum for _, momentum in settings.REPORTED] == [0, 0, 0, 0, 0.01, 0.1, 1]


X, Y = np.ones((100, 3)), np.arange(100) % 5
UNEQUAL = [a_draw(), a_draw(photographs=100)]
CELLS = np.full((2, 2), 0.5)
WRONG = {
    "labels of others": (lambda: heads.draw(X, Y[:50], 0), r"features \(100, 3\), labels \(50,\)"),
    "features of NaN": (lambda: heads.draw(X * np.nan, Y, 0), "not finite"),
    "no draws": (lambda: heads.train([], [0.1], [0]), "no draws"),
    "unequal draws": (lambda: heads.train(UNEQUAL, [0.1], [0]), "draws of 2 sizes"),
    "a rate without momentum": (lambda: heads.train([a_draw()], [0.1, 1], [0]), r"rates \(2,\), momenta \(1,\)"),
    "no settings": (lambda: heads.train([a_draw()], [], []), r"rates \(0,\)"),
    "a negative rate": (lambda: heads.train([a_draw()], [-0.1], [0]), "learning rate -0.1"),
    "a momentum above 1": (lambda: heads.train([a_draw()], [0.1], [1.5]), "momenta from 1.5 to 1.5"),
    "no epochs": (lambda: heads.train([a_draw()], [0.1], [0], epochs=0), "0 epochs"),
    "draws of other heads": (lambda: settings.weighted_f1(trained(), [a_draw()]), "1 draws, heads of 2"),
    "a setting not trained": (lambda: settings.place(trained(), 0.3, 0.9), "no rate 0.3 with momentum 0.9"),
    "cells of others": (lambda: settings.heat_map(CELLS, [0.1], [0, 1], label="F1"), r"values \(2, 2\), 1 rates"),
    "no numbers": (lambda: settings.heat_map(CELLS * np.nan, [0.1, 1], [0, 1], label="F1"), "no value is a number"),
}


@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG.keys())
def test_bad_input_is_told_in_one_line(call, message):
    with pytest.raises(FlowerlibError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


EIGHT_RATES = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
EIGHT_MOMENTA = [0, 0.01, 0.1, 0.5, 0.8, 0.9, 0.99, 1]
SCORES = np.random.default_rng(1).uniform(0.2, 0.9, (8, 8))
SCORES[7, 7] = np.nan
DRAWN = {
    "eight by eight": lambda: settings.heat_map(
        SCORES, EIGHT_RATES, EIGHT_MOMENTA, label="weighted F1, mean of 20 draws"
    ),
    "ten by ten": lambda: settings.heat_map(np.tile(SCORES[:5, :5], (2, 2)), range(10), range(10), label="weighted F1"),
    "three by three": lambda: settings.heat_map(
        SCORES[:3, :3], [0.001, 0.01, 0.1], [0, 0.1, 0.9], label="weighted F1, mean of 20 draws"
    ),
    "one": lambda: settings.heat_map([[0.5]], [0.01], [0], label="weighted F1"),
}


@functools.cache
def drawn(name):
    fig = DRAWN[name]()
    return fig, texts_of(fig)


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("fact", LAYOUT)
def test_of_every_figure(fact, name):
    fact(*drawn(name))


def test_every_cell_says_its_value_and_the_reports_model():
    ax = drawn("eight by eight")[0].axes[0]
    said = {(round(text.get_position()[1]), round(text.get_position()[0])): text.get_text() for text in ax.texts}
    assert len(said) == 64 and said[7, 7] == "–" and said[7, 0] == f"{SCORES[7, 0]:.2f}"
    outlined = {(round(box.get_y() + 0.44), round(box.get_x() + 0.46)) for box in ax.patches}
    for number, (rate, momentum) in enumerate(settings.REPORTED, 1):
        cell = EIGHT_RATES.index(rate), EIGHT_MOMENTA.index(momentum)
        assert said[cell] == f"{SCORES[cell]:.2f} ({number})" and cell in outlined
    assert len(outlined) == 7
