"""The report's plots of one quantity against another. Each function returns a Figure and writes nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from flowerlib.style import BLUE, GREY, LINE_IN, SKY, WIDTH_IN, figure, legend, require, require_columns, style, wrap

HISTORY = {  # panel -> history key -> label
    "loss": {"loss": "train", "val_loss": "validation"},
    "accuracy": {"accuracy": "train", "val_accuracy": "validation", "val_balanced_accuracy": "validation, balanced"},
}
HATCHES = ["", "///", "\\\\\\", "..."]  # bands that lie over one another are told apart in grey


@style()
def learning_curves(history: Mapping[str, Sequence[float]], *, minutes: Sequence[float] | None = None) -> Figure:
    """Loss, and accuracy where there is any, against the epoch, with changes of the rate and the epoch of divergence.

    Args:
        history: one value an epoch under loss, accuracy, val_loss, val_accuracy, val_balanced_accuracy,
            learning_rate; what is missing is left out, other keys are not drawn.
        minutes: training time at the end of each epoch, counted from the start; its last is written.
    """
    known = {"learning_rate"}.union(*HISTORY.values())
    values = {key: np.asarray(y, float) for key, y in history.items() if key in known}
    panels = [panel for panel, curves in HISTORY.items() if curves.keys() & values.keys()]
    require(panels, f"learning_curves: no loss and no accuracy among {', '.join(history) or 'no keys'}")
    lengths = {len(y) for y in [*values.values(), *([] if minutes is None else [minutes])]}
    require(len(lengths) == 1 and 0 not in lengths, f"learning_curves: series of {sorted(lengths)} epochs")
    epochs = np.arange(1, lengths.pop() + 1)
    fig = figure(2.7)
    for ax, panel in zip(fig.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for key, label in HISTORY[panel].items():  # a missing one is drawn as nothing: the others keep their colours
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
    _mark_divergence(fig.axes[0], [values[key] for key in HISTORY["loss"] if key in values])
    _mark_rates(fig.axes, values.get("learning_rate", np.ones(1)))
    legend(fig)
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


def _mark_rates(axes: Sequence[Axes], rates: np.ndarray) -> None:
    changes = np.flatnonzero(~np.isclose(rates[1:], rates[:-1], rtol=0.01, atol=0)) + 1
    # The rates are written where curves leave room: low in the accuracy, high in the loss.
    y, step, side = (0.03, 0.32, "bottom") if axes[-1].get_ylabel() == "accuracy" else (0.84, -0.28, "top")
    white = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
    if len(changes) > min(5, len(rates) / 2):  # a smooth schedule: its lines would hide the curves
        said = f"rate up to {rates.max():.2g}, at last {rates[-1]:.2g}"
        axes[-1].text(0.97, y, said, transform=axes[-1].transAxes, ha="right", va=side, bbox=white)
        return
    last, level = -len(rates), 0
    for change in changes.tolist():
        for ax in axes:
            ax.axvline(change + 0.5, color="black", linewidth=0.6)
        level = (level + 1) % 3 if change - last < 0.08 * len(rates) else 0  # near ones are written over one another
        last, place = change, axes[-1].get_xaxis_transform()
        how: dict[str, Any] = dict(transform=place, rotation=90, ha="center", va=side, bbox=white)
        axes[-1].text(change + 0.5, y + step * level, f"{rates[change]:.3g}", **how)


def _known(
    plot: str, tables: Mapping[str, pd.DataFrame], most: int, shares: Sequence[str], *others: str
) -> dict[str, pd.DataFrame]:
    """The rows of each table that have every value, once it is sure that there are some and shares are shares."""
    require(0 < len(tables) <= most, f"{plot}: {len(tables)} tables, not 1 to {most}")
    known = {}
    for name, table in tables.items():
        require_columns(f"{plot}: {name}", table, *others, *shares)
        known[name] = table.dropna(subset=[*others, *shares])
        require(len(known[name]), f"{plot}: {name}: no row has every value")
        for column in shares:
            least, largest = known[name][column].min(), known[name][column].max()
            good = least >= 0 and largest <= 1
            require(good, f"{plot}: {name}: {column} from {least:g} to {largest:g}, not shares in [0, 1]")
    return known


def _marked(i: int, points: int) -> tuple[float, float] | None:
    """Where curve i has its markers: everywhere if they are few, else at equal distances, others' between them."""
    return (0.03 * (i % 4), 0.12) if points > 10 else None


