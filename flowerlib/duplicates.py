"""Near-duplicates by perceptual hash: the same flower photographed twice, or one photograph kept twice."""

import cv2
import numpy as np
import scipy.fft

from flowerlib.splits import Split

# Bits of 63 that may differ. Looked at on the photographs at 96 px: of the pairs at 0 to 6 bits nearly all are one
# scene or one file, at 8 bits most; at 10 unrelated flowers on plain ground are in the majority.
MAX_BITS = 8


def hashes(images: np.ndarray) -> np.ndarray:
    """The 64-bit perceptual hash of every picture: signs of the low frequencies about their median (Zauner 2010).

    Args:
        images: uint8 (n, size, size, 3).

    Returns:
        uint64 (n,).
    """
    found = np.empty(len(images), dtype=np.uint64)
    for position, image in enumerate(images):
        grey = cv2.cvtColor(cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        low = scipy.fft.dctn(grey.astype(np.float32))[:8, :8].ravel()
        low[0] = np.median(low[1:])  # the mean brightness says nothing about what is seen
        found[position] = np.packbits(low > np.median(low[1:])).view(np.uint64)[0]
    return found


def pairs(found: np.ndarray, max_bits: int = MAX_BITS) -> np.ndarray:
    """Pairs of pictures whose hashes differ in few bits, the nearest first.

    Args:
        found: uint64 (n,) from ``hashes``.
        max_bits: the most bits in which a pair may differ.

    Returns:
        int64 (pairs, 3): first position, second position (larger), bits that differ.
    """
    rows = []
    for position, value in enumerate(found[:-1]):
        bits = np.bitwise_count(found[position + 1 :] ^ value)
        near = np.flatnonzero(bits <= max_bits)
        rows.append(np.stack([np.full_like(near, position), position + 1 + near, bits[near]], axis=1))
    every = np.concatenate(rows) if rows else np.empty((0, 3), np.int64)
    return every[np.argsort(every[:, 2], kind="stable")].astype(np.int64)


def across_parts(near: np.ndarray, split: Split) -> np.ndarray:
    """The pairs whose two pictures are in different parts of a split, int64 (pairs, 3)."""
    part = np.full(near[:, :2].max(initial=0) + 1, -1)
    for number, some in enumerate(split.parts().values()):
        part[some.indices[some.indices < len(part)]] = number
    first, second = part[near[:, 0]], part[near[:, 1]]
    return near[(first != second) & (first >= 0) & (second >= 0)]


def unseen(near: np.ndarray, split: Split) -> np.ndarray:
    """Which test pictures have no near-duplicate in train or validation, bool (test,)."""
    seen = across_parts(near, split)[:, :2]
    return ~np.isin(split.test.indices, seen)
