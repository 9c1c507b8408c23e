"""What a frozen network sees in the pictures: one pass, kept on disk, memory-mapped. Heads are trained on it.

The digest of all that the numbers rest on (network, pictures, views, code) names the file. Beside the array stands a
.json with these parts in clear and the checksum by which a damaged array is known. A killed pass goes on where it
stopped: .part.npy is what it wrote, .part.json says how much of that counts and proves it by a checksum, so that
nothing has to be flushed to the disk meanwhile.
"""

import errno
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal

import keras
import numpy as np
import tensorflow as tf
from filelock import FileLock, Timeout
from tqdm import tqdm

from flowerlib.augment import DRAWS, apply, plan
from flowerlib.data import Dataset, manifest
from flowerlib.digests import digest, function_digests
from flowerlib.errors import FlowerlibError
from flowerlib.fetch import cache_folder
from flowerlib.progress import machine
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

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.shape[2:])) * np.dtype(self.dtype).itemsize


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
    with _plain_disk_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
    with _lock(path):
        if not _is_whole(path, parts):
            _make(path, parts, wanted, quiet)
    return np.load(path, mmap_mode="r", allow_pickle=False)


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


def _lock(path: Path) -> AbstractContextManager[object]:
    lock = FileLock(f"{path}.lock")
    try:
        return lock.acquire(timeout=1)  # long enough for one that only reads
    except Timeout:
        print(f"another process makes the features {path.name}; waiting", file=sys.stderr, flush=True)
        return lock.acquire()


def _is_whole(path: Path, parts: dict[str, Any]) -> bool:
    """Whether the features are there; where they are damaged this says so, and they are not there any more."""
    if not path.exists():
        return False
    try:
        note = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if note["parts"] == parts and (note["stamp"] == _stamp(path) or note["sha256"] == _sha256(path)):
            return True
    except (OSError, ValueError, KeyError, TypeError):  # no note, or a broken one
        pass
    print(f"the features {path} are damaged: they are made again", flush=True)
    with _plain_disk_errors(path):
        path.unlink()
    return False


def _stamp(path: Path) -> list[int]:
    return [path.stat().st_size, path.stat().st_mtime_ns]


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make(path: Path, parts: dict[str, Any], wanted: _Pass, quiet: bool) -> None:
    """Make the features, or go on with what a killed pass left of them; they are whole or not there."""
    part, progress = path.with_suffix(".part.npy"), path.with_suffix(".part.json")
    with _plain_disk_errors(path, wanted.rows * wanted.row_bytes):
        with open(part, "r+b" if part.exists() else "w+b") as file:
            minutes, sha256 = _write(file, progress, wanted, quiet)
        note = {"parts": parts, "minutes": minutes, "machine": machine()}
        note |= {"date": datetime.now(UTC).isoformat(timespec="seconds"), "sha256": sha256, "stamp": _stamp(part)}
        _replace_json(path.with_suffix(".json"), note)
        part.replace(path)
        progress.unlink()


def _write(file: IO[bytes], progress: Path, wanted: _Pass, quiet: bool) -> tuple[float, str]:
    """Write the array, header and all; the minutes that all sessions took, and its checksum.

    Not through a memory map: a disk that fills meanwhile would kill the process instead of raising an error.
    """
    rows, before, seen = _go_on(file, progress, wanted)
    free, needed = shutil.disk_usage(progress.parent).free, (wanted.rows - rows) * wanted.row_bytes
    if free < needed:
        raise OSError(errno.ENOSPC, "No space left on device")
    started, minutes = time.monotonic(), before
    name = f"features of {wanted.base.name}"
    bar = tqdm(total=wanted.rows, initial=rows, desc=name, unit=" pictures", disable=quiet or None)
    with bar:
        for block in _blocks(wanted, rows):
            content = block.tobytes()
            file.write(content)
            file.flush()
            seen.update(content)
            rows, minutes = rows + len(block), before + (time.monotonic() - started) / 60
            _replace_json(progress, {"rows": rows, "minutes": minutes, "sha256": seen.hexdigest()})
            bar.update(len(block))
    return minutes, seen.hexdigest()


def _go_on(file: IO[bytes], progress: Path, wanted: _Pass) -> tuple[int, float, Any]:
    """Rows that a killed pass left, its minutes, and the sha256 object of header and rows; the file stands there."""
    header = BytesIO()
    layout = {"descr": np.dtype(wanted.dtype).str, "fortran_order": False, "shape": wanted.shape}
    np.lib.format.write_array_header_1_0(header, layout)
    try:
        note = json.loads(progress.read_text(encoding="utf-8"))
        rows, minutes, sha256 = int(note["rows"]), float(note["minutes"]), note["sha256"]
    except (OSError, ValueError, KeyError, TypeError):  # none, or broken
        rows, minutes, sha256 = 0, 0.0, ""
    seen, left = hashlib.sha256(), len(header.getvalue()) + rows * wanted.row_bytes
    while rows and (chunk := file.read(min(left, 1 << 20))):
        seen.update(chunk)
        left -= len(chunk)
    if rows and seen.hexdigest() == sha256:
        print(f"going on after {rows} of {wanted.rows} pictures", flush=True)
    else:
        file.seek(0)
        file.write(header.getvalue())
        rows, minutes, seen = 0, 0.0, hashlib.sha256(header.getvalue())
    file.truncate()
    return rows, minutes, seen


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


def _replace_json(path: Path, value: dict[str, Any]) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(value, indent=1), encoding="utf-8")
    os.replace(beside, path)


@contextmanager
def _plain_disk_errors(path: Path, size_bytes: int = 0) -> Iterator[None]:
    """Say in one line why a file cannot be written; what was computed stays, so that the pass can go on."""
    try:
        yield
    except OSError as error:
        remedy = "free some and run again: it goes on" if error.errno == errno.ENOSPC else "set FLOWERLIB_CACHE"
        size = f" ({size_bytes / 1e6:.0f} MB)" if size_bytes else ""
        raise FlowerlibError(f"cannot write {path}{size}: {error.strerror}; {remedy}") from error
