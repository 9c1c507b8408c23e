"""Small multiples: one small panel a run, all on the same axes. Each function returns a Figure and writes nothing."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flowerlib.metrics import Score
from flowerlib.style import BLUE, ORANGE, WIDTH_IN, figure, legend, require, style, wrap

COLUMNS = 4
MOST = 16
HIGHEST = 1.5  # times the loss with which most runs begin; what leaps above it is cut off


def _grid(count: int, height_in: float) -> tuple[Figure, list[Axes]]:
    """A figure and its first ``count`` panels, four in a row; the others are taken away."""
    require(0 < count <= MOST, f"panels: {count} runs, not 1 to {MOST}")
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    fig = figure(0.5 + rows * height_in)
    axes = fig.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for spare in axes[count:]:
        spare.remove()
    return fig, list(axes[:count])


def _label(axes: Sequence[Axes], x_label: str, y_label: str) -> None:
    """Names of the axes, beneath the last panel of each column and left of the first of each row."""
    for ax in axes[-COLUMNS:]:
        ax.set_xlabel(x_label)
        ax.xaxis.set_tick_params(labelbottom=True)  # also where the panel beneath was taken away
    for ax in axes[::COLUMNS]:
        ax.set_ylabel(y_label)


@style()
def histories(runs: Mapping[str, Mapping[str, Sequence[float]]], what: str = "accuracy") -> Figure:
    """Training and validation curve of every run by epoch; the best epoch's validation value is marked.

    Args:
        runs: one to sixteen; run -> history with ``what``, ``val_`` of it, and val_accuracy, which chooses the epoch.
        what: "accuracy", or "loss", which is drawn up to half above the median of the first epochs.
    """
    fig, axes = _grid(len(runs), 1.45)
    for ax, (name, history) in zip(axes, runs.items(), strict=True):
        known = {key: np.asarray(history[key], dtype=float) for key in (what, f"val_{what}", "val_accuracy")}
        epochs = np.arange(1, len(known[what]) + 1)
        ax.plot(epochs, known[what], color=BLUE, linestyle="-", marker="", linewidth=1, label="train")
        ax.plot(epochs, known[f"val_{what}"], color=ORANGE, linestyle="--", marker="", linewidth=1, label="validation")
        chosen = known["val_accuracy"]
        best = int(np.where(np.isfinite(chosen), chosen, -np.inf).argmax())
        ax.plot(best + 1, known[f"val_{what}"][best], "D", color="black", markersize=4, label="best epoch")
        ax.set_title(wrap(name, WIDTH_IN / COLUMNS - 0.2))
        ax.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        ax.grid()
    first = np.nanmedian([history[what][0] for history in runs.values()])
    axes[0].set_ylim(0, 1.02 if what == "accuracy" else HIGHEST * first)
    _label(axes, "epoch", what if what == "accuracy" else f"{what}, nats")
    legend(fig)
    return fig


@style()
def confusions(matrices: Mapping[str, np.ndarray], names: Sequence[str]) -> Figure:
    """A small confusion matrix with counts for every run, rows the true classes.

    Args:
        matrices: one to sixteen; run -> int (classes, classes).
        names: one a class, up to six.
    """
    require(len(names) <= 6, f"confusions: {len(names)} classes are too many for small panels: use figures.confusion")
    fig, axes = _grid(len(matrices), 1.75)
    short = [name[:9] for name in names]
    for ax, (name, matrix) in zip(axes, matrices.items(), strict=True):
        counts = np.asarray(matrix)
        require(counts.shape == (len(names),) * 2, f"confusions: {name}: {counts.shape} for {len(names)} names")
        share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
        ax.imshow(share, "cividis", vmin=0, vmax=1, aspect="auto", interpolation="none")
        for row, column in np.argwhere(counts):
            color = "black" if share[row, column] > 0.5 else "white"
            ax.text(column, row, f"{counts[row, column]}", color=color, ha="center", va="center", fontsize=8)
        ax.set_title(wrap(name, WIDTH_IN / COLUMNS - 0.2))
        ax.set_yticks(range(len(names)), short)
        ax.set_xticks(range(len(names)), short, rotation=90)
        ax.tick_params(length=0)
    _label(axes, "predicted", "true")
    return fig


@style()
def measures(scores: Mapping[str, Mapping[str, Score]], labels: Mapping[str, str]) -> Figure:
    """Scores with their intervals, a row a method and a panel a measure, the methods in their order.

    Args:
        scores: method as it is to be read -> measure -> score.
        labels: measure -> what stands beneath its panel; those that are drawn.
    """
    require(scores and labels, "measures: nothing to draw")
    names = list(scores)
    fig = figure(0.7 + 0.22 * len(names))
    axes = np.atleast_1d(fig.subplots(1, len(labels), sharey=True))
    for ax, (measure, label) in zip(axes, labels.items(), strict=True):
        for row, each in enumerate(scores.values()):
            if measure in each:
                score = each[measure]
                ax.plot([score.low, score.high], [row, row], color=BLUE, linestyle="-", marker="", linewidth=1.5)
                ax.plot(score.value, row, "o", color=BLUE, markersize=4)
        ax.set_xlabel(label)
        ax.grid(axis="x")
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    return fig


@style()
def depths(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """The error of every layer by its depth, a panel a network; the worst layer has its name.

    Args:
        tables: network -> columns layer and error (``layer_errors.compare``).
    """
    fig, axes = _grid(len(tables), 1.6)
    for ax, (network, table) in zip(axes, tables.items(), strict=True):
        ax.plot(np.arange(1, len(table) + 1), table["error"], color=BLUE, linestyle="-", marker=".", markersize=3)
        worst = int(table["error"].argmax())
        ax.plot(worst + 1, table["error"].iloc[worst], "D", color="black", markersize=4)
        layer = table["layer"].iloc[worst].replace("_", " ")  # which a line may be broken at
        ax.set_title(wrap(f"{network}; worst: {layer}", WIDTH_IN / len(axes) - 0.3))
        ax.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        ax.grid()
    axes[0].set_ylim(0)
    _label(axes, "layer", "error")
    return fig
