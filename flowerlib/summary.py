"""Tables that compare runs, from the one list of numbers and the list of what the reports claim."""

import json
import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

from flowerlib import recipes
from flowerlib.comparisons import T_INTERVAL, seeds_interval
from flowerlib.metrics import Score, slug
from flowerlib.pipeline import build_folder
from flowerlib.splits import DATA, fine_names

METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "loss": "loss",
}
KERAS_ALONE = {f"weights/{name}" for name in ("vgg16", "vgg19", "resnet50", "inception_v3")}  # no package has them
SENTENCES = re.compile(r"(?<=\.)\s+(?=[A-Z])")  # where one ends and the next begins
REPORTS = {"hughes": "Hughes", "cicalla": "Cicalla et al.", "ash": "Ash et al.", "qu": "Qu", "shen": "Shen"}


def read(profile: str) -> dict[str, Any]:
    """The merged results of a profile: ``<run>/<part>/<metric>`` -> value, low, high, n and where it comes from."""
    merged = json.loads((build_folder(profile) / "results.json").read_text(encoding="utf-8"))
    runs = {name: {**origin, "run": name} for name, origin in merged["runs"].items()}
    return {key: {**number, **runs[key.partition("/")[0]]} for key, number in merged["numbers"].items()}


def claims() -> pd.DataFrame:
    """Every number that the five reports claim (data/reported.csv); text columns are never missing."""
    frame = pd.read_csv(DATA / "reported.csv", dtype={"n": "Int64"})
    texts = ["run", "result", "slip", "headline", "what", "section", "part", "metric"]
    return frame.assign(**{column: frame[column].fillna("") for column in texts})


def reported_vs_reproduced(
    results: dict[str, Any], profile: str, *, headline: bool = True, runs: Iterable[str] | None = None
) -> pd.DataFrame:
    """One row for each number of the reports, with what this profile's runs give for it.

    Args:
        results: from ``read``.
        profile: whose runs they are.
        headline: only the headline numbers.
        runs: only what these runs measure.

    Returns:
        Columns report, claim, reported, reproduced, low, high, n, verdict, reduced; no number where a run was not made.
    """
    frame = claims()
    frame = frame[frame.headline == "yes"] if headline else frame
    frame = frame if runs is None else frame[frame.run.isin(list(runs))]
    rows = []
    for claim in frame.itertuples():
        found = results.get(f"{claim.run}/{claim.result}")
        n = found["n"] if found and found["interval"] not in ("counted", "exact") else None
        rows.append(
            {
                "report": REPORTS[claim.report],
                "claim": f"{claim.what}{_part(claim)} ({claim.section})",
                "reported": f"{claim.value:.{int(claim.decimals)}f}",
                "reproduced": _plain(found) if found else None,
                "low": found["low"] if found else None,
                "high": found["high"] if found else None,
                "n": n,
                "verdict": agreement(claim.value, int(claim.decimals), found) if found and n != 0 else "",
                "reduced": _note(claim.run, profile) if found else _reason(claim.run, claim.result, results),
            }
        )
    whole = pd.Series([row["reproduced"] for row in rows], dtype=object)  # a column of floats would lose its integers
    return pd.DataFrame(rows).assign(reproduced=whole).astype({"n": "Int64"})


def _part(claim: Any) -> str:
    """The part of the data that a number was measured on, where it is not the test part and its words do not say so."""
    words = {"train": "training", "validation": "validation"}
    word = words.get(claim.part, "")
    return f", {word} part" if word and word not in claim.what else ""


def _reason(run: str, result: str, results: dict[str, Any]) -> str:
    """Why there is no number: the run, or the one whose network it measures, wants weights that were not at hand."""
    made = {key.split("/")[0] for key in results}
    wanting = result.split("/")[0] if run in made else run
    known = wanting in recipes.names() and wanting not in made
    return "no ImageNet weights" if known and KERAS_ALONE & set(recipes.load(wanting, "full").needs) else "not yet"


