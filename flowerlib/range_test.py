"""The learning-rate range test: let the rate climb over a short training and see where the loss falls (numpy only).

``rates`` says which rate each step takes, ``suggest`` reads a range out of the losses of these steps; ``curve`` and
``schedules`` draw the test and what is made of it.
"""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from flowerlib.style import BLUE, GREY, SKY, WIDTH_IN, figure, legend, require, style, wrap

Floats = NDArray[np.float64]
FEWEST = 20  # losses that are numbers, below which nothing is read out of them
WINDOW = 15  # the running mean is over a 15th of the test
STARTS, SLOWS = 0.1, 0.9  # shares of the whole fall between which it is steep
NOISE = 3.0  # standard deviations of a loss about its neighbours that a fall must exceed
SIDE_BY_SIDE = 4  # panels


def rates(low: float, high: float, iterations: int, *, geometric: bool = False) -> Floats:
    """The rate of every step of a range test (Smith 2015, section 3.3).

    Args:
        low: of the first step, above 0 where geometric.
        high: of the last step, above low.
        iterations: steps, 2 or more.
        geometric: whether each rate is the same multiple of the one before (Gugger 2018) instead of a line, which is
            the paper's; so a test may span several powers of ten.

    Returns:
        float64 (iterations,), increasing from low to high.

    Raises:
        FlowerlibError: fewer than two steps, or a range that does not climb.
    """
    require(iterations >= 2, f"range test of {iterations} steps: give 2 or more")
    climbs = 0 <= low < high < np.inf and (low > 0 or not geometric)
    require(climbs, f"range test from rate {low:g} to {high:g}: give a lower one first{', above 0' * geometric}")
    return np.geomspace(low, high, iterations) if geometric else np.linspace(low, high, iterations)


def suggest(rates: ArrayLike, losses: ArrayLike) -> tuple[float, float]:
    """The range in which the loss falls most (Smith 2015, section 3.3, in numbers).

    The paper looks at a plot: low is the rate at which the network begins to learn, high the one at which learning
    slows, becomes ragged or is undone. Here the losses up to the first that is not a number are smoothed by a centred
    running mean over a 15th of them. The fall goes from the mean's highest value before its lowest to that lowest.
    Low is the last rate with less than a tenth of the fall behind it, high the first with nine tenths.

    Args:
        rates: float (n,), increasing.
        losses: float (n,) of the same steps; from where the training broke they may be NaN or infinite.

    Returns:
        low and high, both among the rates.

    Raises:
        FlowerlibError: unequal lengths, rates that do not increase, fewer than twenty losses before the training broke,
            or no fall: one below three standard deviations of a loss about its neighbours.
    """
    steps, mean, values = _sound(rates, losses)
    bottom = int(mean.argmin())
    level = mean[: bottom + 1].max()
    fall, spread = level - mean[bottom], _noise(values[: bottom + 1])
    falls = fall > NOISE * spread and fall > 1e-6 * abs(level)
    require(
        falls, f"range test: the loss falls by {fall:.2g} with a noise of {spread:.2g}: try other rates, more steps"
    )
    low = int(np.flatnonzero(mean[:bottom] >= level - STARTS * fall)[-1])
    high = low + 1 + int(np.argmax(mean[low + 1 :] <= level - SLOWS * fall))
    return float(steps[low]), float(steps[high])


