"""Pictures at twice their side: each pixel becomes four, as photographs taught by least squares (numpy only).

A cascade (Ho et al. 2022, section 3) makes a small picture first, which is most of the work, and enlarges it then. Here
the second step is the cheapest that learns at all: linear, from the pixels around, in closed form.
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

REACH = 2  # pixels on each side that have a say
PICTURES, PLACES = 1000, 100  # of the training part, drawn, and of each of them


@dataclass(frozen=True)
class Enlarger:
    """What four pixels have in common with those around the one that they were.

    Attributes:
        weights: float32 (75, 12), from the five by five pixels around, less the middle one, to what each of the four
            differs from it; for each channel of them the four sum to zero, so that the small picture is kept.
    """

    weights: np.ndarray

    def enlarge(self, small: np.ndarray) -> np.ndarray:
        """float32 (n, 2 side, 2 side, 3) of pictures float (n, side, side, 3)."""
        count, side = small.shape[:2]
        around, middle = _around(small)
        four = (around @ self.weights).reshape(count, side, side, 2, 2, 3) + middle[:, :, :, None, None]
        result: np.ndarray = four.transpose(0, 1, 3, 2, 4, 5).reshape(count, 2 * side, 2 * side, 3)
        return result.astype(np.float32)


def halve(pictures: np.ndarray) -> np.ndarray:
    """Means of two by two pixels, float32 (n, side / 2, side / 2, 3)."""
    count, side = pictures.shape[:2]
    return pictures.reshape(count, side // 2, 2, side // 2, 2, 3).mean(axis=(2, 4), dtype=np.float32)


def fit(pictures: np.ndarray, *, seed: int = 0) -> Enlarger:
    """The weights of least squared error.

    Args:
        pictures: uint8 (n, side, side, 3), an even side; the training part.
        seed: of the pictures and places that are looked at.
    """
    random, inputs, outputs = np.random.default_rng(seed), [], []
    for picture in pictures[random.permutation(len(pictures))[:PICTURES]]:
        whole = picture[None].astype(np.float32) / 255
        small = halve(whole)
        around, middle = _around(small)
        side = small.shape[1]
        detail = whole.reshape(1, side, 2, side, 2, 3).transpose(0, 1, 3, 2, 4, 5) - middle[:, :, :, None, None]
        places = random.permutation(side * side)[:PLACES]
        inputs.append(around.reshape(side * side, -1)[places])
        outputs.append(detail.reshape(side * side, 12)[places])
    weights, *_ = np.linalg.lstsq(np.concatenate(inputs), np.concatenate(outputs), rcond=None)
    by_channel = weights.reshape(-1, 4, 3)
    return Enlarger((by_channel - by_channel.mean(axis=1, keepdims=True)).reshape(-1, 12).astype(np.float32))


def _around(small: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of every pixel those around it less itself, (n, side, side, 75), and itself; edges are repeated."""
    wide = np.pad(small.astype(np.float32), ((0, 0), (REACH, REACH), (REACH, REACH), (0, 0)), mode="edge")
    windows = sliding_window_view(wide, (2 * REACH + 1, 2 * REACH + 1), axis=(1, 2))  # (n, side, side, 3, 5, 5)
    middle = np.asarray(small, np.float32)
    differences = windows - middle[..., None, None]
    return differences.reshape(*small.shape[:3], -1), middle
