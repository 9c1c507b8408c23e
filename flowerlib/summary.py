"""Tables that compare runs, from the one list of numbers and the list of what the reports claim."""

import json
from typing import Any

import pandas as pd

from flowerlib import recipes
from flowerlib.pipeline import build_folder
from flowerlib.splits import DATA

METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "loss": "loss",
}
REPORTS = {"hughes": "Hughes", "cicalla": "Cicalla et al.", "ash": "Ash et al.", "qu": "Qu", "shen": "Shen"}


def read(profile: str) -> dict[str, Any]:
    """The merged results of a profile: ``<run>/<part>/<metric>`` -> value, low, high, n and where it comes from."""
    return json.loads((build_folder(profile) / "results.json").read_text(encoding="utf-8"))


def claims() -> pd.DataFrame:
    """Every number that the five reports claim (data/reported.csv); text columns are never missing."""
    frame = pd.read_csv(DATA / "reported.csv", dtype={"n": "Int64"})
    texts = ["run", "result", "slip", "headline", "what", "section", "part", "metric"]
    return frame.assign(**{column: frame[column].fillna("") for column in texts})


def reported_vs_reproduced(results: dict[str, Any], profile: str, *, headline: bool = True) -> pd.DataFrame:
    """One row for each number of the reports, with what this profile's runs give for it.

    Args:
        results: from ``read``.
        profile: whose runs they are.
        headline: only the headline numbers.

    Returns:
        Columns report, claim, reported, reproduced, low, high, n, note; no number where a run was not made.
    """
    frame = claims()
    rows = []
    for claim in frame[frame.headline == "yes"].itertuples() if headline else frame.itertuples():
        found = results.get(f"{claim.run}/{claim.result}")
        rows.append(
            {
                "report": REPORTS[claim.report],
                "claim": f"{claim.what} ({claim.section})",
                "reported": f"{claim.value:.{int(claim.decimals)}f}",
                "reproduced": found["value"] if found else None,
                "low": found["low"] if found else None,
                "high": found["high"] if found else None,
                "n": found["n"] if found else None,
                "note": _note(claim.run, profile) if found else "not yet",
            }
        )
    return pd.DataFrame(rows).astype({"n": "Int64"})


def _note(run: str, profile: str) -> str:
    """What was reduced, briefly."""
    return "; ".join(recipes.load(run, profile).reduced) or "nothing reduced"


def slips() -> pd.DataFrame:
    """Where a report's own text disagrees with itself: report, where, what."""
    frame = claims()
    frame = frame[frame.slip != ""].drop_duplicates(["report", "slip"])
    return pd.DataFrame(
        {
            "report": frame.report.map(REPORTS),
            "where": frame.section,
            "what does not fit": frame.slip,
        }
    )


def runs_compared(results: dict[str, Any], profile: str) -> pd.DataFrame:
    """One row a trained run: its scores on the test part, n, epochs and minutes of training."""
    rows = []
    for run in recipes.runs(profile):
        recipe = recipes.load(run, profile)
        if recipe.training is None or f"{run}/test/accuracy" not in results:
            continue
        row: dict[str, Any] = {"run": run}
        row |= {shown: results[f"{run}/test/{metric}"]["value"] for metric, shown in METRICS.items()}
        first = results[f"{run}/test/accuracy"]
        row |= {"n": first["n"], "epochs": recipe.training.epochs, "minutes": first["training_minutes"]}
        rows.append(row)
    return pd.DataFrame(rows)


def headline_scores(results: dict[str, Any], profile: str) -> pd.DataFrame:
    """What ``figures.scores_with_intervals`` draws: label, value, low, high and the report's own number."""
    frame = claims()
    frame = frame[(frame.headline == "yes") & frame.metric.isin(["accuracy", "balanced_accuracy"])]
    rows = []
    for claim in frame.itertuples():
        found = results.get(f"{claim.run}/{claim.result}")
        if found:
            label = f"{claim.run}, {claim.metric.replace('_', ' ')}"
            rows.append(
                {
                    "label": label,
                    **{key: found[key] for key in ("value", "low", "high")},
                    "reported": claim.value,
                }
            )
    return pd.DataFrame(rows)


def differences(results: dict[str, Any], pairs: dict[str, tuple[str, str]], metric: str) -> pd.DataFrame:
    """One row a question: the score of two runs and how they differ, where both were made.

    Args:
        results: from ``read``.
        pairs: question -> (run, other run).
        metric: such as "test/accuracy".
    """
    rows = []
    for question, (run, other) in pairs.items():
        one, two = results.get(f"{run}/{metric}"), results.get(f"{other}/{metric}")
        if one and two:
            rows.append(
                {
                    "question": question,
                    "run": run,
                    "score": one["value"],
                    "other run": other,
                    "its score": two["value"],
                    "intervals": "apart" if max(one["low"], two["low"]) > min(one["high"], two["high"]) else "overlap",
                }
            )
    return pd.DataFrame(rows, columns=["question", "run", "score", "other run", "its score", "intervals"])
