"""A generator asked for kinds, a classifier that steers it, and another classifier that says what it sees."""

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
class Party:
    """Who takes part, all of them trained.

    Attributes:
        generator: makes the pictures.
        guide: the classifier that steers them.
        judge: the classifier that says whether they are of the kind.
        enlarger: of the generator, through which the guide looks; None where there is none.
    """

    generator: Generator
    guide: Network
    judge: Network
    enlarger: keras.Model | None


def load(recipe: Recipe) -> Party:
    """The runs that a recipe uses: a generator, a guide, a judge.

    Raises:
        FlowerlibError: one of them was not trained here, or they do not know the same kinds.
    """
    generator = generated.load(recipe.uses[0], recipe.profile)
    guide, judge = (networks.load(run, recipe.profile) for run in recipe.uses[1:3])
    for each in (guide, judge):
        if each.split.names != generator.names:
            raise FlowerlibError(f"{each.recipe.name} does not know the kinds that {recipe.uses[0]} is asked for")
    return Party(generator, guide, judge, _enlarger(generator.recipe))


def _enlarger(recipe: Recipe) -> keras.Model | None:
    assert recipe.generation is not None and recipe.data is not None and recipe.budget is not None
    if recipe.generation.enlarger is None:
        return None
    dataset = data.load(recipe.data.name, recipe.data.size_px, recipe.data.resize)
    split = splits.make(recipe.data.split, recipe.data.labels, dataset.fine, dataset.sets, recipe.seed)
    plan = recipe.generation.enlarger.model_copy(update={"precision": recipe.budget.precision})
    return enlarging.fit_or_load(dataset, split, plan, noise=recipe.generation.enlarger_noise, seed=recipe.seed)


def pictures(party: Party, labels: np.ndarray, strength: float, *, seed: int) -> np.ndarray:
    """Pictures of some kinds, uint8 (n, side, side, 3); from the same noise whatever the strength.

    Args:
        party: who takes part.
        labels: int (n,), what is asked for.
        strength: of the steering (``guiding.steered``); 0 leaves the generator alone.
        seed: of the noise.
    """
    if not strength:
        return sampling.sample(party.generator, len(labels), seed=seed, labels=labels)

    def push(some: np.ndarray) -> guiding.Push:
        return guiding.towards(party.guide.model, some, party.enlarger)

    return sampling.steered(party.generator, labels, push, strength, seed=seed)


def by_strength(
    party: Party, real: np.ndarray, strengths: Iterable[float], count: int, *, seed: int
) -> tuple[pd.DataFrame, dict[float, np.ndarray]]:
    """What steering does: how often judge and guide see what was asked for, and how far pictures are from photographs.

    Args:
        party: who takes part.
        real: features of the validation photographs.
        strengths: that are tried.
        count: of pictures for each, of all kinds.
        seed: of the noise.

    Returns:
        Columns strength, as asked, its low and high, by the guide, KID, its low and high, and the channels' shares,
        brightness and contrast; and the pictures.
    """
    labels, rows, made = scored.spread(len(party.generator.names), count), [], {}
    for strength in strengths:
        made[strength] = pictures(party, labels, strength, seed=seed)
        judged, guided = (scored.as_asked(each, made[strength], labels) for each in (party.judge, party.guide))
        distance = scored.kid(picture_features.features(made[strength]), real)
        row = {"strength": strength, "as asked": judged.value, "its low": judged.low, "its high": judged.high}
        row |= {"by the guide": guided.value, "KID": distance.value, "low": distance.low, "high": distance.high}
        rows.append(row | scored.meter(made[strength]))
    return pd.DataFrame(rows), made
