"""The report: what may stand in it, what stops it, and the whole way from recipes to a PDF in a copy of the bundle."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pypdf
import pytest
from filelock import FileLock
from matplotlib.figure import Figure
from PIL import Image

import flowerlib
from flowerlib import batch, pipeline, publishing, recipes, report, summary
from flowerlib.errors import FlowerlibError

PACKAGE = Path(flowerlib.__file__).resolve().parent
SOURCES = PACKAGE.parent
RUN = "shen-coarse"
BANNER = "drawn flowers, not results"


# Digits that are typed by hand


def document(body: str) -> str:
    return f"\\documentclass[11pt]{{article}} % 2 columns\n\\begin{{document}}\n{body}\n\\end{{document}}\n"


def check(folder: Path, body: str) -> None:
    path = folder / "report.tex"
    path.write_text(document(body))
    report.check_digits(path)


@pytest.mark.parametrize(
    "body",
    [
        "Prose without any.",
        r"It reached \result{shen-coarse/test/accuracy}, or \interval{hughes-fine/test/macro_f1}.",
        r"The report has \reported{hughes/coarse/f1} on \given{102} kinds.",
        r"See \cref{fig:x1}, \ref{tab:2}, \runref{a/b2}, \cite{shen2025}, \citep[see]{qu2018} and \citet{ash2022}.",
        r"\label{sec:2}\runfigure{dataset/samples_coarse-2025}\runtable{shen-fine@seed=2/per_class}",
        r"\includegraphics[width=0.5\textwidth]{figure2.pdf}\vspace{3pt}\href{https://example.org/1}{there}",
        "Half a line. % of 100 nobody speaks",
        r"Ninety \% of them.",
    ],
)
def test_what_is_no_typed_result_passes(tmp_path: Path, body: str) -> None:
    check(tmp_path, body)


@pytest.mark.parametrize(
    ("body", "typed"),
    [
        ("It reached 0.81 on the test part.", "0.81"),
        ("Fine.\nIt has 320 images.", "320"),
        (r"\given{102} kinds, 10 images each", "10"),
        (r"\textbf{95} percent", r"\textbf{95}"),
        (r"\section{The 5 reports}", r"5"),
        (r"\caption{Ten of 20}", "20}"),
        (r"100\,\% of them", r"100\,\%"),
        (r"a table cell & 0.5 \\", "0.5"),
        (r"\results{7}", r"\results{7}"),
    ],
)
def test_a_typed_digit_is_refused_with_its_line(tmp_path: Path, body: str, typed: str) -> None:
    with pytest.raises(FlowerlibError) as caught:
        check(tmp_path, body)
    line = 2 + next(number for number, text in enumerate(body.splitlines(), 1) if typed in text)
    assert str(caught.value).startswith(f"report.tex, line {line}: '")
    assert typed in str(caught.value) and "\n" not in str(caught.value)


def test_the_reports_own_text_types_no_result() -> None:
    report.check_digits(SOURCES / "report.tex")


# The press: values and LaTeX, with records made by hand


class Press:
    """A folder in which a report is set from a record that was written by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def record(self, profile: str = "smoke", **changed: Any) -> dict[str, Any]:
        """Write the record of one run, with a figure, a table and a long table."""
        folder = pipeline.record_folder(RUN, profile)
        folder.mkdir(parents=True, exist_ok=True)
        share = {"low": 0.51234, "high": 0.74321, "n": 156, "interval": "Wilson", "unit": "share", "cell": "c"}
        counted = {"low": None, "high": None, "n": 760074, "interval": "counted", "unit": "", "cell": "c"}
        facts = {
            **{"seed": 1, "notebook": "01_classification", "data": "d", "commit": "c", "machine": "m", "libraries": {}},
            "reduced": ["epochs 6 of 50"],
        }
        record = {
            **{"run": RUN, "profile": profile, "digest": "d", "facts": facts},
            "parts": {"values": {}, "data": "", "cells": "", "modules": {}, "used": {}}
            | {"training_modules": {}, "functions": {}},
            "training": {"minutes": 12.345, "machine": "m", "date": "2026-01-02T03:04:05+00:00", "epochs": 6},
            "results": {
                "test/accuracy": {"value": 0.66666666, **share},
                "train/parameters": {"value": 760074, **counted},
            },
            "figures": {"curves": {"caption": "50 % of a_b & c #1", "alt": "A {line}, 3 % steep", "cell": "c"}},
            "tables": {
                "layers": {
                    "caption": "Layers of shen_cnn",
                    "columns": ["a"],
                    "rows": [[1]],
                    "long": False,
                    "cell": "c",
                },
                "per_class": {"caption": "All classes", "columns": ["a"], "rows": [[1]], "long": True, "cell": "c"},
            },
        }
        (folder / "record.json").write_text(json.dumps(record | changed))
        Figure(figsize=(2, 1)).savefig(folder / "curves.pdf")
        rows = "\\toprule\nhead & x \\\\\n\\midrule\n"
        (folder / "layers.tex").write_text(f"\\begin{{tabular}}{{lr}}{rows}a & 1 \\\\\\bottomrule\\end{{tabular}}\n")
        body = "\n".join(rf"class {number} & {number} \\" for number in range(120))
        (folder / "per_class.tex").write_text(
            f"\\begin{{longtable}}{{lr}}\\flowercaption\n{rows}\\endfirsthead\n{rows}\\endhead\n{body}"
            "\\bottomrule\\end{longtable}\n"
        )
        return record | changed

    def set(self, body: str, profile: str = "smoke") -> list[str]:
        """The text of each page."""
        build = pipeline.build_folder(profile)
        build.mkdir(parents=True, exist_ok=True)
        (build / "values.tex").write_text(report.values(profile), encoding="utf-8")
        head = "\\documentclass[11pt]{article}\\usepackage{report}\\input{values}\n"
        (self.root / "report.tex").write_text(f"{head}\\begin{{document}}\n{body}\n\\end{{document}}\n")
        return pages(report._typeset(build))


