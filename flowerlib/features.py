"""What a frozen network sees in the pictures: one pass, kept on disk, memory-mapped. Heads are trained on it.

The digest of all that the numbers rest on (network, pictures, views, code) names the file, so features of other
weights or other data are never read.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from flowerlib.augment import DRAWS, apply, plan
from flowerlib.data import Dataset, manifest
from flowerlib.digests import digest, function_digests
from flowerlib.errors import FlowerlibError
from flowerlib.fetch import cache_folder
from flowerlib.kept import Plan, keep
from flowerlib.schema import Augment

# The code that the numbers rest on. What decodes the pictures need not be here: the pictures themselves are hashed.
ROOTS = (("features", "_pictures"), ("features", "_blocks"))


@dataclass(frozen=True)
class _Pass:
    """What one pass computes, row by row: all views of the first picture, all of the second, ..."""

    base: keras.Model
    images: np.ndarray
    indices: np.ndarray
    views: int
    augment: Augment | None
    seed: int
    dtype: str
    batch_size: int

    @property
    def rows(self) -> int:
        return len(self.indices) * self.views

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of the array: pictures, views and the shape of what the network sees in one."""
        seen = self.base.compute_output_shape((1, *self.images.shape[1:]))[1:]
        return (len(self.indices), self.views, *seen)


def extract(
    base: keras.Model,
    identity: dict[str, Any],
    dataset: Dataset,
    indices: np.ndarray,
    *,
    views: int = 1,
    augment: Augment | None = None,
    seed: int = 1,
    dtype: Literal["float32", "float16"] = "float32",
    batch_size: int = 32,
    roots: Iterable[tuple[str, str]] = (),
    quiet: bool = False,
) -> np.memmap:
    """What a frozen network sees in some pictures, computed once and memory-mapped from then on.

    Args:
        base: uint8 (batch, side, side, 3) to one tensor (batch, ...); it runs in inference mode.
        identity: plain JSON values that name the network: backbone, weights' checksum, cut, pooled, preprocessing.
        dataset: the pictures, of the side that the network takes.
        indices: int (n,) positions in the data set's arrays.
        views: augmented pictures of each; of a picture as it is there is only one.
        augment: what may be done to a picture; None, or one that changes nothing: the pictures as they are.
        seed: of the views.
        dtype: of the result; float16 halves the file and keeps three digits.
        batch_size: pictures that are computed at once.
        roots: (module, name) pairs of what builds the network, such as ("models.backbones", "backbone"): when that
            code changes, the pass is made anew.
        quiet: no progress bar (there is none without a terminal).

    Returns:
        float32 or float16 (n, views, ...), a read-only memory map.

    Raises:
        FlowerlibError: views or pictures that there are not, pictures of another side, an augmentation that needs
            more than the picture itself, features that are not finite, a full disk.
        TypeError: an identity that is not made of JSON values.
    """
    indices = np.asarray(indices)
    wanted = _Pass(base, dataset.images, indices, views, _alone(augment), seed, dtype, batch_size)
    _check(wanted, identity)
    parts = _parts(wanted, identity, dataset.name, roots)
    folder = cache_folder() / "features"
    path = folder / f"{dataset.name}-{digest(parts)}.npy"
    how = Plan(f"features of {base.name}", wanted.shape, wanted.rows, dtype, lambda first: _blocks(wanted, first))
    return keep(path, parts, how, quiet=quiet)


def made(features: np.memmap) -> dict[str, Any]:
    """How features came about: the "parts" of their key, "minutes", "machine" and "date" of the pass (UTC).

    Args:
        features: from ``extract``.
    """
    return json.loads(Path(str(features.filename)).with_suffix(".json").read_text(encoding="utf-8"))


