"""Which test photographs are explained: right and wrong answers in turn."""

from dataclasses import dataclass

import numpy as np

from flowerlib import finetuning
from flowerlib.networks import Network
from flowerlib.splits import Part

ASKED = 64  # photographs at a time, until enough answers are wrong: more would need more memory than all else


@dataclass(frozen=True)
class Asked:
    """Test photographs that were chosen by what the network said of them, a right and a wrong answer in turn.

    Attributes:
        indices: int64 (n,), positions in the data set.
        labels: int64 (n,), their classes.
        predicted: int64 (n,), what the network named.
        count: how many photographs it was asked for that.
    """

    indices: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    count: int

    def counts(self) -> dict[str, int]:
        """Photographs asked, chosen, and chosen ones that were answered wrongly, as ``results.counts`` wants them."""
        wrong = int((self.predicted != self.labels).sum())
        return {"test/asked": self.count, "test/photographs": len(self.indices), "test/wrong": wrong}


def chosen(labels: np.ndarray, predicted: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Positions of photographs, a right and a wrong answer in turn, drawn at random; int64 (count or fewer,).

    Args:
        labels: int (n,).
        predicted: int (n,).
        count: how many.
        seed: of the draw.
    """
    random = np.random.default_rng(seed)
    right, wrong = (random.permutation(np.flatnonzero(each)) for each in (labels == predicted, labels != predicted))
    half = min(len(right), len(wrong))
    mixed = np.stack([right[:half], wrong[:half]], axis=1).ravel()
    return np.concatenate([mixed, right[half:], wrong[half:]])[:count]


def asked(network: Network, count: int, seed: int = 0) -> Asked:
    """Test photographs, a right and a wrong answer in turn, drawn at random until there are enough of both.

    Not the whole test part, unless its features are kept anyway: its thousands of pictures would be most of what the
    process holds.

    Args:
        network: whose answers they are.
        count: of photographs.
        seed: of the draw.
    """
    test, half = network.split.test, -(-count // 2)
    kept = network.stages and network.stages[-1].name != finetuning.ALL_LAYERS  # what it stands on, of every photograph
    at_once = len(test) if kept else ASKED
    order, predicted = np.random.default_rng(seed).permutation(len(test)), np.empty(0, np.int64)
    right = np.empty(0, bool)
    while len(predicted) < len(test) and min(right.sum(), (~right).sum()) < half:
        some = np.sort(order[len(predicted) : len(predicted) + at_once])
        order[len(predicted) : len(predicted) + at_once] = some
        answers = network.probabilities(Part(test.indices[some], test.labels[some])).argmax(axis=1)
        predicted = np.concatenate([predicted, answers])
        right = predicted == test.labels[order[: len(predicted)]]
    known = order[: len(predicted)]
    places = chosen(test.labels[known], predicted, count, seed)
    return Asked(test.indices[known[places]], test.labels[known[places]], predicted[places], len(predicted))
