"""What a notebook shows under a name arrives in the record and the files, whole and unrounded, or is refused."""

import io
import json
import math
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pypdf
import pytest
from matplotlib.figure import Figure
from nbconvert.exporters import get_exporter

from flowerlib import figures, latex, pictures, recipes, results
from flowerlib.checkpoints import Trained
from flowerlib.errors import FlowerlibError
from flowerlib.exporter import MIME, RunExporter
from flowerlib.metrics import Score

SCORE = Score(1 / 3, 0.123456789012, 0.987654321098, 320, "Wilson, photographs")
FRAME = pd.DataFrame({"class": ["rose", "a_b & c"], "share": [2 / 3, np.nan], "n": [3, 4]})


class Notebook:
    """Cells that call ``flowerlib.results``; what they would display stands in their outputs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.node = nbformat.v4.new_notebook()
        monkeypatch.setattr(results, "display", self._display)

    def _display(self, data: dict[str, Any], raw: bool) -> None:
        assert raw
        clean = json.loads(json.dumps(data))  # what a kernel sends is JSON
        self.node.cells[-1].outputs.append(nbformat.v4.new_output("display_data", data=clean))

    def cell(self, name: str, show: Callable[[], Any]) -> "Notebook":
        """Add a cell and run it."""
        self.node.cells.append(nbformat.v4.new_code_cell("# shows something", id=name))
        show()
        return self

    def began(self, run: str = "dataset") -> "Notebook":
        """Add the cell with which every notebook of a run begins."""
        return self.cell("begin", lambda: results.begin(recipes.load(run, "smoke")))

    def export(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The record and the files."""
        nbformat.validate(self.node)
        text, resources = RunExporter().from_notebook_node(self.node)
        return json.loads(text, parse_constant=pytest.fail), resources["outputs"]

    def shown(self) -> dict[str, Any]:
        """The last output, by MIME type."""
        return self.node.cells[-1].outputs[-1].data


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    return Notebook(monkeypatch)


def drawing() -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1], [1, 0])
    return figure


def show_figure(name: str = "curves") -> None:
    results.figure(drawing(), name, caption="It falls.", alt="A line that falls.")


def show_table(name: str = "scores", **options: Any) -> None:
    results.table(FRAME, name, caption="Two rows.", **options)


def show_numbers(key: str = "test/accuracy") -> None:
    results.numbers({key: SCORE})


# What arrives


def test_a_figure_arrives_as_pdf_and_png_with_caption_alt_text_and_cell(notebook: Notebook) -> None:
    record, files = notebook.began().cell("look", show_figure).export()
    assert record["figures"] == {"curves": {"caption": "It falls.", "alt": "A line that falls.", "cell": "look"}}
    assert set(files) == {"curves.pdf", "curves.png"}
    assert files["curves.pdf"].startswith(b"%PDF-") and files["curves.pdf"].rstrip().endswith(b"%%EOF")
    assert files["curves.png"].startswith(b"\x89PNG\r\n\x1a\n")


def test_photographs_arrive_as_jpeg_in_the_pdf_and_plots_without_loss(notebook: Notebook) -> None:
    photographs = np.random.default_rng(0).integers(0, 256, (4, 96, 96, 3), dtype=np.uint8)

    def show():
        return results.figure(pictures.image_grid(photographs, list("abcd")), "grid", caption="Four.", alt="Four.")

    _, files = notebook.began().cell("look", show).export()
    [page] = pypdf.PdfReader(io.BytesIO(files["grid.pdf"])).pages
    assert [image["/Filter"] for image in (each.indirect_reference.get_object() for each in page.images)] == [
        "/DCTDecode"
    ] * 4
    assert "a" in page.extract_text()
    matrix = np.eye(10, dtype=int)
    notebook.cell(
        "plot", lambda: results.figure(figures.confusion(matrix, list("abcdefghij")), "m", caption="", alt="")
    )
    plot = pypdf.PdfReader(io.BytesIO(notebook.export()[1]["m.pdf"])).pages[0]
    assert all(image.indirect_reference.get_object()["/Filter"] != "/DCTDecode" for image in plot.images)


def test_one_output_serves_the_screen_and_the_report(notebook: Notebook) -> None:
    notebook.cell("look", show_figure)
    assert set(notebook.shown()) == {MIME, "image/png", "application/pdf", "text/plain"}
    assert notebook.shown()["text/plain"] == "A line that falls."
    notebook.cell("table", show_table)
    assert set(notebook.shown()) == {MIME, "text/html", "text/latex", "text/plain"}


def test_the_same_figure_has_the_same_bytes(notebook: Notebook) -> None:
    both = [notebook.cell(name, lambda name=name: show_figure(name)).shown() for name in ("one", "two")]
    assert both[0]["application/pdf"] == both[1]["application/pdf"]
    assert both[0]["image/png"] == both[1]["image/png"]