def _plain(found: dict[str, Any]) -> float | int:
    """A counted value as a whole number, any other as it is."""
    return int(found["value"]) if found["interval"] == "counted" else found["value"]


def agreement(reported: float, decimals: int, found: dict[str, Any]) -> str:
    """Whether a report's number, as it was rounded, lies in the interval of ours.

    Args:
        reported: the number as printed.
        decimals: as printed; half a unit of the last one is allowed for.
        found: an entry of ``read``; one without an interval was counted and has to be equal.
    """
    half = 0.5 * 10**-decimals
    low = found["value"] if found["low"] is None else found["low"]
    high = found["value"] if found["high"] is None else found["high"]
    if low - half <= reported <= high + half:
        return "agrees"
    return "ours is lower" if high < reported else "ours is higher"


def claimed_rows(run: str) -> dict[str, dict[str, float]]:
    """What the reports claim for the rows of a sweep: row -> part -> accuracy."""
    found: dict[str, dict[str, float]] = {}
    for claim in claims().itertuples():
        if claim.run == run and claim.result.count("/") == 2 and claim.result.endswith("/accuracy"):
            row, part, _ = claim.result.split("/")
            found.setdefault(row, {})[part] = claim.value
    return found


def claimed(run: str, result: str) -> dict[str, float]:
    """What the reports claim for the rows of a run: row -> value, of results ``<row>/<result>``."""
    return {
        claim.result.removesuffix(f"/{result}"): claim.value
        for claim in claims().itertuples()
        if claim.run == run and claim.result.endswith(f"/{result}")
    }


def classification_claims(results: dict[str, Any], profile: str) -> pd.DataFrame:
    """Every number of the classification sections, as ``reported_vs_reproduced``; per class rows of table 5 apart."""
    return claims_of(results, profile, ("01_classification", "01b_ablation", "01c_groups"))


def claims_of(results: dict[str, Any], profile: str, notebooks: Iterable[str]) -> pd.DataFrame:
    """Every number, headline or not, that runs of some notebooks measure, as ``reported_vs_reproduced``.

    Args:
        results: from ``read``.
        profile: whose runs they are.
        notebooks: their names.
    """
    wanted = set(notebooks)
    runs = {run for run in recipes.names() if recipes.load(run, profile).notebook in wanted}
    return reported_vs_reproduced(results, profile, headline=False, runs=runs)


def table5(results: dict[str, Any], run: str = "hughes-fine") -> pd.DataFrame:
    """Hughes's table 5 beside a run's own: one row a class; recall with its interval, and whether the two agree."""
    reported = pd.read_csv(DATA / "reported_hughes_table5.csv")
    rows = []
    for row, name in zip(reported.itertuples(), fine_names(), strict=True):
        keys = {part: f"{run}/test/{slug(name)}/{part}" for part in ("precision", "recall", "f1")}
        if keys["recall"] not in results:
            return pd.DataFrame(
                columns=["class", "precision", "recall", "F1", "P", "R", "low", "high", "F", "recall agrees"]
            )
        found = {part: results[key] for part, key in keys.items()}
        recall = found["recall"]
        rows.append(
            {
                "class": row.name,
                **{"precision": row.precision, "recall": row.recall, "F1": row.f1},
                **{"P": found["precision"]["value"], "R": recall["value"]},
                **{"low": recall["low"], "high": recall["high"], "F": found["f1"]["value"]},
                "recall agrees": agreement(row.recall, 2, recall),
            }
        )
    return pd.DataFrame(rows)


def _note(run: str, profile: str) -> str:
    """What was reduced, briefly: epochs, steps and sizes; all of it stands in the run's own captions."""
    said = []
    for each in recipes.load(run, profile).reduced:
        what, _, rest = each.partition(" ")
        if what in ("epochs", "steps"):
            said.append(f"{rest} {what}")
        elif what == "size":
            said.append(f"px {rest}")
        elif what == "at" or each.endswith(("shown in all", " steps")):  # at most so many epochs; minutes for steps
            said.append(each.removesuffix(" in all"))
    return ", ".join(said) or "nothing"


