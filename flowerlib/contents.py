"""What a fetched archive and its label files must hold, looked at once: a checksum only says whose they are."""

import csv
import gzip
import tarfile
import zlib
from pathlib import Path

import numpy as np
import scipy.io
from scipy.io.matlab import MatReadError

from flowerlib.errors import FlowerlibError

SUBSET = Path(__file__).resolve().parent.parent / "data" / "flower_photos_subset.csv"
AGAIN = "delete it and fetch it again"


def check(name: str, files: dict[str, Path]) -> None:
    """Refuse a data set whose archive is damaged or lacks a photograph, or whose label files are something else.

    Args:
        name: "oxford102" or "flowers5".
        files: name in the mirror's layout -> local copy.

    Raises:
        FlowerlibError: names the file and what is wrong.
    """
    if name == "flowers5":
        check_archive(files["flowers5/flower_photos.tgz"], five_members())
        return
    count = len(_variable(files["oxford102/imagelabels.mat"], "labels"))
    sets = files["oxford102/setid.mat"]
    total = sum(len(_variable(sets, part)) for part in ("trnid", "valid", "tstid"))
    if count != total:
        labels = files["oxford102/imagelabels.mat"]
        raise FlowerlibError(f"{labels} has {count} labels, but {sets} names {total} images: fetch both again")
    check_archive(files["oxford102/102flowers.tgz"], [f"jpg/image_{image:05d}.jpg" for image in range(1, count + 1)])


def five_members() -> list[str]:
    """The 1,000 photographs of the five classes by their names in the archive, class by class."""
    with open(SUBSET, encoding="utf-8", newline="") as file:
        rows = sorted((row["class"], row["file"]) for row in csv.DictReader(file))
    return [f"flower_photos/{folder}/{photograph}" for folder, photograph in rows]


def check_archive(archive: Path, members: list[str]) -> None:
    """Read an archive to its end, without unpacking it, and look for every photograph."""
    try:
        with gzip.open(archive) as packed:
            while packed.read(1 << 20):  # to the end, where its own checksum stands
                pass
        with tarfile.open(archive, "r:gz") as tar:
            found = {
                _safe(member, archive).name for member in tar if member.isfile() or member.issym() or member.islnk()
            }
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise FlowerlibError(f"{archive} is damaged or cut short ({error}): {AGAIN}") from error
    missing = [member for member in members if member not in found]
    if missing:
        raise FlowerlibError(f"{archive} lacks {len(missing)} of {len(members)} photographs, {missing[0]}: {AGAIN}")


def _safe(member: tarfile.TarInfo, archive: Path) -> tarfile.TarInfo:
    try:
        return tarfile.data_filter(member, ".")
    except tarfile.FilterError as error:
        raise FlowerlibError(f"{archive} is refused: {member.name}: {error}") from error


def _variable(file: Path, name: str) -> np.ndarray:
    try:
        return scipy.io.loadmat(file)[name].ravel()
    except (KeyError, ValueError, IndexError, TypeError, NotImplementedError, OSError, MatReadError) as error:
        raise FlowerlibError(f"{file} is no label file with '{name}' in it: {AGAIN}") from error