def smoothed(losses: ArrayLike) -> Floats:
    """Centred running mean over a 15th of the values and five at least, fewer at the ends; float64 (n,)."""
    values = np.asarray(losses, dtype=np.float64)
    window = np.ones(2 * (max(5, len(values) // WINDOW) // 2) + 1)
    mean: Floats = np.convolve(values, window, "same") / np.convolve(np.ones_like(values), window, "same")
    return mean


def _noise(losses: Floats) -> float:
    """Standard deviation of a loss, from the differences of neighbours, which a slow fall hardly touches."""
    return float(np.sqrt(np.mean(np.diff(losses) ** 2) / 2)) if len(losses) > 1 else np.inf


def _sound(rates: ArrayLike, losses: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Rates, running mean and losses of the steps before the training broke."""
    steps, values = np.asarray(rates, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    good = steps.ndim == 1 and steps.shape == values.shape
    require(good, f"range test: {steps.shape} rates, {values.shape} losses; give one loss a rate")
    require((np.diff(steps) > 0).all(), "range test: the rates do not increase: give them in the order of the steps")
    sound = len(list(takewhile(bool, np.isfinite(values))))
    require(sound >= FEWEST, f"range test: {sound} losses before it broke, {FEWEST} needed: begin at a lower rate")
    return steps[:sound], smoothed(values[:sound]), values[:sound]


@style()
def curve(
    rates: ArrayLike,
    losses: ArrayLike,
    suggested: tuple[float, float],
    *,
    reported: tuple[float, float] | None = None,
    geometric: bool = False,
) -> Figure:
    """Loss of every step against its rate, the suggested range shaded, and where the training broke.

    Args:
        rates: float (n,), increasing.
        losses: float (n,); not finite from where the training broke.
        suggested: low and high, from ``suggest``.
        reported: a report's low and high, drawn as an outline.
        geometric: whether the rates are drawn on a logarithmic axis.
    """
    steps, mean, values = _sound(rates, losses)
    given = np.asarray(rates, dtype=np.float64)
    require(given[0] > 0 or not geometric, f"range test: rate {given[0]:g} has no place on a logarithmic axis")
    fig = figure(3.0)
    ax = fig.subplots()
    ax.plot(steps, values, color=SKY, linestyle="-", marker="", linewidth=0.8, label="a step")
    ax.plot(steps, mean, color=BLUE, linestyle="-", marker="", linewidth=1.8, label="running mean")
    ax.axvspan(*suggested, color=GREY, alpha=0.25, linewidth=0, zorder=0, label=f"suggested: {_said(suggested)}")
    if reported is not None:
        said = f"in the report: {_said(reported)}"
        ax.axvspan(*reported, facecolor="none", edgecolor="black", linestyle="--", linewidth=1.2, label=said)
    ax.set(xlabel="learning rate", ylabel="loss", ylim=_heights(mean))
    ax.grid()
    if geometric:
        _in_powers_of_ten(ax)
    if len(steps) < len(given):
        _mark_break(ax, given[len(steps)])
    legend(fig)
    return fig


def _said(span: tuple[float, float]) -> str:
    return f"{span[0]:.2g} to {span[1]:.2g}"


def _heights(mean: Floats) -> tuple[float, float]:
    """Ends of the loss's axis: the fall and half as much above it, or a loss without bounds would flatten it."""
    bottom = int(mean.argmin())
    fall = max(float(mean[: bottom + 1].max() - mean[bottom]), 1e-6)
    return float(mean[bottom]) - 0.3 * fall, float(mean[bottom]) + 1.5 * fall


def _in_powers_of_ten(ax: Axes) -> None:
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(numticks=12))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter("{x:g}")


def _mark_break(ax: Axes, rate: float) -> None:
    """A cross and words at the first rate whose loss was no number, beneath the curves."""
    across = ax.get_xaxis_transform()
    ax.plot(rate, 0.07, "x", transform=across, color="black", markersize=8, markeredgewidth=2, clip_on=False)
    how: dict[str, Any] = {
        "ha": "right",
        "va": "center",
        "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.8},
    }
    ax.annotate(f"broke at {rate:.2g}", (rate, 0.07), (-7, 0), across, "offset points", **how)


@style()
def schedules(cycles: Mapping[str, Sequence[float]]) -> Figure:
    """The rate of every iteration, a panel a schedule.

    Args:
        cycles: one to four; title -> the rates of the iterations from 0. Panels share their axis unless one peak is
            more than three times as high as another.
    """
    require(0 < len(cycles) <= SIDE_BY_SIDE, f"schedules: {len(cycles)} schedules, not 1 to {SIDE_BY_SIDE}")
    for title, values in cycles.items():
        require(len(values), f"schedules: {title}: no rates")
    peaks = [max(values) for values in cycles.values()]
    alike = max(peaks) <= 3 * min(peaks)
    fig = figure(2.2)
    axes = fig.subplots(1, len(cycles), squeeze=False, sharey=alike)[0]
    for ax, (title, values) in zip(axes, cycles.items(), strict=True):
        ax.plot(range(len(values)), values, color=BLUE, linestyle="-", marker="", linewidth=1.2)
        ax.set(title=wrap(title, WIDTH_IN / len(cycles) - 0.7), xlabel="iteration")
        ax.set_ylim(0, 1.08 * max(peaks if alike else values) or 1)
        ax.xaxis.set_major_locator(MaxNLocator(8 // len(cycles) + 1, integer=True))
        ax.yaxis.set_major_locator(MaxNLocator(5))
        ax.grid()
    fig.axes[0].set_ylabel("learning rate")
    return fig
