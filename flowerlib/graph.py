"""What Snakemake looks at: runs, what each uses, and a file a run, newer than its record when it is to do."""

import os
from collections.abc import Sequence

from flowerlib import pipeline, recipes


def prepare(profile: str, runs: Sequence[str] = ()) -> dict[str, list[str]]:
    """Write the digest files that the graph looks at, take over what was published, and say which runs there are.

    Args:
        profile: of the runs.
        runs: those that are wanted, with what they use; all of the profile by default.

    Returns:
        Run -> runs that it uses, for every run that is done or can be made here.
    """
    folder = pipeline.build_folder(profile) / "digests"
    folder.mkdir(parents=True, exist_ok=True)
    graph = {}
    for now in _with_used(runs, profile) if runs else pipeline.states(profile):
        recipe = recipes.load(now.run, profile)
        if now.blocked:
            continue
        graph[now.run] = pipeline.used_runs(recipe)
        path = folder / now.run
        if not path.exists() or not now.done:
            path.write_text(now.reason + "\n", encoding="utf-8")
            if now.done:  # older than the record, so that nothing is run for it
                os.utime(path, (0, 0))
        if now.done and now.published:  # is taken over here: a process for each would take minutes
            pipeline.run(now.run, profile)
    return {run: [used for used in uses if used in graph] for run, uses in graph.items()}


def _with_used(runs: Sequence[str], profile: str) -> list[pipeline.State]:
    """The states of some runs, after those of the runs that they use."""
    found: dict[str, pipeline.State] = {}
    for run in runs:
        recipe = recipes.load(run, profile)
        found |= {each.run: each for each in _with_used(pipeline.used_runs(recipe), profile)}
        found[run] = pipeline.state(recipe)
    return list(found.values())
