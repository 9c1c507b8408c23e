"""The data sets, decoded: one uint8 array a size on disk, memory-mapped, with labels beside it. No TensorFlow."""

import csv
import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import scipy.io
from filelock import FileLock
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from flowerlib import fetch, synthetic
from flowerlib.errors import FlowerlibError
from flowerlib.splits import DATA

RESIZINGS = ("antialiased", "nearest", "squashed")


@dataclass(frozen=True)
class Dataset:
    """A data set at one size.

    Attributes:
        images: uint8 (n, size, size, 3), a read-only memory map; image id is position plus one.
        fine: int64 (n,) class of every image, 0-based.
        sets: the official id sets "trnid", "valid", "tstid" (ids from 1), or None.
    """

    name: str
    images: np.ndarray
    fine: np.ndarray
    sets: dict[str, np.ndarray] | None


def load(name: str, size_px: int, resize: str = "antialiased", *, quiet: bool = False) -> Dataset:
    """A data set, decoded once per size and memory-mapped from then on.

    Args:
        name: "oxford102", "flowers5" or "drawn".
        size_px: side of the square pictures.
        resize: "antialiased" (centre square, bilinear with antialiasing), "nearest" (centre square, nearest pixel,
            as Hughes's loader does) or "squashed" (whole picture to a square, nearest pixel, as reports 001 and 003).
        quiet: no progress bar.

    Raises:
        FlowerlibError: unknown name or resizing, photographs missing, corrupt or of another number than the labels.
    """
    if resize not in RESIZINGS:
        raise FlowerlibError(f"unknown resizing '{resize}': one of {', '.join(RESIZINGS)}")
    fine: np.ndarray
    sets: dict[str, np.ndarray] | None
    if name == "drawn":
        fine, sets = drawn_layout()
        return Dataset(name, _cached(name, size_px, "drawn", len(fine), _drawings(fine, size_px, quiet)), fine, sets)
    files = fetch.fetch_dataset(name, quiet=quiet)
    if name == "flowers5":
        archive, members = files["flowers5/flower_photos.tgz"], _five_members()
        fine, sets = np.repeat(np.arange(5), len(members) // 5), None
    else:
        archive = files["oxford102/102flowers.tgz"]
        fine, sets = _oxford_labels(files["oxford102/imagelabels.mat"], files["oxford102/setid.mat"])
        members = [f"jpg/image_{image:05d}.jpg" for image in range(1, len(fine) + 1)]
    pictures = _photographs(archive, members, size_px, resize, quiet)
    return Dataset(name, _cached(name, size_px, resize, len(fine), pictures), fine, sets)


def manifest(name: str) -> str:
    """A checksum that names the data: of the files for photographs, of the drawing code for drawn flowers."""
    if name == "drawn":
        from flowerlib.digests import module_digest

        return module_digest("synthetic")
    sums = [fetch.checksum(file) for file in sorted(fetch.DATASETS[name])]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()


def _cached(name: str, size_px: int, resize: str, count: int, pictures: Callable[[], Iterator]) -> np.ndarray:
    """The array of one data set and size: made beside its place and renamed, so that it is whole or not there."""
    folder = fetch.cache_folder() / "arrays"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{resize}-{size_px}px-{manifest(name)[:12]}.npy"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            _write_array(path, count, size_px, pictures)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _write_array(path: Path, count: int, size_px: int, pictures: Callable[[], Iterator]) -> None:
    part = path.with_suffix(".part.npy")
    shape = (count, size_px, size_px, 3)
    try:
        # Not through a memory map: a disk that fills meanwhile would kill the process instead of raising an error.
        with open(part, "wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            start = file.tell()
            for first, images in pictures():
                file.seek(start + first * size_px * size_px * 3)
                file.write(np.ascontiguousarray(images).tobytes())
        part.replace(path)
    except OSError as error:
        raise FlowerlibError(f"cannot write {path} ({np.prod(shape) / 1e6:.0f} MB): {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _oxford_labels(labels: Path, sets: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    fine = scipy.io.loadmat(labels)["labels"].ravel().astype(np.int64) - 1
    ids = {name: scipy.io.loadmat(sets)[name].ravel().astype(np.int64) for name in ("trnid", "valid", "tstid")}
    total = sum(len(part) for part in ids.values())
    if len(fine) != total:
        raise FlowerlibError(f"{labels} has {len(fine)} labels, but {sets} names {total} images: fetch both again")
    return fine, ids


def _five_members() -> list[str]:
    with open(DATA / "flower_photos_subset.csv", encoding="utf-8", newline="") as file:
        rows = sorted((row["class"], row["file"]) for row in csv.DictReader(file))
    return [f"flower_photos/{folder}/{name}" for folder, name in rows]


def _photographs(
    archive: Path, members: list[str], size_px: int, resize: str, quiet: bool
) -> Callable[[], Iterator[tuple[int, np.ndarray]]]:
    """Read an archive from front to back without unpacking it; nothing in it can climb out of a folder."""
    position = {member: index for index, member in enumerate(members)}

    def pictures() -> Iterator[tuple[int, np.ndarray]]:
        found = 0
        progress = tqdm(total=len(members), desc=f"decoding {archive.name} to {size_px} px", disable=quiet or None)
        with progress, _open_archive(archive) as tar:
            for member in _members(tar, archive):
                if member.name not in position:
                    continue
                file = tar.extractfile(member)
                if file is None:
                    raise FlowerlibError(f"{archive}: {member.name} is not a file")
                yield position[member.name], decode(file, f"{archive}: {member.name}", size_px, resize)
                found += 1
                progress.update()
        if found < len(members):
            raise FlowerlibError(f"{archive} holds {found} of the {len(members)} photographs: fetch it again")

    return pictures


def _open_archive(archive: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(archive)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise FlowerlibError(f"{archive} is not a whole archive ({error}): delete it and fetch it again") from error


def _members(tar: tarfile.TarFile, archive: Path) -> Iterator[tarfile.TarInfo]:
    try:
        for member in tar:
            tarfile.data_filter(member, ".")  # refuses members that climb out, devices, links to elsewhere
            if member.isfile():
                yield member
    except tarfile.FilterError as error:
        raise FlowerlibError(f"{archive} is refused: {error}") from error
    except (tarfile.TarError, EOFError, OSError) as error:
        raise FlowerlibError(f"{archive} is cut short ({error}): delete it and fetch it again") from error


def decode(file: IO[bytes], name: str, size_px: int, resize: str) -> np.ndarray:
    """One photograph as uint8 (size, size, 3).

    Args:
        file: the encoded photograph.
        name: what to call it in an error.
        size_px: side of the result.
        resize: see ``load``.
    """
    try:
        image = Image.open(io.BytesIO(file.read())).convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise FlowerlibError(f"{name} is not a readable photograph ({error}): fetch the archive again") from error
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    box = (0, 0, width, height) if resize == "squashed" else (left, top, left + side, top + side)
    method = Image.Resampling.BILINEAR if resize == "antialiased" else Image.Resampling.NEAREST
    return np.asarray(image.resize((size_px, size_px), method, box=box))


def drawn_layout() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Classes and official-like id sets of the drawn flowers: 4 + 4 + 8 to 24 pictures of each of the 102 kinds.

    The larger set is imbalanced on purpose, as the photographs' is.

    Returns:
        int64 (n,) kind of every picture, and ids (from 1) of "trnid", "valid" and "tstid".
    """
    kinds = np.arange(synthetic.KINDS)
    sizes = {"trnid": np.full_like(kinds, 4), "valid": np.full_like(kinds, 4), "tstid": 8 + (kinds * 7) % 17}
    fine = np.concatenate([np.repeat(kinds, size) for size in sizes.values()])
    stops = np.cumsum([0] + [size.sum() for size in sizes.values()])
    ids = np.arange(1, len(fine) + 1)
    return fine, {name: ids[stops[i] : stops[i + 1]] for i, name in enumerate(sizes)}


def _drawings(fine: np.ndarray, size_px: int, quiet: bool) -> Callable[[], Iterator[tuple[int, np.ndarray]]]:
    def pictures() -> Iterator[tuple[int, np.ndarray]]:
        starts = range(0, len(fine), 128)
        for start in tqdm(starts, desc=f"drawing flowers at {size_px} px", disable=quiet or None):
            some = slice(start, start + 128)
            yield start, synthetic.draw(fine[some], np.arange(len(fine))[some], size_px)[0]

    return pictures
