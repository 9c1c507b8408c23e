"""The rows of a table of heads: each trained on what a frozen network gives, with its answers on every part."""

from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd

from flowerlib import data, finetuning, metrics, recipes, splits
from flowerlib.checkpoints import Trained
from flowerlib.metrics import Score
from flowerlib.schema import Recipe


@dataclass(frozen=True)
class Answers:
    """One trained row.

    Attributes:
        row: of the table.
        seed: of the draw of the parts and of the training.
        trained: history and minutes.
        labels: part -> int (n,).
        probabilities: part -> float64 (n, classes), of the best epoch's weights.
    """

    row: str
    seed: int
    trained: Trained
    labels: dict[str, np.ndarray]
    probabilities: dict[str, np.ndarray]

    def predictions(self, part: str) -> np.ndarray:
        """int (n,): the most probable class of each picture of a part."""
        return self.probabilities[part].argmax(axis=1)


def answers(recipe: Recipe) -> list[Answers]:
    """Train, or load, every row of a sweep with every seed, and let each answer all parts.

    Args:
        recipe: has ``finetuning`` and ``sweep``; a seed draws the parts of the split "five" as well.
    """
    rows = recipes.rows(recipe)
    seeds = range(len(next(iter(rows.values()))))
    return list(_train([(row, rows[row][seed]) for seed in seeds for row in rows]))


def _train(steps: list[tuple[str, Recipe]]) -> Iterator[Answers]:
    for number, (row, each) in enumerate(steps, 1):
        print(f"row {row}, seed {each.seed}: training {number} of {len(steps)}", flush=True)
        assert each.data is not None
        dataset = data.load(each.data.name, each.data.size_px, each.data.resize)
        split = splits.make(each.data.split, each.data.labels, dataset.fine, dataset.sets, each.seed)
        keras.backend.clear_session()
        model = finetuning.build(each, split)
        stages = finetuning.fit_or_load(each, model, dataset, split)
        found = {
            name: metrics.softmax(finetuning.predict(each, model, stages[-1], dataset, part))
            for name, part in split.parts().items()
        }
        labels = {name: part.labels for name, part in split.parts().items()}
        yield Answers(row, each.seed, finetuning.whole(stages), labels, found)


def scores(found: list[Answers]) -> dict[str, Score]:
    """``<row>/<part>/<metric>`` of each row's first seed: accuracy and weighted F1, which Ash et al. 2022 report."""
    result: dict[str, Score] = {}
    for each in _first(found):
        for part, labels in each.labels.items():
            predicted = each.predictions(part)
            result[f"{each.row}/{part}/accuracy"] = metrics.accuracy(labels, predicted)
            result[f"{each.row}/{part}/weighted_f1"] = metrics.weighted_f1(labels, predicted)
    return result


def best_epochs(found: list[Answers]) -> dict[str, int]:
    """Row -> epoch (from 1) with the highest validation accuracy, whose weights were kept."""
    return {each.row: 1 + int(np.nanargmax(each.trained.history["val_accuracy"])) for each in _first(found)}


def table(found: list[Answers], reported: dict[str, float]) -> pd.DataFrame:
    """One line a row: what the report has, weighted F1 on the test part with its interval, and how it got there.

    Args:
        found: from ``answers``.
        reported: row -> the report's weighted F1; what it does not give is missing.
    """
    measured, best = scores(found), best_epochs(found)
    lines = []
    for each in _first(found):
        test, history = measured[f"{each.row}/test/weighted_f1"], each.trained.history
        line: dict[str, object] = {"run": each.row, "reported": reported.get(each.row), "weighted F1": test.value}
        line |= {"low": test.low, "high": test.high, "n": test.n}
        line |= {"train accuracy": measured[f"{each.row}/train/accuracy"].value, "best epoch": best[each.row]}
        line |= {"last validation loss": history["val_loss"][-1], "epochs": each.trained.epochs}
        lines.append(line | {"minutes": each.trained.minutes})
    return pd.DataFrame(lines)


def _first(found: list[Answers]) -> list[Answers]:
    """The first seed of every row."""
    return list({each.row: each for each in reversed(found)}.values())[::-1]
