"""The report's plots: one function a kind of plot. Each returns a Figure and writes nothing.

Pictures are laid out by ``flowerlib.pictures``; how everything looks stands in ``flowerlib.style``.
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
    none,
    require,
    style,
    wrap,
)

NAMED_AT_MOST = 20  # classes that get their names on an axis; beyond it a compact form is drawn
CURVES = {  # panel -> history key -> label
    "loss": {"loss": "train", "val_loss": "validation"},
    "accuracy": {"accuracy": "train", "val_accuracy": "validation", "val_balanced_accuracy": "validation, balanced"},
}


def _require_columns(plot: str, table: pd.DataFrame, *columns: str) -> None:
    missing = [column for column in columns if column not in table.columns]
    require(not missing, f"{plot}: the table has no column {', '.join(missing)}")
    require(len(table), f"{plot}: the table has no rows")


def _legend(fig: Figure) -> None:
    """One legend under all panels, each label once."""
    found = [zip(*ax.get_legend_handles_labels(), strict=True) for ax in fig.axes]
    handles = {label: handle for pairs in found for handle, label in pairs}
    fig.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=4)


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
def learning_curves(history: Mapping[str, Sequence[float]], *, minutes: Sequence[float] | None = None) -> Figure:
    """Loss, and accuracy where there is any, against the epoch, with rate drops and the epoch of divergence.

    Args:
        history: one value an epoch under loss, accuracy, val_loss, val_accuracy, val_balanced_accuracy,
            learning_rate; what is missing is left out, other keys are not drawn.
        minutes: training time at the end of each epoch, counted from the start; its last is written.
    """
    known = {"learning_rate"}.union(*CURVES.values())
    values = {key: np.asarray(y, float) for key, y in history.items() if key in known}
    panels = [panel for panel, curves in CURVES.items() if curves.keys() & values.keys()]
    require(panels, f"learning_curves: no loss and no accuracy among {', '.join(history) or 'no keys'}")
    lengths = {len(y) for y in [*values.values(), *([] if minutes is None else [minutes])]}
    require(len(lengths) == 1 and 0 not in lengths, f"learning_curves: series of {sorted(lengths)} epochs")
    epochs = np.arange(1, lengths.pop() + 1)
    fig = figure(2.7)
    for ax, panel in zip(fig.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for key, label in CURVES[panel].items():  # a missing one is drawn as nothing: the others keep their colours
            y = values.get(key, np.full(len(epochs), np.nan))
            label = label if key in values else "_missing"
            ax.plot(epochs, np.where(np.isfinite(y), y, np.nan), label=label, markevery=max(1, len(epochs) // 10))
        ticks = np.asarray(MaxNLocator(6, integer=True).tick_values(1, len(epochs)))
        margin = 0.5 + 0.03 * len(epochs)
        ax.set(xlabel="epoch" if minutes is None else f"epoch ({minutes[-1]:.1f} minutes in all)", ylabel=panel)
        ax.set(xticks=ticks[(ticks >= 1) & (ticks <= len(epochs))], xlim=(1 - margin, len(epochs) + margin))
        ax.grid()
    if panel == "accuracy":
        ax.set_ylim(bottom=0)
    _mark_divergence(fig.axes[0], [values[key] for key in CURVES["loss"] if key in values])
    _mark_rate_drops(fig.axes, values.get("learning_rate", np.ones(1)))
    _legend(fig)
    return fig


def _mark_divergence(ax: Axes, losses: Sequence[np.ndarray]) -> None:
    broken = np.flatnonzero(~np.isfinite(losses).all(axis=0)) if losses else np.array([])
    if not len(broken):
        return
    if not np.isfinite(losses).any():
        ax.set_yticks([])
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom, top + 0.25 * (top - bottom))  # a band above the curves for the mark and its words
    epoch, across = broken[0] + 1, ax.get_xaxis_transform()
    side, shift = ("left", 7) if epoch <= len(losses[0]) / 2 else ("right", -7)
    ax.plot(epoch, 0.92, "x", transform=across, color="black", markersize=8, markeredgewidth=2)
    ax.annotate(f"diverged at epoch {epoch}", (epoch, 0.92), (shift, 0), across, "offset points", ha=side, va="center")


def _mark_rate_drops(axes: Sequence[Axes], rates: np.ndarray) -> None:
    drops = np.flatnonzero(rates[1:] < 0.99 * rates[:-1]) + 1
    # The rates are written where curves leave room: low in the accuracy, high in the loss.
    y, step, side = (0.03, 0.32, "bottom") if axes[-1].get_ylabel() == "accuracy" else (0.84, -0.28, "top")
    white = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
    if len(drops) > max(3, len(rates) / 4):  # a smooth schedule: its lines would hide the curves
        said = f"rate {rates.max():.2g} to {rates[-1]:.2g}"
        axes[-1].text(0.97, y, said, transform=axes[-1].transAxes, ha="right", va=side, bbox=white)
        return
    last, level = -len(rates), 0
    for drop in drops.tolist():
        for ax in axes:
            ax.axvline(drop + 0.5, color="black", linewidth=0.6)
        level = (level + 1) % 3 if drop - last < 0.08 * len(rates) else 0  # near ones are written one above the other
        last, place = drop, axes[-1].get_xaxis_transform()
        how: dict[str, Any] = dict(transform=place, rotation=90, ha="center", va=side, bbox=white)
        axes[-1].text(drop + 0.5, y + step * level, f"{rates[drop]:.3g}", **how)


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
    _require_columns("per_class_bars", table, "class", "support", *columns)
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
    _legend(fig)
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
    _require_columns("scores_with_intervals", table, "label", *columns)
    names = [str(label) for label in table["label"]]
    fig = figure(_rows_in(names) + 0.8)
    ax = fig.subplots()
    _dots(ax, table, columns, "measured, 95 % interval", "reported")
    _name_rows(ax, names)
    _legend(fig)
    return fig


@style()
def split_sizes(table: pd.DataFrame) -> Figure:
    """Images in each part of each split, stacked, with the counts in columns beside the bars.

    Args:
        table: index the split's name; int columns train, validation, test.
    """
    parts = {"train": (BLUE, 0.2), "validation": (ORANGE, 0.65), "test": (YELLOW, 1.0)}
    _require_columns("split_sizes", table, *parts)
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
    _legend(fig)
    return fig