def draws(seed: int, views: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """The random numbers of some views, whatever else is drawn: a function of seed, view and picture alone.

    Args:
        seed: of the views.
        views: int (n,) from 0.
        indices: int (n,) positions in the data set's arrays.

    Returns:
        float32 (n, 18), uniform in [0, 1), columns as ``augment.DRAWS``.
    """
    result = np.empty((len(indices), len(DRAWS)), dtype=np.float32)
    for row, view, index in zip(result, views.tolist(), indices.tolist(), strict=True):
        # By id, which is never 0: numpy takes [seed, view, 0] for [seed, view], the row of an epoch in augment.plan.
        np.random.default_rng([seed, view, index + 1]).random(out=row, dtype=np.float32)
    return result


def batches(features: np.ndarray, labels: np.ndarray, seed: int, epoch: int, batch_size: int) -> tf.data.Dataset:
    """One epoch of a head on a frozen network: the order of ``augment.plan``, and one view after the other by epoch.

    Args:
        features: (n, views, ...), from ``extract``.
        labels: int (n,).
        seed: of the run.
        epoch: 0-based; all pictures are shown in their view ``epoch % views``.
        batch_size: pictures a step; the last batch may be smaller.

    Returns:
        (float32 (batch, ...), int32 (batch,)) pairs.
    """
    order = plan(np.arange(len(labels)), labels, Augment(), seed, epoch).indices
    view = epoch % features.shape[1]

    def read(start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = order[int(start) : int(start) + batch_size]
        return features[rows, view].astype(np.float32), labels[rows].astype(np.int32)

    def tensors(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        seen, targets = tf.numpy_function(read, [start], [tf.float32, tf.int32], stateful=False)
        return tf.ensure_shape(seen, (None, *features.shape[2:])), tf.ensure_shape(targets, (None,))

    options = tf.data.Options()
    options.autotune.enabled = False  # as in augment.batches: it makes short fits wait at the end
    starts = tf.data.Dataset.range(0, len(order), batch_size)
    return starts.map(tensors, num_parallel_calls=2, deterministic=True).prefetch(2).with_options(options)


def _alone(augment: Augment | None) -> Augment | None:
    """An augmentation that needs the picture alone; None for one that changes nothing."""
    if augment is None:
        return None
    if augment.balance or augment.mixes_labels() or augment.whitening_epsilon is not None:
        raise FlowerlibError(
            "features are kept picture by picture: leave augment.balance, cutmix, mixup and whitening out"
        )
    return augment if augment.changes_pictures() else None


def _check(wanted: _Pass, identity: dict[str, Any]) -> None:
    takes, side, count = wanted.base.input_shape[1], wanted.images.shape[1], len(wanted.images)
    indices = wanted.indices
    if not identity:
        raise FlowerlibError("identity is empty: name the network whose features are kept")
    if takes not in (None, side):
        raise FlowerlibError(f"{wanted.base.name} takes pictures of {takes} px, not of {side}: load them at {takes}")
    if wanted.views < 1 or (wanted.views > 1 and wanted.augment is None):
        reason = "ask for one or more" if wanted.views < 1 else "without augmentation all would be alike, ask for one"
        raise FlowerlibError(f"views {wanted.views}: {reason}")
    if indices.ndim != 1 or not len(indices) or indices.dtype.kind not in "iu":
        raise FlowerlibError(f"indices {indices.dtype} {indices.shape}: name one picture or more by whole numbers")
    wrong = indices[(indices < 0) | (indices >= count)]
    if len(wrong):
        raise FlowerlibError(f"indices: no picture {wrong[0]} among the {count}, counted from 0")


def _parts(wanted: _Pass, identity: dict[str, Any], name: str, roots: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """All that the numbers rest on. Weights and pictures are hashed too: a name alone may be wrong."""
    chunks = np.array_split(wanted.indices, -(-len(wanted.indices) // 64))
    augment = wanted.augment
    parts = {
        "network": identity,
        "weights": _checksum(weight.numpy() for weight in wanted.base.weights),
        "data": {"name": name, "manifest": manifest(name), "size_px": wanted.images.shape[1]},
        "indices": digest(wanted.indices.tolist()),
        "pixels": _checksum(wanted.images[chunk] for chunk in chunks),  # which tell one resizing from another
        "shape": wanted.shape,
        "dtype": wanted.dtype,
        "augment": augment and {"seed": wanted.seed, **augment.model_dump(mode="json", exclude_defaults=True)},
        "functions": function_digests([*ROOTS, *roots]),
    }
    return json.loads(json.dumps(parts))  # as it is read again: lists for tuples


def _checksum(arrays: Iterable[np.ndarray]) -> str:
    seen = hashlib.sha256()
    for array in arrays:
        seen.update(f"{array.dtype} {array.shape}".encode())
        seen.update(array.tobytes())
    return seen.hexdigest()


def _blocks(wanted: _Pass, first: int) -> Iterator[np.ndarray]:
    """What the network sees in row after row from the first on, a batch at a time: (batch, ...) in the pass's dtype.

    The pictures of the next batch are made while the network looks at these. All batches are of one size, for which
    the network's graph is built once; the last one's surplus is cut off.
    """
    starts = range(first, wanted.rows, wanted.batch_size)
    for start, pictures in zip(starts, _ahead(lambda row: _pictures(wanted, row), starts), strict=True):
        with np.errstate(over="ignore"):  # what float16 cannot hold is told below
            seen = wanted.base.predict_on_batch(pictures)[: wanted.rows - start].astype(wanted.dtype)
        if not np.isfinite(seen).all():
            raise FlowerlibError(f"{wanted.base.name}: features that are not finite in {wanted.dtype}: see its weights,"
                                 " or use float32")  # fmt: skip
        yield seen


def _ahead(make: Callable[[int], np.ndarray], starts: range) -> Iterator[np.ndarray]:
    """Results in their order, each made by a thread while the one before is used."""
    waiting: Future[np.ndarray] | None = None
    with ThreadPoolExecutor(1) as pool:
        for start in starts:
            ready, waiting = waiting, pool.submit(make, start)
            if ready is not None:
                yield ready.result()
        if waiting is not None:
            yield waiting.result()


def _pictures(wanted: _Pass, start: int) -> np.ndarray:
    """uint8 (batch, side, side, 3) from a row on; beyond the last row that one again."""
    rows = np.minimum(np.arange(start, start + wanted.batch_size), wanted.rows - 1)
    indices, views = wanted.indices[rows // wanted.views], rows % wanted.views
    pictures = np.asarray(wanted.images[indices])
    if wanted.augment is None:
        return pictures
    return apply(pictures, draws(wanted.seed, views, indices), wanted.augment)
