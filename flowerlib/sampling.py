"""Pictures of noise by a generator that was trained: all at once, step by step, between two noises.

The reports' processes ask the network for the level before, again and again; diffusion asks it what is noise, and how
far to go is the sampler's matter (``diffusion.trail``).
"""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import TypedDict, Unpack

import numpy as np

from flowerlib import diffusion, guiding, processes
from flowerlib.errors import FlowerlibError
from flowerlib.generated import AT_ONCE, Generator, in_batches
from flowerlib.schedules import NOISE_SCHEDULES
from flowerlib.schema import Generation, Recipe


class How(TypedDict, total=False):
    """Departures from a recipe's way to make pictures.

    Attributes:
        steps: of the process; one of levels has no more than it learned, unless its recipe watches more.
        guidance: towards the class (Ho and Salimans 2022, eq. 6).
        eta: share of the noise that diffusion draws anew; none by default.
        start: noise that a process of levels begins with.
    """

    steps: int | None
    guidance: float
    eta: float
    start: str


def label(names: Sequence[str], asked: str) -> int:
    """The class of a name, whatever its capitals.

    Args:
        names: one a class.
        asked: what the user wrote.

    Raises:
        FlowerlibError: no such name; the closest is suggested.
    """
    known = {name.lower(): number for number, name in enumerate(names)}
    if asked.lower() in known:
        return known[asked.lower()]
    close = get_close_matches(asked.lower(), known, 1, 0)
    hint = f"; did you mean {names[known[close[0]]]}?" if close else ""
    raise FlowerlibError(f"'{asked}' is not one of the {len(names)} kinds{hint}")


def usual_steps(plan: Generation) -> int:
    """Steps from noise to a picture: as many as a process of levels has, or those that the recipe gives diffusion."""
    return {"hughes": processes.HUGHES_LEVELS, "shen": processes.SHEN_LEVELS}.get(plan.process, plan.steps)


def sample(
    generator: Generator, count: int, *, seed: int, labels: np.ndarray | None = None, **how: Unpack[How]
) -> np.ndarray:
    """Pictures from noise, uint8 (count, side, side, 3).

    Args:
        generator: with trained weights.
        count: how many.
        seed: of the noise.
        labels: int (count,), classes that are asked for; each picture's own draw by default, where it can be told.
        how: departures from the recipe.

    Raises:
        FlowerlibError: an answer that is not a number, with its step; classes that the network is not told.
    """
    made = []
    for first in range(0, count, AT_ONCE):
        some = slice(first, min(first + AT_ONCE, count))
        asked = None if labels is None else labels[some]
        *_, last = _arrays(generator, some.stop - first, seed + first, asked, how)
        made.append(_pictures(generator, last))
    return np.concatenate(made)


def steered(generator: Generator, labels: np.ndarray, push: guiding.Push, strength: float, *, seed: int) -> np.ndarray:
    """``sample`` of diffusion for classes, each step moved towards them by a classifier, uint8 (n, side, side, 3).

    Args:
        generator: with trained weights, that can be asked for classes.
        labels: int (n,), what is asked for.
        push: of a classifier (``guiding.towards``).
        strength: see ``guiding.steered``.
        seed: of the noise; the same as ``sample`` has for it.
    """
    plan, made = generator.recipe.generation, []
    assert plan is not None
    for first in range(0, len(labels), AT_ONCE):
        some = labels[first : first + AT_ONCE]
        noise = np.random.default_rng(seed + first).standard_normal((len(some), *generator.space.shape), np.float32)
        network = guiding.steered(_asked(generator, some, plan.guidance), plan.target, push, some, strength)
        schedule, bounds = NOISE_SCHEDULES[plan.schedule], generator.space.bounds
        made.append(
            _pictures(
                generator, diffusion.sample(network, noise, schedule, plan.steps, kind=plan.target, bounds=bounds)
            )
        )
    return np.concatenate(made)


def trail(
    generator: Generator, count: int, *, seed: int, labels: np.ndarray | None = None, **how: Unpack[How]
) -> Iterator[np.ndarray]:
    """Pictures, uint8, after each step of ``sample``, whose arguments it takes; at most AT_ONCE of them."""
    for arrays in _arrays(generator, count, seed, labels, how):
        yield _pictures(generator, arrays)


def noising(recipe: Recipe, picture: np.ndarray, seed: int) -> np.ndarray:
    """A picture on its way to noise in a recipe's process, ten or so levels of it.

    Args:
        recipe: the run.
        picture: float (side, side, 3) in [0, 1].
        seed: of the noise.

    Returns:
        float (levels, side, side, 3), the picture first; not cut to [0, 1].
    """
    plan, random = recipe.generation, np.random.default_rng(seed)
    assert plan is not None
    if plan.process == "hughes":
        return processes.hughes_levels(picture, random)[::2]
    if plan.process == "shen":
        return processes.shen_levels(picture, random, clamp=plan.clamp)
    signal, loud = NOISE_SCHEDULES[plan.schedule](np.linspace(0, 1, 11))
    noise = np.broadcast_to(random.standard_normal(picture.shape), (11, *picture.shape))
    pictures = np.broadcast_to(2 * picture - 1, noise.shape)
    return (diffusion.add_noise(pictures, noise, signal, loud) + 1) / 2


