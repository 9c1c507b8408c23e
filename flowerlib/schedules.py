"""Learning-rate schedules: plain functions of the epoch (numpy only).

Every schedule has one signature: the epoch (0-based, with its done share: 2.5 is half-way through the third), the
number of epochs and the base rate give the rate of the next step.
"""

import math
from collections.abc import Callable

WARM_UP = 0.15  # share of a one-cycle run in which the rate climbs


def constant(epoch: float, epochs: int, learning_rate: float) -> float:
    """The base rate throughout (Shen 2025, section 2.5.2)."""
    return learning_rate


def two_drops(epoch: float, epochs: int, learning_rate: float) -> float:
    """A tenth of the rate after 100 of 170 epochs, a hundredth after 150 of 170 (Hughes 2024, section 2.2).

    The two drops stay at the same share of the run when it is shortened, and fall between two epochs.

    Args:
        epoch: epochs done, from 0 to below ``epochs``.
        epochs: epochs of the whole run; 170 in the report.
        learning_rate: rate of the first stage.

    Returns:
        The rate of the next step, never above ``learning_rate``.
    """
    done = math.floor(epoch) / epochs
    return learning_rate * (0.01 if done >= 150 / 170 else 0.1 if done >= 100 / 170 else 1.0)


def one_cycle(epoch: float, epochs: int, learning_rate: float) -> float:
    """Up in a line over the first 15 % of the run, then down to zero along a half cosine (Smith and Topin 2018).

    Args:
        epoch: epochs done, from 0 to ``epochs``.
        epochs: epochs of the whole run.
        learning_rate: the highest rate.

    Returns:
        The rate of the next step, from 0 to ``learning_rate``.
    """
    done = epoch / epochs
    if done < WARM_UP:
        return learning_rate * done / WARM_UP
    return learning_rate * (1 + math.cos(math.pi * min(1.0, (done - WARM_UP) / (1 - WARM_UP)))) / 2


SCHEDULES: dict[str, Callable[[float, int, float], float]] = {
    "constant": constant,
    "two_drops": two_drops,
    "one_cycle": one_cycle,
}
