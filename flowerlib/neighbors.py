"""Similarity search in feature space, and what neighbours say of a label (numpy only)."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from flowerlib.errors import FlowerlibError
from flowerlib.metrics import wilson

METRICS = ("euclidean", "cosine")


@dataclass(frozen=True)
class Index:
    """Pictures to be found by their features.

    Attributes:
        features: float32 (n, width); of unit length for "cosine".
        squares: float32 (n,), half their squared lengths.
        metric: "euclidean" (Cicalla et al. 2024, section 4.1.1) or "cosine".
    """

    features: np.ndarray
    squares: np.ndarray
    metric: str


def index(features: np.ndarray, metric: str = "euclidean") -> Index:
    """Prepare features for search.

    Args:
        features: float (n, width), finite.
        metric: "euclidean" or "cosine".

    Raises:
        FlowerlibError: an unknown metric, features that are not finite, or of no length where angles are compared.
    """
    if metric not in METRICS:
        raise FlowerlibError(f"unknown metric '{metric}': one of {', '.join(METRICS)}")
    values = np.ascontiguousarray(features, dtype=np.float32)
    if values.ndim != 2 or not len(values) or not np.isfinite(values).all():
        raise FlowerlibError(f"features {values.shape}: give finite numbers (pictures, width)")
    if metric == "cosine":
        values = _unit(values)
    return Index(values, 0.5 * np.einsum("nw,nw->n", values, values), metric)


def nearest(
    among: Index, queries: np.ndarray, count: int = 5, *, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The pictures nearest to some others, nearest first; of equals that are found the one that stands first.

    Args:
        among: from ``index``.
        queries: float (m, width).
        count: how many of each.
        allowed: bool (n,) or (m, n), the pictures that may be found; all by default.

    Returns:
        int64 (m, count) positions and float32 (m, count) distances; 1 - cosine for "cosine".

    Raises:
        FlowerlibError: queries of another width, or fewer pictures allowed than asked for.
    """
    asked = np.asarray(queries, dtype=np.float32)
    if asked.ndim != 2 or asked.shape[1] != among.features.shape[1]:
        raise FlowerlibError(f"queries {asked.shape}: give (pictures, {among.features.shape[1]})")
    asked = _unit(asked) if among.metric == "cosine" else asked
    # Half a squared distance less what is the same for all of a query's row.
    far = among.squares - asked @ among.features.T
    if allowed is not None:
        far = np.where(allowed, far, np.inf)
    if count < 1 or (np.isfinite(far).sum(axis=1) < count).any():
        raise FlowerlibError(f"nearest {count}: fewer pictures may be found, or none was asked for")
    some = np.argpartition(far, count - 1, axis=1)[:, :count]
    order = np.lexsort((some, np.take_along_axis(far, some, 1)), axis=1)
    found = np.take_along_axis(some, order, 1)
    difference = among.features[found] - asked[:, None]
    squares = np.einsum("mkw,mkw->mk", difference, difference)
    return found, squares / 2 if among.metric == "cosine" else np.sqrt(squares)


def distances(among: Index, queries: np.ndarray) -> np.ndarray:
    """Euclidean distance of each query to every picture, float32 (m, n); a thousandth of a length is rounding."""
    asked = np.asarray(queries, dtype=np.float32)
    squares = 2 * (among.squares - asked @ among.features.T) + np.einsum("mw,mw->m", asked, asked)[:, None]
    return np.sqrt(np.maximum(squares, 0))


def nearest_of_class(
    among: Index, labels: np.ndarray, queries: np.ndarray, classes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each query the nearest picture of a class: of its own, or of the one it was taken for.

    Args:
        among: from ``index``.
        labels: int (n,) of the pictures in it.
        queries: float (m, width).
        classes: int (m,).

    Returns:
        int64 (m,) positions and float32 (m,) distances.
    """
    allowed = np.asarray(labels)[None] == np.asarray(classes)[:, None]
    found, far = nearest(among, queries, 1, allowed=allowed)
    return found[:, 0], far[:, 0]


def isolation(among: Index, count: int = 10) -> np.ndarray:
    """How far a picture lies from the others: mean distance to its nearest ones, itself left out, float32 (n,).

    Args:
        among: from ``index``.
        count: of neighbours.
    """
    everything = np.arange(len(among.features))
    far = np.empty(len(everything), np.float32)
    for some in np.array_split(everything, -(-len(everything) // 500)):
        others = everything[None] != some[:, None]
        far[some] = nearest(among, among.features[some], count, allowed=others)[1].mean(axis=1)
    return far


def suspects(
    labels: np.ndarray, probabilities: np.ndarray, neighbours: np.ndarray, *, agreeing: int | None = None
) -> pd.DataFrame:
    """Labels that are probably wrong: the network is sure of another class, and the neighbours are of that class.

    Args:
        labels: int (n,) as they stand.
        probabilities: float (n, classes).
        neighbours: int (n, k) labels of each picture's nearest training pictures.
        agreeing: how many of them have to be of the predicted class; more than half by default.

    Returns:
        Columns picture (position), label, predicted, probability, neighbours (share of the predicted class), surest
        first.
    """
    known, close = np.asarray(labels), np.asarray(neighbours)
    predicted = np.asarray(probabilities).argmax(axis=1)
    share = (close == predicted[:, None]).mean(axis=1)
    least = (close.shape[1] // 2 + 1 if agreeing is None else agreeing) / close.shape[1]
    found = np.flatnonzero((predicted != known) & (share >= least))
    table = pd.DataFrame({"picture": found, "label": known[found], "predicted": predicted[found]})
    table["probability"] = np.asarray(probabilities)[found, predicted[found]]
    table["neighbours"] = share[found]
    return table.sort_values(["probability", "picture"], ascending=[False, True], ignore_index=True)


def precision_at(found: pd.DataFrame, wrong: np.ndarray, counts: tuple[int, ...] = (10, 20, 50)) -> pd.DataFrame:
    """How many of the first suspects have labels that were flipped on purpose.

    Args:
        found: from ``suspects``.
        wrong: bool (n,), whether a picture's label was flipped.
        counts: of suspects, surest first; larger ones than there are suspects are cut.

    Returns:
        Columns suspects, wrong, precision, low, high.
    """
    rows = []
    for count in dict.fromkeys(min(each, len(found)) for each in counts if len(found)):
        hits = int(np.asarray(wrong)[found["picture"].to_numpy()[:count]].sum())
        low, high = wilson(hits, count)
        rows.append({"suspects": count, "wrong": hits, "precision": hits / count, "low": low, "high": high})
    return pd.DataFrame(rows, columns=["suspects", "wrong", "precision", "low", "high"])


def _unit(values: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise FlowerlibError("features without length have no angle: compare them by euclidean distance")
    result: np.ndarray = values / lengths
    return result
