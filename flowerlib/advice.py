"""What report 002 recommends for better results, tried on the same draws as everything else (Ash et al. 2022)."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from flowerlib import comparisons, heads, metrics, settings, splits, triplets
from flowerlib.heads import Draw
from flowerlib.style import BLUE, figure, require, style

DATA = Path(__file__).resolve().parent.parent / "data"
FEWEST = 2  # photographs of a class


def fewer(draw: Draw, share: float) -> Draw:
    """A draw with the first so many training photographs of every class, its other parts as they are.

    Args:
        draw: from ``heads.draw``.
        share: of each class that stays, above 0, at most 1; two photographs at least.
    """
    require(0 < share <= 1, f"fewer: share {share:g}: give one above 0 and at most 1")
    places = [np.flatnonzero(draw.train_y == label) for label in np.unique(draw.train_y)]
    kept = np.sort(np.concatenate([each[: max(FEWEST, round(share * len(each)))] for each in places]))
    return replace(draw, train_x=draw.train_x[kept], train_y=draw.train_y[kept])


def with_views(draw: Draw, views: np.ndarray, labels: np.ndarray) -> Draw:
    """A draw whose training photographs are joined by augmented views of themselves; other parts stay as they are.

    Args:
        draw: from ``heads.draw`` of the photographs as they are.
        views: float (photographs, views, features) of all photographs.
        labels: int (photographs,) of all, from which the same draw is made.
    """
    train = splits.stratified(labels, draw.seed)[0] - 1
    require((labels[train] == draw.train_y).all(), "with_views: labels of another draw")
    more, count = views[train], views.shape[1]
    shown = np.concatenate([draw.train_x, more.reshape(-1, more.shape[-1])]).astype(np.float32)
    return replace(draw, train_x=shown, train_y=np.concatenate([draw.train_y, np.repeat(draw.train_y, count)]))


def without(draw: Draw, unwanted: np.ndarray, labels: np.ndarray) -> Draw:
    """A draw without some training photographs; the test part keeps its own, so that scores can be compared.

    Args:
        draw: from ``heads.draw``.
        unwanted: bool (photographs,) of all photographs.
        labels: int (photographs,) of all.
    """
    kept = ~unwanted[splits.stratified(labels, draw.seed)[0] - 1]
    return replace(draw, train_x=draw.train_x[kept], train_y=draw.train_y[kept])


def flowerless(name: str, count: int) -> np.ndarray:
    """Which photographs of a data set show no flower, bool (count,).

    A person looked at the thousand photographs of the five classes; ``flower_photos_without_flowers.csv`` lists what
    was seen instead. Flowers on cups, skin or paper do not count.

    Args:
        name: of the data set; only "flowers5" has such photographs.
        count: of its photographs.
    """
    unwanted = np.zeros(count, bool)
    if name == "flowers5":
        listed = {(row["class"], row["file"]) for row in _rows("flower_photos_without_flowers.csv")}
        known = sorted((row["class"], row["file"]) for row in _rows("flower_photos_subset.csv"))
        unwanted[[each in listed for each in known]] = True
    return unwanted


def _rows(name: str) -> list[dict[str, str]]:
    with open(DATA / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def score(draws: Sequence[Draw], setting: tuple[float, float], *, epochs: int, decay: float = 1.0) -> np.ndarray:
    """Weighted F1 on the test part of one head a draw, float64 (draws,).

    Args:
        draws: may differ in their training photographs.
        setting: learning rate and momentum.
        epochs: of every head.
        decay: of rate and momentum by epoch.
    """
    rate, momentum = setting
    found = [heads.train([each], [rate], [momentum], epochs=epochs, decay=decay) for each in draws]
    return np.array([settings.weighted_f1(head, [each])[0, 0] for head, each in zip(found, draws, strict=True)])


def triplet_score(draws: Sequence[Draw]) -> np.ndarray:
    """Weighted F1 on the test part by the nearest class mean in a triplet embedding a draw, float64 (draws,)."""
    found = []
    for each in draws:
        model = triplets.fit(each.train_x, each.train_y, seed=each.seed)
        train, test = (model.predict(x, verbose=0) for x in (each.train_x, each.test_x))
        found.append(metrics.weighted_f1(each.test_y, triplets.nearest_mean(train, each.train_y, test)).value)
    return np.array(found)


def table(scores: Mapping[str, np.ndarray], reference: str) -> pd.DataFrame:
    """One row a piece of advice: mean over the draws with interval, and the difference from doing nothing.

    Args:
        scores: advice -> float (draws,) of the same draws.
        reference: the row that the others are compared with.
    """
    pairs = {
        name: comparisons.paired_seeds(each, scores[reference]) for name, each in scores.items() if name != reference
    }
    adjusted = dict(zip(pairs, comparisons.holm([each.p for each in pairs.values()]).tolist(), strict=True))
    rows = []
    for name, each in scores.items():
        mean = comparisons.seeds_interval(each)
        row = {"advice": name, "weighted F1": mean.value, "low": mean.low, "high": mean.high, "draws": mean.n}
        if name in pairs:
            difference = pairs[name]
            row |= {"difference": difference.value, "its low": difference.low, "its high": difference.high}
            row["p"] = adjusted[name]
        rows.append(row)
    return pd.DataFrame(rows)


@style()
def learning_curve(table: pd.DataFrame) -> Figure:
    """Score against the number of training photographs, with its interval over the draws.

    Args:
        table: columns photographs, value, low, high; two rows or more.
    """
    require(len(table) >= 2, "learning_curve: one number of photographs is no curve")
    fig = figure(2.6)
    ax = fig.subplots()
    error = [table["value"] - table["low"], table["high"] - table["value"]]
    ax.errorbar(table["photographs"], table["value"], error, color=BLUE, marker="o", capsize=3, linewidth=1.2)
    ax.set(xlabel="training photographs", ylabel="weighted F1, mean of draws", xscale="log")
    ax.set_xticks(table["photographs"], [f"{count:g}" for count in table["photographs"]])
    ax.minorticks_off()
    ax.grid()
    return fig
