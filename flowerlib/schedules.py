"""Schedules: the learning rate by epoch, and the noise of diffusion by time; plain functions (numpy only).

Every learning-rate schedule has one signature: the epoch (0-based, with its done share: 2.5 is half-way through the
third), the number of epochs and the base rate give the rate of the next step.

Every noise schedule takes the time, from 0 (the picture) to 1 (noise), and gives signal_rate and noise_rate, whose
squares sum to one: a noisy picture is signal_rate * picture + noise_rate * noise.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowerlib.errors import FlowerlibError

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

# Noise ----------------------------------------------------------------------------------------------------------------

Rates = tuple[NDArray[np.float64], NDArray[np.float64]]


def linear_noise(time: ArrayLike, low: float = 0.1, high: float = 20.0) -> Rates:
    """The rate at which noise comes in, beta, grows in a line with time (Ho et al. 2020; as Song et al. 2021, eq. 33).

    Args:
        time: from 0 to 1, any shape.
        low: beta at time 0, a thousand times that of a first of a thousand steps.
        high: beta at time 1.

    Returns:
        signal_rate and noise_rate, float64 of that shape, in [0, 1].

    Raises:
        FlowerlibError: a time outside 0 to 1.
    """
    t = _times(time)
    return _rates(np.exp(-(low * t + (high - low) * t**2 / 2)))


def cosine_noise(time: ArrayLike, highest: float = 1.0, lowest: float = 0.02) -> Rates:
    """The angle whose cosine is the signal rate grows in a line with time (Nichol and Dhariwal 2021, eq. 17).

    Args:
        time: from 0 to 1, any shape.
        highest: signal rate at time 0.
        lowest: signal rate at time 1.

    Returns:
        As ``linear_noise``.
    """
    first, last = math.acos(highest), math.acos(lowest)
    return _rates(np.cos(first + _times(time) * (last - first)) ** 2)


def sigmoid_noise(
    time: ArrayLike, first: float = -3.0, last: float = 3.0, temperature: float = 1.0, lowest: float = 0.02
) -> Rates:
    """What is fed to a logistic curve grows in a line with time (Jabri et al. 2022); the curve is the signal's power.

    Args:
        time: from 0 to 1, any shape.
        first: place on the curve at time 0.
        last: place at time 1.
        temperature: by which places are divided; a larger one makes the curve straighter.
        lowest: signal rate at time 1, to which the curve is stretched; 1 at time 0.

    Returns:
        As ``linear_noise``.
    """
    places = (first + _times(time) * (last - first)) / temperature
    ends = _logistic(np.array([first, last]) / temperature)
    fallen = (_logistic(places) - ends[0]) / (ends[1] - ends[0])
    return _rates(1 - fallen * (1 - lowest**2))


def keras_noise(time: ArrayLike) -> Rates:
    """``cosine_noise`` as Keras's example has it (keras.io, "Denoising Diffusion Implicit Models"): some noise is left.

    Args:
        time: from 0 to 1, any shape; at time 0 the signal rate is 0.95.

    Returns:
        As ``linear_noise``.
    """
    return cosine_noise(time, highest=0.95)


NOISE_SCHEDULES: dict[str, Callable[..., Rates]] = {
    "linear": linear_noise,
    "cosine": cosine_noise,
    "keras": keras_noise,
    "sigmoid": sigmoid_noise,
}


def check_noise(schedule: Callable[[ArrayLike], Rates]) -> None:
    """Refuse a noise schedule that no sampler can follow.

    Args:
        schedule: time -> signal_rate and noise_rate.

    Raises:
        FlowerlibError: rates outside [0, 1], squares that do not sum to one, or a signal that does not fall throughout.
    """
    signal, noise = schedule(np.linspace(0, 1, 1001))
    if not all(np.isfinite(each).all() and (each >= 0).all() and (each <= 1).all() for each in (signal, noise)):
        raise FlowerlibError("noise schedule: its rates leave 0 to 1")
    if not np.allclose(signal**2 + noise**2, 1):
        raise FlowerlibError("noise schedule: the squares of its rates do not sum to one")
    if not (np.diff(signal) < 0).all():
        raise FlowerlibError("noise schedule: its signal rate does not fall from each time to the next")


def _times(time: ArrayLike) -> NDArray[np.float64]:
    t = np.asarray(time, dtype=np.float64)
    if not ((t >= 0) & (t <= 1)).all():
        raise FlowerlibError(f"noise schedule: time {t.min():g} to {t.max():g}: from 0 to 1")
    return t


def _logistic(values: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 1 / (1 + np.exp(-values))
    return result


def _rates(power: NDArray[np.float64]) -> Rates:
    """From the signal's share of the power."""
    power = np.clip(power, 0.0, 1.0)  # of the last bit
    return np.sqrt(power), np.sqrt(1 - power)
