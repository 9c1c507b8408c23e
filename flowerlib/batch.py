"""Many runs of one recipe, every combination of values with several seeds, through Snakemake; then a table and a plot.

``python -m flowerlib sweep shen-coarse --set model.dropout=0,0.3 --seeds 5``
"""

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from flowerlib import comparisons, pipeline, recipes
from flowerlib.errors import FlowerlibError
from flowerlib.metrics import Score, slug
from flowerlib.style import figure, legend, require, style, wrap

Values = Mapping[str, Sequence[str]]


def parse(settings: Sequence[str]) -> dict[str, list[str]]:
    """``training.epochs=5,10`` -> ``{"training.epochs": ["5", "10"]}``; commas inside brackets part no values.

    Raises:
        FlowerlibError: a setting without a value, or one that is given twice.
    """
    found: dict[str, list[str]] = {}
    for setting in settings:
        key, _, text = setting.partition("=")
        values = re.split(r",(?![^\[]*\])", text)
        require(key and all(values), f"--set {setting}: write key=value,value")
        require(key not in found, f"--set {key} is given twice: write its values in one, with commas")
        found[key] = values
    return found


def combinations(recipe: str, settings: Values, seeds: int) -> dict[tuple[str, ...], list[str]]:
    """Values of the settings -> the runs that have them, one a seed from 1.

    Args:
        recipe: a run's name, which may depart from its recipe already.
        settings: key -> its values.
        seeds: of each combination, 1 or more.
    """
    require(seeds >= 1, f"--seeds {seeds}: give 1 or more")
    found = {}
    for values in itertools.product(*settings.values()):
        departing = "".join(f"@{key}={value}" for key, value in zip(settings, values, strict=True))
        found[values] = [f"{recipe}{departing}@seed={seed}" for seed in range(1, seeds + 1)]
    return found


def make(recipe: str, settings: Values, seeds: int, profile: str, metric: str, extra: Sequence[str] = ()) -> Path:
    """Run what is not done, then write table.csv, plot.pdf and plot.png of the sweep.

    Args:
        recipe: a run's name.
        settings: key -> its values.
        seeds: of each combination.
        profile: of all runs.
        metric: key of a number that each run exports, such as ``test/accuracy``.
        extra: options for Snakemake, such as a cluster's profile.

    Returns:
        The folder with table and plot.

    Raises:
        FlowerlibError: a value that the recipe does not take, a run that cannot be made or failed, no such number.
    """
    runs = combinations(recipe, settings, seeds)
    every = [run for each in runs.values() for run in each]
    for run in every:  # all are looked at before the first is run
        state = pipeline.state(recipes.load(run, profile))
        if state.blocked:
            raise FlowerlibError(f"{run} cannot be made: {state.reason}")
    snakemake(profile, every, extra)
    if any(option in ("-n", "--dry-run", "--dryrun") for option in extra):
        return pipeline.build_folder(profile) / "sweeps"
    found = table(runs, list(settings), profile, metric)
    name = "-".join([slug(recipe), *(f"{slug(key)}_{slug('_'.join(values))}" for key, values in settings.items())])
    folder = pipeline.build_folder(profile) / "sweeps" / f"{name}-seeds{seeds}"
    folder.mkdir(parents=True, exist_ok=True)
    found.to_csv(folder / "table.csv", index=False)
    with style():
        image = plot(found, list(settings), metric)
        for kind in ("pdf", "png"):
            image.savefig(folder / f"plot.{kind}", dpi=150)
    return folder


def snakemake(profile: str, runs: Sequence[str] = (), extra: Sequence[str] = ()) -> None:
    """Run a profile's graph, or that of some runs and of what they use.

    Args:
        profile: of the runs.
        runs: their names; all of the profile by default.
        extra: options for Snakemake.

    Raises:
        FlowerlibError: not every run was made.
    """
    config = [f"profile={profile}", *([f"runs={json.dumps(list(runs))}"] if runs else [])]
    cores = [] if {"--cores", "--jobs", "-j", "-c"} & set(extra) else ["--cores", "all"]
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(pipeline.ROOT / "Snakefile"), *cores),
        *("--directory", str(pipeline.ROOT), "--config", *config),
        *("--rerun-incomplete", "--rerun-triggers", "mtime", "--nolock", "--keep-going", *extra),
        *(() if extra else ("--quiet", "all")),
    ]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(command, cwd=pipeline.ROOT, env={**os.environ, "PATH": path, "TF_CPP_MIN_LOG_LEVEL": "2"})
    if done.returncode:
        raise FlowerlibError(f"not every run of profile {profile} was made: see above; what was made is kept")


def table(
    runs: Mapping[tuple[str, ...], Sequence[str]], keys: Sequence[str], profile: str, metric: str
) -> pd.DataFrame:
    """A row a combination: its values, mean of a number over the seeds with 95 % interval, and the seeds.

    Of a single seed the interval is that of its run, over photographs.

    Args:
        runs: from ``combinations``, all made.
        keys: of the settings.
        profile: of the runs.
        metric: of the number.
    """
    rows = []
    for values, names in runs.items():
        numbers = [_number(name, profile, metric) for name in names]
        if len(numbers) > 1:
            score = comparisons.seeds_interval([each["value"] for each in numbers], numbers[0]["unit"])
        else:
            score = Score(*(numbers[0][part] for part in ("value", "low", "high", "n", "interval", "unit")))
        row: dict[str, Any] = dict(zip(keys, values, strict=True))
        row |= {metric: score.value, "low": score.low, "high": score.high, "interval": score.interval}
        rows.append(row | {"seeds": len(numbers)})
    return pd.DataFrame(rows)


def _number(run: str, profile: str, metric: str) -> dict[str, Any]:
    made = pipeline.record(recipes.load(run, profile))
    if made is None:
        raise FlowerlibError(f"{run} was not run: python -m flowerlib run '{run}' --profile {profile}")
    if metric not in made["results"]:
        scores = [key for key, value in made["results"].items() if value["low"] is not None and key.count("/") == 1]
        raise FlowerlibError(f"{run} exports no '{metric}': it has {', '.join(scores)}")
    found: dict[str, Any] = made["results"][metric]
    return found


def plot(found: pd.DataFrame, keys: Sequence[str], metric: str) -> Figure:
    """The number by the first setting, a line a combination of the others, with 95 % intervals.

    Args:
        found: from ``table``.
        keys: of the settings; the first is the horizontal axis.
        metric: column of the number.
    """
    fig = figure(3.0)
    ax = fig.subplots()
    first, *others = keys or ["run"]
    places = {value: place for place, value in enumerate(dict.fromkeys(found[first] if keys else ["as it is"]))}
    groups = found.groupby(others, sort=False) if others else [((), found)]
    for number, (values, rows) in enumerate(groups):
        shift = 0.06 * (number - (len(groups) - 1) / 2)
        at = [places[value] + shift for value in rows[first]] if keys else [0.0]
        error = [rows[metric] - rows["low"], rows["high"] - rows[metric]]
        label = ", ".join(f"{key} {value}" for key, value in zip(others, values, strict=True))
        ax.errorbar(at, rows[metric], error, capsize=3, label=label or None)
    ax.set_xticks(list(places.values()), list(places))
    ax.set(xlabel=first, ylabel=wrap(metric, 2.4))
    ax.grid(axis="y")
    if others:
        legend(fig)
    return fig
