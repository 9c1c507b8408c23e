"""Do probabilities mean what they say?

A network is calibrated if, of the photographs it is 80 % sure of, it gets 80 % right. `ece` and `reliability` measure
that, `fit_temperature` mends most of it with one number (fitted on the validation part, never on the test part), and
`selective_accuracy` and `risk_coverage` say what the probabilities are good for even uncalibrated: to leave the least
sure photographs to a person. Confidence is the probability of the most probable class.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.optimize
import scipy.special
from numpy.typing import ArrayLike, NDArray

from flowerlib import metrics
from flowerlib.errors import FlowerlibError
from flowerlib.metrics import Floats, Ints, Score

DRAWS = 1000
BOOTSTRAP = f"bootstrap corrected for its bias, photographs, {DRAWS} draws"
LOG_TEMPERATURES = (-3.0, 3.0)  # networks need about -1 to 1; at these ends T has no meaning left


def ece(labels: ArrayLike, probabilities: ArrayLike, bins: int = 15, seed: int = 0) -> Score:
    """Expected calibration error: mean gap of confidence and accuracy, in bins of confidence (Guo et al. 2017, eq. 3).

    Luck in the bins adds to it, and photographs drawn from photographs bring luck twice: plain bootstrap quantiles
    lie too high, and for a calibrated network never hold its 0. So the lower end is the value less what redrawing
    moves the bins' gaps, all told; the value cannot be off by more. The upper end is the basic bootstrap's (Davison
    and Hinkley 1997, section 5.2): the value is taken to lie as far above the truth as redrawn ones lie above it.
    Bins without a wrong photograph show no spread, so for a network nearly always right the interval is too narrow.

    Args:
        labels: int, (n,), in 0 ... classes - 1.
        probabilities: float, (n, classes), rows that sum to one.
        bins: of equal width over 0 ... 1, each with its upper edge.
        seed: of the bootstrap.

    Returns:
        a share, 0 if confidence equals accuracy in every bin.

    Raises:
        FlowerlibError: as `metrics.log_loss`, or no bins.
    """
    confidence, right = _confidences(labels, probabilities)
    index, n = _bins(confidence, bins), right.size
    surplus = right - confidence

    def gaps(chosen: NDArray[np.int64] | slice) -> Floats:
        return np.bincount(index[chosen], surplus[chosen], bins) / n

    rng, observed = np.random.default_rng(seed), gaps(slice(None))
    drawn = np.stack([gaps(rng.integers(n, size=n)) for _ in range(DRAWS)])  # (draws, bins)
    value = min(1.0, float(abs(observed).sum()))
    moved = float(np.quantile(abs(drawn - observed).sum(axis=1), 0.975))
    mirrored = 2 * value - float(np.quantile(abs(drawn).sum(axis=1), 0.025))
    return Score(value, max(0.0, value - moved), min(1.0, max(value, mirrored)), n, BOOTSTRAP)


def reliability(labels: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> pd.DataFrame:
    """Mean confidence, and accuracy with Wilson's interval, of each bin of confidence (Guo et al. 2017, section 2).

    Args:
        labels: int, (n,), in 0 ... classes - 1.
        probabilities: float, (n, classes), rows that sum to one.
        bins: as for `ece`.

    Returns:
        confidence, accuracy, low, high and n; one row a bin with photographs, the least sure first.

    Raises:
        FlowerlibError: as `ece`.
    """
    confidence, right = _confidences(labels, probabilities)
    index = _bins(confidence, bins)
    n, hits = np.bincount(index, minlength=bins), np.bincount(index[right], minlength=bins)
    seen, sums = n > 0, np.bincount(index, confidence, bins)
    return pd.DataFrame({"confidence": sums[seen] / n[seen], **_accuracies(hits[seen], n[seen])})


def fit_temperature(labels: ArrayLike, logits: ArrayLike) -> float:
    """The T for which softmax(logits / T) has the least log loss (Guo et al. 2017, section 4.2).

    T above 1 makes a network less sure, below 1 surer; what it finds most probable stays. For probabilities without
    logits, their logarithms do as well.

    Args:
        labels: int, (n,), in 0 ... classes - 1, of photographs that trained nothing.
        logits: float, (n, classes), finite.

    Returns:
        T in exp(-3) ... exp(3), about 0.05 ... 20; near an end if the best lies beyond it (all photographs right, say).

    Raises:
        FlowerlibError: no photographs, unequal lengths, a label out of range, or logits that are not finite.
    """
    scores = np.asarray(logits, dtype=np.float64)
    if scores.ndim != 2 or not scores.size or not np.isfinite(scores).all():
        raise FlowerlibError(f"logits {scores.shape}: give finite (photographs, classes), at least one photograph")
    metrics.log_loss(labels, metrics.softmax(scores))  # refuses labels that do not fit
    # Measured from the true class's logit, -log softmax is logsumexp alone. (n, classes)
    margins = scores - np.take_along_axis(scores, np.asarray(labels)[:, None], axis=1)

    def loss(log_temperature: float) -> float:
        return float(scipy.special.logsumexp(margins / math.exp(log_temperature), axis=1).mean())

    # The loss is convex in 1 / T, so it has one valley in log T too, and a bounded search finds it.
    found = scipy.optimize.minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded", options={"xatol": 1e-8})
    return math.exp(float(found.x))


def selective_accuracy(
    labels: ArrayLike, probabilities: ArrayLike, coverages: Sequence[float] = (1.0, 0.9, 0.8, 0.7, 0.5)
) -> pd.DataFrame:
    """Accuracy on the surest share of the photographs, with Wilson's interval (Geifman and El-Yaniv 2017).

    The threshold looks at confidences alone, never at labels, so accuracy and its interval stay honest.

    Args:
        labels: int, (n,), in 0 ... classes - 1.
        probabilities: float, (n, classes), rows that sum to one.
        coverages: shares to answer at least, above 0, up to 1.

    Returns:
        coverage (as asked), threshold (the least confidence answered), accuracy, low, high and n (answered; photographs
        as sure as the threshold all are, so n may be more than was asked); one row a coverage.

    Raises:
        FlowerlibError: as `metrics.log_loss`, or a coverage that is no such share.
    """
    if not all(0 < coverage <= 1 for coverage in coverages):
        raise FlowerlibError(f"coverages {list(coverages)}: give shares above 0, up to 1")
    thresholds, hits, n = _surest(labels, probabilities)
    wanted = np.ceil(np.array(coverages, dtype=np.float64) * n[-1] - 1e-9)  # 0.07 * 100 is a little above 7
    rows = np.searchsorted(n, wanted)
    columns = {"coverage": list(coverages), "threshold": thresholds[rows], **_accuracies(hits[rows], n[rows])}
    return pd.DataFrame(columns)


def risk_coverage(labels: ArrayLike, probabilities: ArrayLike) -> pd.DataFrame:
    """Accuracy at every coverage there is: one minus the risk-coverage curve (Geifman and El-Yaniv 2017).

    Args:
        labels: int, (n,), in 0 ... classes - 1.
        probabilities: float, (n, classes), rows that sum to one.

    Returns:
        coverage and accuracy, one row a confidence that occurs, the surest first; the last row has coverage 1.

    Raises:
        FlowerlibError: as `metrics.log_loss`.
    """
    _, hits, n = _surest(labels, probabilities)
    return pd.DataFrame({"coverage": n / n[-1], "accuracy": hits / n})


def _surest(labels: ArrayLike, probabilities: ArrayLike) -> tuple[Floats, Ints, Ints]:
    """Confidences that occur, falling; how many photographs are at least as sure and right; how many as sure."""
    confidence, right = _confidences(labels, probabilities)
    values, index = np.unique(-confidence, return_inverse=True)
    n = np.bincount(index, minlength=values.size).cumsum()
    return -values, np.bincount(index[right], minlength=values.size).cumsum(), n


def _accuracies(hits: Ints, n: Ints) -> dict[str, object]:
    bounds = [metrics.wilson(k, m) for k, m in zip(hits.tolist(), n.tolist(), strict=True)]
    return {"accuracy": hits / n, "low": [low for low, _ in bounds], "high": [high for _, high in bounds], "n": n}


def _confidences(labels: ArrayLike, probabilities: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    """Each photograph's confidence, float64, and whether it is right: (n,) both."""
    metrics.log_loss(labels, probabilities)  # refuses labels and probabilities that do not fit
    chances = np.asarray(probabilities)
    # Rows sum to one within 0.001 only, so a confidence may end a little above.
    confidence = np.minimum(chances.max(axis=1).astype(np.float64), 1.0)
    return confidence, chances.argmax(axis=1) == np.asarray(labels)


def _bins(confidence: Floats, bins: int) -> Ints:
    """Index of the bin (m / bins, (m + 1) / bins] that holds each confidence."""
    if bins < 1:
        raise FlowerlibError(f"bins {bins}: give at least 1")
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence, side="left")
