"""Cyclical learning rates: plain functions of the iteration (math only).

Every cycle has one signature: the iteration (0-based), half a cycle's length in iterations and the two ends of the
range give the rate of that iteration's step. It climbs in a line from low to high and comes down again.

Cicalla et al. 2024 define the step size in iterations (section 3.2) and list 16, 4 and 2 (table 1), but also repeat
the paper's advice of 2 to 10 epochs. As 1,020 photographs make 16 batches of 64, a step size of 2 is an eighth of an
epoch or two epochs: both can be meant. ``iterations`` turns the second reading into the first.
"""

import math
from collections.abc import Callable

from flowerlib.errors import FlowerlibError

GAMMA = 0.99994  # halves the climb in 11,552 iterations; a short training wants a smaller one


def triangular(iteration: float, step_size: float, low: float, high: float) -> float:
    """Up and down between the same two rates (Smith 2015, section 3.1).

    Args:
        iteration: steps done, from 0.
        step_size: iterations from low to high; a cycle takes two of them.
        low: the least rate, at the ends of every cycle.
        high: the largest rate, in the middle of every cycle.

    Returns:
        The rate of the next step, from low to high.

    Raises:
        FlowerlibError: a negative iteration, a step size that is not above 0, or a range upside down.
    """
    return low + (high - low) * _climbed(iteration, step_size, low, high)


def triangular2(iteration: float, step_size: float, low: float, high: float) -> float:
    """The same, but each cycle climbs half as far above low as the one before (Smith 2015, section 3.1).

    The peaks are low + (high - low) / 2 ** (k - 1) in cycle k = 1, 2, … Cicalla et al. 2024 (section 3.2) write that
    high itself becomes (high - low) / 2, below low wherever high < 3 low; the paper, and so this function, halves the
    difference.

    Args, Returns and Raises: as ``triangular``.
    """
    climbed = _climbed(iteration, step_size, low, high)
    return low + math.ldexp((high - low) * climbed, -math.floor(iteration / (2 * step_size)))


def exp_range(iteration: float, step_size: float, low: float, high: float, gamma: float = GAMMA) -> float:
    """The same, but the climb above low shrinks by gamma with every iteration (Smith 2015, section 3.1).

    Args:
        iteration: steps done, from 0.
        step_size: iterations from low to high; a cycle takes two of them.
        low: the least rate, at the ends of every cycle.
        high: the largest rate; a peak reaches low + (high - low) * gamma ** iteration.
        gamma: above 0, at most 1.

    Returns:
        The rate of the next step, from low to high.

    Raises:
        FlowerlibError: as ``triangular``, or gamma outside its range.
    """
    if not 0 < gamma <= 1:
        raise FlowerlibError(f"exp_range: gamma {gamma:g}; give one above 0 and at most 1")
    return low + (high - low) * _climbed(iteration, step_size, low, high) * gamma**iteration


def iterations(epochs: float, images: int, batch_size: int) -> int:
    """A step size said in epochs, in iterations; the last batch of an epoch may be smaller.

    Args:
        epochs: above 0; a fraction is rounded to whole iterations, one at least.
        images: of the training part.
        batch_size: images a step.

    Raises:
        FlowerlibError: a number that is not above 0.
    """
    if not (epochs > 0 and images > 0 and batch_size > 0):
        raise FlowerlibError(f"iterations: {epochs:g} epochs of {images} images by {batch_size}; give numbers above 0")
    return max(1, round(math.ceil(images / batch_size) * epochs))


def _climbed(iteration: float, step_size: float, low: float, high: float) -> float:
    """Share of the way from low to high: 0 at the ends of a cycle, 1 in its middle."""
    if not (iteration >= 0 and step_size > 0):
        raise FlowerlibError(f"iteration {iteration:g}, step size {step_size:g}: give one from 0 and one above 0")
    if not 0 <= low <= high < math.inf:
        raise FlowerlibError(f"a cycle from rate {low:g} to {high:g}: give the lower one first, neither below 0")
    return 1 - abs(1 - math.fmod(iteration / step_size, 2))


CYCLES: dict[str, Callable[[float, float, float, float], float]] = {
    "triangular": triangular,
    "triangular2": triangular2,
    "exp_range": exp_range,
}
