"""Scores of a generator's pictures that need no eye: against photographs, step by step, minute by minute."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from flowerlib import (
    checkpoints,
    generated,
    generation,
    maps,
    metrics,
    neighbors,
    picture_features,
    processes,
    sampling,
    splits,
)
from flowerlib.budget import Mark
from flowerlib.data import Dataset
from flowerlib.generated import AT_ONCE, Generator
from flowerlib.metrics import Score
from flowerlib.models import summary
from flowerlib.networks import Network
from flowerlib.splits import Split

SEED = 20_000  # of the samples that are scored; other than any training's
COPY_PX = 16  # the side at which copies are looked for: what a generator blurs is gone in both


@dataclass(frozen=True)
class Reference:
    """Features of the photographs that pictures are compared with, float32 (n, 1280) each.

    Attributes:
        train: what generators learn from, of the swapped split.
        validation: for choices, and on the way.
        test: for the last word.
        indices: of the training photographs, int (n,).
        unseen: indices of the test photographs, int (n,).
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    indices: np.ndarray
    unseen: np.ndarray


def reference(dataset: Dataset, most: int | None = None) -> Reference:
    """The photographs of the swapped split, the same for every generator, whatever it learned from.

    Args:
        dataset: the pictures; those of another side pass the same 64 px.
        most: of each part at most, of all kinds; all by default.
    """
    split = splits.make("swapped", "fine", dataset.fine, dataset.sets)
    some = {name: evenly(part.indices, min(len(part), most or len(part))) for name, part in split.parts().items()}
    features = {
        name: picture_features.of_photographs(np.stack([dataset.images[index] for index in indices]))
        for name, indices in some.items()
    }
    return Reference(**features, indices=some["train"], unseen=some["test"])


def kid(features: np.ndarray, real: np.ndarray) -> Score:
    """KID of pictures' features against photographs', as many of both; of more photographs, some of every kind."""
    count = min(len(features), len(real))
    return generation.kid(features[:count], evenly(real, count))


def evenly(real: np.ndarray, count: int) -> np.ndarray:
    """So many of some photographs, from first to last at equal steps: they lie kind by kind."""
    return real[np.linspace(0, len(real) - 1, count).round().astype(int)]