def test_a_table_arrives_unrounded_in_the_record_and_rounded_on_paper(notebook: Notebook) -> None:
    record, files = notebook.began().cell("table", lambda: show_table(decimals=3)).export()
    assert record["tables"]["scores"] == {
        "caption": "Two rows.",
        "columns": ["class", "share", "n"],
        "rows": [["rose", 2 / 3, 3], ["a_b & c", None, 4]],
        "long": False,
        "cell": "table",
    }
    tex = files["scores.tex"].decode()
    assert r"rose & 0.667 & 3 \\" in tex
    assert r"a\_b \& c &  & 4 \\" in tex, "a missing value is an empty cell"


def test_numbers_arrive_unrounded_with_interval_n_and_cell(notebook: Notebook) -> None:
    record, files = notebook.began().cell("scores", lambda: results.scores({"accuracy": SCORE}, "test")).export()
    assert record["results"] == {
        "test/accuracy": {
            "value": 1 / 3,
            "low": 0.123456789012,
            "high": 0.987654321098,
            "n": 320,
            "interval": "Wilson, photographs",
            "unit": "share",
            "cell": "scores",
        }
    }
    assert files == {}


def test_what_was_counted_has_no_interval(notebook: Notebook) -> None:
    record, _ = notebook.began().cell("count", lambda: results.counts({"train/parameters": 3_121_286})).export()
    entry = record["results"]["train/parameters"]
    assert (entry["value"], entry["low"], entry["high"], entry["interval"]) == (3_121_286, None, None, "counted")


def test_answers_are_kept_for_each_picture_and_come_back_as_numbers(notebook: Notebook) -> None:
    labels, predicted = np.array([3, 0, 101, 7]), np.array([3, 1, 101, 0])
    notebook.began().cell("answers", lambda: results.predictions(labels, predicted))
    kept = notebook.export()[0]["predictions"]["test"]
    assert [int(word) for word in kept["labels"].split()] == labels.tolist()
    assert [int(word) for word in kept["predicted"].split()] == predicted.tolist()
    assert notebook.shown()["text/plain"] == "4 answers kept: 2 right"


def test_an_exact_number_has_neither_interval_nor_a_rounded_value(notebook: Notebook) -> None:
    notebook.began().cell("cost", lambda: results.exact({"train/gflops": 1.29 / 3}))
    found = notebook.export()[0]["results"]["train/gflops"]
    assert found["value"] == 1.29 / 3 and found["low"] is found["high"] is None and found["interval"] == "exact"


def test_an_endless_interval_is_null(notebook: Notebook) -> None:
    score = Score(0.5, -math.inf, math.inf, 2, "t, paired, seeds")
    notebook.began().cell("scores", lambda: results.numbers({"plain/test/difference": score}))
    found = notebook.export()[0]["results"]["plain/test/difference"]
    assert found["value"] == 0.5 and found["low"] is found["high"] is None


def test_the_history_that_runs_are_raced_by_stands_with_the_training(notebook: Notebook) -> None:
    history = {"minutes": [1.0, 2.0], "val_accuracy": [0.1, 0.2], "loss": [3.0, 2.0]}
    trained = Trained("digest", history)
    notebook.began().cell("scores", lambda: results.counts({"train/epochs": 2}, trained))
    assert notebook.export()[0]["training"]["history"] == {"minutes": [1.0, 2.0], "val_accuracy": [0.1, 0.2]}


def test_a_bound_that_is_not_a_number_is_null(notebook: Notebook) -> None:
    half = Score(0.5, math.nan, 0.7, 3, "one-sided")
    record, _ = notebook.began().cell("half", lambda: results.numbers({"test/x": half})).export()
    assert (record["results"]["test/x"]["low"], record["results"]["test/x"]["high"]) == (None, 0.7)


def test_the_training_behind_a_score_is_recorded_with_it(notebook: Notebook) -> None:
    history = {"loss": [2.0, 1.0], "minutes": [0.5, 1.25]}
    trained = Trained("abc", history, machine="a machine", date="2026-01-02T03:04:05+00:00")
    record, _ = notebook.began().cell("scores", lambda: results.scores({"accuracy": SCORE}, "test", trained)).export()
    assert record["training"] == {
        "digest": "abc",
        "minutes": 1.25,
        "epochs": 2,
        "diverged_at": None,
        "date": "2026-01-02T03:04:05+00:00",
        "machine": "a machine",
        "history": {"minutes": [0.5, 1.25]},
    }


