"""Explanations by hiding parts of a picture: plain functions of the signature of ``maps.Method``."""

import cv2
import keras
import numpy as np

from flowerlib import maps


def occlusion(
    model: keras.Model, images: np.ndarray, classes: np.ndarray, *, patch: float = 0.2, stride: float = 0.1
) -> np.ndarray:
    """How far the probability falls when a grey patch covers a place (Zeiler and Fergus 2014, section 4.2).

    Args:
        model, images, classes: as of every method.
        patch: side of the patch, as a share of the picture's.
        stride: from one place to the next, likewise.
    """
    maps.check(model, images, classes)
    side = images.shape[1]
    size, step = max(1, round(patch * side)), max(1, round(stride * side))
    places = [(top, left) for top in range(0, side, step) for left in range(0, side, step)]
    result = np.zeros(images.shape[:3], np.float32)
    for image, label, drop in zip(images, classes, result, strict=True):
        whole = maps.probabilities(model, image[None])[0, label]
        covered = np.repeat(image[None], len(places), axis=0)
        for copy, (top, left) in zip(covered, places, strict=True):
            copy[top : top + size, left : left + size] = 127
        counts = np.zeros_like(drop)
        for fall, (top, left) in zip(whole - maps.probabilities(model, covered)[:, label], places, strict=True):
            drop[top : top + size, left : left + size] += fall
            counts[top : top + size, left : left + size] += 1
        drop /= counts
    return maps.to_unit(np.maximum(result, 0))


def rise(
    model: keras.Model,
    images: np.ndarray,
    classes: np.ndarray,
    *,
    masks: int = 1000,
    cells: int = 7,
    kept: float = 0.5,
    seed: int = 0,
) -> np.ndarray:
    """Mean probability behind the random masks that leave a pixel to be seen (Petsiuk et al. 2018, eq. 4).

    The paper's eq. 6 divides by how often a pixel should be seen; here by how often it was, which is less noisy.

    Args:
        model, images, classes: as of every method.
        masks: how many; all pictures are seen behind the same ones.
        cells: in a row of the coarse grid that a mask is enlarged from.
        kept: share of the cells that stay.
        seed: of the masks.
    """
    maps.check(model, images, classes)
    side, random = images.shape[1], np.random.default_rng(seed)
    total, seen = np.zeros(images.shape[:3], np.float32), np.zeros(images.shape[1:3], np.float32)
    for start in range(0, masks, 64):
        drawn = np.stack([_mask(random, side, cells, kept) for _ in range(min(64, masks - start))])
        seen += drawn.sum(axis=0)
        for image, label, map_ in zip(images, classes, total, strict=True):
            behind = (drawn[..., None] * image).astype(np.uint8)
            map_ += np.tensordot(maps.probabilities(model, behind)[:, label].astype(np.float32), drawn, axes=1)
    total /= np.maximum(seen, 1e-6)
    return maps.to_unit(total - total.min(axis=(1, 2), keepdims=True))


def _mask(random: np.random.Generator, side: int, cells: int, kept: float) -> np.ndarray:
    """A coarse grid of zeros and ones, enlarged and moved by up to a cell; float32 (side, side) in [0, 1]."""
    cell = -(-side // cells)
    grid = (random.random((cells + 1, cells + 1)) < kept).astype(np.float32)
    large = cv2.resize(grid, ((cells + 1) * cell,) * 2, interpolation=cv2.INTER_LINEAR)
    top, left = random.integers(0, cell, 2)
    return large[top : top + side, left : left + side]
