"""The report: run what is stale, turn records into LaTeX values, typeset, publish. No TensorFlow."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from flowerlib import batch, pipeline, published, recipes, summary, tracing
from flowerlib.errors import FlowerlibError
from flowerlib.latex import escape

SLACK_PT = 5  # that a page may be too high without losing a line


def make(profile: str) -> Path:
    """Bring a profile's runs up to date and typeset the report.

    Returns:
        The PDF.

    Raises:
        FlowerlibError: a run failed, a digit is typed where a result belongs, LaTeX is missing or stops.
    """
    blocked = next((state for state in pipeline.states(profile) if state.blocked), None)
    if blocked:
        raise FlowerlibError(f"profile {profile}: {blocked.reason}")
    check_digits(pipeline.ROOT / "report.tex")
    build = pipeline.build_folder(profile)
    build.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(build / "report.lock", timeout=0):
            batch.snakemake(profile)
            (build / "values.tex").write_text(values(profile), encoding="utf-8")
            return _typeset(build)
    except Timeout:
        raise FlowerlibError(f"another report of profile {profile} is being made: wait for it, or stop it") from None


def make_partly(profile: str) -> Path:
    """Typeset the report of the runs that are done, after comparing them anew; no training is started.

    Returns:
        The PDF.
    """
    check_digits(pipeline.ROOT / "report.tex")
    build = pipeline.build_folder(profile)
    comparing = [run for run in recipes.runs(profile) if recipes.load(run, profile).uses == ("*",)]
    for state in pipeline.states(profile):
        folder = pipeline.record_folder(state.run, profile)
        if state.done:
            pipeline.run(state.run, profile)
        elif state.run not in comparing:
            shutil.rmtree(folder, ignore_errors=True)  # of older code or values: it would be compared as if it held
    tracing.merge(profile, build / "results.json")
    for run in comparing:
        pipeline.run(run, profile, force=True)
    (build / "values.tex").write_text(values(profile), encoding="utf-8")
    return _typeset(build)


def records(profile: str) -> list[dict[str, Any]]:
    """The records of a profile's runs that were made, in its order."""
    paths = [pipeline.record_folder(run, profile) / "record.json" for run in recipes.runs(profile)]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]


def make_from_figures(*, show_stale: bool = False) -> Path:
    """Typeset the report of the committed figures as they are: nothing is run, no TensorFlow, no photographs.

    Args:
        show_stale: mark what comes from a stale run, instead of stopping at it.

    Returns:
        The PDF, in a folder of its own.

    Raises:
        FlowerlibError: a committed run that no longer holds, is of another profile or has no files.
    """
    check_digits(pipeline.ROOT / "report.tex")
    stale = {each.run: each.stale for each in published.findings() if each.stale}
    if stale and not show_stale:
        run, reason = next(iter(stale.items()))
        raise FlowerlibError(
            f"figures/{run} is stale ({reason}), and {len(stale) - 1} more: run it again and publish,"
            " or mark what is stale with STALE=show"
        )
    build = pipeline.ROOT / "build" / "figures"
    build.mkdir(parents=True, exist_ok=True)
    found = published.records()
    (build / "values.tex").write_text(_values(published.PROFILE, found, Path("."), stale), encoding="utf-8")
    return _typeset(build)


def values(profile: str) -> str:
    """values.tex: every number, caption and reason by key, as macros of report.sty."""
    folder = pipeline.build_folder(profile).relative_to(pipeline.ROOT)
    return _values(profile, records(profile), folder, {})


def _values(profile: str, found: list[dict[str, Any]], folder: Path, stale: dict[str, str]) -> str:
    """values.tex of some records whose figures lie in ``folder/figures``, what is stale with its reason."""
    lines = ["% Written by flowerlib from the records of the runs; changes here are lost."]
    lines += [rf"\def\flowerbuild{{{folder.as_posix()}}}", rf"\def\flowerprofile{{{profile}}}"]
    lines += [rf"\def\flowerprofiletitle{{{escape(recipes.title(profile))}}}"]
    lines += [rf"\def\flowerdates{{{escape(_dates(found))}}}"]
    lines += [rf"\def\flowerorigin{{{escape(_origin(profile, found))}}}"]
    for record in found:
        lines += _record_lines(record, stale.get(record["run"], ""))
    for claim in summary.claims().itertuples():
        lines.append(rf"\flowerclaim{{{claim.key}}}{{{claim.value:.{int(claim.decimals)}f}}}")
    lines += [rf"\flowermissing{{{run}}}{{{escape(reason)}}}" for run, reason in _missing(profile, found).items()]
    return "\n".join(lines) + "\n"


