"""Loss, optimizer, metrics and output bias against scipy and formulas by hand."""

import keras
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from flowerlib import objective, training
from flowerlib.schema import Recipe, Training
from flowerlib.splits import Part, Split

COUNTS = np.array([40, 3, 10, 20, 7])
SHARES = COUNTS / COUNTS.sum()
CLASSES = len(COUNTS)
LABELS = np.array([0, 0, 1, 2, 3, 4, 4])


def recipe(model=None, augment=None, **values):
    return Recipe.model_validate(
        {
            "name": "tiny",
            "profile": "smoke",
            "notebook": "01_classification",
            "title": "Few pictures",
            "report": "ours",
            "data": {"name": "drawn", "split": "official", "labels": "fine", "size_px": 16},
            "model": {"builder": "hughes_cnn"} | (model or {}),
            "augment": augment or {},
            "training": {"learning_rate": 0.001, "epochs": 1} | values,
        }
    )


def some_logits(seed=0):
    return np.random.default_rng(seed).normal(scale=3, size=(len(LABELS), CLASSES)).astype(np.float32)


def cross_entropy(targets, logits):
    """Mean over the rows of minus the sum of targets times log shares, in float64."""
    return -(targets * scipy.special.log_softmax(logits.astype(np.float64), axis=1)).sum(axis=1).mean()


def one_hot(labels=LABELS):
    return np.eye(CLASSES)[labels]


def found(the_recipe, targets, logits, shares=SHARES):
    return float(objective.loss(the_recipe, shares)(targets.astype(np.float32), logits))


# The output bias


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=102))
def test_log_priors_give_the_shares_back_through_a_softmax(counts):
    shares = np.array(counts) / sum(counts)
    np.testing.assert_allclose(scipy.special.softmax(objective.output_bias("log_priors", shares)), shares, rtol=1e-9)


def test_a_class_without_pictures_has_a_finite_log_prior_and_hardly_a_share():
    bias = objective.output_bias("log_priors", np.array([0.5, 0.0, 0.5]))
    assert np.isfinite(bias).all() and scipy.special.softmax(bias)[1] < 1e-6


def test_proportions_are_the_shares_themselves_and_zeros_are_zeros():
    np.testing.assert_array_equal(objective.output_bias("proportions", SHARES), SHARES)
    np.testing.assert_array_equal(objective.output_bias("zeros", SHARES), np.zeros(CLASSES))


def mean_prediction(kind):
    """Of a fresh network on noise, averaged over the pictures; and its first bias."""
    labels = np.repeat(np.arange(CLASSES), COUNTS)
    train, nothing = Part(np.arange(len(labels)), labels), Part(np.arange(0), np.arange(0))
    model = training.build(recipe({"output_bias": kind}), Split(train, nothing, nothing, tuple("abcde")))
    pictures = np.random.default_rng(0).integers(0, 256, (32, 16, 16, 3), dtype=np.uint8)
    shares = scipy.special.softmax(np.asarray(model.predict_on_batch(pictures)), axis=1).mean(axis=0)
    return shares, np.asarray(model.get_layer("logits").bias)


def test_a_fresh_network_with_log_priors_predicts_the_shares_and_one_with_zeros_does_not():
    (uniform, zeros), (told, priors), (printed, proportions) = map(
        mean_prediction, ("zeros", "log_priors", "proportions")
    )
    np.testing.assert_array_equal(zeros, 0)
    np.testing.assert_allclose(priors, np.log(SHARES), rtol=1e-6)
    np.testing.assert_allclose(proportions, SHARES, rtol=1e-6)
    away = [np.abs(shares - SHARES).sum() for shares in (told, printed, uniform)]
    assert away[0] < 0.1 < away[1] < away[2]  # the report's own bias helps a little


# The loss


def test_without_smoothing_or_mixing_the_loss_is_the_cross_entropy_of_the_labels():
    logits = some_logits()
    expected = cross_entropy(one_hot(), logits)
    assert found(recipe(), LABELS, logits) == pytest.approx(expected, rel=1e-5)


def test_soft_targets_of_one_class_each_give_the_sparse_loss():
    logits = some_logits()
    soft = found(recipe(augment={"cutmix": 0.5}), one_hot(), logits)
    assert soft == pytest.approx(found(recipe(), LABELS, logits), rel=1e-6)


def test_mixed_targets_give_the_mean_of_the_losses_of_both():
    logits, other = some_logits(), one_hot()[::-1]
    mixing = recipe(augment={"mixup": 1})
    mixed = found(mixing, 0.3 * one_hot() + 0.7 * other, logits)
    expected = 0.3 * cross_entropy(one_hot(), logits) + 0.7 * cross_entropy(other, logits)
    assert mixed == pytest.approx(expected, rel=1e-5)


@given(st.floats(0.01, 0.99), st.integers(0, 99))
def test_label_smoothing_shares_a_part_of_each_target_among_all_classes(smoothing, seed):
    logits = some_logits(seed=seed)
    expected = cross_entropy((1 - smoothing) * one_hot() + smoothing / CLASSES, logits)
    assert found(recipe(label_smoothing=smoothing), one_hot(), logits) == pytest.approx(expected, rel=1e-5)


@given(st.floats(0.01, 2), st.integers(0, 99))
def test_logit_adjustment_is_the_cross_entropy_of_logits_plus_tau_times_the_log_shares(tau, seed):
    logits = some_logits(seed=seed)
    expected = cross_entropy(one_hot(), logits + tau * np.log(SHARES))
    assert found(recipe(logit_adjustment=tau), one_hot(), logits) == pytest.approx(expected, rel=1e-5)


