"""The report's plots of counts and scores: one function a kind of plot. Each returns a Figure and writes nothing.

Curves are drawn by ``flowerlib.curves``, pictures laid out by ``flowerlib.pictures``; how everything looks stands in
``flowerlib.style``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flowerlib.style import (
    BLUE,
    GAP_IN,
    LINE_IN,
    ORANGE,
    SKY,
    TEXT_PT,
    YELLOW,
    figure,
    legend,
    none,
    require,
    require_columns,
    style,
    wrap,
)

NAMED_AT_MOST = 20  # classes that get their names on an axis; beyond it a compact form is drawn


def _rows_in(names: Sequence[str]) -> float:
    """Height of an axis with one row a name: the tallest wrapped name sets it for all."""
    return len(names) * (GAP_IN + LINE_IN * max(1 + wrap(name).count("\n") for name in names))


def _name_rows(ax: Axes, names: Sequence[str]) -> None:
    ax.set_yticks(range(len(names)), labels=[wrap(name) for name in names])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="x")


@style()
def class_histogram(
    counts: Mapping[str, np.ndarray] | np.ndarray, names: Sequence[str], *, top: int | None = None
) -> Figure:
    """Images a class, largest first, one panel a part: named bars up to 20 classes, else sorted bars.

    Args:
        counts: part -> int (classes,), or the counts of one part without a name; empty parts are left out.
        names: one a class.
        top: show only so many classes, those largest in the first part.
    """
    given = counts if isinstance(counts, Mapping) else {"": counts}
    parts = {part: np.asarray(count) for part, count in given.items() if np.sum(count) > 0}
    require(parts, "class_histogram: no part has images")
    for part, count in parts.items():
        require(count.shape == (len(names),), f"class_histogram: {part} {count.shape} for {len(names)} names")
    kept = np.argsort(-next(iter(parts.values())), kind="stable")[:top]
    shown, few = [names[i] for i in kept], len(kept) <= NAMED_AT_MOST
    fig = figure(_rows_in(shown) + 0.7 if few else 0.3 + 1.75 * len(parts))
    rows, columns = (1, len(parts)) if few else (len(parts), 1)
    axes = fig.subplots(rows, columns, sharey=few, squeeze=False)
    for ax, (part, count) in zip(axes.flat, parts.items(), strict=True):
        ax.set_title(f"{part}, n = {count[kept].sum():,}".removeprefix(", "))
        (_named_counts if few else _sorted_counts)(ax, count[kept], shown)
    fig.supxlabel("images" if few else "classes, largest first", size=TEXT_PT + 1)
    return fig


def _named_counts(ax: Axes, count: np.ndarray, names: Sequence[str]) -> None:
    ax.bar_label(ax.barh(range(len(count)), count, color=BLUE, height=0.7), fmt="{:,.0f}", padding=2)
    ax.set_xlim(0, 1.3 * count.max())
    ax.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    _name_rows(ax, names)


def _sorted_counts(ax: Axes, count: np.ndarray, names: Sequence[str]) -> None:
    order = np.argsort(-count, kind="stable")
    bars, said, last = count[order], [f"{names[i]} {count[i]:.0f}" for i in order], len(count) - 1
    ax.bar(range(len(bars)), bars, color=SKY, width=0.8)
    ax.set(xlim=(-1, len(bars)), xticks=[], ylabel="images")
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    if bars[0] == bars[-1]:
        ax.set_title(f"{ax.get_title('left')}, {bars[0]:.0f} in every class")
        return
    ends = "largest: " + ", ".join(said[:3]), "smallest: " + ", ".join(said[:-4:-1])
    for x, marker, label in (0, "^", ends[0]), (last // 2, "D", f"median: {np.median(bars):g}"), (last, "v", ends[1]):
        ax.plot(x, bars[x], marker, color="black", label=wrap(label, 5.0), clip_on=False)
    ax.legend(loc="upper left", bbox_to_anchor=(0, 0), borderaxespad=0.2)  # below: names of any length find room


@style()
def confusion(matrix: np.ndarray, names: Sequence[str]) -> Figure:
    """Share of each true class (row) that went to each predicted class; up to 20 named, 12 with counts.

    Args:
        matrix: int (classes, classes), rows the true classes; a row without images stays grey.
        names: one a class.
    """
    counts, classes = np.asarray(matrix), len(names)
    good = counts.shape == (classes, classes) and np.issubdtype(counts.dtype, np.integer)
    require(good, f"confusion: {counts.dtype} {counts.shape} for {classes} names, not whole counts (names, names)")
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    few = classes <= NAMED_AT_MOST
    fig = figure(1.5 + max(0.28 * classes, _rows_in(names)) if few else 5.2)
    ax = fig.subplots()
    ax.set_facecolor("#BBBBBB")
    norm = PowerNorm(1.0 if few else 0.5, 0, 1)  # under a root, one image in ten stands out from none
    drawn = ax.imshow(share, "cividis", norm, aspect="auto" if few else "equal", interpolation="none")
    fig.colorbar(drawn, ax=ax, label="share of the true class", pad=0.02)
    _name_cells(ax, names, few)
    for row, column in np.argwhere(counts) if classes <= 12 else []:
        color = "black" if share[row, column] > 0.5 else "white"
        ax.text(column, row, f"{counts[row, column]}", color=color, ha="center", va="center")
    return fig


def _name_cells(ax: Axes, names: Sequence[str], few: bool) -> None:
    numbers = [f"{i + 1}" for i in range(len(names))]
    short = few and not any("\n" in wrap(name) for name in names)
    ticks = range(len(names)) if few else range(9, len(names), 10)
    rows = list(names) if short else [f"{n} {name}" for n, name in zip(numbers, names, strict=True)] if few else numbers
    slant: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if short else {}
    ax.set_yticks(ticks, [wrap(rows[i]) for i in ticks])
    ax.set_xticks(ticks, [(names if short else numbers)[i] for i in ticks], **slant)  # long names stand once, at a row
    numbered = "" if short else ", by number"
    ax.set(xlabel=f"predicted class{numbered}", ylabel=f"true class{'' if few else numbered}")


def _dots(ax: Axes, table: pd.DataFrame, columns: Sequence[str], label: str, hollow: str, size: float = 5) -> None:
    """One row a dot with its interval (columns value, low, high) and a hollow diamond (column other)."""
    value, low, high, other = (table[column].to_numpy(float) for column in columns)
    require(not np.any(low > high), f"column {columns[1]} exceeds {columns[2]}: exchange them")
    rows = np.arange(len(table))
    ax.hlines(rows, low, high, color=BLUE, linewidth=size / 4)
    ax.plot(value, rows, "o", color=BLUE, markersize=size, label=label)
    if np.isfinite(other).any():
        ax.plot(other, rows, "D", mfc="none", mec="black", markersize=1.2 * size, mew=size / 6, label=hollow)
    ax.set_xlabel("score")


@style()
def per_class_bars(table: pd.DataFrame) -> Figure:
    """Recall with its interval and F1 of each class, best first; beyond 20 only five at each end are named.

    Args:
        table: a row a class; columns class, f1, recall, recall_low, recall_high in [0, 1], support in images.
    """
    columns = ["recall", "recall_low", "recall_high", "f1"]
    require_columns("per_class_bars", table, "class", "support", *columns)
    ranked = table.sort_values("recall", ascending=False, kind="stable")
    known, few = ranked.dropna(subset=["recall"]), len(ranked) <= NAMED_AT_MOST
    named = ranked if few else pd.concat([known.head(5), known[5:].tail(5)])
    names = [f"{name} ({support:.0f})" for name, support in zip(named["class"], named["support"], strict=True)]
    fig = figure(_rows_in(names) + 0.9 if few else 4.2)
    panels = [named] if few else [ranked, named]
    for ax, part in zip(fig.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _dots(ax, part, columns, "recall, 95 % interval", "F1", 2 if len(part) > NAMED_AT_MOST else 5)
        ax.set_xlim(-0.03, 1.03)
    _name_rows(fig.axes[-1], names)
    if not few:
        fig.axes[0].set(ylim=(len(ranked), -1), ylabel="classes, best first", yticks=[])
        fig.axes[0].grid(axis="x")
        fig.axes[1].axhline(4.5, color="black", linewidth=0.6)
    legend(fig)
    return fig


@style()
def scores_with_intervals(table: pd.DataFrame) -> Figure:
    """Measured scores with their intervals, one row a label, and what was reported as a hollow diamond.

    Args:
        table: columns label, value, low, high, reported; NaN where there is none.
    """
    columns = ["value", "low", "high", "reported"]
    if table.empty:
        return none()
    require_columns("scores_with_intervals", table, "label", *columns)
    names = [str(label) for label in table["label"]]
    fig = figure(_rows_in(names) + 0.8)
    ax = fig.subplots()
    _dots(ax, table, columns, "measured, 95 % interval", "reported")
    _name_rows(ax, names)
    legend(fig)
    return fig


@style()
def split_sizes(table: pd.DataFrame) -> Figure:
    """Images in each part of each split, stacked, with the counts in columns beside the bars.

    Args:
        table: index the split's name; int columns train, validation, test.
    """
    parts = {"train": (BLUE, 0.2), "validation": (ORANGE, 0.65), "test": (YELLOW, 1.0)}
    require_columns("split_sizes", table, *parts)
    names, rows, start = [str(name) for name in table.index], range(len(table)), np.zeros(len(table))
    fig = figure(_rows_in(names) + 0.9)
    ax, beside = fig.subplots(1, 2, sharey=True, width_ratios=[2, 1])
    for part, (color, x) in parts.items():
        ax.barh(rows, table[part], 0.6, start, color=color, edgecolor="black", linewidth=0.6, label=part)
        start += table[part].to_numpy()
        for row, text in enumerate([part, *(f"{count:,.0f}" for count in table[part])], -1):
            beside.text(x, row, text, ha="right", va="center")
    _name_rows(ax, names)
    ax.set_xlabel("images")
    beside.set_axis_off()
    legend(fig)
    return fig