def hard_labels(results: dict[str, Any], runs: Iterable[str], labels: Iterable[int] = (2, 31)) -> pd.DataFrame:
    """How hard the labels are that Shen found hardest (2025, section 2.6), counted from 0 and from 1.

    Args:
        results: from ``read``.
        runs: on the 102 kinds.
        labels: as the report prints them; it does not say where it counts from.

    Returns:
        Columns label, counted from, class, run, recall, low, high, n, rank (1 is the lowest recall of the 102).
    """
    rows = []
    for run in runs:
        keys = {name: f"{run}/test/{slug(name)}/recall" for name in fine_names()}
        known = {name: results[key] for name, key in keys.items() if key in results}
        for start, label in ((start, label) for start in (0, 1) for label in labels if known):
            name = fine_names()[label - start]
            found = known[name]
            rank = 1 + sum(other["value"] < found["value"] for other in known.values())
            row = {"label": label, "counted from": start, "class": name, "run": run, "recall": found["value"]}
            rows.append(row | {key: found[key] for key in ("low", "high", "n")} | {"rank": rank})
    columns = ["label", "counted from", "class", "run", "recall", "low", "high", "n", "rank"]
    return pd.DataFrame(rows, columns=columns)


def slips() -> pd.DataFrame:
    """Where a report's own text disagrees with itself, each once: report, where (of the first number), what."""
    frame = claims()
    frame = frame.assign(slip=frame.slip.str.split(SENTENCES)).explode("slip")
    frame = frame[frame.slip != ""].drop_duplicates(["report", "slip"])
    found = {"report": frame.report.map(REPORTS), "where": frame.section, "what does not fit": frame.slip}
    return pd.DataFrame(found).reset_index(drop=True)


def runs_compared(results: dict[str, Any], profile: str) -> pd.DataFrame:
    """One row a trained run: its scores on the test part, n, and cost: parameters, GFLOP a picture, minutes."""
    rows = []
    for run in recipes.runs(profile):
        recipe = recipes.load(run, profile)
        if recipe.training is None or f"{run}/test/accuracy" not in results:
            continue
        row: dict[str, Any] = {"run": run}
        row |= {shown: results[f"{run}/test/{metric}"]["value"] for metric, shown in METRICS.items()}
        first = results[f"{run}/test/accuracy"]
        row |= {"n": first["n"], "parameters": results[f"{run}/train/parameters"]["value"]}
        row |= {"GFLOP": results[f"{run}/train/gflops"]["value"], "minutes": first["training_minutes"]}
        rows.append(row)
    return pd.DataFrame(rows)


def over_seeds(results: dict[str, Any], profile: str, metric: str = "test/accuracy") -> pd.DataFrame:
    """One row a recipe that was run with several seeds: mean score with Student's 95 % interval, lowest and highest."""
    found: dict[str, list[float]] = {}
    for run in recipes.runs(profile):
        name, changes = recipes.parse(run)
        if set(changes) <= {"seed"} and f"{run}/{metric}" in results:
            found.setdefault(name, []).append(results[f"{run}/{metric}"]["value"])
    rows = []
    for name, values in found.items():
        if len(values) > 1:
            score = seeds_interval(values)
            row = {"run": name, "seeds": len(values), "mean": score.value, "low": score.low, "high": score.high}
            rows.append(row | {"lowest seed": min(values), "highest seed": max(values)})
    return pd.DataFrame(rows, columns=["run", "seeds", "mean", "low", "high", "lowest seed", "highest seed"])


def seed_means(results: dict[str, Any], profile: str, metric: str = "test/accuracy") -> dict[str, Score]:
    """Means of ``over_seeds`` as numbers: ``<recipe>/<metric>_over_seeds``, n being the seeds."""
    table = over_seeds(results, profile, metric)
    return {
        f"{row.run}/{metric}_over_seeds": Score(row.mean, row.low, row.high, row.seeds, T_INTERVAL)
        for row in table.itertuples()
    }


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