def test_a_logit_adjustment_by_equal_shares_changes_nothing():
    logits, equal = some_logits(), np.full(CLASSES, 1 / CLASSES)
    adjusted = found(recipe(logit_adjustment=1.0), one_hot(), logits, equal)
    assert adjusted == pytest.approx(cross_entropy(one_hot(), logits), rel=1e-5)


def test_smoothing_adjustment_and_mixing_work_together():
    logits, mixed = some_logits(), 0.6 * one_hot() + 0.4 * one_hot()[::-1]
    everything = recipe(augment={"cutmix": 1}, label_smoothing=0.1, logit_adjustment=0.5)
    expected = cross_entropy(0.9 * mixed + 0.1 / CLASSES, logits + 0.5 * np.log(SHARES))
    assert found(everything, mixed, logits) == pytest.approx(expected, rel=1e-5)


# The metrics


@pytest.mark.parametrize(
    ("the_recipe", "targets"),
    [(recipe(), LABELS), (recipe(label_smoothing=0.2, logit_adjustment=1.0), one_hot())],
)
def test_the_cross_entropy_that_is_told_is_without_weight_penalty_smoothing_and_adjustment(the_recipe, targets):
    logits = some_logits()
    inputs = keras.Input((CLASSES,))
    penalty = keras.layers.ActivityRegularization(l2=1.0)(inputs)
    model = keras.Model(inputs, penalty)
    model.compile("sgd", objective.loss(the_recipe, SHARES), metrics=objective.metrics(the_recipe))
    scores = model.test_on_batch(logits, targets, return_dict=True)
    assert scores["cross_entropy"] == pytest.approx(cross_entropy(one_hot(), logits), rel=1e-5)
    assert scores["accuracy"] == pytest.approx((logits.argmax(axis=1) == LABELS).mean())
    assert scores["loss"] > scores["cross_entropy"] + 1


@pytest.mark.parametrize(
    ("the_recipe", "soft"),
    [
        (recipe(), False),
        (recipe(augment={"flip": True}, schedule="one_cycle", ema=0.9), False),
        (recipe(augment={"cutmix": 0.1}), True),
        (recipe(augment={"mixup": 0.1}), True),
        (recipe(label_smoothing=0.1), True),
        (recipe(logit_adjustment=1.0), True),
    ],
)
def test_targets_are_soft_where_pictures_are_mixed_or_the_loss_needs_all_classes(the_recipe, soft):
    assert objective.has_soft_targets(the_recipe) is soft


# The optimizer


def small_network():
    """Kernels, biases, gamma and beta, none of them zero."""
    layers = [keras.layers.Conv2D(3, 3), keras.layers.BatchNormalization(), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((6, 6, 3)), *layers, keras.layers.Dense(4)])
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(random.normal(size=variable.shape))
    return model


def after_a_step_without_gradient(**values):
    """Name and ratio of every trainable variable to what it was before."""
    model = small_network()
    optimizer = objective.optimizer(Training(learning_rate=0.1, epochs=1, **values))
    before = [variable.numpy() for variable in model.trainable_variables]
    optimizer.apply([np.zeros_like(value) for value in before], model.trainable_variables)
    return [
        (variable.name, variable.numpy() / value)
        for variable, value in zip(model.trainable_variables, before, strict=True)
    ]


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_decoupled_weight_decay_shrinks_kernels_by_rate_times_decay_and_nothing_else(optimizer):
    ratios = after_a_step_without_gradient(optimizer=optimizer, weight_decay=0.4)
    assert {name for name, _ in ratios} == {"kernel", "bias", "gamma", "beta"}
    for name, ratio in ratios:
        np.testing.assert_allclose(ratio, 1 - 0.1 * 0.4 if name == "kernel" else 1, rtol=1e-5)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
def test_without_weight_decay_a_step_without_gradient_changes_nothing(optimizer):
    for _, ratio in after_a_step_without_gradient(optimizer=optimizer):
        np.testing.assert_array_equal(ratio, 1)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adam", keras.optimizers.Adam),
        ("adamw", keras.optimizers.AdamW),
        ("sgd", keras.optimizers.SGD),
        ("rmsprop", keras.optimizers.RMSprop),
    ],
)
def test_a_recipe_names_the_optimizer_its_rate_and_its_moving_average(name, kind):
    plain = objective.optimizer(Training(optimizer=name, learning_rate=0.02, epochs=1))
    averaged = objective.optimizer(Training(optimizer=name, learning_rate=0.02, epochs=1, ema=0.9))
    assert type(plain) is kind and float(plain.learning_rate) == pytest.approx(0.02)
    assert (plain.use_ema, averaged.use_ema, averaged.ema_momentum) == (False, True, 0.9)


def test_sgd_has_nesterovs_momentum():
    sgd = objective.optimizer(Training(optimizer="sgd", learning_rate=0.1, epochs=1))
    variable = keras.Variable(np.array([1.0], dtype=np.float32))
    value, velocity = 1.0, 0.0
    for _ in range(3):  # of the square of the value
        gradient = 2 * value
        velocity = 0.9 * velocity - 0.1 * gradient
        value += 0.9 * velocity - 0.1 * gradient
        sgd.apply([2 * variable.numpy()], [variable])
        assert variable.numpy()[0] == pytest.approx(value, rel=1e-5)