def _record_lines(record: dict[str, Any], stale: str) -> list[str]:
    run, lines = record["run"], []
    numbers = {key: (shown(entry), shown_with_interval(entry)) for key, entry in tracing.entries(record).items()}
    if "training" in record:
        minutes = f"{record['training']['minutes']:.1f}"
        numbers[f"{run}/train/minutes"] = (minutes, minutes)
    for key, texts in numbers.items():
        short, whole = (rf"\stale{{{text}}}" if stale else text for text in texts)
        lines.append(rf"\flowervalue{{{key}}}{{{short}}}{{{whole}}}")
    note = escape(_note(record)) + (rf" \stale{{Stale: {escape(stale)}.}}" if stale else "")
    for name, entry in record["figures"].items():
        caption, alt = escape(entry["caption"]), escape(entry["alt"])
        lines.append(rf"\flowerfigure{{{run}/{name}}}{{{caption}}}{{{alt}}}{{{note}}}")
    for name, entry in record["tables"].items():
        long = "yes" if entry["long"] else "no"
        lines.append(rf"\flowertable{{{run}/{name}}}{{{escape(entry['caption'])}}}{{{long}}}{{{note}}}")
    return lines


def shown(entry: dict[str, Any]) -> str:
    """A value as the report prints it: counts, and wholes above 1 that are exact, whole; others with three decimals."""
    value, kind = entry["value"], entry["interval"]
    whole = kind == "counted" or (kind == "exact" and value > 1 and float(value).is_integer())
    return f"{int(value):,}".replace(",", "{,}") if whole else f"{value:.3f}"


def shown_with_interval(entry: dict[str, Any]) -> str:
    """A value with its 95 % interval and the number of pictures behind it."""
    if entry["low"] is None or entry["high"] is None:
        return shown(entry)
    return f"{shown(entry)} [{entry['low']:.3f}, {entry['high']:.3f}], $n={entry['n']}$"


def _note(record: dict[str, Any]) -> str:
    """The line under every figure and table: its notebook and run, and what the profile cut."""
    facts = record["facts"]
    cut = f"; profile {record['profile']}: {', '.join(facts['reduced'])}" if facts["reduced"] else ""
    return f"(Notebook {facts['notebook']}, run {record['run']}{cut}.)"


def _dates(found: list[dict[str, Any]]) -> str:
    """First and last day of the trainings behind a report."""
    days = sorted(record["training"]["date"][:10] for record in found if "training" in record)
    return "" if not days else f"runs of {days[0]}" if days[0] == days[-1] else f"runs of {days[0]} to {days[-1]}"


def _origin(profile: str, found: list[dict[str, Any]]) -> str:
    """Profile, first and last commit of the trainings, and the checksum of each data set's manifest."""
    trained = sorted((each for each in found if "training" in each), key=lambda each: str(each["training"]["date"]))
    commits = list(dict.fromkeys(record["facts"]["commit"].rstrip("+") for record in trained))
    span = f"commits {commits[0]} to {commits[-1]}" if len(commits) > 1 else f"commit {', '.join(commits)}"
    data: dict[str, str] = {}
    for record in found:
        recipe = recipes.load(record["run"], profile)
        if recipe.data and record["facts"]["data"]:
            data.setdefault(recipe.data.name, record["facts"]["data"][:12])
    sums = ", ".join(f"{name} {checksum}" for name, checksum in sorted(data.items()))
    return "; ".join(filter(None, [f"profile {profile}", span if commits else "", f"data {sums}" if sums else ""]))


def _missing(profile: str, found: list[dict[str, Any]]) -> dict[str, str]:
    """Why each known run has no record in this profile."""
    made = {record["run"] for record in found}
    listed = {
        state.run: "to be run again" if state.reason.startswith("changed since") else state.reason
        for state in pipeline.states(profile)
    }
    everywhere = [run for other in recipes.PROFILES for run in recipes.runs(other)]
    reasons = {run: f"{run}: not in the {profile} profile" for run in (*everywhere, *recipes.names())}
    reasons |= {run: f"{run}: {reason}" for run, reason in listed.items()}
    return {run: reason for run, reason in reasons.items() if run not in made}


