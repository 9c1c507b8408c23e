"""Every score with its 95 % interval, and the tables by class.

Accuracy has Wilson's interval. Mean recall and F1 have Wilson's interval at their *effective* number of
photographs, value (1 - value) / variance, with the variance of a bootstrap within classes. Plain bootstrap
quantiles would not do: ten photographs a class, all right, show no spread at all, yet prove no perfection.
So the effective number is at most (and at 0 and 1 exactly) what it would be if classes shared one error rate.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from flowerlib.errors import FlowerlibError

Z95 = NormalDist().inv_cdf(0.975)
DRAWS = 2000
BOOTSTRAP = f"Wilson at the effective number of photographs, bootstrap stratified by class, {DRAWS} draws"
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """A value with its 95 % interval, the photographs behind it and how the interval was made."""

    value: float
    low: float
    high: float
    n: int
    interval: str
    unit: str = "share"  # "share" for 0..1, "nats" for the loss, "" otherwise


def accuracy(labels: ArrayLike, predictions: ArrayLike) -> Score:
    """Share of photographs given their own label, with Wilson's interval."""
    true, predicted = _checked(labels, predictions)
    right = int((true == predicted).sum())
    return Score(right / true.size, *wilson(right, true.size), true.size, "Wilson, photographs")


def balanced_accuracy(labels: ArrayLike, predictions: ArrayLike, seed: int = 0) -> Score:
    """Mean recall of the classes in `labels`; with classes of one size, accuracy and about its interval."""
    matrix = _seen_matrix(labels, predictions)
    present = matrix.sum(axis=1) > 0
    hits, support = np.diag(matrix)[present], matrix.sum(axis=1)[present]
    drawn = np.random.default_rng(seed).binomial(support, hits / support, size=(DRAWS, hits.size))
    value, draws = (hits / support).mean(), (drawn / support).mean(axis=1)
    return _share(value, draws, _common_rate_size(support), int(support.sum()))


def macro_f1(labels: ArrayLike, predictions: ArrayLike, seed: int = 0) -> Score:
    """Mean F1 of the classes seen in `labels` or `predictions`, as scikit-learn's "macro"."""
    f1, drawn, support = _f1_by_class(labels, predictions, seed)
    return _share(f1.mean(), drawn.mean(axis=1), _common_rate_size(support), int(support.sum()))


def weighted_f1(labels: ArrayLike, predictions: ArrayLike, seed: int = 0) -> Score:
    """Mean F1 weighted by the photographs of each class, as scikit-learn's "weighted"."""
    f1, drawn, support = _f1_by_class(labels, predictions, seed)
    n = int(support.sum())
    return _share(float(f1 @ support) / n, drawn @ support / n, n, n)


def log_loss(labels: ArrayLike, probabilities: ArrayLike) -> Score:
    """Mean negative log-likelihood in nats; the normal interval of a single photograph has no upper end.

    As in scikit-learn, probabilities are clipped by the machine epsilon of their own type.
    """
    chances = _checked_probabilities(probabilities)
    true, _ = _checked(labels, chances.argmax(axis=1), chances.shape[1])
    epsilon = np.finfo(chances.dtype).eps
    losses = -np.log(np.clip(chances[np.arange(true.size), true].astype(float), epsilon, 1 - epsilon))
    value, n = float(losses.mean()), true.size
    half = Z95 * float(losses.std(ddof=1)) / n**0.5 if n > 1 else np.inf
    return Score(value, max(0.0, value - half), value + half, n, "normal, photographs", "nats")


def classification(labels: ArrayLike, probabilities: ArrayLike, seed: int = 0) -> dict[str, Score]:
    """All scores of a classifier.

    Args:
        labels: int, (n,), in 0 ... classes - 1.
        probabilities: float, (n, classes), rows that sum to one.
        seed: of the bootstrap.

    Returns:
        accuracy, balanced_accuracy, macro_f1, weighted_f1, macro_precision, weighted_precision (shares), loss (nats).

    Raises:
        FlowerlibError: unequal lengths, no photographs, a label out of range, or rows not summing to one.
    """
    loss = log_loss(labels, probabilities)
    predictions = np.asarray(probabilities).argmax(axis=1)
    return {
        "accuracy": accuracy(labels, predictions),
        "balanced_accuracy": balanced_accuracy(labels, predictions, seed),
        "macro_f1": macro_f1(labels, predictions, seed),
        "weighted_f1": weighted_f1(labels, predictions, seed),
        **_mean_precisions(labels, predictions, seed),
        "loss": loss,
    }