def test_the_record_says_what_the_run_was(notebook: Notebook) -> None:
    facts = notebook.began("shen-coarse@seed=2").export()[0]["facts"]
    recipe = recipes.load("shen-coarse@seed=2", "smoke")
    assert (facts["run"], facts["profile"], facts["seed"]) == ("shen-coarse@seed=2", "smoke", 2)
    assert facts["notebook"] == "01_classification"
    assert facts["reduced"] == list(recipe.reduced) and facts["departures"] == list(recipe.departures)
    assert facts["recipe"]["training"]["epochs"] == recipe.training.epochs  # type: ignore[union-attr]
    assert facts["data"] and facts["machine"] and facts["commit"]
    assert facts["libraries"]["keras"] == __import__("keras").__version__
    said = notebook.shown()["text/plain"]
    assert all(text in said for text in (*recipe.reduced, *recipe.departures))


def test_what_was_written_into_the_notebook_about_its_run_is_in_the_record(notebook: Notebook) -> None:
    notebook.began().node.metadata["flowerlib"] = {"run": "dataset", "digest": "abc", "parts": {"values": {}}}
    record, _ = notebook.export()
    assert (record["run"], record["digest"], record["parts"]) == ("dataset", "abc", {"values": {}})


def test_two_exports_of_one_notebook_are_equal_byte_by_byte(notebook: Notebook) -> None:
    notebook.began().cell("look", show_figure).cell("table", show_table).cell("scores", show_numbers)
    assert notebook.export() == notebook.export()


def test_what_else_a_notebook_shows_is_left_alone(notebook: Notebook) -> None:
    notebook.began().cell("talk", lambda: None)
    notebook.node.cells[-1].outputs.append(nbformat.v4.new_output("stream", text="epoch 1/3"))
    notebook.node.cells[-1].outputs.append(nbformat.v4.new_output("display_data", data={"text/plain": "3"}))
    notebook.node.cells.append(nbformat.v4.new_markdown_cell("Prose."))
    record, files = notebook.export()
    assert (record["results"], record["figures"], record["tables"], files) == ({}, {}, {}, {})


# What is refused


@pytest.mark.parametrize(
    ("show", "said"),
    [
        (show_figure, "figure named 'curves'"),
        (show_table, "table named 'scores'"),
        (show_numbers, "result named 'test/accuracy'"),
    ],
)
@pytest.mark.parametrize("cells", [("one", "two"), ("one", "one")])
def test_two_outputs_under_one_name_are_refused_with_their_cells(
    notebook: Notebook, show: Callable[[], None], said: str, cells: tuple[str, str]
) -> None:
    notebook.began().cell("one", show)
    if cells[1] == "two":
        notebook.cell("two", show)
    else:
        show()
    with pytest.raises(FlowerlibError) as caught:
        notebook.export()
    assert said in str(caught.value)
    assert f"{cells[0]}, {cells[1]}" in str(caught.value)


def test_a_notebook_with_an_error_is_refused_with_its_cell(notebook: Notebook) -> None:
    notebook.began().cell("broken", lambda: None)
    notebook.node.cells[-1].outputs.append(
        nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=["no"])
    )
    with pytest.raises(FlowerlibError, match="broken"):
        notebook.export()


def test_what_papermill_left_of_a_failed_run_is_refused(notebook: Notebook) -> None:
    notebook.began().node.metadata["papermill"] = {"exception": True}
    with pytest.raises(FlowerlibError, match="ended with an error"):
        notebook.export()


def test_a_notebook_that_was_not_run_is_refused(notebook: Notebook) -> None:
    notebook.cell("begin", lambda: None)
    with pytest.raises(FlowerlibError, match="nothing to export"):
        notebook.export()


@pytest.mark.parametrize("name", ["00_dataset", "01_classification", "07_summary"])
def test_the_notebooks_of_the_bundle_cannot_be_exported_before_they_are_run(name: str) -> None:
    path = Path(recipes.__file__).parents[1] / "notebooks" / f"{name}.ipynb"
    with pytest.raises(FlowerlibError, match="nothing to export"):
        RunExporter().from_filename(str(path))


def test_an_output_of_unknown_kind_is_refused(notebook: Notebook) -> None:
    notebook.began().cell("odd", lambda: results._show("sound", "bell", {}, {}))
    with pytest.raises(FlowerlibError, match="'sound'"):
        notebook.export()


@pytest.mark.parametrize("key", ["accuracy", "test", "tests/accuracy", "grad_cam/insertion", "accuracy/test"])
def test_a_result_that_names_no_part_is_refused(notebook: Notebook, key: str) -> None:
    with pytest.raises(FlowerlibError, match=f"'{key}' names no part: one of train, validation, test, samples"):
        notebook.cell("scores", lambda: show_numbers(key))
    assert notebook.node.cells[-1].outputs == []


