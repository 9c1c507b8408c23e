"""Heads on the features of one network or of several side by side, their settings chosen on the validation parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from flowerlib import advice, heads, settings
from flowerlib.heads import Draw
from flowerlib.schema import HeadSweep
from flowerlib.style import require


@dataclass(frozen=True)
class Choice:
    """The setting of a sweep that the validation parts prefer, and what it is worth.

    Attributes:
        learning_rate: of SGD.
        momentum: of SGD.
        val_accuracy: mean over the draws, in [0, 1], by which it was chosen.
        weighted_f1: float64 (draws,) on the test parts.
    """

    learning_rate: float
    momentum: float
    val_accuracy: float
    weighted_f1: np.ndarray


def joined(sets: Sequence[np.ndarray]) -> np.ndarray:
    """Features side by side, each network's brought to one size, so that none speaks louder for its scale.

    Args:
        sets: float (photographs, ..., width) each, of the same photographs.

    Returns:
        float32 (photographs, ..., sum of widths); the mean square of a network's features is 1.
    """
    require(len({each.shape[:-1] for each in sets}) == 1, f"joined: features {[each.shape for each in sets]}")
    parts = [np.asarray(each, dtype=np.float32) for each in sets]
    return np.concatenate([each / np.sqrt(np.mean(each**2)) for each in parts], axis=-1)


def choose(draws: Sequence[Draw], plan: HeadSweep, epochs: int) -> Choice:
    """Train every setting on every draw and take the one with the highest mean accuracy on the validation parts.

    Args:
        draws: of the photographs.
        plan: the settings.
        epochs: of every head; each keeps its best.
    """
    found = heads.train(
        draws, *heads.grid(plan.learning_rates, plan.momenta), epochs=epochs, batch_size=plan.batch_size
    )
    means = found.val_accuracy.mean(axis=0)
    best = int(means.argmax())
    scores = settings.weighted_f1(found, draws)[:, best]
    return Choice(float(found.learning_rates[best]), float(found.momenta[best]), float(means[best]), scores)


def table(choices: Mapping[str, Choice], reference: str) -> pd.DataFrame:
    """A row a set: its setting, validation accuracy, weighted F1 over the draws, and the difference from a reference.

    Args:
        choices: name of the set -> from ``choose``.
        reference: the set that others are compared with, paired over the draws.
    """
    found = advice.table({name: each.weighted_f1 for name, each in choices.items()}, reference)
    found = found.rename(columns={"advice": "features"})
    found.insert(1, "rate", [each.learning_rate for each in choices.values()])
    found.insert(2, "momentum", [each.momentum for each in choices.values()])
    found.insert(3, "validation", [each.val_accuracy for each in choices.values()])
    return found
