"""From a data set's array to batches: the order of an epoch, one fused warp a picture, tf.data.

Order and augmentation are functions of seed, epoch and position alone, so a run that was killed draws the same
pictures when it goes on. A picture is warped once by the product of all its transforms, then coloured once.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import tensorflow as tf

from flowerlib.recipes import Augment

# One uniform number in [0, 1) a picture and transform; the order is part of what a seed means.
DRAWS = (
    "flip",
    "shift_x",
    "shift_y",
    "rotation",
    "shear",
    "zoom",
    "brightness",
    "contrast",
    "saturation",
    "hue",
)


@dataclass(frozen=True)
class Epoch:
    """What one epoch shows: positions int64 (m,), whether augmented bool (m,), uniform draws float32 (m, 10)."""

    indices: np.ndarray
    augmented: np.ndarray
    draws: np.ndarray


def plan(indices: np.ndarray, labels: np.ndarray, augment: Augment, seed: int, epoch: int) -> Epoch:
    """The order and the random numbers of one epoch.

    With ``augment.balance`` every class is filled up to the largest with augmented copies, the originals staying as
    they are (Shen 2025, section 2.3.1), but drawn anew each epoch instead of kept in memory.

    Args:
        indices: int (n,) positions of the part in the data set's arrays.
        labels: int (n,) their classes.
        augment: what may be done to a picture.
        seed: of the run.
        epoch: 0-based.
    """
    random = np.random.default_rng([seed, epoch])
    if augment.balance:
        copies = _fill(labels, random)
        shown = np.concatenate([np.arange(len(labels)), copies])
        augmented = np.arange(len(shown)) >= len(labels)
    else:
        shown = np.arange(len(labels))
        augmented = np.full(len(shown), augment.changes_pictures())
    order = random.permutation(len(shown))
    draws = random.random((len(shown), len(DRAWS)), dtype=np.float32)
    return Epoch(indices[shown[order]], augmented[order], draws)


def _fill(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Positions to repeat so that every class has as many pictures as the largest."""
    counts = np.bincount(labels)
    return np.concatenate(
        [
            random.choice(np.flatnonzero(labels == label), counts.max() - count)
            for label, count in enumerate(counts)
            if count
        ]
    )


def warps(draws: np.ndarray, augment: Augment, size_px: int) -> np.ndarray:
    """The affine map of every picture: shift, rotation, shear, zoom and flip about the centre, multiplied.

    Args:
        draws: uniform in [0, 1), (n, 10), columns as ``DRAWS``.
        augment: ranges of the transforms.
        size_px: side of the pictures.

    Returns:
        float64 (n, 2, 3), output pixel to input pixel.
    """
    share = {name: draws[:, column].astype(np.float64) for column, name in enumerate(DRAWS)}
    centred = {name: 2 * value - 1 for name, value in share.items()}  # [-1, 1)
    angle = np.deg2rad(augment.rotation_deg) * centred["rotation"]
    shear = np.tan(np.deg2rad(augment.shear_deg) * centred["shear"])
    scale = 1 + augment.zoom * centred["zoom"]
    mirror = np.where(augment.flip & (share["flip"] < 0.5), -1.0, 1.0)
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.empty((len(draws), 2, 2))
    linear[:, 0, 0], linear[:, 0, 1] = mirror * cos, mirror * (shear * cos - sin)
    linear[:, 1, 0], linear[:, 1, 1] = sin, shear * sin + cos
    linear *= scale[:, None, None]
    centre = np.full(2, (size_px - 1) / 2)
    shift = augment.shift * size_px * np.stack([centred["shift_x"], centred["shift_y"]], axis=1)
    offset = centre + shift - linear @ centre
    return np.concatenate([linear, offset[:, :, None]], axis=2)


