"""What is minimized, by what, from which first biases: loss, optimizer, metrics, output bias of a recipe."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowerlib.schema import Recipe, Training


def output_bias(kind: str, shares: np.ndarray) -> np.ndarray:
    """First values of the logits' biases.

    Args:
        kind: "zeros"; "proportions", the classes' shares themselves (Hughes 2024, section 2.2); or "log_priors", their
            logarithms, which alone give the shares back through a softmax (Molas 2023, which it cites).
        shares: float (classes,) of the training part; a class without pictures counts as half a picture in a million.
    """
    if kind == "log_priors":
        return np.log(np.maximum(shares, 5e-7))
    return shares if kind == "proportions" else np.zeros_like(shares)


def optimizer(training: Training) -> keras.optimizers.Optimizer:
    """The optimizer that a recipe names."""
    options: dict[str, Any] = {"use_ema": True, "ema_momentum": training.ema} if training.ema else {}
    if training.optimizer in ("adamw", "sgd"):
        options["weight_decay"] = training.weight_decay or None
    if training.optimizer == "sgd":
        options |= {"momentum": 0.9, "nesterov": True}
    if training.optimizer == "adamw":
        options |= {"beta_2": 0.99, "weight_decay": training.weight_decay}  # squares averaged over a hundred steps
    makers: dict[str, Callable[..., keras.optimizers.Optimizer]] = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "sgd": keras.optimizers.SGD,
        "rmsprop": keras.optimizers.RMSprop,
    }
    made = makers[training.optimizer](training.learning_rate, **options)
    if training.weight_decay:
        made.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return made


def loss(recipe: Recipe, shares: np.ndarray) -> keras.losses.Loss | Callable:
    """Cross-entropy of logits; smoothed, and with the classes' log shares added, where the recipe says so."""
    training = recipe.training
    assert training is not None
    if not has_soft_targets(recipe):
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Logits that are trained with log shares added do not carry them when predicting (Menon et al. 2021, eq. 10).
    added = tf.constant(training.logit_adjustment * output_bias("log_priors", shares), tf.float32)
    entropy = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=training.label_smoothing)
    return lambda targets, logits: entropy(targets, logits + added)


def metrics(recipe: Recipe) -> list:
    """Accuracy and cross-entropy, without weight penalty, of the kind of targets that a recipe has."""
    if has_soft_targets(recipe):
        kinds = keras.metrics.CategoricalAccuracy, keras.metrics.CategoricalCrossentropy
        return [kinds[0]("accuracy"), kinds[1]("cross_entropy", from_logits=True)]
    return ["accuracy", keras.metrics.SparseCategoricalCrossentropy("cross_entropy", from_logits=True)]


def has_soft_targets(recipe: Recipe) -> bool:
    """Whether targets are shares of classes, not one class."""
    training = recipe.training
    assert training is not None
    return bool(recipe.augment.mixes_labels() or training.label_smoothing or training.logit_adjustment)
