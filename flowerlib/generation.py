"""How good are generated pictures? Scores in feature space that need no eye, each with its interval (numpy only)."""

from dataclasses import dataclass

import numpy as np

from flowerlib import neighbors
from flowerlib.errors import FlowerlibError
from flowerlib.metrics import Score, wilson

SUBSETS, SUBSET = 100, 500  # of the kernel distance: how many draws, of how many pictures
NEIGHBOURS = 3  # of the manifold


def kid(generated: np.ndarray, real: np.ndarray, *, subsets: int = SUBSETS, size: int = SUBSET, seed: int = 0) -> Score:
    """Kernel distance between two sets of features (Binkowski et al. 2018, eq. 4), 0 on average for equal ones.

    The unbiased squared maximum mean discrepancy with the kernel (x y / width + 1)^3, averaged over subsets drawn
    without replacement; the interval is two standard deviations of subsets of so many pictures about their mean, scaled
    to the mean of as many disjoint subsets as there are pictures for.

    Args:
        generated: float (n, width).
        real: float (n, width), as many, so that the spread means the same on both sides.
        subsets: how many are drawn.
        size: pictures in each, at most half of them, so that no subset is like another.
        seed: of the draws.

    Returns:
        n is the number of pictures on each side.

    Raises:
        FlowerlibError: unequal numbers, other widths, fewer than two pictures.
    """
    one, other = (np.asarray(each, dtype=np.float64) for each in (generated, real))
    if one.shape != other.shape or one.ndim != 2 or len(one) < 2:
        raise FlowerlibError(f"kid: features {one.shape} and {other.shape}: give as many on both sides, two or more")
    size, random = max(2, min(size, len(one) // 2)), np.random.default_rng(seed)
    within, other_within, between = _kernel(one, one), _kernel(other, other), _kernel(one, other)
    draws = [(random.permutation(len(one))[:size], random.permutation(len(one))[:size]) for _ in range(subsets)]
    values = np.array(
        [_unbiased(within[np.ix_(a, a)], other_within[np.ix_(b, b)], between[np.ix_(a, b)]) for a, b in draws]
    )
    value = float(values.mean())
    half = 2 * float(values.std(ddof=1)) / max(1.0, len(one) / size) ** 0.5
    return Score(value, value - half, value + half, len(one), f"subsets of {size}", "")


def mmd2(one: np.ndarray, other: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy, cubic kernel (Gretton et al. 2012, eq. 3); can be below 0.

    Args:
        one: float64 (m, width).
        other: float64 (n, width).
    """
    return _unbiased(_kernel(one, one), _kernel(other, other), _kernel(one, other))


def _unbiased(within: np.ndarray, other_within: np.ndarray, between: np.ndarray) -> float:
    """The same of kernels (m, m), (n, n) and (m, n); what a picture is to itself does not count."""
    means = [(each.sum() - np.trace(each)) / (len(each) * (len(each) - 1)) for each in (within, other_within)]
    return float(means[0] + means[1] - 2 * between.mean())


def _kernel(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    result: np.ndarray = (one @ other.T / one.shape[1] + 1) ** 3
    return result


@dataclass(frozen=True)
class Manifold:
    """Real pictures as balls in feature space: each reaches to its third nearest other one."""

    index: neighbors.Index
    radii: np.ndarray


def manifold(features: np.ndarray, count: int = NEIGHBOURS) -> Manifold:
    """The balls of some pictures (Kynkaanniemi et al. 2019, section 2).

    Args:
        features: float (n, width).
        count: which neighbour a ball reaches to.
    """
    among = neighbors.index(features)
    everything = np.arange(len(features))
    radii = np.empty(len(features), np.float32)
    for some in np.array_split(everything, -(-len(everything) // 500)):
        radii[some] = neighbors.nearest(among, features[some], count, allowed=everything[None] != some[:, None])[1][
            :, -1
        ]
    return Manifold(among, radii)


def covered(balls: Manifold, features: np.ndarray) -> np.ndarray:
    """Whether pictures lie in any ball, bool (n,)."""
    found = np.empty(len(features), bool)
    for some in np.array_split(np.arange(len(features)), max(1, -(-len(features) // 200))):
        far = neighbors.distances(balls.index, features[some])
        found[some] = (far <= balls.radii[None]).any(axis=1)
    return found


def precision_recall(generated: np.ndarray, real: np.ndarray) -> dict[str, Score]:
    """Share of the generated among the real pictures, and of the real among the generated.

    Kynkaanniemi et al. 2019, eq. 1 and 2.

    Args:
        generated: float (n, width).
        real: float (m, width).
    """
    found = {}
    for name, balls, asked in (("precision", real, generated), ("recall", generated, real)):
        inside = covered(manifold(balls), asked)
        low, high = wilson(int(inside.sum()), len(inside))
        found[name] = Score(float(inside.mean()), low, high, len(inside), "wilson, pictures")
    return found


def memorized(generated: np.ndarray, train: np.ndarray, test: np.ndarray, share: float = 0.01) -> np.ndarray:
    """Generated pictures nearer to a training photograph than nearly all test photographs are, bool (n,).

    Args:
        generated: float (n, width).
        train: float (m, width), what the network has seen.
        test: float (k, width), what it has not.
        share: of the test photographs that lie as near.
    """
    among = neighbors.index(train)
    usual = neighbors.nearest(among, test, 1)[1][:, 0]
    result: np.ndarray = neighbors.nearest(among, generated, 1)[1][:, 0] < np.quantile(usual, share)
    return result


def copied(
    generated: np.ndarray, train: np.ndarray, test: np.ndarray, share: float = 0.01, neighbours: int = 50
) -> np.ndarray:
    """Generated pictures that are much more like one training photograph than like those nearest to it, bool (n,).

    The distance to the nearest as a part of the mean distance to the nearest fifty (Carlini et al. 2023, section 5):
    a blurred copy, which lies near to every photograph, lies still nearer to its own. What counts as much is what
    photographs that were not learned from reach.

    Args:
        generated: float (n, width), as pixels.
        train: float (m, width), what the network has seen.
        test: float (k, width), what it has not.
        share: of the test photographs whose part is as small.
        neighbours: how many, at most all.
    """
    among = neighbors.index(train)
    parts = []
    for asked in (generated, test):
        far = neighbors.nearest(among, asked, min(neighbours, len(train)))[1]
        parts.append(far[:, 0] / np.maximum(far.mean(axis=1), np.finfo(np.float32).tiny))
    result: np.ndarray = parts[0] < np.quantile(parts[1], share)
    return result
