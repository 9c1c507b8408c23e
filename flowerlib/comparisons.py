"""Is the difference between two rows of a table more than luck?

Two networks that answered the same photographs are compared photograph by photograph (`mcnemar`,
`bootstrap_difference`), two settings that were trained with the same seeds seed by seed (`paired_seeds`). Pairing
takes out what both share: the hard photographs, the lucky seed. A table asks many such questions at once, so
`holm` raises their p-values; `verdict` then says what that means for a difference somebody reported.

What cannot be known is said so: p is NaN, the interval endless, the verdict "cannot be told at this n".
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from flowerlib import metrics
from flowerlib.errors import FlowerlibError
from flowerlib.metrics import Floats, Score

ALPHA = 0.05
HOLDS, FAILS, UNKNOWN = "holds", "does not hold", "cannot be told at this n"
T_INTERVAL = "t, seeds"
LIMITS = {"share": (0.0, 1.0), "nats": (0.0, math.inf)}  # by the unit of a score; others have none


@dataclass(frozen=True)
class Difference:
    """One minus other with its 95 % interval, the two-sided p of no difference, and the pairs behind them."""

    value: float
    low: float
    high: float
    p: float  # NaN where the test cannot be made
    n: int  # pairs: photographs or seeds, as `test` says
    test: str


def mcnemar(labels: ArrayLike, one: ArrayLike, other: ArrayLike) -> Difference:
    """Difference of two accuracies on the same photographs (McNemar 1947; Newcombe 1998, method 10).

    Only photographs that one gets right and the other wrong say anything. p is always the exact binomial one: near
    the top of a table such photographs are few, where chi-squared is wrong, and no choice between variants is left
    to be made after seeing the data. It is cautious (mid-p would be smaller), so the interval may just leave out 0
    while p is just above 0.05.

    Args:
        labels: int, (n,).
        one: predictions, int, (n,).
        other: predictions for the same photographs in the same order, int, (n,).

    Returns:
        accuracy(one) - accuracy(other), in -1 ... 1; n counts photographs.

    Raises:
        FlowerlibError: unequal lengths, no photographs, or no integers from 0.
    """
    first, second = _right(labels, one), _right(labels, other)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    both, n = int((first & second).sum()), first.size
    tail = float(scipy.stats.binom.cdf(min(only_first, only_second), only_first + only_second, 0.5))
    low, high = _newcombe(both, only_first, only_second, n)
    value = (only_first - only_second) / n
    return Difference(value, low, high, min(1.0, 2 * tail), n, "McNemar, exact, photographs")


def unpaired(one: ArrayLike, other: ArrayLike) -> Difference:
    """Two classifiers on different test images: Fisher's exact test, and Newcombe's interval (1998, method 10).

    Args:
        one: bool (n,), whether each of its images was named right.
        other: bool (m,), likewise.

    Returns:
        The difference of the shares; ``n`` counts the images of both.
    """
    right = [np.asarray(one, dtype=bool), np.asarray(other, dtype=bool)]
    if not right[0].size or not right[1].size:
        raise FlowerlibError("unpaired: a classifier without test images")
    hits, n = [int(each.sum()) for each in right], [each.size for each in right]
    p = float(scipy.stats.fisher_exact([hits, [n[0] - hits[0], n[1] - hits[1]]]).pvalue)
    share = [hit / size for hit, size in zip(hits, n, strict=True)]
    (low1, high1), (low2, high2) = (metrics.wilson(hit, size) for hit, size in zip(hits, n, strict=True))
    value = share[0] - share[1]
    low = value - math.hypot(share[0] - low1, high2 - share[1])
    high = value + math.hypot(high1 - share[0], share[1] - low2)
    return Difference(value, low, high, p, sum(n), "Fisher, exact, photographs of two parts")


def paired_seeds(one: ArrayLike, other: ArrayLike) -> Difference:
    """Mean difference of two settings over the same seeds (Student 1908): paired t-test and t interval.

    Where every seed gives the same difference, seeds show no spread and t divides by zero. That is no proof: two
    seeds can agree by luck, or because a score comes in steps of a photograph. So the interval is endless, and p is
    NaN; or 1 if the difference is 0, because nothing speaks against "no difference" then. `verdict` cannot tell.

    Args:
        one: a score for each seed, float, (k,), k >= 2.
        other: scores of the other setting for the same seeds in the same order, float, (k,).

    Returns:
        mean of one - other, in the unit of the scores; n counts seeds.

    Raises:
        FlowerlibError: unequal lengths, fewer than two seeds, or scores that are not finite.
    """
    first, second = _scores(one), _scores(other)
    if first.shape != second.shape:
        raise FlowerlibError(f"paired_seeds: {first.size} and {second.size} scores; give both for the same seeds")
    differences = first - second
    test, value = "t, paired, seeds", float(differences.mean())
    # In floats 0.9 - 0.8 is not 0.8 - 0.7: what rounding leaves must not count as a spread, nor as a difference.
    rounding = _rounding(first, second)
    if np.ptp(differences) <= rounding:
        p = 1.0 if abs(value) <= rounding else math.nan
        return Difference(value, -math.inf, math.inf, p, differences.size, test)
    error, freedom = float(scipy.stats.sem(differences)), differences.size - 1
    half = float(scipy.stats.t.ppf(0.975, freedom)) * error
    p = 2 * float(scipy.stats.t.sf(abs(value) / error, freedom))
    return Difference(value, value - half, value + half, p, differences.size, test)


def seeds_interval(scores: ArrayLike, unit: str = "share") -> Score:
    """Mean of a score over seeds with its 95 % interval (Student 1908); n is the number of seeds.

    It holds for new seeds on the same photographs; how far other photographs would move the score, the intervals of
    `flowerlib.metrics` say. Seeds that agree to the last digit do not tell their spread: the interval is then all
    that the unit allows.

    Args:
        scores: float, (k,), k >= 2.
        unit: as in `Score`; ends are clipped to 0 ... 1 for "share", at 0 for "nats".

    Raises:
        FlowerlibError: fewer than two seeds, scores that are not finite, or outside what the unit allows.
    """
    values = _scores(scores)
    least, most = LIMITS.get(unit, (-math.inf, math.inf))
    if values.min() < least or values.max() > most:
        raise FlowerlibError(f"scores {values.min()} ... {values.max()}: unit {unit!r} goes from {least} to {most}")
    value, freedom = float(values.mean()), values.size - 1
    known = np.ptp(values) > _rounding(values)
    half = float(scipy.stats.t.ppf(0.975, freedom) * scipy.stats.sem(values)) if known else math.inf
    return Score(value, max(least, value - half), min(most, value + half), values.size, T_INTERVAL, unit)


def holm(p_values: ArrayLike) -> Floats:
    """P-values adjusted for asking several questions at once (Holm 1979), in the order given.

    Args:
        p_values: float, (m,), in 0 ... 1; NaN, a test that could not be made, stays NaN and does not count.

    Raises:
        FlowerlibError: not one row of p-values, or one outside 0 ... 1.
    """
    raw = np.asarray(p_values, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(raw))
    if raw.ndim != 1 or (raw[known] < 0).any() or (raw[known] > 1).any():
        raise FlowerlibError(f"holm: p-values {raw.shape}; give one row of values in 0 ... 1")
    ascending = known[np.argsort(raw[known], kind="stable")]
    adjusted = np.full_like(raw, np.nan)
    # The running maximum keeps a larger p from ending below a smaller one.
    weighted = raw[ascending] * np.arange(ascending.size, 0, -1)
    adjusted[ascending] = np.minimum(1.0, np.maximum.accumulate(weighted))
    return adjusted


def verdict(difference: Difference, adjusted_p: float, reported_difference: float, margin: float = 0.03) -> str:
    """What a measured difference says about a reported one: HOLDS, FAILS or UNKNOWN.

    A reported difference claims a direction; its size is not judged. Significant (adjusted p < 0.05) in that
    direction, the claim holds; significant in the other, it does not; otherwise it cannot be told.

    A reported 0 claims that no difference matters, which a large p never shows: few photographs give one too. The
    interval decides, as in an equivalence test (Schuirmann 1987). All of it within the margin: the claim holds, even
    if the small difference is significant. All of it beyond the margin, and significant: it does not hold. Otherwise
    both a difference that matters and one that does not are still possible, and it cannot be told.

    Args:
        difference: of `mcnemar` or `paired_seeds`.
        adjusted_p: its p of `holm`, over all differences of the table; NaN cannot be told.
        reported_difference: one - other as reported, in the unit of `difference`; 0 for "no difference".
        margin: the largest difference that does not matter, in the same unit.

    Raises:
        FlowerlibError: a reported difference that is not finite, or a margin that is not positive.
    """
    if not math.isfinite(reported_difference) or not margin > 0:
        raise FlowerlibError(f"verdict: reported {reported_difference}, margin {margin}; give a number and one above 0")
    significant = adjusted_p < ALPHA  # never so for NaN
    if reported_difference == 0:
        if -margin < difference.low and difference.high < margin:
            return HOLDS
        beyond = difference.low > margin or difference.high < -margin
        return FAILS if significant and beyond else UNKNOWN
    if not significant or difference.value == 0:
        return UNKNOWN
    return HOLDS if (difference.value > 0) == (reported_difference > 0) else FAILS


def bootstrap_difference(
    labels: ArrayLike, one: ArrayLike, other: ArrayLike, seed: int = 0, draws: int = 2000
) -> tuple[float, float]:
    """95 % percentile interval of a difference of balanced accuracies (Efron 1979), pairs drawn within classes.

    Where the two never differ it is (0, 0), which proves nothing; `mcnemar` gives an interval that has room then.

    Args:
        labels: int, (n,).
        one: predictions, int, (n,).
        other: predictions for the same photographs in the same order, int, (n,).
        seed: of the bootstrap.
        draws: of the bootstrap, at least 1.

    Returns:
        low and high of balanced_accuracy(one) - balanced_accuracy(other).

    Raises:
        FlowerlibError: as `mcnemar`.
    """
    gains = _right(labels, one).astype(np.int64) - _right(labels, other)
    classes, index = np.unique(np.asarray(labels), return_inverse=True)
    # Only how many photographs of a class are lost, equal and won (columns) matters, so those counts are drawn.
    counts = np.bincount(3 * index + gains + 1, minlength=3 * classes.size).reshape(classes.size, 3)
    support = counts.sum(axis=1)
    drawn = np.random.default_rng(seed).multinomial(support, counts / support[:, None], size=(draws, classes.size))
    low, high = np.quantile(((drawn[..., 2] - drawn[..., 0]) / support).mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def _newcombe(both: int, only_first: int, only_second: int, n: int) -> tuple[float, float]:
    """Interval of a paired difference of shares from their Wilson intervals (Newcombe 1998, method 10)."""
    first, second, neither = both + only_first, both + only_second, n - both - only_first - only_second
    (low1, high1), (low2, high2) = metrics.wilson(first, n), metrics.wilson(second, n)
    covariance: float = both * neither - only_first * only_second
    if covariance > 0:  # corrected for continuity, but not past 0
        covariance = max(covariance - n / 2, 0)
    spread = math.sqrt(first * (n - first) * second * (n - second))
    correlation = covariance / spread if spread else 0.0

    def distance(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * correlation * a * b + b * b))  # a perfect correlation may round below 0

    value = (only_first - only_second) / n
    low = value - distance(first / n - low1, high2 - second / n)
    high = value + distance(second / n - low2, high1 - first / n)
    return max(-1.0, low), min(1.0, high)


def _right(labels: ArrayLike, predictions: ArrayLike) -> np.ndarray:
    metrics.accuracy(labels, predictions)  # refuses what is not one label and one prediction a photograph
    return np.asarray(labels) == np.asarray(predictions)


def _scores(scores: ArrayLike) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or values.size < 2 or not np.isfinite(values).all():
        raise FlowerlibError(f"scores {values.shape}: give one finite score a seed, of two seeds or more")
    return values


def _rounding(*scores: Floats) -> float:
    """Differences this small are what float arithmetic leaves of equal ones."""
    return 1e-12 * max(float(abs(values).max()) for values in scores)