def by_minutes(
    generator: Generator, marks: list[Mark], real: np.ndarray, count: int
) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """KID at each mark, of pictures from the same noise; the last mark's weights stay.

    Args:
        generator: whose network it is.
        marks: on its way.
        real: features of the validation photographs.
        count: of pictures that are made at the last mark; a quarter of it at those before.

    Returns:
        Columns minutes, value, low, high, pictures, and each mark's pictures, uint8 (n, side, side, 3).
    """
    rows, made = [], []
    for mark in marks:
        checkpoints.weights(generator.model).load_weights(mark.weights)
        made.append(sampling.sample(generator, count if mark is marks[-1] else max(4, count // 4), seed=SEED))
        found = kid(picture_features.features(made[-1]), real)
        row = {"minutes": mark.minutes, "value": found.value, "low": found.low, "high": found.high}
        rows.append(row | {"pictures": len(made[-1])})
    return pd.DataFrame(rows), made


def by_step(generator: Generator, real: np.ndarray, steps: int, count: int) -> pd.DataFrame:
    """One row a step of the process: KID, share of each channel, contrast.

    Args:
        generator: with trained weights.
        real: features of the validation photographs.
        steps: that are taken; a process of levels may go beyond those that it learned.
        count: of pictures, as many at each step.
    """
    made: list[list[np.ndarray]] = [[] for _ in range(steps)]
    for start in range(0, count, AT_ONCE):
        some = min(AT_ONCE, count - start)
        for step, pictures in enumerate(sampling.trail(generator, some, seed=SEED + start, steps=steps)):
            made[step].append(pictures)
    rows = []
    for step, parts in enumerate(made, 1):
        pictures = np.concatenate(parts)
        found = kid(picture_features.features(pictures), real)
        rows.append({"step": step, "KID": found.value, "low": found.low, "high": found.high} | meter(pictures))
    return pd.DataFrame(rows)


def by_start(generator: Generator, real: np.ndarray, count: int) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """What a process of levels may begin with: a row a kind of noise, and its pictures.

    Args:
        generator: of Hughes's or Shen's process.
        real: features of the validation photographs.
        count: of pictures for each.
    """
    plan = generator.recipe.generation
    assert plan is not None
    rows, made = [], {}
    for start in {"hughes": ("uniform", "matched", "structured"), "shen": ("mean 0", "mean 0.5")}[plan.process]:
        made[start] = sampling.sample(generator, count, seed=SEED, start=start)
        found = kid(picture_features.features(made[start]), real)
        rows.append({"noise": start, "KID": found.value, "low": found.low, "high": found.high} | meter(made[start]))
    return pd.DataFrame(rows), made


def table(scores: dict[str, Score]) -> pd.DataFrame:
    """One row a score, with its interval and n."""
    rows = [{"score": name, "value": each.value, "low": each.low, "high": each.high} for name, each in scores.items()]
    return pd.DataFrame(rows).assign(n=[each.n for each in scores.values()])


def meter(pictures: np.ndarray) -> dict[str, float]:
    """Share of red, green and blue in the sum of all values, brightness and contrast of uint8 pictures."""
    values = pictures.astype(np.float32) / 255
    if not values.any():
        return {"red": np.nan, "green": np.nan, "blue": np.nan, "brightness": 0.0, "contrast": 0.0}
    red, green, blue = processes.channel_means(values)
    brightness, contrast = float(values.mean()), processes.contrast(values)
    return {"red": red, "green": green, "blue": blue, "brightness": brightness, "contrast": contrast}


def training(generator: Generator, steps: float, dataset: Dataset, split: Split) -> dict[str, float]:
    """What the reports say of a training: parameters in millions, epochs, and each channel's share in its photographs.

    Args:
        generator: that was trained.
        steps: that it took.
        dataset: the pictures.
        split: its parts; a thousand photographs of the training part are looked at.
    """
    some = evenly(split.train.indices, min(len(split.train), 1000))
    shares = meter(np.stack([dataset.images[index] for index in some]))
    said = {
        "parameters_millions": summary.parameters(generator.model)[0] / 1e6,
        "epochs": generated.epochs(generator, split, steps),
    } | {f"{name}_share": shares[name] for name in ("red", "green", "blue")}
    return {f"train/{name}": value for name, value in said.items()}


def scores(features: np.ndarray, real: Reference) -> dict[str, Score]:
    """KID against the test photographs, precision and recall of the manifold, and the share that is memorized.

    Args:
        features: of the pictures, float (n, 1280).
        real: of the photographs.
    """
    count = min(len(features), len(real.test))
    return {
        "kid": kid(features, real.test),
        **generation.precision_recall(features[:count], evenly(real.test, count)),
        "memorized": _share(generation.memorized(features, real.train, real.test)),
    }


def copied(pictures: np.ndarray, dataset: Dataset, real: Reference) -> Score:
    """Share of pictures that are one training photograph, blurred, pale or mirrored: compared at COPY_PX.

    Each picture is brought to mean 0 and deviation 1 first: a pale copy would be far from every photograph.

    Args:
        pictures: uint8 (n, side, side, 3).
        dataset: of the photographs.
        real: which of them a generator learns from, and which not.
    """
    seen, unseen = (_pixels([dataset.images[index] for index in part]) for part in (real.indices, real.unseen))
    either = np.concatenate([seen, seen[:, :, ::-1]])
    made, either, unseen = (each.reshape(len(each), -1) for each in (_pixels(pictures), either, unseen))
    return _share(generation.copied(made, either, unseen))


def _share(flagged: np.ndarray) -> Score:
    low, high = metrics.wilson(int(flagged.sum()), len(flagged))
    return Score(float(flagged.mean()), low, high, len(flagged), "Wilson, pictures")


def _pixels(pictures: Iterable[np.ndarray]) -> np.ndarray:
    """Pictures in COPY_PX, float32 (n, COPY_PX, COPY_PX, 3), each of mean 0 and deviation 1; one of one value is 0."""
    small = np.stack([picture_features.resized(each, COPY_PX) for each in pictures]).astype(np.float32)
    small -= small.mean(axis=(1, 2, 3), keepdims=True)
    return small / np.maximum(small.std(axis=(1, 2, 3), keepdims=True), 1)


def as_asked(network: Network, pictures: np.ndarray, labels: np.ndarray) -> Score:
    """Share of pictures that a classifier of the bundle calls what was asked for.

    Args:
        network: its classes are those that were asked for.
        pictures: uint8 (n, side, side, 3); they pass 64 px, as photographs do beside them.
        labels: int (n,), what was asked for.
    """
    side = network.model.inputs[0].shape[1] or picture_features.SEEN_PX
    seen = np.stack(
        [
            picture_features.resized(picture_features.resized(each, picture_features.PASSED_PX), side)
            for each in pictures
        ]
    )
    return metrics.accuracy(labels, maps.probabilities(network.model, seen).argmax(axis=1))


def guided(
    generator: Generator, network: Network, real: np.ndarray, guidances: Iterable[float], count: int
) -> pd.DataFrame:
    """One row a guidance: KID against photographs, and the share of pictures that are called what was asked for.

    Args:
        generator: that can be asked for classes.
        network: that calls them.
        real: features of the validation photographs.
        guidances: that are tried.
        count: of pictures for each.
    """
    labels = spread(len(generator.names), count)
    rows = []
    for guidance in guidances:
        pictures = sampling.sample(generator, count, seed=SEED, labels=labels, guidance=guidance)
        distance, asked = kid(picture_features.features(pictures), real), as_asked(network, pictures, labels)
        row = {"guidance": guidance, "KID": distance.value, "low": distance.low, "high": distance.high}
        rows.append(row | {"as asked": asked.value, "n": count} | meter(pictures))
    return pd.DataFrame(rows)


def nearest(features: np.ndarray, train: np.ndarray, count: int, test: np.ndarray) -> pd.DataFrame:
    """The pictures that are nearest to a training photograph.

    Args:
        features: of the pictures.
        train: of the training photographs.
        count: how many pictures.
        test: of photographs that no generator learned from.

    Returns:
        Columns picture, photograph (places in both) and share, of the test photographs that lie as near to a training
        photograph; the nearest first.
    """
    among = neighbors.index(train)
    found, far = neighbors.nearest(among, features, 1)
    usual = np.sort(neighbors.nearest(among, test, 1)[1][:, 0])
    first = far[:, 0].argsort(kind="stable")[:count]
    shares = np.searchsorted(usual, far[first, 0], side="right") / len(usual)
    return pd.DataFrame({"picture": first, "photograph": found[first, 0], "share": shares})


def spread(classes: int, count: int) -> np.ndarray:
    """Classes to ask for, int (count,), each as often as the others or once more."""
    return np.sort(np.arange(count) * classes // count) if count < classes else np.arange(count) % classes
