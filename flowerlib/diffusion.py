"""Denoising diffusion: adding noise, what a network learns to say of it, and taking it away step by step (numpy only).

A noisy picture is ``signal_rate * picture + noise_rate * noise`` (``schedules``). The network may be taught the noise
(epsilon), the picture (x0) or v = signal_rate * noise - noise_rate * picture; each gives both others.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from flowerlib.errors import FlowerlibError
from flowerlib.schedules import Rates, check_noise

TARGETS = ("epsilon", "x0", "v")
Network = Callable[[np.ndarray, float], np.ndarray]  # noisy pictures and their noise rate -> what it was taught
Schedule = Callable[[ArrayLike], Rates]


def add_noise(pictures: np.ndarray, noise: np.ndarray, signal_rate: ArrayLike, noise_rate: ArrayLike) -> np.ndarray:
    """Noisy pictures (Ho et al. 2020, eq. 4), of the pictures' shape; rates are one for all or (n,), one a picture."""
    signal, loud = (_over(rate, pictures.ndim) for rate in (signal_rate, noise_rate))
    result: np.ndarray = signal * pictures + loud * noise
    return result


def target(
    kind: str, pictures: np.ndarray, noise: np.ndarray, signal_rate: ArrayLike, noise_rate: ArrayLike
) -> np.ndarray:
    """What a network is taught of a noisy picture.

    Args:
        kind: "epsilon", "x0" or "v" (Salimans and Ho 2022, appendix D).
        pictures: float (n, ...).
        noise: float of that shape.
        signal_rate, noise_rate: one for all or (n,).

    Raises:
        FlowerlibError: an unknown kind.
    """
    _check(kind)
    if kind == "x0":
        return pictures
    if kind == "epsilon":
        return noise
    signal, loud = (_over(rate, pictures.ndim) for rate in (signal_rate, noise_rate))
    result: np.ndarray = signal * noise - loud * pictures
    return result


def split(
    kind: str, said: np.ndarray, noisy: np.ndarray, signal_rate: ArrayLike, noise_rate: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """The picture and the noise that a network's answer stands for.

    Args:
        kind: what it was taught.
        said: its answer, float (n, ...).
        noisy: what it saw.
        signal_rate, noise_rate: one for all or (n,); the signal rate is above 0 for "epsilon", the noise rate for "x0".

    Returns:
        Picture and noise, both of that shape.
    """
    _check(kind)
    signal, loud = (_over(rate, noisy.ndim) for rate in (signal_rate, noise_rate))
    if kind == "epsilon":
        return (noisy - loud * said) / signal, said
    if kind == "x0":
        return said, (noisy - signal * said) / loud
    return signal * noisy - loud * said, loud * noisy + signal * said


def sample(
    network: Network,
    noise: np.ndarray,
    schedule: Schedule,
    steps: int,
    *,
    kind: str = "v",
    eta: float = 0.0,
    bounds: tuple[float, float] | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Pictures from noise: DDIM with eta 0, DDPM with eta 1 (Song et al. 2021, eq. 12 and 16).

    Args:
        network: noisy pictures and their noise rate -> what it was taught.
        noise: float (n, ...), standard normal.
        schedule: time -> rates.
        steps: from time 1 to 0, of equal length.
        kind: what the network was taught.
        eta: share of the noise that is drawn anew at each step.
        bounds: to which the picture that the network has in mind is cut at each step, such as (-1, 1).
        seed: of what is drawn anew.

    Returns:
        float64 (n, ...), the pictures.

    Raises:
        FlowerlibError: fewer than one step, an eta outside 0 to 1, a schedule that no sampler can follow
            (``schedules.check_noise``), an answer that is not a number, with its step.
    """
    *_, last = trail(network, noise, schedule, steps, kind=kind, eta=eta, bounds=bounds, seed=seed)
    return last


def trail(
    network: Network,
    noise: np.ndarray,
    schedule: Schedule,
    steps: int,
    *,
    kind: str = "v",
    eta: float = 0.0,
    bounds: tuple[float, float] | None = None,
    seed: int = 0,
) -> Iterator[np.ndarray]:
    """What the network has in mind at each step of ``sample``, whose arguments it takes; the last are the pictures."""
    if steps < 1 or not 0 <= eta <= 1:
        raise FlowerlibError(f"sampling in {steps} steps with eta {eta:g}: one step or more, eta from 0 to 1")
    check_noise(schedule)
    random, noisy = np.random.default_rng(seed), np.asarray(noise, dtype=np.float64)
    signals, louds = schedule(np.linspace(1, 0, steps + 1))
    for step in range(steps):
        signal, loud, after, loud_after = signals[step], louds[step], signals[step + 1], louds[step + 1]
        said = network(noisy, float(loud))
        if not np.isfinite(said).all():
            raise FlowerlibError(f"sampling: the network's answer is not a number in step {step + 1} of {steps}")
        picture, left = split(kind, said, noisy, signal, loud)
        if bounds is not None:
            picture = np.clip(picture, *bounds)
            left = (noisy - signal * picture) / loud
        yield picture
        # Song et al. 2021, eq. 16: with eta 1 the variance of Ho et al.'s posterior.
        fresh = eta * loud_after / loud * np.sqrt(max(0.0, 1 - (signal / after) ** 2))
        noisy = after * picture + np.sqrt(max(0.0, loud_after**2 - fresh**2)) * left
        if fresh:
            noisy = noisy + fresh * random.standard_normal(noisy.shape)


def min_snr(signal_rate: ArrayLike, noise_rate: ArrayLike, kind: str, limit: float = 5.0) -> np.ndarray:
    """Weight of a noise level in the loss, so that easy ones do not drown the others (Hang et al. 2023, section 3.4).

    Args:
        signal_rate, noise_rate: (n,).
        kind: what the network is taught.
        limit: of the signal-to-noise ratio.
    """
    _check(kind)
    signal, loud = (np.asarray(rate, dtype=np.float64) for rate in (signal_rate, noise_rate))
    ratio = signal**2 / np.maximum(loud**2, 1e-12)
    clipped = np.minimum(ratio, limit)
    below = {"x0": np.ones_like(ratio), "epsilon": ratio, "v": ratio + 1}[kind]
    return clipped / np.maximum(below, 1e-12)


def _over(rate: ArrayLike, dimensions: int) -> np.ndarray:
    """Rates that broadcast over pictures."""
    values = np.asarray(rate)
    return values.reshape(values.shape + (1,) * (dimensions - values.ndim)) if values.ndim else values


def _check(kind: str) -> None:
    if kind not in TARGETS:
        raise FlowerlibError(f"unknown target '{kind}': one of {', '.join(TARGETS)}")
