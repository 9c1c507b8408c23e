"""The committed figures: do they still hold, and how does one run differ from another? No TensorFlow."""

import json
import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

from flowerlib import pipeline, recipes
from flowerlib.errors import FlowerlibError

PROFILE = "laptop"  # the only one that is published


@dataclass(frozen=True)
class Finding:
    """One committed run.

    Attributes:
        run: its name.
        stale: what changed since it was made, or what is wrong with its files; nothing while it holds.
    """

    run: str
    stale: str


def findings() -> list[Finding]:
    """Every committed run, in the profile's order, then folders that belong to none.

    Raises:
        FlowerlibError: a record that is not the run that its folder names, or of another profile.
    """
    listed = recipes.runs(PROFILE)
    folders = {path.parent.name for path in pipeline.PUBLISHED.glob("*/record.json")}
    found = [Finding(run, _stale(run)) for run in listed if run in folders]
    return found + [Finding(run, f"not in the {PROFILE} profile") for run in sorted(folders - set(listed))]


def records() -> list[dict[str, Any]]:
    """The committed records, in the profile's order."""
    places = [pipeline.PUBLISHED / run / "record.json" for run in recipes.runs(PROFILE)]
    return [json.loads(path.read_text(encoding="utf-8")) for path in places if path.exists()]


def shown() -> set[str]:
    """The figures that report.tex sets, "run/name": the only ones whose files are committed."""
    return set(re.findall(r"\\runfigure\*?\{([^}]+)\}", (pipeline.ROOT / "report.tex").read_text(encoding="utf-8")))


def _stale(run: str) -> str:
    """Why a committed run holds no longer."""
    folder = pipeline.PUBLISHED / run
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    if record["run"] != run:
        raise FlowerlibError(f"figures/{run} holds the run {record['run']}: two runs under one name, publish again")
    if record["profile"] != PROFILE:
        raise FlowerlibError(f"figures/{run} is of the {record['profile']} profile, not {PROFILE}: publish again")
    wanted = shown()
    files = [f"{name}.pdf" for name in record["figures"] if f"{run}/{name}" in wanted]
    files += [f"{name}.tex" for name in record["tables"]]
    missing = [name for name in files if not (folder / name).exists()]
    if missing:
        return f"{', '.join(missing)} not there"
    recipe = recipes.load(run, PROFILE)
    return pipeline.outdated(recipe, record, pipeline.missing_need(recipe), published=True)


def difference(one: str, other: str, profile: str) -> pd.DataFrame:
    """Two runs' numbers side by side.

    Args:
        one: a run, made or published.
        other: another.
        profile: of both.

    Returns:
        Columns number, one, other, difference and, for scores, whether their 95 % intervals overlap; a row a number
        that either has.

    Raises:
        FlowerlibError: a run that was not made.
    """
    numbers = [_numbers(run, profile) for run in (one, other)]
    rows = []
    for key in dict.fromkeys([*numbers[0], *numbers[1]]):
        first, second = (each.get(key) for each in numbers)
        row: dict[str, Any] = {"number": key, one: first and first["value"], other: second and second["value"]}
        both = first is not None and second is not None
        row["difference"] = second["value"] - first["value"] if first is not None and second is not None else None
        row["intervals"] = _overlap(first, second) if both else f"only {one if first else other}"
        rows.append(row)
    return pd.DataFrame(rows)


def _numbers(run: str, profile: str) -> dict[str, Any]:
    record = pipeline.record(recipes.load(run, profile))
    if record is None:
        raise FlowerlibError(f"{run} was not run: python -m flowerlib run '{run}' --profile {profile}")
    found: dict[str, Any] = record["results"]
    return found


def _overlap(first: Any, second: Any) -> str:
    if None in (first["low"], first["high"], second["low"], second["high"]):
        return ""
    return "overlap" if first["low"] <= second["high"] and second["low"] <= first["high"] else "apart"
