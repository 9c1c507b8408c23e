"""Which learning rate and momentum? What the settings of many heads are worth (Ash et al. 2022, Model Results)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from flowerlib import comparisons, metrics
from flowerlib.comparisons import Difference
from flowerlib.heads import Draw, Heads
from flowerlib.style import figure, require, style, wrap

# Models 1 to 7 of Ash et al. 2022: learning rate and momentum. The heading of model 7 says 0.01; the section on model
# 3, that models 5 to 7 keep its 0.001.
REPORTED = ((0.01, 0.0), (0.0001, 0.0), (0.001, 0.0), (0.1, 0.0), (0.001, 0.01), (0.001, 0.1), (0.01, 1.0))
# Two settings and the difference of their weighted F1 as reported for models 1 to 7.
CONCLUSIONS: dict[str, tuple[tuple[tuple[float, float], tuple[float, float]], float]] = {
    "rate 0.001 beats 0.01": (((0.001, 0.0), (0.01, 0.0)), 0.03),
    "rate 0.001 beats 0.1": (((0.001, 0.0), (0.1, 0.0)), 0.03),
    "rate 0.001 beats 0.0001": (((0.001, 0.0), (0.0001, 0.0)), 0.19),
    "no momentum beats 0.01": (((0.001, 0.0), (0.001, 0.01)), 0.08),
    "no momentum beats 0.1": (((0.001, 0.0), (0.001, 0.1)), 0.09),
    "momentum 0.01 beats 0.1": (((0.001, 0.01), (0.001, 0.1)), 0.01),
    "momentum 1 changes nothing at rate 0.01": (((0.01, 1.0), (0.01, 0.0)), 0.0),
}


def weighted_f1(heads: Heads, draws: Sequence[Draw]) -> NDArray[np.float64]:
    """Weighted F1 on the test part, the score of Ash et al. 2022; float64 (draws, settings) in [0, 1].

    Args:
        heads: from ``train``.
        draws: that they were trained on, in the same order.
    """
    require(len(draws) == len(heads.predictions), f"weighted_f1: {len(draws)} draws, heads of {len(heads.predictions)}")
    pairs = zip(draws, heads.predictions, strict=True)
    return np.array([[metrics.weighted_f1(each.test_y, one).value for one in rows] for each, rows in pairs])


def differences(
    heads: Heads, scores: ArrayLike, pairs: Mapping[str, tuple[tuple[float, float], tuple[float, float]]]
) -> dict[str, tuple[Difference, float]]:
    """What a report says of two settings, over the draws: paired t-test, and its p by Holm over all pairs.

    Args:
        heads: from ``train``.
        scores: float (draws, settings), as ``weighted_f1``.
        pairs: name -> one and other setting, each a learning rate and a momentum.

    Returns:
        Name -> score of one less other, and its adjusted p: what ``comparisons.verdict`` takes.

    Raises:
        FlowerlibError: a setting that was not trained, or fewer than two draws.
    """
    values = np.asarray(scores, dtype=np.float64)
    found = {}
    for name, (one, other) in pairs.items():
        found[name] = comparisons.paired_seeds(values[:, place(heads, *one)], values[:, place(heads, *other)])
    adjusted = comparisons.holm([each.p for each in found.values()]).tolist()
    return {name: (each, p) for (name, each), p in zip(found.items(), adjusted, strict=True)}


def conclusions(heads: Heads, scores: ArrayLike) -> pd.DataFrame:
    """The differences that the report argues from: as reported, and as measured over the draws.

    Args:
        heads: from ``train``; a pair of settings that is not among them is left out.
        scores: float (draws, settings), from ``weighted_f1``.
    """
    known = set(zip(heads.learning_rates.tolist(), heads.momenta.tolist(), strict=True))
    pairs = {name: pair for name, (pair, _) in CONCLUSIONS.items() if set(pair) <= known}
    rows = []
    for name, (test, p) in differences(heads, scores, pairs).items():
        claimed = CONCLUSIONS[name][1]
        row = {"conclusion": name, "reported": claimed, "measured": test.value, "low": test.low, "high": test.high}
        rows.append(row | {"p": p, "draws": test.n, "verdict": comparisons.verdict(test, p, claimed)})
    return pd.DataFrame(rows)


def place(heads: Heads, learning_rate: float, momentum: float) -> int:
    """Where a setting stands among those of ``heads``."""
    found = np.flatnonzero((heads.learning_rates == learning_rate) & (heads.momenta == momentum))
    require(found.size, f"heads: no rate {learning_rate:g} with momentum {momentum:g} among them: train it")
    return int(found[0])


@style()
def heat_map(
    values: ArrayLike,
    learning_rates: Sequence[float],
    momenta: Sequence[float],
    *,
    label: str,
    marked: Sequence[tuple[float, float]] = REPORTED,
) -> Figure:
    """A score of every learning rate (row) with every momentum (column), written in its cell; up to 10 by 10.

    Args:
        values: float (rates, momenta); a cell without a number stays grey.
        learning_rates: of the rows.
        momenta: of the columns.
        label: what is measured.
        marked: settings of a report, outlined and numbered from 1; those that are not among the cells are left out.
    """
    cells = np.asarray(values, dtype=np.float64)
    good = cells.shape == (len(learning_rates), len(momenta)) and cells.size and max(cells.shape) <= 10
    require(good, f"heat_map: values {cells.shape}, {len(learning_rates)} rates, {len(momenta)} momenta; 10 at most")
    require(np.isfinite(cells).any(), "heat_map: no value is a number")
    fig = figure(1.1 + 0.3 * len(learning_rates))
    ax = fig.subplots()
    ax.set_facecolor("#BBBBBB")
    drawn = ax.imshow(cells, "cividis", aspect="auto", interpolation="none")
    fig.colorbar(drawn, ax=ax, label=wrap(label, fig.get_figheight() - 0.9), pad=0.02)
    middle = (np.nanmin(cells) + np.nanmax(cells)) / 2
    numbers = {pair: i for i, pair in enumerate(marked, 1)}
    for (row, column), value in np.ndenumerate(cells):
        number = numbers.get((learning_rates[row], momenta[column]))
        said = f"{value:.2f}" if np.isfinite(value) else "–"
        color = "white" if value < middle else "black"
        ax.text(column, row, f"{said} ({number})" if number else said, color=color, ha="center", va="center")
        if number:
            ax.add_patch(Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, fill=False, ec=color, lw=1.5))
    ax.set_xticks(range(len(momenta)), [f"{momentum:g}" for momentum in momenta])
    ax.set_yticks(range(len(learning_rates)), [f"{rate:g}" for rate in learning_rates])
    ax.set(xlabel="momentum", ylabel="learning rate")
    return fig
