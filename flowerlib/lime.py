"""LIME: which segments of a picture hold up an answer, by a linear model of the network around the picture.

Ribeiro et al. 2016, section 3.4, with the settings of their package: segments are hidden behind their mean colour, a
sample's weight falls with the cosine distance of what it shows, the linear model is a ridge regression.
"""

from dataclasses import dataclass

import keras
import numpy as np
import scipy.linalg
import tensorflow as tf
from skimage.segmentation import slic

from flowerlib.errors import FlowerlibError
from flowerlib.maps import check, to_unit

KERNEL_WIDTH = 0.25  # of the weights of samples
PENALTY = 1.0  # of the ridge
TOP = 5  # segments that have to hold still
NOTHING = 0.01  # of the largest weight: who is below it is not among them


@dataclass(frozen=True)
class Explanation:
    """One picture's linear model.

    Attributes:
        segments: int (side, side), from 0.
        weights: float64 (segments,), what each adds to the probability when it is seen.
        r2: share of the weighted variance of the probabilities that the model explains, 1 at best.
        samples: pictures that the network looked at.
    """

    segments: np.ndarray
    weights: np.ndarray
    r2: float
    samples: int

    def top(self, count: int = TOP) -> np.ndarray:
        """int (count,): the segments with the largest weights, largest first."""
        return np.argsort(-self.weights, kind="stable")[:count]


def segments(image: np.ndarray, count: int = 50) -> np.ndarray:
    """Patches of like colour (SLIC, Achanta et al. 2012), int64 (side, side) from 0.

    Args:
        image: uint8 (side, side, 3).
        count: about how many.
    """
    found = slic(image, n_segments=count, compactness=10, start_label=0, channel_axis=-1)
    return np.unique(found, return_inverse=True)[1].reshape(found.shape)


def fit(
    model: keras.Model,
    image: np.ndarray,
    label: int,
    *,
    parts: np.ndarray | None = None,
    samples: int = 1000,
    batch: int = 50,
    patience: int | None = None,
    seed: int = 0,
) -> Explanation:
    """Explain one picture.

    Args:
        model: uint8 pictures -> logits.
        image: uint8 (side, side, 3).
        label: the class.
        parts: from ``segments``; made if not given.
        samples: pictures that the network looks at, at most.
        batch: of them at a time.
        patience: stop when the five largest weights are the same segments after so many batches in a row.
        seed: of the samples.

    Raises:
        FlowerlibError: a picture or class that the model does not take, or segments of another size.
    """
    check(model, image[None], np.array([label]))
    parts = segments(image) if parts is None else parts
    if parts.shape != image.shape[:2]:
        raise FlowerlibError(f"segments {parts.shape} of a picture {image.shape[:2]}")
    hidden, random, count = _mean_colours(image, parts), np.random.default_rng(seed), int(parts.max()) + 1
    shown, seen = np.empty((0, count), bool), np.empty(0)
    still, last = 0, np.empty(0, np.int64)
    while len(shown) < samples and (patience is None or still < patience):
        some = random.random((min(batch, samples - len(shown)), count)) < 0.5
        if not len(shown):
            some[0] = True  # the picture itself
        pictures = np.where(some[:, parts][..., None], image, hidden)
        shown, seen = np.concatenate([shown, some]), np.concatenate([seen, _probability(model, pictures, label)])
        if patience is not None:
            top = np.sort(np.argsort(-_ridge(shown, seen)[0], kind="stable")[:TOP])
            still = still + 1 if np.array_equal(top, last) else 0
            last = top
    weights, r2 = _ridge(shown, seen)
    return Explanation(parts, weights, r2, len(shown))


