"""Every mistake of a network, looked up among its training photographs (Cicalla et al. 2024, section 4.1.1)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from flowerlib import metrics, neighbors
from flowerlib.networks import Network

NEIGHBOURS = 5  # whose labels are asked


def lookup(network: Network, known: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """All mistakes on the test part, the surest first, each with its nearest training photographs.

    Args:
        network: whose mistakes they are.
        known: float (all pictures, width), from ``networks.seen``.
        probabilities: float (n, classes) of its test part.

    Returns:
        Columns picture (position in the data set), true, predicted, probability, nearest_true, nearest_predicted
        (positions of the nearest training photographs of either class, Euclidean as in the report), closer ("true" or
        "predicted": which of them is nearer), closer_by_angle (the same by cosine).
    """
    train, test = network.split.train, network.split.test
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != test.labels)
    table = pd.DataFrame({"picture": test.indices[wrong], "true": test.labels[wrong], "predicted": predicted[wrong]})
    table["probability"] = probabilities[wrong, predicted[wrong]]
    for metric, column in (("euclidean", "closer"), ("cosine", "closer_by_angle")):
        among, queries = neighbors.index(known[train.indices], metric), known[table["picture"].to_numpy()]
        far = {}
        for which in ("true", "predicted"):
            found, far[which] = neighbors.nearest_of_class(among, train.labels, queries, table[which].to_numpy())
            if metric == "euclidean":
                table[f"nearest_{which}"] = train.indices[found]
        table[column] = np.where(far["true"] < far["predicted"], "true", "predicted")
    return table.sort_values(["probability", "picture"], ascending=[False, True], ignore_index=True)


def listed(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Every mistake as a row to read: official numbers of the photographs, from 1, and names of the classes.

    Args:
        table: from ``lookup``.
        names: one a class.

    Returns:
        Columns image, is, taken for, probability, nearest of its class, nearest of the other, nearer (class), by
        class and number.
    """
    rows = table.sort_values(["true", "picture"], ignore_index=True)
    return pd.DataFrame(
        {
            "image": rows["picture"] + 1,
            "is": [names[label] for label in rows["true"]],
            "taken for": [names[label] for label in rows["predicted"]],
            "probability": rows["probability"],
            "nearest of its class": rows["nearest_true"] + 1,
            "nearest of the other": rows["nearest_predicted"] + 1,
            "nearer": rows["closer"].map({"true": "its class", "predicted": "the other"}),
        }
    )


def by_neighbours(network: Network, known: np.ndarray, metric: str) -> np.ndarray:
    """Labels int (n, 5) of each test photograph's nearest training photographs.

    Args:
        network: whose parts they are.
        known: float (all pictures, width), from ``networks.seen``.
        metric: "euclidean" or "cosine".
    """
    train, test = network.split.train, network.split.test
    found, _ = neighbors.nearest(neighbors.index(known[train.indices], metric), known[test.indices], NEIGHBOURS)
    return train.labels[found]


def vote(neighbours: np.ndarray) -> np.ndarray:
    """The most frequent label of each row, int (n,); of equals that of the nearest."""
    same = (neighbours[:, :, None] == neighbours[:, None, :]).sum(axis=2)
    result: np.ndarray = neighbours[np.arange(len(neighbours)), same.argmax(axis=1)]
    return result


def confusions(table: pd.DataFrame, labels: np.ndarray, names: Sequence[str], count: int = 10) -> pd.DataFrame:
    """The pairs of classes that are confused most often.

    Args:
        table: from ``lookup``.
        labels: int (n,) of the test part.
        names: one a class.
        count: of pairs.

    Returns:
        Columns true, taken for, mistakes, of (photographs of the true class), share, low, high.
    """
    pairs = table.groupby(["true", "predicted"]).size().sort_values(ascending=False, kind="stable").head(count)
    rows = []
    for (true, predicted), mistakes in pairs.items():
        support = int((labels == true).sum())
        low, high = metrics.wilson(int(mistakes), support)
        row = {"true": names[true], "taken for": names[predicted], "mistakes": int(mistakes), "of": support}
        rows.append(row | {"share": int(mistakes) / support, "low": low, "high": high})
    return pd.DataFrame(rows)


def of_pair(table: pd.DataFrame, true: int, predicted: int) -> pd.DataFrame:
    """The mistakes of one pair of classes, the surest first."""
    return table[(table["true"] == true) & (table["predicted"] == predicted)]


def flipped(labels: np.ndarray, classes: int, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels of which some were made wrong on purpose.

    Args:
        labels: int (n,).
        classes: their number.
        share: of the labels that are changed.
        seed: of the draw.

    Returns:
        int (n,) labels, and bool (n,) which of them were changed.
    """
    random = np.random.default_rng(seed)
    wrong = np.zeros(len(labels), bool)
    wrong[random.choice(len(labels), max(1, round(share * len(labels))), replace=False)] = True
    moved = (labels + random.integers(1, classes, len(labels))) % classes
    return np.where(wrong, moved, labels), wrong