def pages(pdf: Path) -> list[str]:
    return [" ".join(page.extract_text().split()) for page in pypdf.PdfReader(pdf).pages]


@pytest.fixture
def press(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Press:
    root = tmp_path / "press"
    root.mkdir()
    for name in ("flowerlib", "notebooks"):
        (root / name).symlink_to(SOURCES / name, target_is_directory=True)
    monkeypatch.setattr(pipeline, "ROOT", root)
    monkeypatch.setattr(pipeline, "PUBLISHED", root / "figures")
    monkeypatch.delenv("FLOWERLIB_MIRROR", raising=False)
    return Press(root)


@pytest.fixture
def latex() -> None:
    if shutil.which("latexmk") is None:
        pytest.skip("no LaTeX here: latexmk is not on PATH; `make latex` installs it or says what to install")


@pytest.mark.latex
def test_numbers_are_printed_from_the_records_and_the_reports_own(press: Press, latex: None) -> None:
    press.record()
    (text,) = press.set(
        r"\result{shen-coarse/test/accuracy}; \interval{shen-coarse/test/accuracy}; "
        r"\result{shen-coarse/train/parameters}; \interval{shen-coarse/train/parameters}; "
        r"\result{shen-coarse/train/minutes}; \reported{hughes/coarse/balanced_accuracy}; \given{96} px."
    )
    assert "0.667; 0.667 [0.512, 0.743], n = 156; 760,074; 760,074; 12.3; 0.81; 96 px." in text


@pytest.mark.latex
@pytest.mark.parametrize(
    ("body", "key"),
    [
        (r"\result{shen-coarse/test/acuracy}", "shen-coarse/test/acuracy"),
        (r"\interval{nonsense/test/accuracy}", "nonsense/test/accuracy"),
        (r"\reported{hughes/nonsense}", "hughes/nonsense"),
        (r"\runfigure{shen-coarse/curve_s}", "shen-coarse/curve_s"),
        (r"See \runref{shen-coarse/layer}.", "shen-coarse/layer"),
    ],
)
def test_an_unknown_key_stops_the_build_naming_the_key(press: Press, latex: None, body: str, key: str) -> None:
    press.record()
    with pytest.raises(FlowerlibError) as caught:
        press.set(body)
    assert f"unknown result '{key}'" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (pipeline.build_folder("smoke") / "report.pdf").exists()


@pytest.mark.latex
def test_an_older_pdf_outlives_a_build_that_stops(press: Press, latex: None) -> None:
    press.record()
    press.set("Whole.")
    pdf = pipeline.build_folder("smoke") / "report.pdf"
    before = pdf.read_bytes()
    with pytest.raises(FlowerlibError):
        press.set(r"\result{nonsense}")
    assert pdf.read_bytes() == before
    press.set("Whole.")
    assert pdf.read_bytes() == before, "the same words give the same bytes"


@pytest.mark.latex
@pytest.mark.parametrize("body", [r"See \ref{fig:nowhere}.", r"As \citet{nobody} says.", r"\nonsense"])
def test_what_latex_does_not_know_stops_the_build(press: Press, latex: None, body: str) -> None:
    with pytest.raises(FlowerlibError, match="LaTeX stopped") as caught:
        press.set(body)
    assert "\n" not in str(caught.value)
    assert re.search(r"nowhere|nobody|nonsense|Undefined control sequence", str(caught.value)), str(caught.value)


@pytest.mark.latex
def test_a_known_run_that_was_not_made_prints_its_reason(press: Press, latex: None) -> None:
    press.record()
    text = " ".join(
        press.set(
            r"Accuracy \result{hughes-fine/test/accuracy}, \interval{hughes-coarse/test/accuracy}."
            r"\runfigure{shen-fine/curves}\runtable{summary/runs} See \runref{hughes-fine-printed/layers}."
        )
    )
    assert "Accuracy (hughes-fine: not in the smoke profile), (hughes-coarse: not run yet)." in text
    assert "(shen-fine: not in the smoke profile)" in text
    assert "(summary: not run yet)" in text
    assert "See (hughes-fine-printed: not in the smoke profile)." in text


@pytest.mark.latex
def test_what_rests_on_a_run_that_was_not_made_gives_way_to_its_reason(press: Press, latex: None) -> None:
    press.record()
    body = (
        r"\whenrun{shen-coarse}{It is said.} \whenrun{shen-fine}{Of \result{shen-fine/test/accuracy} nothing is said.}"
    )
    text = " ".join(press.set(body))
    assert "It is said." in text and "nothing is said" not in text
    assert "(shen-fine: not in the smoke profile)" in text


@pytest.mark.latex
def test_a_figure_that_drawn_flowers_do_not_give_is_left_out_with_them_alone(press: Press, latex: None) -> None:
    press.record()
    text = " ".join(press.set(r"Before.\runfigure*{shen-coarse/of_photographs}After.\runfigure*{shen-coarse/curves}"))
    assert "Before.After." in text.replace(" ", "") and "Figure 1: 50 % of a_b" in text
    assert "(shen-coarse: " in " ".join(press.set(r"\runfigure*{shen-coarse/of_photographs}", "laptop"))


@pytest.mark.latex
def test_a_run_left_out_for_want_of_photographs_says_so(press: Press, latex: None) -> None:
    text = " ".join(press.set(r"\result{hughes-fine/test/accuracy}", "laptop"))
    assert "hughes-fine: the photographs are not here" in text


@pytest.mark.latex
def test_figures_and_tables_carry_caption_notebook_run_and_what_was_cut(press: Press, latex: None) -> None:
    press.record()
    text = press.set(
        r"See \runref{shen-coarse/curves}, \runref{shen-coarse/layers}, \runref{shen-coarse/per_class}."
        r"\runfigure{shen-coarse/curves}\runtable{shen-coarse/layers}\clearpage\runtable{shen-coarse/per_class}"
    )
    whole = " ".join(text)
    note = "(Notebook 01_classification, run shen-coarse; profile smoke: epochs 6 of 50.)"
    assert "See Fig. 1, Table 1, Table 2." in whole
    assert f"Figure 1: 50 % of a_b & c #1 {note}" in whole
    assert f"Table 1: Layers of shen_cnn {note}" in whole
    assert f"Table 2: All classes {note}" in whole
    long = [page for page in text if "class 119" in page or "class 0 " in page]
    assert len(long) == 2 and all("head x" in page for page in long), "the head stands on every page"


@pytest.mark.latex
@pytest.mark.parametrize("profile", ["smoke", "laptop"])
def test_the_banner_stands_on_every_page_of_a_smoke_report_and_on_no_other(
    press: Press, latex: None, profile: str
) -> None:
    text = press.set(r"\flowerbanner One.\newpage Two.\newpage Three.", profile)
    assert len(text) == 3
    assert [BANNER in page for page in text] == [profile == "smoke"] * 3
    assert (BANNER.upper() in text[0]) == (profile == "smoke")


def test_without_latex_the_line_says_what_to_do_and_that_the_notebooks_are_done(
    press: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *arguments, **options: None)
    press.record()
    with pytest.raises(FlowerlibError, match="LaTeX is not here.* the notebooks are done") as caught:
        press.set("Prose.")
    assert "install" in str(caught.value) and "\n" not in str(caught.value)
    assert not (pipeline.build_folder("smoke") / "report.pdf").exists()


def test_every_value_is_rounded_for_print_alone() -> None:
    entry = {"value": 0.66666666, "low": 0.51234, "high": 0.74321, "n": 156, "interval": "Wilson"}
    assert report.shown(entry) == "0.667"
    assert report.shown_with_interval(entry) == "0.667 [0.512, 0.743], $n=156$"
    counted = {"value": 3121286, "low": None, "high": None, "n": 3121286, "interval": "counted"}
    assert report.shown(counted) == report.shown_with_interval(counted) == "3{,}121{,}286"
    exact = [entry | {"value": value, "low": None, "interval": "exact"} for value in (7.0, 1.0, 9.3994)]
    assert [report.shown(each) for each in exact] == ["7", "1.000", "9.399"]


# What comes before and after


def written(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_symlink() and path.is_file()}


@pytest.fixture
def unmade(press: Press, monkeypatch: pytest.MonkeyPatch) -> Press:
    """A press in which nothing may be run or set."""
    monkeypatch.setattr(batch, "snakemake", lambda profile: pytest.fail("runs were made"))
    monkeypatch.setattr(report, "_typeset", lambda build: pytest.fail("LaTeX was run"))
    (press.root / "report.tex").write_text(document("Prose."))
    return press


def test_a_typed_digit_stops_the_report_before_anything_is_run(unmade: Press) -> None:
    (unmade.root / "report.tex").write_text(document("It reached 0.9."))
    with pytest.raises(FlowerlibError, match=r"line 3: '0\.9\.' is typed by hand"):
        report.make("smoke")


def test_an_unknown_profile_ends_before_anything_is_written(unmade: Press) -> None:
    before = written(unmade.root)
    with pytest.raises(FlowerlibError, match="unknown profile 'nonsense'"):
        report.make("nonsense")
    assert written(unmade.root) == before


@pytest.mark.latex
def test_a_page_that_runs_over_is_no_report(press: Press, latex: None) -> None:
    with pytest.raises(FlowerlibError, match="a page of the report runs over by .* pt and loses its last lines"):
        press.set(r"Before.\rule{1mm}{260mm}")


def test_a_second_report_of_the_same_profile_is_refused_while_the_first_is_made(unmade: Press) -> None:
    build = pipeline.build_folder("smoke")
    build.mkdir(parents=True)
    with FileLock(build / "report.lock"), pytest.raises(FlowerlibError, match="another report of profile smoke"):
        report.make("smoke")


def test_what_is_published_says_the_same_in_less_space(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 200 * 300).reshape(200, 300).astype(np.uint8)
    Image.fromarray(np.stack([ramp, ramp[::-1], ramp.T.reshape(200, 300)], axis=2)).save(tmp_path / "shown.png")
    record = {"run": "one", "results": {f"test/{i}": {"value": i / 7, "low": None} for i in range(50)}}
    (tmp_path / "record.json").write_text(json.dumps(record, indent=1))
    lean = tmp_path / "lean"
    lean.mkdir()
    for name in ("shown.png", "record.json"):
        publishing._lean(str(tmp_path / name), str(lean / name))
        assert (lean / name).stat().st_size < (tmp_path / name).stat().st_size
    assert json.loads((lean / "record.json").read_text()) == record
    assert len((lean / "record.json").read_text().splitlines()) >= 50  # a line a number, for whoever compares two
    before, after = (np.asarray(Image.open(path / "shown.png").convert("RGB"), int) for path in (tmp_path, lean))
    assert np.abs(before - after).mean() < 10


@pytest.fixture
def made(press: Press, monkeypatch: pytest.MonkeyPatch) -> Press:
    """A press whose laptop profile was made, with an older publication in place."""
    folder = pipeline.build_folder("laptop")
    press.record("laptop")
    (folder / "results.json").write_text("{}")
    (folder / "report.pdf").write_bytes(b"%PDF-new")
    (press.root / "report.tex").write_text(rf"\runfigure{{{RUN}/curves}}")
    for name in ("mistakes.pdf", "mistakes.png"):
        (pipeline.record_folder(RUN, "laptop") / name).write_bytes(b"a figure that the report does not show")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)).save(
        pipeline.record_folder(RUN, "laptop") / "curves.png"  # 90 KB with 256 colours
    )
    (pipeline.PUBLISHED / "older").mkdir(parents=True)
    (pipeline.PUBLISHED / "older" / "record.json").write_text("{}")
    (press.root / "report.pdf").write_bytes(b"%PDF-old")
    monkeypatch.setattr(report, "make", lambda profile: folder / "report.pdf")
    monkeypatch.setattr(pipeline, "states", lambda profile: [pipeline.State(run, True, "", 0) for run in (RUN,)])
    return press


