"""Fine-tuned networks beside the reports' own rows: Cicalla's table 1 and Qu's table 4.2."""

from typing import Any

import pandas as pd

from flowerlib import recipes, summary
from flowerlib.schema import Recipe

ABSENT = "not run here"
CONTEXT = (  # Qu 2018, table 4.3: others' top-1 accuracy on the same photographs, as printed there
    ("SVM + kNN", 2009, 0.763),
    ("SVM + bag of words", 2011, 0.814),
    ("CNN + SVM", 2014, 0.868),
    ("Bayesian", 2016, 0.945),
    ("CNN with selective joint fine-tuning", 2017, 0.958),
    ("Qu", 2018, 0.904),
)


def _recipes(report: str, profile: str) -> list[Recipe]:
    """The recipes of a report that fine-tune, in the order of their file."""
    found = [recipes.load(name, profile) for name in recipes.names()]
    return [each for each in found if each.report == report and each.notebook == "02_fine_tuning"]


def _claims() -> dict[tuple[str, str], float]:
    """(run, result) -> what a report's table has for it; its prose rounds."""
    claims = summary.claims()
    tables = claims[claims.key.str.contains("/table")]
    return {(claim.run, claim.result): claim.value for claim in tables.itertuples() if claim.run}


def before_and_after(results: dict[str, Any], profile: str) -> pd.DataFrame:
    """Cicalla's table 1: loss and accuracy on the test part before and after layers are unfrozen.

    Args:
        results: from ``summary.read``.
        profile: whose runs they are.

    Returns:
        Two rows a recipe, the report's numbers beside ours; ours are missing where a run was not made, which the note
        says.
    """
    claims, rows = _claims(), []
    for recipe in _recipes("cicalla", profile):
        assert recipe.model is not None and recipe.finetuning is not None
        unfrozen = f"{recipe.finetuning.phases[-1].unfreeze} layers unfrozen"
        for phase, start in (("head alone", "head/"), (unfrozen, "")):
            loss, accuracy = (results.get(f"{recipe.name}/{start}test/{metric}") for metric in ("loss", "accuracy"))
            row: dict[str, Any] = {"run": recipe.name, "phase": phase}
            row["loss, reported"] = claims.get((recipe.name, f"{start}test/loss"))
            row["loss"] = loss["value"] if loss else None
            row["accuracy, reported"] = claims.get((recipe.name, f"{start}test/accuracy"))
            row["accuracy"] = accuracy["value"] if accuracy else None
            row |= {key: accuracy[key] if accuracy else None for key in ("low", "high")}
            rows.append(row | {"note": "" if accuracy else ABSENT})
    frame = pd.DataFrame(rows)
    return frame.astype(dict.fromkeys(frame.columns.difference(["run", "phase", "note"]), "float64"))


def two_steps(results: dict[str, Any], profile: str) -> pd.DataFrame:
    """Qu's table 4.2: mean class accuracy of networks of which all layers were trained, by training photographs.

    Args:
        results: from ``summary.read``.
        profile: whose runs they are.

    Returns:
        A row a recipe, as ``before_and_after``.
    """
    claims, rows = _claims(), []
    for recipe in _recipes("qu", profile):
        assert recipe.model is not None and recipe.data is not None
        found = results.get(f"{recipe.name}/test/balanced_accuracy")
        row: dict[str, Any] = {"run": recipe.name}
        row["training photographs"] = 6149 if recipe.data.split == "swapped" else 1020
        row["reported"] = claims.get((recipe.name, "test/balanced_accuracy"))
        row |= {key: found[key] if found else None for key in ("value", "low", "high")}
        row["minutes"] = found["training_minutes"] if found else None
        rows.append(row | {"note": "" if found else ABSENT})
    frame = pd.DataFrame(rows).rename(columns={"value": "balanced accuracy"})
    return frame.astype(dict.fromkeys(["reported", "balanced accuracy", "low", "high", "minutes"], "float64"))


def preprocessing(results: dict[str, Any]) -> pd.DataFrame:
    """Does forgotten preprocessing explain the scores of Ash et al. 2022? Weighted F1 with it and without.

    Args:
        results: from ``summary.read``.

    Returns:
        A row a model of the report: as reported, then for either head what the runs give, NaN where one was not made.
    """
    reported, rows = summary.claimed("ash-runs", "test/weighted_f1"), []
    for model, value in reported.items():
        row: dict[str, Any] = {"model": model, "reported": value}
        for head, run in (("hidden layer", "ash-runs"), ("single layer", "ash-runs-single")):
            for pixels, name in (("scaled", run), ("0 to 255", f"{run}-raw")):
                found = results.get(f"{name}/{model}/test/weighted_f1")
                row[f"{head}, {pixels}"] = found["value"] if found else None
                row["n"] = found["n"] if found else row.get("n")
        rows.append(row)
    frame = pd.DataFrame(rows)
    return frame.astype(dict.fromkeys(frame.columns.difference(["model", "n"]), "float64"))


def context() -> pd.DataFrame:
    """Qu's table 4.3, as printed: what others reached on the same photographs, on splits that it does not name."""
    return pd.DataFrame(CONTEXT, columns=["method", "year", "top-1 accuracy, as printed"])