def quick(
    model: keras.Model,
    image: np.ndarray,
    label: int,
    *,
    parts: np.ndarray | None = None,
    samples: int = 1000,
    seed: int = 0,
) -> Explanation:
    """Explain one picture with planned copies instead of random ones, until the five largest weights hold still.

    A Hadamard matrix shows and hides every segment equally often, and every two of them together; each copy has its
    opposite beside it, so that what two segments do only together nearly cancels out of the weights (Box and Wilson
    1951).

    Args:
        model, image, label, parts: as of ``fit``.
        samples: pictures that the network looks at, at most; 2 or more.
        seed: of the order of the plan.

    Returns:
        The fit once the same segments had the five largest weights at two looks; a weight below a hundredth of the
        largest does not count as one of them.

    Raises:
        FlowerlibError: as ``fit``, or fewer than two samples.
    """
    check(model, image[None], np.array([label]))
    if samples < 2:
        raise FlowerlibError(f"{samples} samples of a picture: LIME needs 2 or more")
    parts = segments(image) if parts is None else parts
    if parts.shape != image.shape[:2]:
        raise FlowerlibError(f"segments {parts.shape} of a picture {image.shape[:2]}")
    hidden, random, count = _mean_colours(image, parts), np.random.default_rng(seed), int(parts.max()) + 1
    shown, seen = np.empty((0, count), bool), np.empty(0)
    last: list[int] | None = None
    while len(shown) < samples:
        plan = planned(count, random)
        for start in (0, len(plan) // 2):  # a look after each half
            some = plan[start : min(start + len(plan) // 2, start + samples - len(shown))]
            if not len(some):
                break
            shown = np.concatenate([shown, some])
            seen = np.concatenate([seen, _answers(model, image, hidden, parts, some, label)])
            weights, r2 = _ridge(shown, seen)
            top = [each for each in np.argsort(-weights)[:TOP].tolist() if weights[each] > NOTHING * weights.max()]
            if sorted(top) == last:
                return Explanation(parts, weights, r2, len(shown))
            last = sorted(top)
    return Explanation(parts, weights, r2, len(shown))


def quick_lime(
    model: keras.Model, images: np.ndarray, classes: np.ndarray, *, samples: int = 1000, seed: int = 0
) -> np.ndarray:
    """As ``lime``, from planned copies (``quick``); a method as ``maps.Method``."""
    check(model, images, classes)
    maps = []
    for image, label in zip(images, classes, strict=True):
        found = quick(model, image, int(label), samples=samples, seed=seed)
        maps.append(np.maximum(found.weights, 0)[found.segments])
    return to_unit(np.stack(maps))


def explained(
    model: keras.Model, image: np.ndarray, label: int, found: Explanation, *, samples: int = 200, seed: int = 1
) -> float:
    """R2 of a fit on copies that it has not seen: 1 at best, below 0 where their mean would be nearer.

    Args:
        model, image, label: as of the fit.
        found: the fit.
        samples: new copies, weighted as in the fit.
        seed: of the copies; other than the fit's.
    """
    shown = np.random.default_rng(seed).random((samples, len(found.weights))) < 0.5
    hidden = _mean_colours(image, found.segments)
    batches = [shown[start : start + 50] for start in range(0, samples, 50)]
    seen = np.concatenate([_answers(model, image, hidden, found.segments, some, label) for some in batches])
    weight, said = _kernel(shown), shown @ found.weights
    left = (seen - np.average(seen, weights=weight)) - (said - np.average(said, weights=weight))
    spread = np.average((seen - np.average(seen, weights=weight)) ** 2, weights=weight)
    return float(1 - np.average(left**2, weights=weight) / spread) if spread > 0 else 0.0


def planned(count: int, random: np.random.Generator) -> np.ndarray:
    """Which of the segments are seen in each copy: a folded Hadamard design, bool (copies, count).

    Args:
        count: of segments.
        random: for the order of rows and columns.

    Returns:
        Twice the next power of two rows, each followed by its opposite; every column is True in half of them, every two
        columns are equal in half of them.
    """
    order = 1 << count.bit_length()  # the first column is the same everywhere and says nothing
    rows = scipy.linalg.hadamard(order)[random.permutation(order)][:, 1 + random.permutation(order - 1)[:count]] > 0
    return np.stack([rows, ~rows], axis=1).reshape(2 * order, count)


def lime(
    model: keras.Model, images: np.ndarray, classes: np.ndarray, *, samples: int = 1000, seed: int = 0
) -> np.ndarray:
    """Positive weights of the segments that a pixel lies in; a method as ``maps.Method``.

    Args:
        model, images, classes: as of every method.
        samples: pictures that the network looks at for each.
        seed: of the samples.
    """
    check(model, images, classes)
    maps = []
    for image, label in zip(images, classes, strict=True):
        found = fit(model, image, int(label), samples=samples, seed=seed)
        maps.append(np.maximum(found.weights, 0)[found.segments])
    return to_unit(np.stack(maps))


def _mean_colours(image: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """The picture with every segment in its mean colour, uint8."""
    flat, count = parts.ravel(), np.bincount(parts.ravel())
    means = np.stack([np.bincount(flat, image[..., channel].ravel()) / count for channel in range(3)], axis=1)
    return means.astype(np.uint8)[parts]


def _answers(
    model: keras.Model, image: np.ndarray, hidden: np.ndarray, parts: np.ndarray, shown: np.ndarray, label: int
) -> np.ndarray:
    """Probability of the class of each copy, in which some segments are shown and the others hidden."""
    return _probability(model, np.where(shown[:, parts][..., None], image, hidden), label)


def _kernel(shown: np.ndarray) -> np.ndarray:
    """Weight of each copy by its cosine distance from the whole picture, as in ``_ridge``."""
    return np.sqrt(np.exp(-((1 - np.sqrt(shown.mean(axis=1))) ** 2) / KERNEL_WIDTH**2))


def _probability(model: keras.Model, pictures: np.ndarray, label: int) -> np.ndarray:
    return np.asarray(tf.nn.softmax(model.predict_on_batch(pictures)))[:, label].astype(np.float64)


def _ridge(shown: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights of a ridge regression with an intercept, and its weighted R2."""
    x = shown.astype(np.float64)
    # Cosine distance from the whole picture: of a vector of zeros and ones it is 1 - sqrt(share of ones).
    distance = 1 - np.sqrt(x.mean(axis=1))
    weight = np.sqrt(np.exp(-(distance**2) / KERNEL_WIDTH**2))
    total = weight.sum()
    centre, level = weight @ x / total, weight @ seen / total
    centred, lifted = x - centre, seen - level
    scaled = centred * weight[:, None]
    found = np.linalg.solve(scaled.T @ centred + PENALTY * np.eye(x.shape[1]), scaled.T @ lifted)
    left, all_ = weight @ (lifted - centred @ found) ** 2, weight @ lifted**2
    return found, float(1 - left / all_) if all_ > 0 else 0.0