@style()
def race(curves: Mapping[str, pd.DataFrame], *, goals: Mapping[str, float] | None = None, log: bool = False) -> Figure:
    """Accuracy on the validation part against the minutes of training, up to eight runs.

    Args:
        curves: run -> columns minutes, counted from its start, and accuracy in [0, 1]; rows without a value are
            left out.
        goals: name -> accuracy in [0, 1], drawn as a dashed line with its name.
        log: whether minutes stand on a logarithmic axis.
    """
    known = _known("race", curves, 8, ["accuracy"], "minutes")
    fig = figure(3.6)
    ax = fig.subplots()
    for i, (name, table) in enumerate(known.items()):
        minutes = table["minutes"].to_numpy(float)
        require((np.diff(minutes) >= 0).all(), f"race: {name}: minutes go back: count them from the run's start")
        require(minutes[0] > 0 or not log, f"race: {name}: minute {minutes[0]:g} has no place on a logarithmic axis")
        ax.plot(minutes, table["accuracy"], label=name, markevery=_marked(i, len(table)), linewidth=1.2)
    highest = max([table["accuracy"].max() for table in known.values()] + list((goals or {}).values()))
    ax.set(xlabel="minutes of training", ylabel="accuracy, validation", ylim=(0, 1.06 * highest or 1))
    ax.grid()
    if log:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter("{x:g}")
    else:
        ax.set_xlim(left=0)
    _mark_goals(ax, goals or {})
    legend(fig)
    return fig


def _mark_goals(ax: Axes, goals: Mapping[str, float]) -> None:
    """Dashed lines, named at the right; names of near ones are pushed up and tied to their lines."""
    line, beneath = LINE_IN / 2.0 * ax.get_ylim()[1], 0.0  # of a panel that is 2 in high or higher
    for name, value in sorted(goals.items(), key=lambda goal: goal[1]):
        require(0 <= value <= 1, f"race: the goal {name} is {value:g}, not a share in [0, 1]")
        text = wrap(name, 1.1)
        high = line * (1 + text.count("\n"))
        middle = max(value, beneath + high / 2)
        beneath = middle + high / 2
        ax.axhline(value, color="black", linestyle=(0, (5, 3)), linewidth=0.7, zorder=1)
        tie = {"arrowstyle": "-", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5)}
        ax.annotate(text, (1, value), (1.03, middle), ax.get_yaxis_transform(), arrowprops=tie, va="center")


@style()
def bands(series: Mapping[str, np.ndarray], *, x_label: str, y_label: str) -> Figure:
    """Mean over seeds at each step, in a band from the lowest seed to the highest; up to four settings.

    Args:
        series: setting -> float (seeds, steps); where a seed is not finite, line and band have a gap.
        x_label: what a step is; steps are counted from 1.
        y_label: what is measured.
    """
    require(0 < len(series) <= len(HATCHES), f"bands: {len(series)} settings, not 1 to {len(HATCHES)}")
    fig = figure(3.2)
    ax = fig.subplots()
    for i, (name, given) in enumerate(series.items()):
        values = np.asarray(given, float)
        require(values.ndim == 2 and values.size, f"bands: {name}: needs (seeds, steps), got {values.shape}")
        require(np.isfinite(values).all(axis=0).any(), f"bands: {name}: no step is finite for every seed")
        values = np.where(np.isfinite(values).all(axis=0), values, np.nan)
        steps, low, high = np.arange(1, values.shape[1] + 1), values.min(axis=0), values.max(axis=0)
        (line,) = ax.plot(steps, values.mean(axis=0), label=name, markevery=_marked(i, len(steps)), zorder=3)
        face, edge = (line.get_color(), 0.15), (line.get_color(), 0.6)
        ax.fill_between(steps, low, high, facecolor=face, edgecolor=edge, hatch=HATCHES[i], linewidth=0.6)
    seeds = sorted({len(values) for values in series.values()})
    said = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"{seeds[0]}"
    ax.fill_between([], [], [], color=GREY, alpha=0.3, linewidth=0, label=f"lowest to highest seed of {said}")
    ax.set(xlabel=x_label, ylabel=f"{y_label}, mean of seeds")
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    ax.margins(x=0.02)
    ax.grid()
    legend(fig)
    return fig