# What may hold digits: keys, labels, measures, and \given, which says that a digit is no result.
_ALLOWED = re.compile(
    r"\\(?:result|interval|reported|given|ref|cref|runref|label|cite[pt]?|runfigure|runtable|input|url|href"
    r"|bibliography|bibliographystyle|vspace|hspace|setlength|includegraphics|definecolor)\*?(?:\[[^\]]*\])?\{[^{}]*\}"
)


def check_digits(path: Path) -> None:
    """Refuse a digit that is typed by hand where a result belongs.

    Raises:
        FlowerlibError: names line and digit.
    """
    text = path.read_text(encoding="utf-8")
    start = text.find(r"\begin{document}")
    for number, line in enumerate(text.splitlines(), 1):
        if number <= text[:start].count("\n"):
            continue
        bare = _ALLOWED.sub("", re.sub(r"(?<!\\)%.*", "", line))
        found = re.search(r"\S*\d\S*", bare)
        if found:
            raise FlowerlibError(
                f"{path.name}, line {number}: '{found.group()}' is typed by hand: write \\result{{run/part/metric}},"
                r" \reported{key} or, for what is no result, \given{...}"
            )


def _typeset(build: Path) -> Path:
    """latexmk, or tectonic as conda has it, without shell escape; the same runs give the same bytes."""
    folder = build / "latex"
    folder.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": "1767225600",
        "FORCE_SOURCE_DATE": "1",
        "TEXINPUTS": f".:{build.relative_to(pipeline.ROOT)}:flowerlib:",
        "max_print_line": "1000",
    }
    command = _latex_command(build.relative_to(pipeline.ROOT), folder.relative_to(pipeline.ROOT))
    done = subprocess.run(command, cwd=pipeline.ROOT, env=environment, capture_output=True, text=True, errors="replace")
    log = folder / "report.log"
    logged = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    undefined = re.search(r"Warning: .*undefined", logged)
    if done.returncode or undefined:
        output = done.stdout + done.stderr
        # An error stops LaTeX in its first pass, when nothing is defined yet.
        said = _error(output) or (undefined.group() if undefined else _complaint(output))
        raise FlowerlibError(f"LaTeX stopped: {said} (all of it: {log})")
    over = [float(points) for points in re.findall(r"Overfull \\vbox \(([\d.]+)pt too high\) has occurred", logged)]
    if max(over, default=0) > SLACK_PT:
        raise FlowerlibError(
            f"a page of the report runs over by {max(over):.0f} pt and loses its last lines (see {log})"
        )
    part = build / "report.part.pdf"
    shutil.copyfile(folder / "report.pdf", part)
    return part.replace(build / "report.pdf")


def _latex_command(build: Path, folder: Path) -> list[str]:
    if shutil.which("latexmk"):
        return [
            *("latexmk", "-pdf", "-Werror", "-interaction=nonstopmode", "-halt-on-error", "-file-line-error"),
            *("-latexoption=-no-shell-escape", f"-outdir={folder}", "report.tex"),
        ]
    if shutil.which("tectonic"):  # it reads no TEXINPUTS
        paths = [f"-Zsearch-path={path}" for path in (build, "flowerlib")]
        return ["tectonic", "-X", "compile", "--untrusted", "--keep-logs", *paths, f"--outdir={folder}", "report.tex"]
    raise FlowerlibError("LaTeX is not here; the notebooks are done: `make latex` installs it or says what to install")


def _error(output: str) -> str:
    """The line of LaTeX's output that names file, line and error; empty where there is none."""
    found = re.search(r"^[^ \n]+\.(tex|sty):\d+: .*|^! .*", output, flags=re.M)
    return found.group().strip() if found else ""


def _complaint(output: str) -> str:
    """The line of LaTeX's output that says what is wrong."""
    for line in output.splitlines():
        if re.match(r"[^ ]+\.(tex|sty):\d+: |! |LaTeX Warning: .*undefined|Package natbib Warning: .*undefined", line):
            return line.strip()
    return output.strip().splitlines()[-1] if output.strip() else "no output"