def test_publishing_puts_exactly_what_was_made_and_shown_in_place(made: Press) -> None:
    publishing.publish("laptop")
    assert written(pipeline.PUBLISHED) == {
        "results.json",
        *(f"{RUN}/{name}" for name in ("record.json", "curves.pdf", "layers.tex", "per_class.tex")),
    }
    assert (made.root / "report.pdf").read_bytes() == b"%PDF-new"
    assert not [path.name for path in made.root.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("profile", ["smoke", "full"])
def test_only_the_laptop_profile_is_published(made: Press, profile: str) -> None:
    before = written(made.root)
    with pytest.raises(FlowerlibError, match=f"only the laptop profile is published, not {profile}"):
        publishing.publish(profile)
    assert written(made.root) == before


def test_a_partial_publication_starts_no_training_and_drops_what_no_longer_holds(
    made: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [
        pipeline.State(RUN, True, "", 0),
        pipeline.State("shen-fine", False, "changed since: seed", 9),
        pipeline.State("summary", False, "shen-fine would run", 0.5),
    ]
    stale = pipeline.record_folder("shen-fine", "laptop")
    stale.mkdir(parents=True)
    (stale / "record.json").write_text("{}")
    asked: list[tuple[str, bool]] = []
    monkeypatch.setattr(pipeline, "states", lambda profile: states)
    monkeypatch.setattr(pipeline, "run", lambda run, profile, force=False: asked.append((run, force)))
    monkeypatch.setattr(report, "_typeset", lambda build: build / "report.pdf")
    monkeypatch.setattr(report, "check_digits", lambda path: None)
    publishing.publish("laptop", partly=True)
    assert asked == [(RUN, False), ("summary", True)]
    assert {path.name for path in pipeline.PUBLISHED.iterdir()} == {RUN, "results.json"}


@pytest.mark.parametrize(("limit", "said"), [("FIGURES_MIB", "figures"), ("PDF_MIB", "report.pdf")])
def test_more_than_may_be_committed_is_refused_and_nothing_changes(
    made: Press, monkeypatch: pytest.MonkeyPatch, limit: str, said: str
) -> None:
    before = written(made.root)
    monkeypatch.setattr(publishing, limit, 0)
    with pytest.raises(FlowerlibError, match="more than the 0 MiB") as caught:
        publishing.publish("laptop")
    assert said in str(caught.value)
    assert written(made.root) == before


def test_a_run_that_is_not_done_is_not_published_away(made: Press, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishing without the photographs must not replace what was published with them."""
    before = written(made.root)
    left_out = pipeline.State("hughes-fine", False, "the photographs are not here", 9, blocked=True)
    monkeypatch.setattr(pipeline, "states", lambda profile: [pipeline.State(RUN, True, "", 0), left_out])
    with pytest.raises(FlowerlibError, match="hughes-fine"):
        publishing.publish("laptop")
    assert written(made.root) == before


# The whole way, in a copy


class Copy:
    """A copy of the bundle's sources with a cache of its own, and no photographs."""

    def __init__(self, folder: Path, sources: Path = SOURCES) -> None:
        self.root, self.cache = folder / "bundle", folder / "cache"
        ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "cache", "downloads")
        for name in ("flowerlib", "notebooks", "recipes", "data"):
            shutil.copytree(sources / name, self.root / name, ignore=ignored)
        for name in ("Snakefile", "report.tex", "references.bib", "pyproject.toml"):
            shutil.copy(sources / name, self.root)
        self.sources = self.files()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FLOWERLIB_")}
        self.environment = kept | {
            "PYTHONPATH": str(self.root),
            "FLOWERLIB_CACHE": str(self.cache),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        place = self.python("-c", "import flowerlib; print(flowerlib.__file__)").stdout.strip()
        assert Path(place).is_relative_to(self.root), f"the copy runs {place}"

    def files(self) -> dict[str, bytes]:
        """Every file but those that runs may make."""
        made = {"build", "runs", ".snakemake"}
        files = (path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file())
        return {str(file): (self.root / file).read_bytes() for file in files if file.parts[0] not in made}

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Call Python; nothing that it started outlives a time that is long even on a busy machine."""
        command = [sys.executable, *words]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, cwd=self.root, env=self.environment, **pipes) as process:
            try:
                out, err = process.communicate(timeout=1500)
            except subprocess.TimeoutExpired:
                for each in [*psutil.Process(process.pid).children(recursive=True), process]:
                    each.kill()
                raise
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def flowerlib(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Call the command line; it must succeed."""
        done = self.python("-m", "flowerlib", *words)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr[-3000:]}"
        return done

    @property
    def build(self) -> Path:
        return self.root / "build" / "smoke"

    def record(self, run: str) -> dict[str, Any]:
        return json.loads((self.build / "figures" / run / "record.json").read_text(encoding="utf-8"))

    def status(self) -> dict[str, str]:
        """Run -> why it would run, of the runs that would."""
        lines = self.flowerlib("status", "--profile", "smoke").stdout.splitlines()
        return dict(line.removeprefix("to do").split(maxsplit=1) for line in lines if line.startswith("to do"))

    @contextmanager
    def edited(self, file: str, how: Callable[[str], str]) -> Iterator[None]:
        """Change a file for a while."""
        path = self.root / file
        before = path.read_text(encoding="utf-8")
        assert how(before) != before, f"{file} does not have what the test edits"
        path.write_text(how(before), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(before, encoding="utf-8")

    def trainings(self) -> dict[str, int]:
        """Trained weights and when they were written."""
        files = (self.cache / "trained").glob("*/training.json")
        return {file.parent.name: file.stat().st_mtime_ns for file in files}


def replaced(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


def whole_report(folder: Path) -> Copy:
    """A copy in which the smoke report was made."""
    copy = Copy(folder)
    if shutil.which("latexmk") or shutil.which("tectonic"):
        done = copy.flowerlib("report", "--profile", "smoke")
        assert done.stdout.strip().splitlines()[-1] == str(copy.build / "report.pdf")
    else:
        done = copy.python("-m", "flowerlib", "report", "--profile", "smoke")
        assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("flowerlib: LaTeX is not here")
    return copy


TRAINED = (
    *("hughes-coarse", "shen-coarse", "qu-baseline-b-whitened", "ours-fine", "ours-coarse-2025"),
    "cicalla-efficientnet",
)
RUNS = tuple(recipes.runs("smoke"))


@pytest.mark.slow
def test_the_smoke_report_runs_every_notebook_and_writes_nowhere_else(whole: Copy) -> None:
    assert {path.name for path in (whole.root / "runs" / "smoke").iterdir()} == {f"{run}.ipynb" for run in RUNS}
    assert {path.name for path in (whole.build / "figures").iterdir()} == set(RUNS)
    assert whole.files() == whole.sources


@pytest.mark.slow
def test_results_json_is_every_records_numbers_unrounded(whole: Copy) -> None:
    content = json.loads((whole.build / "results.json").read_text())
    merged, origins = content["numbers"], content["runs"]
    made = [run for run in RUNS if recipes.load(run, "smoke").uses != ("*",)]  # not those that compare what is there
    expected = {f"{run}/{key}": value for run in made for key, value in whole.record(run)["results"].items()}
    assert set(merged) == set(expected)
    for key, value in expected.items():
        assert {name: merged[key][name] for name in value} == value, key
    for run in TRAINED:
        accuracy = merged[f"{run}/test/accuracy"]
        assert accuracy["value"] == round(accuracy["value"] * accuracy["n"]) / accuracy["n"]
        assert accuracy["low"] < accuracy["value"] < accuracy["high"]
        assert origins[run]["training_minutes"] > 0


@pytest.mark.slow
def test_values_tex_prints_what_results_json_holds(whole: Copy, latex: None) -> None:
    merged = json.loads((whole.build / "results.json").read_text())["numbers"]
    text = (whole.build / "values.tex").read_text()
    printed = dict(re.findall(r"^\\flowervalue\{([^}]*)\}\{(.*?)\}\{", text, re.MULTILINE))
    printed |= dict(re.findall(r"^\\flowervalue\{([^}]*)\}\{((?:\d|\{,\})+)\}\{", text, re.MULTILINE))
    assert set(merged) <= set(printed)
    for key, entry in merged.items():
        shown = printed[key].replace("{,}", "")
        decimals = len(shown.partition(".")[2])
        assert shown == f"{entry['value']:.{decimals}f}", key


@pytest.mark.slow
@pytest.mark.latex
def test_the_smoke_pdf_has_its_banner_and_fits(whole: Copy, latex: None) -> None:
    text = pages(whole.build / "report.pdf")
    assert BANNER.upper() in text[0]
    assert all(BANNER in page for page in text[1:]), "in the head of every later page"
    assert (whole.build / "report.pdf").stat().st_size < publishing.PDF_MIB * 2**20


NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def table_words(pdf: Path) -> str:
    """Everything that is set at table size: \\footnotesize, nine points, is used for nothing else."""
    words: list[str] = []

    def visit(text: str, current: Any, matrix: Any, font: dict[str, Any] | None, size: float) -> None:
        if font and "LMRoman9" in str(font.get("/BaseFont")):
            words.append(text)

    for page in pypdf.PdfReader(pdf).pages:
        page.extract_text(visitor_text=visit)
        words.append("\n")
    return "".join(words)


def tables(copy: Copy) -> Iterator[tuple[str, dict[str, Any], list[list[str]]]]:
    """Key, record and printed cells (head first) of every table that the report shows."""
    source = (copy.root / "report.tex").read_text()
    shown = re.sub(r"\\ofphotographs\{[^}]*\}\{%\n.*?\n\}% ", "", source, flags=re.DOTALL)  # not of drawn flowers
    wanted = re.findall(r"\\runtable\*?\{([^}]*)\}", shown)
    for key in dict.fromkeys(wanted):
        run, name = key.rsplit("/", 1)
        path = copy.build / "figures" / run / f"{name}.tex"
        if path.exists():
            head, _, body = path.read_text(encoding="utf-8").rpartition("\\midrule")
            lines = [head.strip().splitlines()[-1], *body.splitlines()]
            cells = [line.removesuffix(r" \\").split(" & ") for line in lines if line.endswith(r"\\")]
            yield key, copy.record(run)["tables"][name], cells


def plain(cell: str) -> str:
    return re.sub(r"\\([&%_#${}])", r"\1", cell)


def as_printed(value: Any, printed: str) -> str:
    """A value of the record with as many decimals as its printed cell."""
    decimals = len(printed.partition(".")[2])
    return "" if value is None else f"{value:.{decimals}f}" if isinstance(value, float) else str(value)


@pytest.mark.slow
def test_every_cell_of_the_exported_tables_is_the_records_value_rounded(whole: Copy) -> None:
    found = list(tables(whole))
    assert {"summary/reported_vs_reproduced", "summary/runs", "dataset/overview"} <= {key for key, _, _ in found}
    for key, table, (head, *body) in found:
        assert [plain(cell) for cell in head] == [str(column) for column in table["columns"]], key
        body = [row for row in body if "multicolumn" not in row[0]]
        assert len(body) == len(table["rows"]), key
        for printed, values in zip(body, table["rows"], strict=True):
            assert [plain(cell) for cell in printed] == [
                as_printed(value, cell) for value, cell in zip(values, printed, strict=True)
            ], key


@pytest.mark.slow
@pytest.mark.latex
def test_every_number_in_the_pdfs_tables_is_found_in_the_exported_results(whole: Copy, latex: None) -> None:
    printed = Counter(NUMBER.findall(table_words(whole.build / "report.pdf")))
    exported: Counter[str] = Counter()
    heads: set[str] = set()  # of a long table: once a page
    for _, _, (head, *body) in tables(whole):
        heads |= {number for cell in head for number in NUMBER.findall(plain(cell))}
        exported += Counter(
            number
            for row in body
            if "multicolumn" not in row[0]
            for cell in row
            for number in NUMBER.findall(plain(cell))
        )
    assert printed.total() > 200
    assert set(printed - exported) <= heads, "numbers in the PDF's tables that no run exported"
    assert exported - printed == Counter(), "exported numbers that the PDF's tables lack"


ABSENT = {"not yet", "no ImageNet weights"}  # instead of what was reduced


@pytest.mark.slow
def test_reported_and_reproduced_are_the_reports_and_the_runs_own_numbers(whole: Copy) -> None:
    merged = json.loads((whole.build / "results.json").read_text())["numbers"]
    table = whole.record("summary")["tables"]["reported_vs_reproduced"]
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    claims = summary.claims()
    headline = claims[claims.headline == "yes"]
    assert len(rows) == len(headline)
    for row, claim in zip(rows, headline.itertuples(), strict=True):
        assert float(row["reported"]) == claim.value
        found = merged.get(f"{claim.run}/{claim.result}")
        numbers = [row[name] for name in ("reproduced", "low", "high", "n")]
        if found is None:
            assert numbers == [None] * 4 and row["reduced"] in ABSENT and not row["verdict"]
        else:
            n = found["n"] if found["interval"] not in ("counted", "exact") else None
            assert numbers == [*(found[name] for name in ("value", "low", "high")), n]
            stated = NUMBER.findall(" ".join(whole.record(claim.run)["facts"]["reduced"]))
            noted = NUMBER.findall(row["reduced"])
            assert noted and set(noted) <= set(stated), claim.run
            assert row["verdict"] == summary.agreement(claim.value, int(claim.decimals), found)
    assert ABSENT < {row["reduced"] for row in rows}


@pytest.mark.slow
def test_nothing_is_run_again_when_nothing_changed(whole: Copy) -> None:
    def looked_at() -> dict[str, Any]:
        notebooks = {path.name: path.stat().st_mtime_ns for path in (whole.root / "runs").rglob("*.ipynb")}
        files = [*whole.build.glob("figures/*/*"), whole.build / "results.json", whole.build / "report.pdf"]
        bytes_of = {str(path): path.read_bytes() for path in files if path.exists()}
        return {"notebooks": notebooks, "trainings": whole.trainings(), "files": bytes_of}

    before = looked_at()
    done = whole.python("-m", "flowerlib", "report", "--profile", "smoke")
    assert "epoch" not in done.stderr
    assert looked_at() == before
    assert whole.status() == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "how"),
    [
        ("flowerlib/figures.py", replaced("\n\n\ndef ", "\n\n\n# A comment.\ndef ")),
        ("flowerlib/models/classifiers.py", replaced("VGG-like network", "Network, like VGG's,")),
        ("notebooks/01_classification.ipynb", replaced("What to notice", "What to look at")),
        ("recipes/classification.yml", replaced("# Networks", "# These networks")),
        ("report.tex", replaced("None of their numbers", "Not one of their numbers")),
    ],
)
def test_a_comment_a_docstring_and_prose_leave_nothing_to_do(whole: Copy, file: str, how: Callable[[str], str]) -> None:
    with whole.edited(file, how):
        assert whole.status() == {}


SHEN_FINE = re.compile(r"(?s)(\nshen-fine:.*?learning_rate: )0\.001")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "how", "runs", "reason"),
    [
        ("flowerlib/figures.py", lambda text: f"{text}\nONE_MORE = 1\n", set(), ""),
        (
            "flowerlib/style.py",
            replaced("WIDTH_IN, PAGE_IN = 6.3", "WIDTH_IN, PAGE_IN = 6.2"),
            set(RUNS),
            "style.WIDTH_IN",
        ),
        (
            "flowerlib/models/classifiers.py",
            replaced("layers.Dense(512,", "layers.Dense(256,"),
            {"shen-coarse", "shen-augmentation", "summary"},
            "models.classifiers.shen_cnn",
        ),
        (
            "recipes/classification.yml",
            lambda text: SHEN_FINE.sub(r"\g<1>0.002", text),
            {"shen-coarse", "shen-augmentation", "summary"},
            "training.learning_rate 0.001 -> 0.002",
        ),
        (
            "notebooks/00_dataset.ipynb",
            replaced("size_px=96", "size_px=64"),
            {"dataset", "summary"},
            "notebook cells",
        ),
    ],
)
def test_a_change_re_runs_just_the_runs_that_use_it_and_says_why(
    whole: Copy, file: str, how: Callable[[str], str], runs: set[str], reason: str
) -> None:
    with whole.edited(file, how):
        found = whole.status()
    assert set(found) == runs
    assert not runs or any(reason in said for said in found.values()), found


