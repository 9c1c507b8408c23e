"""What a comparison of two runs is worth: paired tests on the same pictures, and the runs that answer one question."""

import json
from typing import Any

import numpy as np
import pandas as pd

from flowerlib import comparisons, metrics, recipes, summary
from flowerlib.comparisons import Difference
from flowerlib.pipeline import record_folder
from flowerlib.splits import DATA

AUDIT = {  # split -> the run of the one recipe of eight minutes on it
    "official": "ours-audit-official",
    "joint": "ours-audit-joint",
    "swapped": "ours-audit",
    "kaggle": "ours-audit-kaggle",
}
RACE = ("hughes-fine", "shen-fine", "qu-baseline-c", "ours-audit", "ours-quick", "ours-fine")
GOALS = {"Shen's 0.72": 0.72, "Hughes's 0.83": 0.83}  # the reports' scores on 102 kinds


def pairs() -> pd.DataFrame:
    """The comparisons of single runs (data/comparisons.csv): question, one, other, claimed difference of accuracy."""
    return pd.read_csv(DATA / "comparisons.csv").fillna({"report": "", "source": ""})


def answers(run: str, profile: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Labels and predictions, int (n,) each, of a run's test part; None where the run was not made."""
    path = record_folder(run, profile) / "record.json"
    if not path.exists():
        return None
    kept = json.loads(path.read_text(encoding="utf-8")).get("predictions", {}).get("test")
    return None if kept is None else (_numbers(kept["labels"]), _numbers(kept["predicted"]))


def _numbers(text: str) -> np.ndarray:
    return np.array(text.split(), dtype=np.int64)


def judged(profile: str) -> pd.DataFrame:
    """One row a question: both scores, their difference with interval, p after Holm's correction (text), a verdict.

    Two runs that answered the same pictures are compared picture by picture (McNemar); others as two samples. Holm's
    correction is over all rows.
    """
    rows, tests = [], []
    for pair in pairs().itertuples():
        one, other = answers(pair.one, profile), answers(pair.other, profile)
        if one is None or other is None:
            continue
        tests.append(_difference(one, other))
        accuracy = [float((labels == predicted).mean()) for labels, predicted in (one, other)]
        rows.append({"question": pair.question, "claimed": pair.claimed, "accuracy": accuracy})
    adjusted = comparisons.holm([each.p for each in tests])
    table = []
    for row, test, p in zip(rows, tests, adjusted.tolist(), strict=True):
        line = {"question": row["question"], "claimed": row["claimed"]}
        line |= {"first": row["accuracy"][0], "second": row["accuracy"][1], "difference": test.value}
        line |= {"low": test.low, "high": test.high, "p": said_p(p), "n": test.n}
        line["verdict"] = said(test, p, row["claimed"])
        table.append(line)
    columns = ["question", "claimed", "first", "second", "difference", "low", "high", "p", "n", "verdict"]
    return pd.DataFrame(table, columns=columns)


def imbalance(profile: str, key: str = "imbalance") -> pd.DataFrame:
    """What taking the classes' shares out of the loss does to accuracy and to mean class accuracy.

    Args:
        profile: whose runs they are.
        key: of the pair in data/comparisons.csv; both of its runs answered the same pictures.

    Returns:
        A row a score: with, without, their difference with its 95 % interval, n; empty where a run was not made.
    """
    [pair] = pairs().query("key == @key").itertuples()
    one, other = answers(pair.one, profile), answers(pair.other, profile)
    columns = ["score", "with", "without", "difference", "low", "high", "n"]
    if one is None or other is None:
        return pd.DataFrame(columns=columns)
    labels, both = one[0], (one[1], other[1])
    test = comparisons.mcnemar(labels, *both)
    spans = {"accuracy": (test.low, test.high), "balanced_accuracy": comparisons.bootstrap_difference(labels, *both)}
    rows = []
    for metric, span in spans.items():
        first, second = (getattr(metrics, metric)(labels, each).value for each in both)
        rows.append([metric.replace("_", " "), first, second, first - second, *span, len(labels)])
    return pd.DataFrame(rows, columns=columns)


def said(test: Difference, p: float, claimed: float) -> str:
    """The verdict on a claimed difference; without a claim, which of the two is better."""
    if np.isfinite(claimed):
        return comparisons.verdict(test, p, claimed)
    if not p < comparisons.ALPHA:
        return comparisons.UNKNOWN
    return "the first is better" if test.value > 0 else "the second is better"


def said_p(p: float) -> str:
    """A p-value to three decimals; none is 0. Empty where the test could not be made."""
    if np.isnan(p):
        return ""
    return f"{p:.3f}" if p >= 0.0005 else "< 0.001"


def _difference(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> Difference:
    if one[0].shape == other[0].shape and (one[0] == other[0]).all():
        return comparisons.mcnemar(one[0], one[1], other[1])
    return comparisons.unpaired(one[0] == one[1], other[0] == other[1])


def sweeps_judged(results: dict[str, Any], profile: str) -> pd.DataFrame:
    """One row for each row of a sweep: its difference from the sweep's reference row, as in its own table; p in text.

    Holm's correction is over the rows of each sweep, which is one table of a report.
    """
    rows = []
    for run in recipes.runs(profile):
        recipe = recipes.load(run, profile)
        for row in recipe.sweep.rows if recipe.sweep else ():
            found = results.get(f"{run}/{row}/test/difference")
            if found is None or recipe.sweep is None:
                continue
            claims, reference = summary.claimed_rows(run), recipe.sweep.reference
            known = "test" in claims.get(row, {}) and "test" in claims.get(reference, {})
            claimed = claims[row]["test"] - claims[reference]["test"] if known else np.nan
            p = results[f"{run}/{row}/test/p_holm"]["value"]
            value, low, high = (_or_nan(found[key]) for key in ("value", "low", "high"))
            test = Difference(value, low, high, _or_nan(p), found["n"], found["interval"])
            line = {"sweep": run, "row": row, "against": reference, "claimed": claimed, "difference": test.value}
            line |= {"low": test.low, "high": test.high, "p": said_p(test.p), "seeds": test.n}
            rows.append(line | {"verdict": said(test, test.p, claimed)})
    columns = ["sweep", "row", "against", "claimed", "difference", "low", "high", "p", "seeds", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def split_audit(results: dict[str, Any]) -> pd.DataFrame:
    """The same eight minutes on four splits: pictures in training and test, and both accuracies with intervals."""
    rows = []
    for split, run in AUDIT.items():
        if f"{run}/test/accuracy" not in results:
            continue
        score, balanced = (results[f"{run}/test/{metric}"] for metric in ("accuracy", "balanced_accuracy"))
        row = {"split": split, "training pictures": results[f"{run}/train/images"]["value"]}
        row |= {"test pictures": score["n"], "accuracy": score["value"], "low": score["low"], "high": score["high"]}
        row |= {"balanced": balanced["value"], "its low": balanced["low"], "its high": balanced["high"]}
        row["minutes"] = score["training_minutes"]
        rows.append(row)
    columns = ["split", "training pictures", "test pictures", "accuracy", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "balanced", "its low", "its high", "minutes"])


def race(profile: str) -> dict[str, pd.DataFrame]:
    """Run -> minutes of training and accuracy on the validation part after each epoch, from the runs' own histories."""
    found = {}
    for run in RACE:
        path = record_folder(run, profile) / "record.json"
        if run not in recipes.runs(profile) or not path.exists():
            continue
        history = json.loads(path.read_text(encoding="utf-8")).get("training", {}).get("history", {})
        if "val_accuracy" in history:
            found[run] = pd.DataFrame({"minutes": history["minutes"], "accuracy": history["val_accuracy"]})
    return found
