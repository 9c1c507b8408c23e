"""Is a map true to the network? Deletion and insertion, stability, randomized weights, agreement; baselines to beat."""

from collections.abc import Mapping

import cv2
import keras
import numpy as np
import pandas as pd
import scipy.stats
import tensorflow as tf

from flowerlib import gradients
from flowerlib.errors import FlowerlibError
from flowerlib.maps import Method, check, to_unit

STEPS = 20  # of deletion and insertion
BLUR = 0.15  # standard deviation, as a share of the side, of what stands for a pixel that is not there
STAGES = 4  # of randomized weights


def random_map(model: keras.Model, images: np.ndarray, classes: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """A map that knows nothing: smooth noise. An honest method beats it.

    Args:
        model, images, classes: as of every method of ``explain``.
        seed: of the noise.
    """
    random, side = np.random.default_rng(seed), images.shape[1]
    coarse = random.random((len(images), 7, 7), dtype=np.float32)
    return to_unit(np.stack([cv2.resize(each, (side, side), interpolation=cv2.INTER_LINEAR) for each in coarse]))


def centre_blob(model: keras.Model, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """A map that knows only that photographers centre their flower: a bell curve, a quarter of the side wide."""
    side = images.shape[1]
    line = np.exp(-0.5 * ((np.arange(side) - (side - 1) / 2) / (side / 4)) ** 2)
    return to_unit(np.repeat(np.outer(line, line)[None], len(images), axis=0))


BASELINES: dict[str, Method] = {"random": random_map, "centre": centre_blob}


def deletion(model: keras.Model, images: np.ndarray, classes: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Mean probability of the class while pixels are blurred away, largest first; less is better (Petsiuk et al. 2018).

    Args:
        model: uint8 pictures -> logits.
        images: uint8 (n, side, side, 3).
        classes: int (n,).
        maps: float (n, side, side).

    Returns:
        float64 (n,), area under the curve of probability against the share of pixels taken, in [0, 1].
    """
    return _areas(_curves(model, images, classes, maps, images, _blurred(images)))


def insertion(model: keras.Model, images: np.ndarray, classes: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Mean probability of the class while a blurred picture gets its pixels back; more is better (Petsiuk et al. 2018).

    Args and result as ``deletion``.
    """
    return _areas(_curves(model, images, classes, maps, _blurred(images), images))


def _blurred(images: np.ndarray) -> np.ndarray:
    sigma = BLUR * images.shape[1]
    return np.stack([cv2.GaussianBlur(each, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE) for each in images])


def _curves(
    model: keras.Model,
    images: np.ndarray,
    classes: np.ndarray,
    maps: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
) -> np.ndarray:
    """Probability of the class, float64 (n, steps + 1), while pixels go from start to end, largest of the map first."""
    check(model, images, classes)
    if maps.shape != images.shape[:3]:
        raise FlowerlibError(f"maps {maps.shape} of pictures {images.shape[:3]}: give one a picture, of its size")
    pixels = images.shape[1] * images.shape[2]
    found = np.empty((len(images), STEPS + 1))
    for row, (one, other, map_, label) in enumerate(zip(start, end, maps, classes, strict=True)):
        rank = np.empty(pixels, np.int64)
        rank[np.argsort(-map_.ravel(), kind="stable")] = np.arange(pixels)
        taken = rank.reshape(map_.shape) < (np.arange(STEPS + 1) / STEPS * pixels)[:, None, None]
        pictures = np.where(taken[..., None], other, one).astype(np.uint8)
        found[row] = np.asarray(tf.nn.softmax(model.predict_on_batch(pictures)))[:, label]
    return found


def _areas(curves: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.trapezoid(curves, dx=1 / STEPS, axis=1)
    return result


def correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of two maps of each picture, float64 (n,); 0 where one of them is flat.

    Args:
        one: float (n, side, side).
        other: of the same shape.
    """
    found = []
    for first, second in zip(one, other, strict=True):
        flat = np.ptp(first) == 0 or np.ptp(second) == 0
        found.append(0.0 if flat else float(scipy.stats.spearmanr(first.ravel(), second.ravel()).statistic))
    return np.array(found)


def stability(
    method: Method,
    model: keras.Model,
    images: np.ndarray,
    classes: np.ndarray,
    *,
    before: np.ndarray | None = None,
    noise: float = 4.0,
    seed: int = 0,
) -> np.ndarray:
    """Rank correlation of a picture's map with that of the picture under small noise, float64 (n,).

    Args:
        method: of ``explain``.
        model, images, classes: as of every method.
        before: the method's maps of the pictures as they are, where they are known.
        noise: standard deviation, in levels of 0 to 255; the eye does not see four.
        seed: of the noise.
    """
    random = np.random.default_rng(seed)
    noisy = np.clip(np.rint(images + noise * random.standard_normal(images.shape)), 0, 255).astype(np.uint8)
    before = method(model, images, classes) if before is None else before
    return correlation(before, method(model, noisy, classes))


def randomized(
    method: Method,
    model: keras.Model,
    images: np.ndarray,
    classes: np.ndarray,
    *,
    before: np.ndarray | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Does the map change when the network forgets? Weights are drawn anew from the logits down (Adebayo et al. 2018).

    A method whose maps stay alike shows the picture, not the network. The model has its own weights again afterwards.

    Args:
        method: of ``explain``.
        model, images, classes: as of every method.
        before: the method's maps by the network as it is, where they are known.
        seed: of the new weights.

    Returns:
        Columns stage (1 to 4), share (of the layers with weights that forgot), correlation (float64, a row a picture).
    """
    layers = [layer for layer in model.layers if layer.weights][::-1]
    kept = [layer.get_weights() for layer in layers]
    before = method(model, images, classes) if before is None else before
    random, rows = np.random.default_rng(seed), []
    try:
        done = 0
        for stage in range(1, STAGES + 1):
            share = stage / STAGES
            for layer in layers[done : round(share * len(layers))]:
                layer.set_weights([_like(weight, random) for weight in layer.get_weights()])
            done = round(share * len(layers))
            for value in correlation(before, method(model, images, classes)):
                rows.append({"stage": stage, "share": share, "correlation": value})
    finally:
        for layer, weights in zip(layers, kept, strict=True):
            layer.set_weights(weights)
    return pd.DataFrame(rows)


def _like(weight: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The same values in another order: a layer that knows nothing and is as loud as before."""
    if not np.issubdtype(weight.dtype, np.floating):
        return weight
    return random.permutation(weight.ravel()).reshape(weight.shape)


def agreement(maps: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Mean rank correlation of every method's maps with every other's.

    Args:
        maps: method -> float (n, side, side) of the same pictures.

    Returns:
        float64, methods by methods, 1 on the diagonal.
    """
    found = {
        one: {other: 1.0 if one == other else float(correlation(maps[one], maps[other]).mean()) for other in maps}
        for one in maps
    }
    return pd.DataFrame(found)


def completeness(model: keras.Model, images: np.ndarray, classes: np.ndarray, pieces: int) -> np.ndarray:
    """How far integrated gradients miss what they promise (Sundararajan et al. 2017, proposition 1), float64 (n,).

    Args:
        model, images, classes: as of every method.
        pieces: of the integral.

    Returns:
        Distance of the summed attributions from the logit's difference from a black picture's, as a share of that.
    """
    promised = np.asarray(model.predict_on_batch(np.concatenate([images, np.zeros_like(images[:1])])), np.float64)
    promised = promised[np.arange(len(images)), classes] - promised[-1, classes]
    found = gradients.attributions(model, images, classes, steps=pieces).sum(axis=(1, 2, 3), dtype=np.float64)
    result: np.ndarray = np.abs(found - promised) / np.abs(promised)
    return result


def pointing(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Whether the largest value lies on the flower (Zhang et al. 2018, section 5), bool (n,).

    Args:
        maps: float (n, side, side).
        masks: bool (n, side, side).
    """
    places = maps.reshape(len(maps), -1).argmax(axis=1)
    result: np.ndarray = masks.reshape(len(masks), -1)[np.arange(len(maps)), places]
    return result


def share_on_flower(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Share of a map's sum that lies on the flower, float64 (n,); NaN for a map that is 0 everywhere.

    Args:
        maps: float (n, side, side), 0 or more.
        masks: bool (n, side, side).
    """
    total = maps.sum(axis=(1, 2), dtype=np.float64)
    on = (maps * masks).sum(axis=(1, 2), dtype=np.float64)
    return np.divide(on, total, out=np.full(len(maps), np.nan), where=total > 0)
