"""A generator that is asked for kinds, and a classifier that steers it towards them."""

from collections.abc import Iterable
from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd

from flowerlib import data, enlarging, generated, guiding, networks, picture_features, sampling, scored, splits
from flowerlib.errors import FlowerlibError
from flowerlib.generated import Generator
from flowerlib.networks import Network
from flowerlib.schema import Recipe


@dataclass(frozen=True)
class Pair:
    """Who makes a picture, both trained.

    Attributes:
        generator: that can be asked for kinds.
        guide: the classifier that steers it.
        push: where the guide would move a picture, which it sees through the generator's enlarger.
    """

    generator: Generator
    guide: Network
    push: guiding.Push


def load(run: str, guide: str, profile: str) -> Pair:
    """A generator and a classifier, as their runs have trained them.

    Args:
        run: the generator's.
        guide: the classifier's.
        profile: in which both ran.

    Raises:
        FlowerlibError: one of them was not trained here, the generator is told no kinds, or the guide knows others.
    """
    generator = generated.load(run, profile)
    if len(generator.model.inputs) < 3:
        raise FlowerlibError(f"{run} makes pictures of no class: its network is told none")
    network = of_kinds(guide, generator)
    return Pair(generator, network, guiding.towards(network.model, _enlarger(generator.recipe)))


def of_kinds(run: str, generator: Generator) -> Network:
    """A classifier of the kinds that a generator is asked for.

    Raises:
        FlowerlibError: it was not trained here, or knows other kinds.
    """
    network = networks.load(run, generator.recipe.profile)
    if network.split.names != generator.names:
        raise FlowerlibError(f"{run} does not know the kinds that {generator.recipe.name} is asked for")
    return network


def _enlarger(recipe: Recipe) -> keras.Model | None:
    assert recipe.generation is not None and recipe.data is not None and recipe.budget is not None
    if recipe.generation.enlarger is None:
        return None
    dataset = data.load(recipe.data.name, recipe.data.size_px, recipe.data.resize)
    split = splits.make(recipe.data.split, recipe.data.labels, dataset.fine, dataset.sets, recipe.seed)
    plan = recipe.generation.enlarger.model_copy(update={"precision": recipe.budget.precision})
    return enlarging.fit_or_load(dataset, split, plan, noise=recipe.generation.enlarger_noise, seed=recipe.seed)


def pictures(pair: Pair, labels: np.ndarray, strength: float, *, seed: int) -> np.ndarray:
    """Pictures of some kinds, uint8 (n, side, side, 3); from the same noise whatever the strength.

    Args:
        pair: who makes them.
        labels: int (n,), what is asked for.
        strength: of the steering (``guiding.steered``); 0 leaves the generator alone.
        seed: of the noise.
    """
    if not strength:
        return sampling.sample(pair.generator, len(labels), seed=seed, labels=labels)
    return sampling.steered(pair.generator, labels, pair.push, strength, seed=seed)


def by_strength(
    pair: Pair, judge: Network, real: np.ndarray, strengths: Iterable[float], count: int, *, seed: int
) -> tuple[pd.DataFrame, dict[float, np.ndarray]]:
    """What steering does: how often judge and guide see what was asked for, and how far pictures are from photographs.

    Args:
        pair: who makes the pictures.
        judge: another classifier of the same kinds.
        real: features of the validation photographs.
        strengths: that are tried.
        count: of pictures for each, of all kinds.
        seed: of the noise.

    Returns:
        Columns strength, as asked, its low and high, by the guide, KID, its low and high, and the channels' shares,
        brightness and contrast; and the pictures.
    """
    labels, rows, made = scored.spread(len(pair.generator.names), count), [], {}
    for strength in strengths:
        made[strength] = pictures(pair, labels, strength, seed=seed)
        judged, guided = (scored.as_asked(each, made[strength], labels) for each in (judge, pair.guide))
        distance = scored.kid(picture_features.features(made[strength]), real)
        row = {"strength": strength, "as asked": judged.value, "its low": judged.low, "its high": judged.high}
        row |= {"by the guide": guided.value, "KID": distance.value, "low": distance.low, "high": distance.high}
        rows.append(row | scored.meter(made[strength]))
    return pd.DataFrame(rows), made
