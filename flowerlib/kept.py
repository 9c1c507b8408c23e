"""Arrays that take minutes to compute, kept on disk: whole or not there, made by one process, taken up after a kill.

Beside the array stands a .json with what it was made from and the checksum by which a damaged one is known. A killed
pass goes on where it stopped: .part.npy is what it wrote, .part.json says how much of that counts and proves it by a
checksum, so that nothing has to be flushed to the disk meanwhile.
"""

import errno
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from flowerlib.errors import FlowerlibError
from flowerlib.progress import machine


@dataclass(frozen=True)
class Plan:
    """What is to be computed.

    Attributes:
        name: what to call it while it is made.
        shape: of the array; it is written in C order.
        rows: into which the array is divided, in that order; a block is some of them.
        dtype: such as "float32".
        blocks: from a row on, the blocks that follow.
    """

    name: str
    shape: tuple[int, ...]
    rows: int
    dtype: str
    blocks: Callable[[int], Iterator[np.ndarray]]

    @property
    def row_bytes(self) -> int:
        """Of one row on disk."""
        return int(np.prod(self.shape)) // self.rows * np.dtype(self.dtype).itemsize


def keep(path: Path, parts: dict[str, Any], wanted: Plan, *, quiet: bool = False) -> np.memmap:
    """An array by its path, made if it is not there.

    Args:
        path: of the .npy; its name should be a digest of ``parts``.
        parts: all that the numbers rest on, plain JSON values; an array with others beside it counts as damaged.
        wanted: how it is made.
        quiet: no progress bar (there is none without a terminal).

    Returns:
        A read-only memory map.

    Raises:
        FlowerlibError: the array cannot be written, because the disk is full or the folder not ours.
    """
    with _plain_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(path):
        if not _is_whole(path, parts):
            _make(path, parts, wanted, quiet)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _lock(path: Path) -> AbstractContextManager[object]:
    lock = FileLock(f"{path}.lock")
    try:
        return lock.acquire(timeout=1)  # long enough for one that only reads
    except Timeout:
        print(f"another process makes {path.name}; waiting", file=sys.stderr, flush=True)
        return lock.acquire()


def _is_whole(path: Path, parts: dict[str, Any]) -> bool:
    """Whether the array is there; where it is damaged this says so, and it is not there any more."""
    if not path.exists():
        return False
    try:
        note = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if note["parts"] == parts and (note["stamp"] == _stamp(path) or note["sha256"] == _sha256(path)):
            return True
    except (OSError, ValueError, KeyError, TypeError):  # no note, or a broken one
        pass
    print(f"{path} is damaged: it is made again", flush=True)
    with _plain_disk_errors(path):
        path.unlink()
    return False


def _stamp(path: Path) -> list[int]:
    return [path.stat().st_size, path.stat().st_mtime_ns]


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make(path: Path, parts: dict[str, Any], wanted: Plan, quiet: bool) -> None:
    """Make the array, or go on with what a killed pass left of it; it is whole or not there."""
    part, progress = path.with_suffix(".part.npy"), path.with_suffix(".part.json")
    with _plain_disk_errors(path, wanted.rows * wanted.row_bytes):
        with open(part, "r+b" if part.exists() else "w+b") as file:
            minutes, sha256 = _write(file, progress, wanted, quiet)
        note = {"parts": parts, "minutes": minutes, "machine": machine()}
        note |= {"date": datetime.now(UTC).isoformat(timespec="seconds"), "sha256": sha256, "stamp": _stamp(part)}
        _replace_json(path.with_suffix(".json"), note)
        part.replace(path)
        progress.unlink()


def _write(file: IO[bytes], progress: Path, wanted: Plan, quiet: bool) -> tuple[float, str]:
    """Write the array, header and all; the minutes that all sessions took, and its checksum.

    Not through a memory map: a disk that fills meanwhile would kill the process instead of raising an error.
    """
    rows, before, seen = _go_on(file, progress, wanted)
    free, needed = shutil.disk_usage(progress.parent).free, (wanted.rows - rows) * wanted.row_bytes
    if free < needed:
        raise OSError(errno.ENOSPC, "No space left on device")
    started, minutes = time.monotonic(), before
    name = wanted.name
    bar = tqdm(total=wanted.rows, initial=rows, desc=name, unit=" pictures", disable=quiet or None)
    with bar:
        for block in wanted.blocks(rows):
            content = block.tobytes()
            file.write(content)
            file.flush()
            seen.update(content)
            rows, minutes = rows + len(block), before + (time.monotonic() - started) / 60
            _replace_json(progress, {"rows": rows, "minutes": minutes, "sha256": seen.hexdigest()})
            bar.update(len(block))
    return minutes, seen.hexdigest()


def _go_on(file: IO[bytes], progress: Path, wanted: Plan) -> tuple[int, float, Any]:
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
