"""Many runs of one recipe: which ones, their table and plot, and snakemake itself in a copy of the bundle."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from test_report import Copy

from flowerlib import batch, pipeline
from flowerlib.errors import FlowerlibError


def test_commas_inside_brackets_part_no_values() -> None:
    assert batch.parse(["model.widths=[16,32],[8]"]) == {"model.widths": ["[16,32]", "[8]"]}


def test_every_combination_has_every_seed() -> None:
    settings = batch.parse(["model.dropout=0,0.3", "training.epochs=2"])
    assert settings == {"model.dropout": ["0", "0.3"], "training.epochs": ["2"]}
    assert batch.combinations("shen-coarse", settings, 2) == {
        ("0", "2"): [f"shen-coarse@model.dropout=0@training.epochs=2@seed={seed}" for seed in (1, 2)],
        ("0.3", "2"): [f"shen-coarse@model.dropout=0.3@training.epochs=2@seed={seed}" for seed in (1, 2)],
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["model.widths"], "--set model.widths: write key=value"),
        (["a=1,"], "write key"),
        (["a=1", "a=2"], "given twice"),
    ],
)
def test_a_setting_that_says_nothing_is_refused(given: list[str], said: str) -> None:
    with pytest.raises(FlowerlibError, match=said):
        batch.parse(given)


def test_a_value_that_no_recipe_takes_stops_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "snakemake", lambda *_: pytest.fail("runs were made"))
    with pytest.raises(FlowerlibError, match="training.epochz"):
        batch.make("shen-coarse", {"training.epochz": ["2"]}, 1, "smoke", "test/accuracy")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle's folder with the records of two rates and three seeds."""
    monkeypatch.setattr(pipeline, "ROOT", tmp_path)
    runs = batch.combinations("shen-coarse", {"model.dropout": ["0", "0.3"]}, 3)
    for place, names in enumerate(runs.values()):
        for seed, name in enumerate(names):
            value = {"value": 0.5 + 0.2 * place + 0.01 * seed, "low": 0.4, "high": 0.9, "n": 150, "interval": "wilson"}
            folder = pipeline.record_folder(name, "smoke")
            folder.mkdir(parents=True)
            record = {"run": name, "results": {"test/accuracy": {**value, "unit": "share"}}}
            (folder / "record.json").write_text(json.dumps(record))
    return tmp_path


def test_the_table_has_means_over_seeds_and_the_plot_a_point_each(made: Path) -> None:
    settings = {"model.dropout": ["0", "0.3"]}
    runs = batch.combinations("shen-coarse", settings, 3)
    table = batch.table(runs, list(settings), "smoke", "test/accuracy")
    assert table["test/accuracy"].tolist() == pytest.approx([0.51, 0.71]) and table["seeds"].tolist() == [3, 3]
    assert (table["low"] < table["test/accuracy"]).all() and (table["high"] > table["test/accuracy"]).all()
    [ax] = batch.plot(table, list(settings), "test/accuracy").axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "0.3"]
    alone = batch.table({key: names[:1] for key, names in runs.items()}, list(settings), "smoke", "test/accuracy")
    assert alone["low"].tolist() == [0.4, 0.4]  # of one seed: that over photographs
    with pytest.raises(FlowerlibError, match="exports no 'test/loss': it has test/accuracy"):
        batch.table(runs, list(settings), "smoke", "test/loss")


def test_two_settings_are_lines_with_a_legend() -> None:
    rows = [{"a": a, "b": b, "m": 0.5, "low": 0.4, "high": 0.6} for a in "12" for b in "34"]
    fig = batch.plot(pd.DataFrame(rows), ["a", "b"], "m")
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["b 3", "b 4"]


def test_snakemake_plans_the_runs_that_were_asked_for_and_no_others(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    command = [sys.executable, "-m", "flowerlib", "sweep", "shen-coarse", "--set", "training.epochs=6,7", "-n"]
    done = subprocess.run(command, cwd=copy.root, env=copy.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert all(f"figures/shen-coarse@training.epochs={epochs}@seed=1/record.json" in said for epochs in (6, 7))
    assert "figures/hughes-coarse" not in said and not (copy.root / "runs").exists()