@pytest.mark.parametrize("key", ["test/accuracy", "samples/kid", "grad_cam/test/insertion", "test/grad_cam/insertion"])
def test_a_result_may_have_a_level_for_the_method(notebook: Notebook, key: str) -> None:
    assert set(notebook.began().cell("scores", lambda: show_numbers(key)).export()[0]["results"]) == {key}


# nbconvert


def test_nbconvert_finds_the_exporter() -> None:
    (found,) = entry_points(group="nbconvert.exporters", name="flowerlib")
    assert found.load() is RunExporter
    assert get_exporter("flowerlib") is RunExporter


def test_nbconvert_writes_the_record_and_the_files_beside_it(notebook: Notebook, tmp_path: Path) -> None:
    notebook.began().cell("look", show_figure).cell("table", show_table).cell("scores", show_numbers)
    nbformat.write(notebook.node, tmp_path / "dataset.ipynb")
    out = tmp_path / "exported"
    done = subprocess.run(
        [sys.executable, "-m", "nbconvert", "--to", "flowerlib", "--output-dir", out, tmp_path / "dataset.ipynb"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == {"dataset.json", "curves.pdf", "curves.png", "scores.tex"}
    assert json.loads((out / "dataset.json").read_text())["results"]["test/accuracy"]["value"] == 1 / 3


# LaTeX


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("&", r"\&"),
        ("%", r"\%"),
        ("_", r"\_"),
        ("#", r"\#"),
        ("$", r"\$"),
        ("{", r"\{"),
        ("}", r"\}"),
        ("~", r"\textasciitilde{}"),
        ("^", r"\textasciicircum{}"),
        ("\\", r"\textbackslash{}"),
        ("plain text, 95.5 (a/b) é", "plain text, 95.5 (a/b) é"),
        ("50 % of a_b", r"50 \% of a\_b"),
        (r"\%", r"\textbackslash{}\%"),
        ("", ""),
    ],
)
def test_every_special_of_latex_is_escaped_once(text: str, expected: str) -> None:
    assert latex.escape(text) == expected


def rows_of(tex: str) -> list[str]:
    return [line for line in tex.splitlines() if line.endswith(r"\\")]


def tabular(frame: pd.DataFrame, decimals: int = 2, long: bool = False) -> str:
    return latex.tabular(frame, results._plain(frame), decimals, long)


def test_a_table_has_the_rules_of_booktabs_and_no_others() -> None:
    tex = tabular(FRAME)
    assert tex.startswith(r"\begin{tabular}{lrr}") and tex.rstrip().endswith(r"\end{tabular}")
    assert [tex.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\hline", "|")] == [1, 1, 1, 0, 0]
    assert rows_of(tex) == [r"class & share & n \\", r"rose & 0.67 & 3 \\", r"a\_b \& c &  & 4 \\"]


def test_a_long_table_carries_caption_and_head_over_the_pages() -> None:
    tex = tabular(FRAME, long=True)
    assert tex.startswith(r"\begin{longtable}") and tex.rstrip().endswith(r"\end{longtable}")
    first, later = tex.split(r"\endfirsthead")
    assert r"\flowercaption" in first and r"\flowercaption" not in later
    assert later.split(r"\endhead")[0].count("class & share") == 1
    assert rows_of(later.split(r"\endhead")[1]) == rows_of(tabular(FRAME))[1:]


def test_whole_numbers_stay_whole_and_others_have_their_decimals() -> None:
    frame = pd.DataFrame({"whole": [1, 20000], "part": [1.0, 2.34567], "flag": [True, False]})
    frame["some"] = pd.array([3, None], dtype="Int64")
    assert rows_of(tabular(frame, decimals=3))[1:] == [r"1 & 1.000 & True & 3 \\", r"20000 & 2.346 & False &  \\"]


def test_long_texts_are_set_in_lines_and_numbers_to_the_right() -> None:
    frame = pd.DataFrame({"text": ["a long sentence that would never fit beside the others " * 3], "x": [1.5]})
    columns = tabular(frame).splitlines()[0]
    assert "p{" in columns and columns.endswith("r}")


def test_the_columns_of_any_table_fit_the_page() -> None:
    words = "a long sentence that would never fit beside the others "
    for count in (1, 2, 4):
        for length in (1, 3, 30):
            frame = pd.DataFrame({f"text {i}": [words * length] for i in range(count)})
            shares = [float(part.split(r"\textwidth")[0]) for part in tabular(frame).splitlines()[0].split("p{")[1:]]
            assert len(shares) == count
            assert 0.5 < sum(shares) <= 1


def test_a_table_without_rows_says_so() -> None:
    rows = rows_of(tabular(FRAME.head(0)))
    assert len(rows) == 2 and r"\multicolumn{3}" in rows[1]
