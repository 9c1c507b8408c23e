"""ZCA whitening: turn pictures so that their values are uncorrelated, as near to the pictures as can be (numpy only).

At 96 px a picture has 27,648 values and there are fewer pictures than that: their covariance is singular. The whole
matrix, as Keras's ImageDataGenerator once built it, multiplies what lies outside the span of the fitted pictures by
1 / sqrt(epsilon), 1,000 at epsilon 1e-6; and it would not fit in memory. Here the span alone is kept, by a thin
singular value decomposition, and what lies outside is dropped.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from flowerlib.errors import FlowerlibError

BLOCK = 256  # pictures that are held as floats at once
NEGLIGIBLE = 1e-9  # variances below this share of the largest are rounding, not pictures


@dataclass(frozen=True)
class Whitening:
    """What a fit keeps.

    Attributes:
        mean: float32 (values,) of the fitted pictures, in [0, 1].
        components: float32 (rank, values), orthonormal rows that span the fitted pictures less their mean.
        gains: float32 (rank,), 1 / sqrt(variance + epsilon) of each component.
        epsilon: added to the variances.
    """

    mean: NDArray[np.float32]
    components: NDArray[np.float32]
    gains: NDArray[np.float32]
    epsilon: float


def fit(images: np.ndarray, epsilon: float, part: str = "train") -> Whitening:
    """Fit whitening on the pictures of the training part (Krizhevsky 2009, appendix A; Bell and Sejnowski 1997).

    Args:
        images: uint8 (n, size, size, 3), two or more.
        epsilon: added to the variances; 1e-6 in Hughes 2024, section 2.2.
        part: where the pictures come from.

    Raises:
        FlowerlibError: fewer than two pictures, or another part than "train": what is fitted on test pictures has
            seen them.
    """
    if part != "train":
        raise FlowerlibError(f"whitening is fitted on the part 'train' only, not on '{part}'")
    if len(images) < 2:
        raise FlowerlibError(f"whitening needs two pictures or more, not {len(images)}")
    totals = np.sum([block.sum(axis=0, dtype=np.float64) for block in _blocks(images)], axis=0)
    mean: np.ndarray = (totals / len(images)).astype(np.float32)
    values = mean.size
    variances, components = (_by_covariance if len(images) > values else _by_gram)(images, mean)
    kept = variances > NEGLIGIBLE * variances.max()
    gains = 1 / np.sqrt(variances[kept] + epsilon)
    return Whitening(mean, np.ascontiguousarray(components[kept]), gains.astype(np.float32), epsilon)


def apply(whitening: Whitening, images: np.ndarray, outside_gain: float = 0.0) -> NDArray[np.float32]:
    """Whiten pictures.

    Args:
        whitening: from ``fit``.
        images: uint8 (n, size, size, 3).
        outside_gain: of what lies outside the span of the fitted pictures; 1 / sqrt(epsilon) gives what the whole
            covariance matrix would do to them.

    Returns:
        float32 (n, size, size, 3); over the fitted pictures with mean 0 and, inside their span, variance 1.
    """
    flat = images.reshape(len(images), -1).astype(np.float32) / 255 - whitening.mean
    scores = flat @ whitening.components.T
    result: np.ndarray = (scores * whitening.gains) @ whitening.components
    if outside_gain:
        result += np.float32(outside_gain) * (flat - scores @ whitening.components)
    return result.reshape(images.shape)


def _blocks(images: np.ndarray) -> Iterator[np.ndarray]:
    """Pictures as float32 rows in [0, 1], some at a time: all of them at once would be four times their bytes."""
    for start in range(0, len(images), BLOCK):
        block = images[start : start + BLOCK]
        yield block.reshape(len(block), -1).astype(np.float32) / 255


def _by_covariance(images: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances (values,) and components (values, values) where there are more pictures than values."""
    covariance = np.zeros((mean.size, mean.size))
    for block in _blocks(images):
        centred = (block - mean).astype(np.float64)  # the rounding of float32 would pass for variance
        covariance += centred.T @ centred
    variances, vectors = scipy.linalg.eigh(covariance / len(images), overwrite_a=True)
    return variances, vectors.T.astype(np.float32)


def _by_gram(images: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances (n,) and components (n, values) where there are fewer pictures than values.

    Products of pictures (n, n) have the same eigenvalues as products of values, which would need 2.9 GiB at 96 px.
    """
    n = len(images)
    gram = np.empty((n, n))
    for row, left in enumerate(_blocks(images)):
        for column, right in enumerate(_blocks(images[: (row + 1) * BLOCK])):
            tile = (left - mean).astype(np.float64) @ (right - mean).astype(np.float64).T
            rows, columns = (
                slice(row * BLOCK, row * BLOCK + len(left)),
                slice(column * BLOCK, column * BLOCK + len(right)),
            )
            gram[rows, columns], gram[columns, rows] = tile, tile.T
    squares, vectors = scipy.linalg.eigh(gram, overwrite_a=True, driver="evd")
    del gram
    squares = np.maximum(squares, 0)
    scales = np.sqrt(np.where(squares > NEGLIGIBLE * squares.max(), squares, np.inf))  # the rest is dropped by fit
    vectors = (vectors / scales).astype(np.float32)
    components = np.zeros((n, mean.size), dtype=np.float32)
    for row, block in enumerate(_blocks(images)):
        components += vectors[row * BLOCK : row * BLOCK + len(block)].T @ (block - mean)
    return squares / n, components
