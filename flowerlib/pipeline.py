"""From a recipe to a record: what is stale, the run, the export. No TensorFlow.

A run is done when a record with its digest stands in ``build/<profile>/figures`` or, published, in ``figures``.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowerlib import data, digests, fetch, recipes, weights
from flowerlib.errors import FlowerlibError
from flowerlib.schema import Recipe

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = ROOT / "figures"
REDRAWN_MINUTES = 0.5  # a notebook whose training is kept


def build_folder(profile: str) -> Path:
    """Where a profile's figures, numbers and PDF are made."""
    return ROOT / "build" / profile


def record_folder(run: str, profile: str) -> Path:
    """Where a run's figures, tables and record are exported."""
    return build_folder(profile) / "figures" / run


def executed_notebook(run: str, profile: str) -> Path:
    """The record of how a run went: its executed notebook."""
    return ROOT / "runs" / profile / f"{run}.ipynb"


def used_runs(recipe: Recipe) -> list[str]:
    """Runs whose records a run reads; ``*`` stands for every other run that the profile lists."""
    if recipe.uses == ("*",):
        return [run for run in recipes.runs(recipe.profile) if run != recipe.name]
    return list(recipe.uses)


@dataclass(frozen=True)
class State:
    """Whether a run is done, and if not, why.

    Attributes:
        done: a record with the digest of today's recipe, code and data is there.
        reason: why it would run; or why it cannot, when ``blocked``.
        blocked: something that it needs is not to be had here.
        published: the record that holds is the committed one.
    """

    run: str
    done: bool
    reason: str
    minutes: float
    blocked: bool = False
    published: bool = False


def states(profile: str) -> list[State]:
    """The state of every run of a profile, in its order."""
    return [state(recipes.load(run, profile)) for run in recipes.runs(profile)]


def state(recipe: Recipe) -> State:
    """Whether a run would run, and why."""
    missing = missing_need(recipe)
    reasons = []
    for published in (False, True):
        record = record_as(recipe, published)
        if record is None or record["profile"] != recipe.profile:
            continue
        changed = outdated(recipe, record, missing)
        if not changed:
            waiting = _waiting(recipe)
            return State(recipe.name, not waiting, waiting, REDRAWN_MINUTES if waiting else 0, published=published)
        reasons.append(changed)
    if missing:
        return State(recipe.name, False, missing, recipe.expect.minutes, blocked=True)
    reason = reasons[0] if reasons else "not run yet"
    if (recipe.training or recipe.finetuning or recipe.budget) and _is_trained(recipe):
        return State(recipe.name, False, f"{reason}; its training is kept", REDRAWN_MINUTES)
    return State(recipe.name, False, reason, recipe.expect.minutes)


def outdated(recipe: Recipe, record: dict[str, Any], missing: str, *, published: bool = False) -> str:
    """What changed since a record was made; nothing while it holds.

    Args:
        recipe: of the run, today.
        record: of the run.
        missing: why the run cannot be made here; then the record's word for photographs and weights is taken.
        published: compare with the committed records of the runs that it uses, not with those in ``build``.
    """
    manifest = record["parts"].get("data", "") if missing else _manifest(recipe)
    needs = record["parts"].get("weights", {}) if missing else None
    parts = current_parts(recipe, manifest, needs, published=published)
    return "" if digests.digest(parts) == record["digest"] else digests.differences(record["parts"], parts)


def _waiting(recipe: Recipe) -> str:
    """Which run that a run uses would run first, and so change what it reads."""
    for name in used_runs(recipe):
        used = state(recipes.load(name, recipe.profile))
        if not used.done and not used.blocked:
            return f"{name} would run"
    return ""


def _is_trained(recipe: Recipe) -> bool:
    """Whether every training of a run is kept: its own, or that of each row and seed of its sweep."""
    trainings = sum(recipes.rows(recipe).values(), []) if recipe.sweep else [recipe]
    kept = (digests.training_digest(each, _manifest(each)) for each in trainings)
    return all((fetch.cache_folder() / "trained" / digest / "training.json").exists() for digest in kept)


