"""Where the flower is: outlines of drawn flowers, and the official segmentations where a user has them."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from flowerlib import faithfulness, metrics
from flowerlib.data import decode
from flowerlib.errors import FlowerlibError
from flowerlib.explain import title
from flowerlib.league import Case, maps, mean
from flowerlib.metrics import Score
from flowerlib.schema import Data

VARIABLE = "FLOWERLIB_SEGMENTATIONS"
ARCHIVE = "102segmentations.tgz of www.robots.ox.ac.uk/~vgg/data/flowers/102"
BLUE = np.array([0, 0, 254])  # what the official segmentations put in place of the background
NEAR = 60  # levels a channel that JPEG may move it by


def official(indices: np.ndarray, data: Data) -> np.ndarray | None:
    """The official segmentations of photographs (Nilsback and Zisserman 2007), where a user has them.

    Args:
        indices: int (n,), positions of the photographs in the data set, from 0.
        data: of the recipe whose pictures they are: the masks have their side and show the same square.

    Returns:
        bool (n, side, side), True on the flower; None of other pictures, and without
        ``FLOWERLIB_SEGMENTATIONS``.

    Raises:
        FlowerlibError: no such folder, a segmentation that is missing or unreadable, or no flower before blue in any.
    """
    named = os.environ.get(VARIABLE, "").strip()
    if not named or data.name != "oxford102":
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise FlowerlibError(f"{VARIABLE}={named} is not a folder: unpack {ARCHIVE} and name its segmim/, or unset it")
    side = data.size_px
    masks = np.empty((len(indices), side, side), bool)
    for mask, index in zip(masks, indices, strict=True):
        path = folder / f"segmim_{index + 1:05d}.jpg"
        if not path.is_file():
            raise FlowerlibError(f"{path} is missing: unpack {ARCHIVE} again")
        try:
            with open(path, "rb") as file:  # colours must not mix, so the nearest pixel in any case
                picture = decode(file, str(path), side, "squashed" if data.resize == "squashed" else "nearest")
        except FlowerlibError as error:
            raise FlowerlibError(f"{path} is not a readable picture: unpack {ARCHIVE} again") from error
        mask[:] = (np.abs(picture.astype(int) - BLUE) > NEAR).any(axis=-1)
    if not any(0 < mask.mean() < 1 for mask in masks):
        raise FlowerlibError(f"{folder} shows no flower before a blue background: is it of {ARCHIVE}?")
    return masks


def on_flowers(case: Case, masks: np.ndarray, name: str, kind: str = "drawn flowers") -> dict[str, Score]:
    """Whether a method points at the flower, and how much of its map lies on it.

    Args:
        case: flowers whose outlines are known, and what the network takes them for.
        masks: bool (n, side, side), True on the flower.
        name: of the method.
        kind: of the pictures, for the intervals' names.
    """
    found = maps(case, name)
    hits = faithfulness.pointing(found, masks[: len(found)])
    low, high = metrics.wilson(int(hits.sum()), len(hits))
    shares = faithfulness.share_on_flower(found, masks[: len(found)])
    return {
        "pointing": Score(float(hits.mean()), low, high, len(hits), f"wilson, {kind}"),
        "share_on_flower": mean(shares[np.isfinite(shares)], 0, 1, kind),
    }


def pointing(found: Mapping[str, Mapping[str, Score]]) -> pd.DataFrame:
    """A row a method: whether it points at the flower, with interval, and the share of its map that lies there.

    Args:
        found: method -> scores of ``on_flowers``.
    """
    rows = []
    for name, each in found.items():
        hits = each["pointing"]
        row = {"method": title(name), "points at the flower": hits.value, "low": hits.low, "high": hits.high}
        rows.append(row | {"share on the flower": each["share_on_flower"].value, "n": hits.n})
    return pd.DataFrame(rows)