def colours(draws: np.ndarray, augment: Augment, means: np.ndarray) -> np.ndarray:
    """The colour map of every picture: brightness, contrast, saturation and hue as one affine map of RGB.

    Args:
        draws: uniform in [0, 1), (n, 10).
        augment: ranges.
        means: float (n,) mean grey of each picture, 0..255, about which contrast turns.

    Returns:
        float64 (n, 3, 4): ``rgb -> matrix @ rgb + offset``.
    """
    centred = {name: 2 * draws[:, column].astype(np.float64) - 1 for column, name in enumerate(DRAWS)}
    bright = 1 + augment.brightness * centred["brightness"]
    contrast = 1 + augment.contrast * centred["contrast"]
    saturation = (1 + augment.saturation * centred["saturation"])[:, None, None]
    grey = np.tile([0.299, 0.587, 0.114], (3, 1))  # ITU-R BT.601 luma
    matrix = saturation * np.eye(3) + (1 - saturation) * grey
    matrix = _hue_rotation(np.deg2rad(augment.hue_deg) * centred["hue"]) @ matrix
    offset = np.repeat(((1 - contrast) * bright * means)[:, None], 3, axis=1)
    return np.concatenate([(contrast * bright)[:, None, None] * matrix, offset[:, :, None]], axis=2)


def _hue_rotation(angle: np.ndarray) -> np.ndarray:
    """Rotations of RGB about its grey axis (n, 3, 3), by Rodrigues' formula."""
    axis = np.full(3, 3**-0.5)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    sin, versine = np.sin(angle)[:, None, None], (1 - np.cos(angle))[:, None, None]
    return np.eye(3) + sin * cross + versine * (cross @ cross)


def apply(images: np.ndarray, draws: np.ndarray, augment: Augment) -> np.ndarray:
    """Augment pictures: one warp and, where colours change, one colour map each.

    Args:
        images: uint8 (n, size, size, 3).
        draws: uniform (n, 10).
        augment: what may be done; pixels from outside repeat the edge, as Keras's ImageDataGenerator does.

    Returns:
        uint8 (n, size, size, 3), a new array.
    """
    size_px = images.shape[1]
    result = np.empty_like(images)
    for image, matrix, out in zip(images, warps(draws, augment, size_px), result, strict=True):
        cv2.warpAffine(
            image,
            matrix,
            (size_px, size_px),
            dst=out,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    if augment.changes_colours():
        means = np.array([cv2.mean(image)[:3] for image in result]) @ [0.299, 0.587, 0.114]
        for image, matrix in zip(result, colours(draws, augment, means), strict=True):
            cv2.transform(image, matrix, dst=image)
    return result


def batches(images: np.ndarray, labels: np.ndarray, epoch: Epoch, augment: Augment, batch_size: int) -> tf.data.Dataset:
    """One epoch as a tf.data pipeline of (uint8 pictures, int32 labels).

    Args:
        images: uint8 memory map of the whole data set.
        labels: int (n,) class of every image of the data set (-1 where it has none).
        epoch: from ``plan``.
        augment: what may be done to a picture.
        batch_size: pictures a step; the last batch may be smaller.
    """
    shape = images.shape[1:]

    def read(start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(start, start + batch_size)
        pictures = images[epoch.indices[rows]]
        changed = epoch.augmented[rows]
        if changed.any():
            pictures[changed] = apply(pictures[changed], epoch.draws[rows][changed], augment)
        return pictures, labels[epoch.indices[rows]].astype(np.int32)

    def tensors(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pictures, classes = tf.numpy_function(read, [start], [tf.uint8, tf.int32])
        return tf.ensure_shape(pictures, (None, *shape)), tf.ensure_shape(classes, (None,))

    options = tf.data.Options()
    options.autotune.enabled = False  # its autotuner makes about half of all short fits wait at the end
    starts = tf.data.Dataset.range(0, len(epoch.indices), batch_size)
    return starts.map(tensors, num_parallel_calls=2, deterministic=True).prefetch(2).with_options(options)