def kind_moved(text: str) -> str:
    """class_names.csv with the first kind that is in a group of 2025 moved into another."""
    lines = text.splitlines()
    groups = {line.split(",")[-1] for line in lines[1:]} - {""}
    first = next(number for number, line in enumerate(lines[1:], 1) if line.split(",")[-1])
    *kept, group = lines[first].split(",")
    lines[first] = ",".join([*kept, min(groups - {group})])
    return "\n".join(lines) + "\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "how", "run"),
    [
        ("data/class_names.csv", kind_moved, "shen-coarse"),
        (
            "data/coarse_groups.yml",
            lambda text: "\n".join(text.splitlines()[:-2] + text.splitlines()[:-3:-1]) + "\n",
            RUN,
        ),
        ("data/reported.csv", replaced(",0.81,2,", ",0.82,2,"), "summary"),
    ],
)
def test_a_committed_data_file_that_changed_re_runs_what_reads_it(
    whole: Copy, file: str, how: Callable[[str], str], run: str
) -> None:
    """Labels and claims are values as much as a recipe's: who moves a kind into another group trains anew."""
    with whole.edited(file, how):
        assert run in whole.status()


# A run that is killed


class Running:
    """A run of the command line that is read line by line, to be killed."""

    def __init__(self, copy: Copy, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flowerlib", *words],
            cwd=copy.root,
            env=copy.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.watch = threading.Timer(600, self.process.kill)
        self.watch.daemon = True
        self.watch.start()
        self.said: list[str] = []

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def until(self, start: str) -> list[psutil.Process]:
        """Wait for a line; the processes below, the kernel among them."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if line.startswith(start):
                below = psutil.Process(self.process.pid).children(recursive=True)
                assert any("ipykernel" in " ".join(each.cmdline()) for each in below)
                return below
        raise AssertionError(f"ended without '{start}': {''.join(self.said)[-3000:]}")

    def end(self) -> None:
        """SIGKILL for the process itself."""
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()
        self.watch.cancel()


def gone(processes: list[psutil.Process], seconds: float) -> bool:
    """Whether processes end within a time; one that nobody waits for is a zombie, which has ended."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return all(not each.is_running() or each.status() == psutil.STATUS_ZOMBIE for each in alive)


@pytest.fixture(scope="session")
def broken(whole: Copy, tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A copy in which a run was killed twice and ended at the third start."""
    copy = Copy(tmp_path_factory.mktemp("broken"), whole.root)
    shutil.copytree(whole.cache / "arrays", copy.cache / "arrays")  # spares drawing the same flowers

    with Running(copy, "run", RUN, "--profile", "smoke") as first:
        below = first.until("epoch 2/")
    for each in below:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    assert gone(below, 30)
    assert copy.trainings() == {} and list((copy.cache / "trained").glob("*/checkpoint.npz"))
    assert not (copy.build / "figures").exists() and not list((copy.root / "runs").rglob(f"{RUN}.ipynb"))

    with Running(copy, "run", RUN, "--profile", "smoke") as second:
        kernels = second.until("epoch 4/")
    assert any("going on after epoch 2" in line for line in second.said)
    assert not any(line.startswith(("epoch 1/", "epoch 2/")) for line in second.said)
    assert gone(kernels, 90), "the kernel of a killed run goes on for ever"
    assert copy.trainings() == {}

    third = copy.flowerlib("run", RUN, "--profile", "smoke")
    assert re.search(r"^going on after epoch [45]$", third.stderr, re.MULTILINE)
    return copy


@pytest.mark.slow
def test_a_killed_run_ends_with_the_numbers_of_an_unbroken_one(whole: Copy, broken: Copy) -> None:
    assert broken.record(RUN)["results"] == whole.record(RUN)["results"]
    assert broken.record(RUN)["tables"] == whole.record(RUN)["tables"]
    assert broken.record(RUN)["digest"] == whole.record(RUN)["digest"]


@pytest.mark.slow
def test_a_killed_run_has_the_history_of_an_unbroken_one(whole: Copy, broken: Copy) -> None:
    digest = whole.record(RUN)["training"]["digest"]
    files = [copy.cache / "trained" / digest / "training.json" for copy in (whole, broken)]
    one, two = (json.loads(file.read_text())["history"] for file in files)
    for history in (one, two):
        assert len(history.pop("minutes")) == 6
    assert one == two
    assert not list(files[1].parent.glob("*.npz")), "the checkpoint goes when the weights are kept"


@pytest.mark.slow
def test_a_changed_plot_is_drawn_again_without_training(broken: Copy) -> None:
    before, trained = broken.record(RUN), broken.trainings()
    assert len(trained) == 1
    with broken.edited("flowerlib/style.py", replaced("GAP_IN = 8.0,", "GAP_IN = 8.5,")):
        assert "style.TEXT_PT" in broken.status()[RUN]
        done = broken.flowerlib("run", RUN, "--profile", "smoke")
        assert RUN not in broken.status()
    after = broken.record(RUN)
    assert "epoch" not in done.stderr
    assert broken.trainings() == trained
    assert after["digest"] != before["digest"] and after["results"] == before["results"]
    assert after["training"] == before["training"], "minutes, date and machine are those of the training"