def wilson(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of a share, also for a fractional, effective n (Wilson 1927)."""
    if not (n > 0 and 0 <= successes <= n and 0 < confidence < 1):
        raise FlowerlibError(f"wilson: {successes} of {n} at {confidence}: no such share or confidence")
    share, z2 = successes / n, NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = (z2 * (share * (1 - share) / n + z2 / (4 * n * n))) ** 0.5 / (1 + z2 / n)
    # At 0 and 1 a bound equals the share but for rounding, which must not push it past.
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike, classes: int) -> Ints:
    """Photographs by true label (rows) and prediction (columns): int64, (classes, classes)."""
    true, predicted = _checked(labels, predictions, classes)
    return np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)


def per_class(labels: ArrayLike, predictions: ArrayLike, names: Sequence[str]) -> pd.DataFrame:
    """One row a class, in label order: class, precision, recall, f1, support, and recall's Wilson interval.

    A ratio of nothing is 0, as in scikit-learn; recall without photographs may be anything from 0 to 1.
    """
    matrix = confusion_matrix(labels, predictions, len(names))
    hits, support, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    bounds = [wilson(k, n) if n else (0.0, 1.0) for k, n in zip(hits.tolist(), support.tolist(), strict=True)]
    return pd.DataFrame({
        "class": list(names), "precision": _ratio(hits, predicted), "recall": _ratio(hits, support),
        "f1": _ratio(2 * hits, support + predicted), "support": support,
        "recall_low": [low for low, _ in bounds], "recall_high": [high for _, high in bounds],
    })  # fmt: skip


def class_scores(labels: ArrayLike, predictions: ArrayLike, names: Sequence[str], seed: int = 0) -> dict[str, Score]:
    """Precision, recall and F1 of each class in `labels` under ``<class>/precision`` and so on, with intervals.

    A class is named by its words joined with "_": "Bell-shaped Flowers" is ``bell_shaped_flowers``. Recall has its
    class's photographs, precision those that were given the class; F1 the mean of both and its bootstrap's variance.
    """
    table = per_class(labels, predictions, names)
    matrix = confusion_matrix(labels, predictions, len(names))
    _, drawn, _, _ = _by_class(labels, predictions, seed)
    seen = np.flatnonzero(matrix.sum(axis=1) + matrix.sum(axis=0))
    result: dict[str, Score] = {}
    for column, label in enumerate(seen.tolist()):
        support, given, hits = int(matrix[label].sum()), int(matrix[:, label].sum()), int(matrix[label, label])
        if not support:
            continue
        name = slug(names[label])
        bounds = wilson(hits, given) if given else (0.0, 1.0)
        result[f"{name}/precision"] = Score(table.precision[label], *bounds, given, "Wilson, photographs")
        result[f"{name}/recall"] = Score(hits / support, *wilson(hits, support), support, "Wilson, photographs")
        result[f"{name}/f1"] = _share(table.f1[label], drawn[:, column], (support + given) / 2, support)
        result[f"{name}/support"] = Score(support, math.nan, math.nan, support, "counted", "")
    return result


def slug(name: str) -> str:
    """A class's name as a part of a key: "Colt's Foot" -> "colts_foot"."""
    return "_".join(re.findall(r"[a-z0-9]+", name.replace("'", "").lower()))


def worst_classes(labels: ArrayLike, predictions: ArrayLike, names: Sequence[str], count: int = 5) -> pd.DataFrame:
    """The rows of `per_class` with the lowest F1, worst first, and the class each is most often taken for.

    Classes without photographs are left out, equal ones stand in label order, "" means that all were right.
    """
    table = per_class(labels, predictions, names)
    errors = confusion_matrix(labels, predictions, len(names))
    np.fill_diagonal(errors, 0)
    table["most often taken for"] = [names[row.argmax()] if row.any() else "" for row in errors]
    return table[table["support"] > 0].sort_values("f1", kind="stable").head(count)


def softmax(logits: ArrayLike) -> Floats:
    """Probabilities over the last axis, float64, without overflow for large logits."""
    shifted = np.asarray(logits, dtype=np.float64)
    powers = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _f1_by_class(labels: ArrayLike, predictions: ArrayLike, seed: int) -> tuple[Floats, Floats, Ints]:
    """F1 (classes,); F1 of photographs drawn anew within each class (draws, classes); support (classes,)."""
    matrix, f1, _, support = _by_class(labels, predictions, seed)
    return _ratio(2 * np.diag(matrix), support + matrix.sum(axis=0)), f1, support


def _mean_precisions(labels: ArrayLike, predictions: ArrayLike, seed: int) -> dict[str, Score]:
    """Mean precision of the classes that occur, plain and weighted by photographs, as scikit-learn's averages."""
    matrix, _, drawn, support = _by_class(labels, predictions, seed)
    precision, n = _ratio(np.diag(matrix), matrix.sum(axis=0)), int(support.sum())
    return {
        "macro_precision": _share(precision.mean(), drawn.mean(axis=1), _common_rate_size(support), n),
        "weighted_precision": _share(float(precision @ support) / n, drawn @ support / n, n, n),
    }


def _by_class(labels: ArrayLike, predictions: ArrayLike, seed: int) -> tuple[Ints, Floats, Floats, Ints]:
    """Matrix of the classes that occur; F1 and precision (draws, classes) of photographs drawn anew; support."""
    matrix = _seen_matrix(labels, predictions)
    rng, support = np.random.default_rng(seed), matrix.sum(axis=1)
    hits = np.zeros((DRAWS, len(matrix)), dtype=np.int64)
    predicted = np.zeros_like(hits)
    for label in np.flatnonzero(support):
        cells = np.flatnonzero(matrix[label])  # a large matrix is mostly empty: skipping that makes this fast
        drawn = rng.multinomial(support[label], matrix[label, cells] / support[label], size=DRAWS)
        predicted[:, cells] += drawn
        hits[:, label] = drawn[:, cells == label].sum(axis=1)
    return matrix, _ratio(2 * hits, support + predicted), _ratio(hits, predicted), support


def _share(value: float, drawn: Floats, largest: float, n: int) -> Score:
    value, variance = min(1.0, float(value)), float(drawn.var())
    known = 0 < value < 1 and variance > 0
    effective = min(largest, value * (1 - value) / variance) if known else largest
    return Score(value, *wilson(value * effective, effective), n, BOOTSTRAP)


def _common_rate_size(support: Ints) -> float:
    """Effective n of a mean over classes that share one error rate: classes^2 / sum(1 / support)."""
    present = support[support > 0]
    return float(present.size**2 / (1 / present).sum())


def _ratio(part: Ints, whole: Ints) -> Floats:
    return part / np.maximum(whole, 1)  # nothing of nothing is 0


def _seen_matrix(labels: ArrayLike, predictions: ArrayLike) -> Ints:
    """Confusion matrix over just the classes that occur."""
    true, predicted = _checked(labels, predictions)
    seen, index = np.unique(np.concatenate([true, predicted]), return_inverse=True)
    return confusion_matrix(index[: true.size], index[true.size :], seen.size)


def _checked(labels: ArrayLike, predictions: ArrayLike, classes: int | None = None) -> tuple[Ints, Ints]:
    true, predicted = np.asarray(labels), np.asarray(predictions)
    if true.ndim != 1 or true.shape != predicted.shape or not true.size:
        raise FlowerlibError(f"labels {true.shape}, predictions {predicted.shape}: give one of each a photograph")
    for what, values in (("labels", true), ("predictions", predicted)):
        if values.dtype.kind not in "iu" or values.min() < 0:
            raise FlowerlibError(f"{what} ({values.dtype}) must be integers from 0")
        if classes is not None and values.max() >= classes:
            raise FlowerlibError(f"{what} reach {values.max()}, but {classes} classes end at {classes - 1}")
    return true.astype(np.int64), predicted.astype(np.int64)


def _checked_probabilities(probabilities: ArrayLike) -> NDArray[np.floating]:
    chances = np.asarray(probabilities)
    if chances.ndim != 2 or not chances.size or chances.dtype.kind != "f":
        raise FlowerlibError(f"probabilities {chances.shape} {chances.dtype}: give float (photographs, classes)")
    wrong = ~(chances >= 0).all(axis=1) | ~(abs(chances.sum(axis=1, dtype=np.float64) - 1) <= 1e-3)
    if wrong.any():
        row = int(wrong.argmax())
        raise FlowerlibError(f"probabilities, row {row}: not shares that sum to one; give softmax(logits)")
    return chances
