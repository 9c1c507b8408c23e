"""Logistic regressions on features of one network or of several side by side, the penalty chosen on validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from flowerlib import advice, metrics
from flowerlib.data import Dataset
from flowerlib.heads import Draw
from flowerlib.style import require

MOST_STEPS = 200  # of a fit; more change no answer


@dataclass(frozen=True)
class Choice:
    """The penalty that the validation parts prefer, and what it is worth.

    Attributes:
        inverse_penalty: scikit-learn's C.
        val_accuracy: mean over the draws, in [0, 1], by which it was chosen.
        weighted_f1: float64 (draws,) on the test parts.
    """

    inverse_penalty: float
    val_accuracy: float
    weighted_f1: np.ndarray


def joined(sets: Sequence[np.ndarray]) -> np.ndarray:
    """Features side by side, each network's brought to one size, so that none speaks louder for its scale.

    Args:
        sets: float (photographs, ..., width) each, of the same photographs.

    Returns:
        float32 (photographs, ..., sum of widths); the mean square of a network's features is 1.
    """
    require(len({each.shape[:-1] for each in sets}) == 1, f"joined: features {[each.shape for each in sets]}")
    parts = [np.asarray(each, dtype=np.float32) for each in sets]
    return np.concatenate([each / np.sqrt(np.mean(each**2)) for each in parts], axis=-1)


def first_kinds(dataset: Dataset, count: int = 5) -> Dataset:
    """The pictures of the first classes: all photographs of five kinds, and as many kinds of drawn flowers."""
    some = np.flatnonzero(dataset.fine < count)
    return replace(dataset, images=np.asarray(dataset.images[some]), fine=dataset.fine[some], sets=None)


def mirrored(dataset: Dataset) -> Dataset:
    """The same photographs as in a mirror."""
    return replace(dataset, images=np.ascontiguousarray(dataset.images[:, :, ::-1]))


def choose(draws: Sequence[Draw], inverse_penalties: Sequence[float]) -> Choice:
    """Fit a regression a draw and penalty, and take the penalty with the highest mean accuracy on the validation parts.

    A single dense layer with softmax and a penalty on its squared weights, at its minimum: no rate, momentum or epoch
    has to be chosen.

    Args:
        draws: of the photographs.
        inverse_penalties: values of scikit-learn's C that are tried.
    """
    tried = []
    for inverse in inverse_penalties:
        right, scores = [], []
        for each in draws:
            fitted = LogisticRegression(C=inverse, max_iter=MOST_STEPS).fit(each.train_x, each.train_y)
            right.append(metrics.accuracy(each.val_y, fitted.predict(each.val_x)).value)
            scores.append(metrics.weighted_f1(each.test_y, fitted.predict(each.test_x)).value)
        tried.append(Choice(inverse, float(np.mean(right)), np.array(scores)))
    return max(tried, key=lambda choice: choice.val_accuracy)


def table(choices: Mapping[str, Choice], reference: str) -> pd.DataFrame:
    """A row a set: its penalty, validation accuracy, weighted F1 over the draws, and the difference from a reference.

    Args:
        choices: name of the set -> from ``choose``.
        reference: the set that others are compared with, paired over the draws.
    """
    found = advice.table({name: each.weighted_f1 for name, each in choices.items()}, reference)
    found = found.rename(columns={"advice": "features"})
    found.insert(1, "C", [f"{each.inverse_penalty:g}" for each in choices.values()])
    found.insert(2, "validation", [each.val_accuracy for each in choices.values()])
    return found
