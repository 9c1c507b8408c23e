"""From a data set's array to batches: the order of an epoch, one fused warp a picture, tf.data.

Order and augmentation are functions of seed, epoch and position alone, so a run that was killed draws the same
pictures when it goes on. A picture is warped once by the product of all its transforms, then coloured once.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import tensorflow as tf

from flowerlib.schema import Augment

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
    "crop_area",
    "crop_aspect",
    "crop_x",
    "crop_y",
    "mix",
    "mix_share",
    "mix_x",
    "mix_y",
)
ASPECT = 4 / 3  # a crop's sides differ at most so much, as is usual since Szegedy et al. 2015


@dataclass(frozen=True)
class Epoch:
    """What one epoch shows: positions int64 (m,), whether augmented bool (m,), uniform draws float32 (m, 18)."""

    indices: np.ndarray
    augmented: np.ndarray
    draws: np.ndarray


def plan(indices: np.ndarray, labels: np.ndarray, augment: Augment, seed: int, epoch: int) -> Epoch:
    """The order and the random numbers of one epoch.

    With ``augment.balance`` every class is filled up to the largest with augmented copies, the originals staying as
    they are (Shen 2025, section 2.3.1) unless they are cropped to another side, but drawn anew each epoch instead of
    kept in memory.

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


def excerpt(indices: np.ndarray, labels: np.ndarray, augment: Augment, seed: int, first: int, count: int) -> Epoch:
    """Some presentations out of the endless row of epochs: as many for a setting that shows more in an epoch.

    Args:
        indices: as in ``plan``, like the next three.
        labels: see there.
        augment: see there.
        seed: see there.
        first: presentations that were shown before.
        count: how many to show.
    """
    length = len(labels) if not augment.balance else int(np.bincount(labels).max() * len(np.unique(labels)))
    passes = range(first // length, -(-(first + count) // length))
    epochs = [plan(indices, labels, augment, seed, each) for each in passes]
    taken = slice(first - passes.start * length, first - passes.start * length + count)
    return Epoch(
        *(
            np.concatenate([getattr(epoch, name) for epoch in epochs])[taken]
            for name in ("indices", "augmented", "draws")
        )
    )


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


def warps(draws: np.ndarray, augment: Augment, size_px: int, out_px: int | None = None) -> np.ndarray:
    """The affine map of every picture: crop, shift, rotation, shear, zoom and flip about the centre, multiplied.

    A crop keeps a share of the area, uniform from ``augment.crop`` to 1, of an aspect up to 4/3 either way, anywhere
    in the picture (Szegedy et al. 2015, section 6).

    Args:
        draws: uniform in [0, 1), (n, 18), columns as ``DRAWS``.
        augment: ranges of the transforms.
        size_px: side of the pictures.
        out_px: side of the result; that of the pictures by default.

    Returns:
        float64 (n, 2, 3), output pixel to input pixel.
    """
    out_px = out_px or size_px
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
    sides, corner = _crops(share, augment)  # both (n, 2), as shares of the picture
    linear *= sides[:, :, None] * (size_px / out_px)
    centre = (size_px - 1) / 2 + size_px * (corner + sides / 2 - 0.5)
    shift = augment.shift * size_px * np.stack([centred["shift_x"], centred["shift_y"]], axis=1)
    offset = centre + shift - linear @ np.full(2, (out_px - 1) / 2)
    return np.concatenate([linear, offset[:, :, None]], axis=2)


def _crops(share: dict[str, np.ndarray], augment: Augment) -> tuple[np.ndarray, np.ndarray]:
    """Width and height, and the upper left corner, of every picture's crop, as shares of the side."""
    smallest = augment.crop or 1.0
    area = smallest + (1 - smallest) * share["crop_area"]
    aspect = (ASPECT if augment.crop else 1.0) ** (2 * share["crop_aspect"] - 1)
    sides = np.minimum(1.0, np.sqrt(np.stack([area * aspect, area / aspect], axis=1)))
    return sides, (1 - sides) * np.stack([share["crop_x"], share["crop_y"]], axis=1)


def colours(draws: np.ndarray, augment: Augment, means: np.ndarray) -> np.ndarray:
    """The colour map of every picture: brightness, contrast, saturation and hue as one affine map of RGB.

    Args:
        draws: uniform in [0, 1), (n, 18).
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


def apply(images: np.ndarray, draws: np.ndarray, augment: Augment, out_px: int | None = None) -> np.ndarray:
    """Augment pictures: one warp and, where colours change, one colour map each.

    Args:
        images: uint8 (n, size, size, 3).
        draws: uniform (n, 18).
        augment: what may be done; pixels from outside repeat the edge, as Keras's ImageDataGenerator does.
        out_px: side of the result; that of the pictures by default.

    Returns:
        uint8 (n, out, out, 3), a new array.
    """
    size_px = images.shape[1]
    out_px = out_px or size_px
    result = np.empty((len(images), out_px, out_px, 3), dtype=np.uint8)
    for image, matrix, out in zip(images, warps(draws, augment, size_px, out_px), result, strict=True):
        cv2.warpAffine(
            image,
            matrix,
            (out_px, out_px),
            dst=out,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    if augment.changes_colours():
        means = np.array([cv2.mean(image)[:3] for image in result]) @ [0.299, 0.587, 0.114]
        for image, matrix in zip(result, colours(draws, augment, means), strict=True):
            cv2.transform(image, matrix, dst=image)
    return result


def mix(images: np.ndarray, targets: np.ndarray, draws: np.ndarray, augment: Augment) -> tuple[np.ndarray, np.ndarray]:
    """Paste or blend each picture of a batch with the one at the other end of it, and their targets likewise.

    CutMix pastes a square (Yun et al. 2019, algorithm 1), MixUp blends (Zhang et al. 2018, eq. 1); both with a share
    drawn from Beta(1, 1). One draw decides for the whole batch, whose order is random already.

    Args:
        images: uint8 (n, size, size, 3).
        targets: float32 (n, classes), rows that sum to one.
        draws: uniform (18,), the first picture's.
        augment: how often each of the two happens.

    Returns:
        Pictures and targets, new arrays where anything was done; the targets' rows sum to one.
    """
    share = dict(zip(DRAWS, draws.tolist(), strict=True))
    if share["mix"] < augment.cutmix:
        size_px = images.shape[1]
        side = round(size_px * (1 - share["mix_share"]) ** 0.5)
        left, top = (round((size_px - side) * share[name]) for name in ("mix_x", "mix_y"))
        square = slice(None), slice(top, top + side), slice(left, left + side)
        kept, other = 1 - (side / size_px) ** 2, images[::-1][square]
        images = images.copy()
        images[square] = other
    elif share["mix"] < augment.cutmix + augment.mixup:
        kept = share["mix_share"]
        images = np.rint(kept * images + (1 - kept) * images[::-1].astype(np.float32)).astype(np.uint8)
    else:
        return images, targets
    return images, (kept * targets + (1 - kept) * targets[::-1]).astype(np.float32)


def batches(
    images: np.ndarray,
    labels: np.ndarray,
    epoch: Epoch,
    augment: Augment,
    batch_size: int,
    *,
    out_px: int | None = None,
    classes: int | None = None,
) -> tf.data.Dataset:
    """One epoch as a tf.data pipeline of (uint8 pictures, targets).

    Args:
        images: uint8 memory map of the whole data set.
        labels: int (n,) class of every image of the data set (-1 where it has none).
        epoch: from ``plan``.
        augment: what may be done to a picture.
        batch_size: pictures a step; the last batch may be smaller.
        out_px: side of the pictures that are shown; that of the data set by default.
        classes: their number, for float32 targets (batch, classes) that may be mixed; without it the targets are
            int32 labels (batch,).
    """
    # Of a side that may change with the epoch TensorFlow is told nothing: it would build another graph for each, and
    # which one a step runs, to the last bit of its sums, would depend on the epoch that a killed run goes on with.
    told = None if out_px else images.shape[1]
    out_px = out_px or images.shape[1]

    def read(start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(int(start), int(start) + batch_size)
        pictures, changed = np.asarray(images[epoch.indices[rows]]), epoch.augmented[rows]
        if changed.all() or out_px != images.shape[1]:
            pictures = apply(pictures, epoch.draws[rows], augment, out_px)
        elif changed.any():
            pictures[changed] = apply(pictures[changed], epoch.draws[rows][changed], augment)
        targets = labels[epoch.indices[rows]].astype(np.int32)
        if classes is None:
            return pictures, targets
        return mix(pictures, np.eye(classes, dtype=np.float32)[targets], epoch.draws[rows][0], augment)

    def tensors(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        kind = tf.int32 if classes is None else tf.float32
        # A step that is said to keep a state would be run one at a time, because operations are deterministic.
        pictures, targets = tf.numpy_function(read, [start], [tf.uint8, kind], stateful=False)
        pictures = tf.ensure_shape(pictures, (None, told, told, 3))
        return pictures, tf.ensure_shape(targets, (None,) if classes is None else (None, classes))

    options = tf.data.Options()
    options.autotune.enabled = False  # its autotuner makes about half of all short fits wait at the end
    starts = tf.data.Dataset.range(0, len(epoch.indices), batch_size)
    return starts.map(tensors, num_parallel_calls=2, deterministic=True).prefetch(2).with_options(options)
