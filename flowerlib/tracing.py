"""The one list of numbers, and where each comes from. No TensorFlow."""

import difflib
import json
from functools import partial
from pathlib import Path
from typing import Any

from flowerlib import pipeline, recipes
from flowerlib.errors import FlowerlibError

CLOSE = 3  # keys that are named for one that is unknown


def merge(profile: str, path: Path) -> None:
    """Write the one list of numbers from the records of every run but those that compare runs.

    Two objects: ``numbers``, a line a number under ``<run>/...``, and ``runs``, where each run's numbers come from.
    """
    numbers: dict[str, Any] = {}
    runs: dict[str, Any] = {}
    for name in recipes.runs(profile):
        recipe = recipes.load(name, profile)
        record = pipeline.record_as(recipe, False)
        if record is not None and recipe.uses != ("*",):
            runs[name] = _origin(record)
            numbers |= {f"{name}/{key}": value for key, value in record["results"].items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.json")
    part.write_text(f'{{"numbers": {_a_line_each(numbers)},\n"runs": {_a_line_each(runs)}}}\n', encoding="utf-8")
    part.replace(path)


def _a_line_each(entries: dict[str, Any]) -> str:
    compact = partial(json.dumps, sort_keys=True, separators=(",", ":"))
    lines = [f"{json.dumps(key)}: {compact(entries[key])}" for key in sorted(entries)]
    return "{\n" + ",\n".join(lines) + "\n}"


def entries(record: dict[str, Any]) -> dict[str, Any]:
    """A record's numbers under ``<run>/<part>/<metric>``, each with where it comes from."""
    origin = _origin(record) | {"run": record["run"]}
    return {f"{record['run']}/{key}": {**value, **origin} for key, value in record["results"].items()}


def _origin(record: dict[str, Any]) -> dict[str, Any]:
    """Where all numbers of a run come from."""
    facts, training = record["facts"], record.get("training") or {}
    return {
        "profile": record["profile"],
        "seed": facts["seed"],
        "notebook": facts["notebook"],
        "data": facts["data"],
        "digest": record["digest"],
        "commit": facts["commit"],
        "training_minutes": training.get("minutes"),
        "training_machine": training.get("machine"),
        "training_date": training.get("date"),
        "machine": facts["machine"],
        "libraries": facts["libraries"],
    }


def _minutes(record: dict[str, Any]) -> dict[str, Any]:
    """The minutes of a run's training as the report prints them, from the cell that counted its epochs or steps."""
    if "training" not in record:
        return {}
    counted = record["results"].get("train/epochs") or record["results"].get("train/steps") or {}
    entry = {"value": record["training"]["minutes"], "low": None, "high": None, "n": 1, "interval": "measured once"}
    entry |= {"unit": "min", "cell": counted.get("cell")}
    return {f"{record['run']}/train/minutes": {**entry, **_origin(record), "run": record["run"]}}


def trace(key: str, profile: str) -> dict[str, Any]:
    """Where a number comes from: recipe, notebook and cell, seed, data checksum, digest, commit.

    Raises:
        FlowerlibError: no run of the profile exported that key.
    """
    name = key.split("/")[0]
    if name not in recipes.runs(profile):
        raise FlowerlibError(f"no run '{name}' in profile {profile}: one of {', '.join(recipes.runs(profile))}")
    recipe = recipes.load(name, profile)
    made = pipeline.record(recipe)
    if made is None:
        raise FlowerlibError(f"{name} was not run: python -m flowerlib run {name} --profile {profile}")
    found = entries(made) | _minutes(made)
    if key not in found:
        close = difflib.get_close_matches(key, found, CLOSE, 0)
        raise FlowerlibError(
            f"unknown result '{key}': of the {len(found)} of {name} the closest are {', '.join(close)}"
        )
    return found[key]
