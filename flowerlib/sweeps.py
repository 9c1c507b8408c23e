"""The rows of a table that a report argues from: one training a row and seed, and what the differences are worth."""

from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd

from flowerlib import comparisons, data, metrics, recipes, splits, training
from flowerlib.comparisons import Difference
from flowerlib.metrics import Score
from flowerlib.models import summary
from flowerlib.schema import Recipe

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Outcome:
    """One training of a sweep.

    Attributes:
        row: of the table.
        seed: of the training.
        accuracy: part -> share of its pictures that were named right; of train, the mean over the last epoch's steps.
        balanced_accuracy: part -> mean class accuracy, without train.
        parameters: of the network.
        minutes: of the training.
        trained: what is stored beside its weights.
    """

    row: str
    seed: int
    accuracy: dict[str, float]
    balanced_accuracy: dict[str, float]
    parameters: int
    minutes: float
    trained: training.Trained


def outcomes(recipe: Recipe) -> list[Outcome]:
    """Train, or load, every row with every seed; seed by seed, so that a sweep that was cut short compares rows."""
    rows = recipes.rows(recipe)
    seeds = range(len(next(iter(rows.values()))))
    steps = [(row, rows[row][seed]) for seed in seeds for row in rows]
    return list(_run(steps))


def _run(steps: list[tuple[str, Recipe]]) -> Iterator[Outcome]:
    for number, (row, each) in enumerate(steps, 1):
        print(f"row {row}, seed {each.seed}: training {number} of {len(steps)}", flush=True)
        assert each.data is not None
        dataset = data.load(each.data.name, each.data.size_px, each.data.resize)
        split = splits.make(each.data.split, each.data.labels, dataset.fine, dataset.sets)
        keras.backend.clear_session()
        model = training.build(each, split, dataset)
        trained = training.fit_or_load(each, model, dataset, split)
        accuracy, balanced = {"train": trained.history["accuracy"][-1]}, {}
        for name in ("validation", "test"):
            part = split.parts()[name]
            predicted = training.predict(each, model, dataset, part).argmax(axis=1)
            accuracy[name] = metrics.accuracy(part.labels, predicted).value
            balanced[name] = metrics.balanced_accuracy(part.labels, predicted).value
        parameters = summary.parameters(model)[0]
        yield Outcome(row, each.seed, accuracy, balanced, parameters, trained.minutes, trained)


def scores(found: list[Outcome]) -> dict[str, Score]:
    """``<row>/<part>/accuracy`` -> mean over the seeds with Student's 95 % interval."""
    result: dict[str, Score] = {}
    for row in _rows(found):
        for part in PARTS:
            result[f"{row}/{part}/accuracy"] = comparisons.seeds_interval(_over_seeds(found, row, part))
    return result


def differences(found: list[Outcome], reference: str, part: str = "test") -> dict[str, Difference]:
    """Row -> its accuracy less the reference row's, seed by seed (paired t-test)."""
    base = _over_seeds(found, reference, part)
    return {
        row: comparisons.paired_seeds(_over_seeds(found, row, part), base) for row in _rows(found) if row != reference
    }


def difference_numbers(found: list[Outcome], reference: str) -> dict[str, Score]:
    """``<row>/test/difference`` and ``<row>/test/p_holm``, Holm's correction over all rows of the table."""
    pairs = differences(found, reference)
    adjusted = comparisons.holm([pair.p for pair in pairs.values()])
    result: dict[str, Score] = {}
    for (row, pair), p in zip(pairs.items(), adjusted.tolist(), strict=True):
        interval = f"{pair.test}, against {reference}"
        result[f"{row}/test/difference"] = Score(pair.value, pair.low, pair.high, pair.n, interval)
        result[f"{row}/test/p_holm"] = Score(p, p, p, pair.n, f"{interval}, Holm over {len(pairs)}", "")
    return result


def table(found: list[Outcome], reported: dict[str, dict[str, float]], reference: str) -> pd.DataFrame:
    """One row a setting: what the report has for it, what was measured, and whether its difference holds.

    Args:
        found: from ``outcomes``.
        reported: row -> part -> the report's accuracy; what it does not give is missing.
        reference: the row that the others are compared with.
    """
    measured, numbers = scores(found), difference_numbers(found, reference)
    pairs = differences(found, reference)
    rows = []
    for row in _rows(found):
        test, claim = measured[f"{row}/test/accuracy"], reported.get(row, {})
        first = next(each for each in found if each.row == row)
        line: dict[str, object] = {"row": row, "reported": claim.get("test"), "test": test.value}
        line |= {"low": test.low, "high": test.high, "validation": measured[f"{row}/validation/accuracy"].value}
        line |= {"train": measured[f"{row}/train/accuracy"].value, "parameters": first.parameters}
        line["minutes"] = sum(each.minutes for each in found if each.row == row)
        line["difference holds?"] = "compared with" if row == reference else ""
        if row in pairs and "test" in claim and "test" in reported.get(reference, {}):
            p = numbers[f"{row}/test/p_holm"].value
            line["difference holds?"] = comparisons.verdict(pairs[row], p, claim["test"] - reported[reference]["test"])
        rows.append(line)
    return pd.DataFrame(rows)


def first_steps(found: list[Outcome]) -> dict[str, np.ndarray]:
    """Row -> cross-entropy of each of the first steps, float (seeds, steps)."""
    return {row: np.array([each.trained.first_steps for each in found if each.row == row]) for row in _rows(found)}


def _rows(found: list[Outcome]) -> list[str]:
    return list(dict.fromkeys(each.row for each in found))


def _over_seeds(found: list[Outcome], row: str, part: str) -> np.ndarray:
    return np.array([each.accuracy[part] for each in sorted(found, key=lambda each: each.seed) if each.row == row])