def missing_need(recipe: Recipe) -> str:
    """Why a run cannot be made here ("weights/vgg16 not available"), or nothing."""
    files = [*fetch.DATASETS[recipe.data.name]] if recipe.data and recipe.data.name != "drawn" else []
    for file in files:
        reason = fetch.available(file)
        if reason:
            return f"the photographs are not here: {reason}"
    return next(filter(None, (weights.missing(need.removeprefix("weights/")) for need in recipe.needs)), "")


def current_parts(
    recipe: Recipe, manifest: str, needs: dict[str, str] | None = None, *, published: bool = False
) -> dict[str, Any]:
    """What a run's results rest on today, part by part; their hash is its digest."""
    code = digests.notebook_code(_source_notebook(recipe))
    used = {}
    for run in used_runs(recipe):
        other = recipes.load(run, recipe.profile)
        record = record_as(other, published) or record_as(other, not published)
        used[run] = record["digest"] if record else "none"
    rows = recipes.rows(recipe) if recipe.sweep else None
    return digests.results_parts(recipe, manifest, code, used, rows, needs)


def _manifest(recipe: Recipe) -> str:
    return data.manifest(recipe.data.name) if recipe.data else ""


def record_as(recipe: Recipe, published: bool) -> dict[str, Any] | None:
    """A run's record as it was committed or, otherwise, as it was made here; None where it was not."""
    folder = PUBLISHED / recipe.name if published else record_folder(recipe.name, recipe.profile)
    path = folder / "record.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def record(recipe: Recipe) -> dict[str, Any] | None:
    """A run's record: as it was made here or, where it was not, as it was committed; None without either."""
    return record_as(recipe, False) or record_as(recipe, True)


def _source_notebook(recipe: Recipe) -> Path:
    path = ROOT / "notebooks" / f"{recipe.notebook}.ipynb"
    if not path.exists():
        raise FlowerlibError(f"recipe '{recipe.name}' names notebook {path.name}, which is not in notebooks/")
    return path


def run(name: str, profile: str, *, force: bool = False) -> Path:
    """Run a recipe's notebook headless and export it, unless its record already holds.

    Args:
        name: of the run.
        profile: of the run.
        force: run it although nothing changed.

    Returns:
        The folder with record, figures and tables.

    Raises:
        FlowerlibError: what the run needs is not there, a run it uses is missing, or a cell failed.
    """
    recipe = recipes.load(name, profile)
    now = state(recipe)
    folder = record_folder(name, profile)
    if now.done and not force:
        if now.published:
            _adopt(PUBLISHED / name, folder)
        os.utime(folder / "record.json")  # tell the graph that it was looked at
        return folder
    if now.blocked:
        raise FlowerlibError(f"{name}: {now.reason}")
    for used in used_runs(recipe):
        other = recipes.load(used, profile)
        if not state(other).done and recipe.uses != ("*",):
            raise FlowerlibError(
                f"{name} uses {used}, which is not done: python -m flowerlib run {used} --profile {profile}"
            )
    if recipe.data and recipe.data.name != "drawn":
        fetch.fetch_dataset(recipe.data.name)
    parts = current_parts(recipe, _manifest(recipe))
    notebook = _execute(recipe, parts)
    export(notebook, folder)
    return folder


def _execute(recipe: Recipe, parts: dict[str, Any]) -> Path:
    from flowerlib.execution import execute  # papermill takes a second to import; status does without it

    target = executed_notebook(recipe.name, recipe.profile)
    parameters = {"run": recipe.name, "profile": recipe.profile}
    execute(
        _source_notebook(recipe), target, parameters, parameters | {"digest": digests.digest(parts), "parts": parts}
    )
    return target


def export(notebook: Path, folder: Path) -> None:
    """Export an executed notebook into a fresh folder and swap it with the old one."""
    from flowerlib.exporter import RunExporter

    text: Any
    text, resources = RunExporter().from_filename(str(notebook))
    fresh = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, content in resources["outputs"].items():
        (fresh / name).write_bytes(content)
    (fresh / "record.json").write_text(text, encoding="utf-8")
    swap(fresh, folder)


def _adopt(published: Path, folder: Path) -> None:
    """Take a committed run over into the build."""
    fresh = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(published, fresh)
    swap(fresh, folder)


def swap(fresh: Path, folder: Path) -> None:
    """Put a freshly written folder in the place of an old one."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
