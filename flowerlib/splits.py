"""Which image is in which part, under which label (numpy only).

Images are named by their position in the data set's arrays: image id minus one.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from flowerlib.errors import FlowerlibError

DATA = Path(__file__).resolve().parent.parent / "data"
PARTS = ("train", "validation", "test")
# Which official set plays which part. Hughes and Shen swap train and test, knowingly or not: the loaders they were
# given call the 6,149 official test images their training data.
OFFICIAL_SETS = {
    "official": (("trnid",), ("valid",), ("tstid",)),
    "swapped": (("tstid",), ("valid",), ("trnid",)),
    "joint": (("trnid", "valid"), (), ("tstid",)),
}


@dataclass(frozen=True)
class Part:
    """The images of one part: positions int64 (n,) in the data set's arrays, ascending, and labels int64 (n,)."""

    indices: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True)
class Split:
    """Three parts that share no image, and the names of the classes in label order."""

    train: Part
    validation: Part
    test: Part
    names: tuple[str, ...]

    def parts(self) -> dict[str, Part]:
        """The parts by name, in the order they are used."""
        return {name: getattr(self, name) for name in PARTS}


def class_rows() -> list[dict[str, str]]:
    """Rows of data/class_names.csv in label order: label, name, coarse_2024, coarse_2025."""
    with open(DATA / "class_names.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def fine_names() -> tuple[str, ...]:
    """The 102 names in the official order."""
    return tuple(row["name"] for row in class_rows())


def coarse_map(version: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The coarse group of each fine class (Hughes 2024 figure 1; Shen 2025 table 1).

    Args:
        version: "coarse-2024" (32 fine classes in ten groups) or "coarse-2025" (39).

    Returns:
        int64 (102,) with the group 0..9, or -1 where the fine class is in no group; and the ten names.
    """
    groups = yaml.safe_load((DATA / "coarse_groups.yml").read_text(encoding="utf-8"))["group_order"]
    column = version.replace("-", "_")
    return np.array([groups.index(row[column]) if row[column] else -1 for row in class_rows()]), tuple(groups)


def make(split: str, labels: str, fine: np.ndarray, sets: dict[str, np.ndarray] | None, seed: int = 0) -> Split:
    """Divide a data set into parts and label it.

    Args:
        split: "official", "swapped", "joint" (1-based official id sets), "kaggle" (the list most of the literature
            copies) or "five" (stratified 70/15/15).
        labels: "fine", "coarse-2024", "coarse-2025" or "five".
        fine: int (n,) class of every image of the data set, 0-based.
        sets: official id sets "trnid", "valid", "tstid", ids from 1; None where the data set has none.
        seed: of the "five" split, the only one that draws.

    Returns:
        The split; images whose fine class is in no coarse group are left out.

    Raises:
        FlowerlibError: unknown split or labels, a split that needs sets the data do not have, shared images.
    """
    ids = _part_ids(split, fine, sets, seed)
    _check_disjoint(split, ids)
    mapping, names = _label_map(labels, fine)
    parts = []
    for part in ids:
        indices = np.sort(np.asarray(part, dtype=np.int64)) - 1
        outside = indices[(indices < 0) | (indices >= len(fine))]
        if len(outside):
            raise FlowerlibError(
                f"split {split}: image {outside[0] + 1} is not among the {len(fine)} images of the data"
            )
        group = mapping[fine[indices]]
        parts.append(Part(indices[group >= 0], group[group >= 0]))
    train, validation, test = parts
    return Split(train, validation, test, names)


def _part_ids(split: str, fine: np.ndarray, sets: dict[str, np.ndarray] | None, seed: int) -> Sequence[np.ndarray]:
    if split == "five":
        return stratified(fine, seed)
    if split not in (*OFFICIAL_SETS, "kaggle"):
        raise FlowerlibError(f"unknown split '{split}': one of {', '.join((*OFFICIAL_SETS, 'kaggle', 'five'))}")
    if sets is None:
        raise FlowerlibError(f"split '{split}' needs the official id sets, which these data do not have: use 'five'")
    if split == "kaggle":
        return _kaggle_ids()
    return [
        np.concatenate([sets[name] for name in part]) if part else np.empty(0, np.int64)
        for part in OFFICIAL_SETS[split]
    ]


def _kaggle_ids() -> list[np.ndarray]:
    with open(DATA / "kaggle_split.csv", encoding="utf-8", newline="") as file:
        rows = [(int(row["image_id"]), row["part"]) for row in csv.DictReader(file)]
    return [np.array([image for image, part in rows if part == name]) for name in ("train", "valid", "test")]


def stratified(fine: np.ndarray, seed: int, shares: tuple[float, float] = (0.70, 0.15)) -> list[np.ndarray]:
    """Ids (from 1) of train, validation and test drawn class by class (Ash et al. 2022, data pre-processing).

    Args:
        fine: int (n,) class of every image.
        seed: of the draw.
        shares: of train and validation; test takes the rest.
    """
    random = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[], [], []]
    for label in np.unique(fine):
        images = random.permutation(np.flatnonzero(fine == label)) + 1
        stops = np.round(np.cumsum(shares) * len(images)).astype(int)
        for part, some in zip(parts, np.split(images, stops), strict=True):
            part.append(some)
    return [np.concatenate(part) for part in parts]


def _label_map(labels: str, fine: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    if labels == "fine":
        names = fine_names()
        return np.arange(len(names)), names
    if labels in ("coarse-2024", "coarse-2025"):
        return coarse_map(labels)
    if labels == "five":
        if len(fine) and fine.max() >= 5:
            raise FlowerlibError("labels 'five' name five classes, and these data have more: use 'fine'")
        return np.arange(5), ("daisy", "dandelion", "roses", "sunflowers", "tulips")
    raise FlowerlibError(f"unknown labels '{labels}': one of fine, coarse-2024, coarse-2025, five")


def _check_disjoint(split: str, ids: Sequence[np.ndarray]) -> None:
    everything = np.concatenate(ids)
    images, times = np.unique(everything, return_counts=True)
    if (times > 1).any():
        raise FlowerlibError(
            f"split {split}: image {images[times > 1][0]} is in two parts ({(times > 1).sum()} such images)"
        )
