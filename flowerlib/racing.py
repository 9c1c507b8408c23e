"""Generators beside one another after as many minutes, from what their runs have recorded."""

import json
from collections.abc import Mapping

import pandas as pd

from flowerlib import recipes
from flowerlib.errors import FlowerlibError
from flowerlib.pipeline import record_folder


def of_record(run: str, profile: str) -> pd.DataFrame:
    """What ``scored.by_minutes`` gave for a run that is done, from its record; its enlarger's minutes count.

    Args:
        run: a generator's.
        profile: in which it ran.

    Raises:
        FlowerlibError: a run without such a record.
    """
    path = record_folder(run, profile) / "record.json"
    tables = json.loads(path.read_text(encoding="utf-8"))["tables"] if path.exists() else {}
    if "kid_by_minutes" not in tables:
        raise FlowerlibError(f"{run} has no KID by minutes: python -m flowerlib run '{run}' --profile {profile}")
    found = pd.DataFrame(tables["kid_by_minutes"]["rows"], columns=tables["kid_by_minutes"]["columns"])
    plan = recipes.load(run, profile).generation
    enlarger = plan.enlarger if plan else None
    return found.assign(minutes=found["minutes"] + (enlarger.minutes or 0.0 if enlarger else 0.0))


def arms(tables: Mapping[str, pd.DataFrame]) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Racers, which have several marks, and what departs from them and has one, beside them after as many minutes.

    Args:
        tables: run -> ``of_record``; an arm's name begins with its racer's.

    Returns:
        The racers' tables, and columns run, minutes, KID, low, high, racer, its minutes, its KID, its low, its high.
    """
    racers, rows = {name: table for name, table in tables.items() if len(table) > 1}, []
    for name, table in tables.items():
        if name in racers:
            continue
        racer = max((each for each in racers if name.startswith(each)), key=len)
        [mine], marks = table.to_dict("records"), racers[racer]
        its = marks.iloc[(marks["minutes"] - mine["minutes"]).abs().argmin()]
        row = {"run": name, "minutes": mine["minutes"], "KID": mine["value"], "low": mine["low"], "high": mine["high"]}
        row |= {"racer": racer, "its minutes": its["minutes"], "its KID": its["value"]}
        rows.append(row | {"its low": its["low"], "its high": its["high"]})
    return racers, pd.DataFrame(rows)
