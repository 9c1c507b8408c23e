"""Learning-rate schedules: plain functions of the epoch (numpy only).

Every schedule has one signature: the epoch (0-based), the number of epochs and the base rate give the epoch's rate.
"""

from collections.abc import Callable


def constant(epoch: int, epochs: int, learning_rate: float) -> float:
    """The base rate throughout (Shen 2025, section 2.5.2)."""
    return learning_rate


def two_drops(epoch: int, epochs: int, learning_rate: float) -> float:
    """A tenth of the rate after 100 of 170 epochs, a hundredth after 150 of 170 (Hughes 2024, section 2.2).

    The two drops stay at the same share of the run when it is shortened.

    Args:
        epoch: 0-based epoch, below ``epochs``.
        epochs: epochs of the whole run; 170 in the report.
        learning_rate: rate of the first stage.

    Returns:
        The rate of this epoch, never above ``learning_rate``.
    """
    done = epoch / epochs
    return learning_rate * (0.01 if done >= 150 / 170 else 0.1 if done >= 100 / 170 else 1.0)


SCHEDULES: dict[str, Callable[[int, int, float], float]] = {"constant": constant, "two_drops": two_drops}