def strip(generator: Generator, rows: int, columns: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Some steps of the first pictures: their numbers from 1, and pictures, uint8 (rows, columns, side, side, 3)."""
    labels = None
    if len(generator.model.inputs) == 3:
        labels = np.linspace(0, len(generator.names) - 1, rows).round().astype(int)
    steps = list(trail(generator, rows, seed=seed, labels=labels))
    kept = np.unique(np.linspace(0, len(steps) - 1, columns).round().astype(int))
    return kept + 1, np.stack([steps[step] for step in kept], axis=1)


def between(generator: Generator, pairs: int, steps: int, *, seed: int) -> list[np.ndarray]:
    """Pictures of diffusion between two noises, along the arc that keeps their length (Song et al. 2021, eq. 67).

    Args:
        generator: with trained weights.
        pairs: of noises; each pair has one class.
        steps: pictures of each, the ends included.
        seed: of the noises.

    Returns:
        uint8 (steps, side, side, 3) a pair.
    """
    random, rows = np.random.default_rng(seed), []
    for label in random.integers(0, len(generator.names), pairs):
        first, last = random.standard_normal((2, *generator.space.shape), dtype=np.float32)
        angle = np.arccos(np.sum(first * last) / (np.linalg.norm(first) * np.linalg.norm(last)))
        shares = np.linspace(0, 1, steps)
        arc = np.stack([(np.sin((1 - s) * angle) * first + np.sin(s * angle) * last) / np.sin(angle) for s in shares])
        *_, last = _from_noise(generator, arc, np.full(steps, label), seed, {})
        rows.append(_pictures(generator, last))
    return rows


def _arrays(generator: Generator, count: int, seed: int, labels: np.ndarray | None, how: How) -> Iterator[np.ndarray]:
    """What a process has after each step, in its own space: only what is looked at has to become pictures."""
    plan = generator.recipe.generation
    assert plan is not None
    random = np.random.default_rng(seed)
    if labels is not None and len(generator.model.inputs) < 3:
        raise FlowerlibError(f"{generator.recipe.name} makes pictures of no class: its network is told none")
    if plan.process != "diffusion":
        yield from _level_by_level(generator, count, random, how.get("steps"), how.get("start", plan.start))
        return
    noise = random.standard_normal((count, *generator.space.shape), dtype=np.float32)
    if labels is None:
        labels = random.integers(0, len(generator.names), count)
    yield from _from_noise(generator, noise, labels, seed, how)


def _from_noise(
    generator: Generator, noise: np.ndarray, labels: np.ndarray, seed: int, how: How
) -> Iterator[np.ndarray]:
    plan = generator.recipe.generation
    assert plan is not None
    network = _asked(generator, labels, how.get("guidance", plan.guidance))
    yield from diffusion.trail(
        network,
        noise,
        NOISE_SCHEDULES[plan.schedule],
        how.get("steps") or plan.steps,
        kind=plan.target,
        eta=how.get("eta", 0.0),
        bounds=generator.space.bounds,
        seed=seed,
    )


def _asked(generator: Generator, labels: np.ndarray, guidance: float) -> diffusion.Network:
    """The network's answer for some classes, away from its answer for none."""
    model, none = generator.model, np.full((len(labels), 1), len(generator.names), np.int32)

    def network(noisy: np.ndarray, loud: float) -> np.ndarray:
        told = [noisy.astype(np.float32), np.full((len(noisy), 1), loud**2, np.float32)]
        if len(model.inputs) < 3:
            return np.asarray(model.predict_on_batch(told))
        said = np.asarray(model.predict_on_batch([*told, labels.astype(np.int32)[:, None]]))
        if not guidance:
            return said
        return (1 + guidance) * said - guidance * np.asarray(model.predict_on_batch([*told, none]))

    return network


def _level_by_level(
    generator: Generator, count: int, random: np.random.Generator, steps: int | None, start: str
) -> Iterator[np.ndarray]:
    """The reports' way: the network's answer is what it sees next."""
    plan, side = generator.recipe.generation, _side(generator)
    assert plan is not None
    most = usual_steps(plan)
    steps = steps or most
    if steps > max(most, plan.steps_watched or 0):
        raise FlowerlibError(f"{generator.recipe.name} cannot take {steps} steps: its process has {most} levels")
    if plan.process == "shen":
        noise = processes.start_noise(count, side, random, mean=0.5 if start == "mean 0.5" else 0.0)
    else:
        noise = processes.hughes_start(count, side, random, start)
    arrays = generator.space.into(noise)
    for step in range(steps):
        arrays = in_batches(generator.model, arrays)
        if not np.isfinite(arrays).all():
            raise FlowerlibError(f"sampling: the network's answer is not a number in step {step + 1}")
        yield arrays


def _side(generator: Generator) -> int:
    assert generator.recipe.data is not None
    return generator.recipe.data.size_px


def _pictures(generator: Generator, arrays: np.ndarray) -> np.ndarray:
    """uint8 (n, side, side, 3) of what a process has, at the photographs' contrast, cut to what a screen shows."""
    plan = generator.recipe.generation
    assert plan is not None
    values = 0.5 + (generator.space.out(arrays.astype(np.float32)) - 0.5) / plan.contrast
    result: np.ndarray = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return result