@style()
def against_minutes(lines: Mapping[str, pd.DataFrame], y_label: str, *, log: bool = False) -> Figure:
    """A score against the minutes of training, up to eight networks; with bars where it has an interval.

    Args:
        lines: network -> columns minutes and value, with low and high where there is an interval.
        y_label: what is measured.
        log: whether the score stands on a logarithmic axis, where it is above 0 throughout and changes by a half.
    """
    known = _known("against_minutes", lines, 8, [], "minutes", "value")
    fig = figure(3.2)
    ax = fig.subplots()
    for name, table in known.items():
        bars = None
        if {"low", "high"} <= set(table.columns):
            bars = [table["value"] - table["low"], table["high"] - table["value"]]
        ax.errorbar(table["minutes"], table["value"], yerr=bars, label=name, linewidth=1.2, capsize=2)
    ax.set(xlabel="minutes of training", ylabel=y_label, xlim=(0, None))
    values = np.concatenate([table["value"] for table in known.values()])
    if log and values.min() > 0 and values.max() > 1.5 * values.min():
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter("{x:g}")
    ax.grid()
    legend(fig)
    return fig


@style()
def reliability(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Accuracy against confidence, a panel a table, over the number of photographs in each bin (Guo et al. 2017).

    Args:
        tables: one to three; title -> a row a bin, columns confidence, accuracy, low, high in [0, 1], and n in
            photographs; rows without a value are left out.
    """
    known = _known("reliability", tables, 3, ["confidence", "accuracy", "low", "high"], "n")
    side = min(2.5, (WIDTH_IN - 0.7) / len(known))
    fig = figure(side + 1.6)
    wide = (len(known) * side + 0.7) / WIDTH_IN
    fig.set_layout_engine("constrained", rect=((1 - wide) / 2, 0, wide, 1))
    axes = fig.subplots(2, len(known), sharex=True, sharey="row", squeeze=False, height_ratios=[4, 1])
    for (above, beneath), (name, table) in zip(axes.T, known.items(), strict=True):
        require((table["low"] <= table["high"]).all(), f"reliability: {name}: low exceeds high: exchange them")
        above.plot([0, 1], [0, 1], color="black", linewidth=0.7, linestyle="--", marker="", label="as accurate as sure")
        above.vlines(table["confidence"], table["low"], table["high"], color=BLUE, linewidth=1.25)
        dots = "accuracy of a bin, 95 % interval"
        above.plot(table["confidence"], table["accuracy"], "o", color=BLUE, label=dots)
        above.set_title(wrap(name, side - 0.3))
        beneath.bar(table["confidence"], table["n"], _bar_width(table["confidence"]), color=SKY, ec="black", lw=0.4)
        for ax in above, beneath:
            ax.grid()
    axes[0, 0].set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), ylabel="accuracy")
    for axis in axes[0, 0].xaxis, axes[0, 0].yaxis:
        axis.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "", "0.5", "", "1"])
    axes[1, 0].set_ylabel("images")
    axes[1, 0].yaxis.set_major_locator(MaxNLocator(2, integer=True))
    for ax in axes[1]:
        ax.set_xlabel("confidence")
    fig.align_ylabels()
    legend(fig)
    return fig


def _bar_width(places: pd.Series) -> float:
    """Of bars at these places, so that near ones stay apart and none is a hair."""
    return float(np.clip(0.8 * np.diff(np.sort(places)).min(initial=1), 0.02, 0.06))


@style()
def selective(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Accuracy on the photographs a classifier is surest of, against their share (Geifman and El-Yaniv 2017).

    Args:
        curves: classifier, up to six -> columns coverage and accuracy in [0, 1]; rows without a value are left out.
    """
    fig = figure(3.0)
    ax = fig.subplots()
    for i, (name, table) in enumerate(_known("selective", curves, 6, ["coverage", "accuracy"]).items()):
        ordered = table.sort_values("coverage", kind="stable")
        every = _marked(i, len(ordered))
        ax.plot(ordered["coverage"], ordered["accuracy"], label=name, markevery=every, linewidth=1.2)
    ax.set(xlabel="coverage: share of photographs answered, surest first", ylabel="accuracy on these", xlim=(0, 1.02))
    ax.grid()
    legend(fig)
    return fig
