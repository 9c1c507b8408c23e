import functools
import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.container import BarContainer
from test_figures import LAYOUT, texts_of

from flowerlib import curves, schedules, style
from flowerlib.errors import FlowerlibError


def history(epochs, drops=(), diverged=None, rates=None):
    fall = np.exp(-np.arange(epochs) / 5)
    rates = np.full(epochs, 1e-3) if rates is None else rates
    for drop in drops:
        rates[drop:] /= 2
    values = {
        "loss": 4 * fall + 0.5,
        "accuracy": 0.9 - 0.8 * fall,
        "val_loss": 4 * fall + 0.8,
        "val_accuracy": 0.8 - 0.7 * fall,
        "val_balanced_accuracy": 0.75 - 0.7 * fall,
        "learning_rate": rates,
    }
    if diverged is not None:
        values["loss"][diverged - 1 :] = np.nan
    return {key: curve.tolist() for key, curve in values.items()}


def one_cycle(epochs):
    return history(epochs, rates=np.array([schedules.one_cycle(epoch + 1, epochs, 0.1) for epoch in range(epochs)]))


def run(minutes, points, best):
    after = np.linspace(minutes / points, minutes, points)
    return pd.DataFrame({"minutes": after, "accuracy": best * (1 - np.exp(-3 * after / minutes))})


def losses(seeds, steps, fall=10):
    noise = np.random.default_rng(fall).normal(0, 0.2, (seeds, steps))
    return 1.5 + 3 * np.exp(-np.arange(steps) / fall) + noise


def bins(n=10, shift=0.1):
    confidence = np.linspace(0.5 / n, 1 - 0.5 / n, n)
    accuracy = np.clip(confidence - shift, 0, 1)
    bounds = {"low": np.clip(accuracy - 0.1, 0, 1), "high": np.clip(accuracy + 0.1, 0, 1)}
    return pd.DataFrame({"confidence": confidence, "accuracy": accuracy, **bounds, "n": np.arange(n) * 70 + 5})


def answered(worst):
    coverage = np.linspace(0.02, 1, 50)
    return pd.DataFrame({"coverage": coverage, "accuracy": 1 - (1 - worst) * coverage})


RUNS = {f"run {i}, whitened and balanced": run(60 - 7 * i, 20 + 9 * i, 0.4 + 0.05 * i) for i in range(8)}
GOALS = {"Shen's 0.72": 0.72, "Hughes's 0.5": 0.5, "a line drawn on whitened photographs 0.49": 0.49}
SETTINGS = {"zeros": losses(5, 50, 30), "Glorot": losses(5, 50, 18), "whitened": losses(5, 50, 9), "c": losses(3, 40)}
TABLES = {"shen-fine": bins(), "hughes-fine, after the scaling of its temperature": bins(15, 0), "c": bins(5, -0.1)}
SURE = {f"classifier {i}": answered(0.4 + 0.1 * i) for i in range(6)}
STEPS = {"x_label": "step", "y_label": "loss of the training"}

MINUTES = pd.DataFrame({"minutes": [1.0, 2, 4], "value": [0.9, 0.3, 0.1]})
DISTANCES = {
    name: MINUTES.assign(low=0.8 * MINUTES["value"], high=1.2 * MINUTES["value"]) for name in ("ours", "other")
}

DRAWN = {
    "history": lambda: curves.learning_curves(history(40, (20, 30, 31)), minutes=np.linspace(0.2, 8, 40).tolist()),
    "history of one epoch": lambda: curves.learning_curves(history(1)),
    "history diverged": lambda: curves.learning_curves(history(12, (6,), diverged=9)),
    "history diverged at once": lambda: curves.learning_curves({"loss": [np.nan, np.inf], "accuracy": [0.1, 0.1]}),
    "history smooth": lambda: curves.learning_curves(history(100, range(1, 100))),
    "history loss alone": lambda: curves.learning_curves({"loss": [3, 2, np.nan], "learning_rate": [0.1, 0.01, 0.01]}),
    "history one cycle": lambda: curves.learning_curves(one_cycle(40)),
    "history one cycle of four epochs": lambda: curves.learning_curves(one_cycle(4)),
    "history of six drops": lambda: curves.learning_curves(history(70, range(10, 70, 10))),
    "race": lambda: curves.race(RUNS, goals=GOALS),
    "race in logarithms": lambda: curves.race(RUNS, goals=GOALS, log=True),
    "race to near goals": lambda: curves.race(RUNS, goals={f"goal {i} of them all": 1 - i / 100 for i in range(5)}),
    "race of one": lambda: curves.race({"alone": run(3, 1, 0.6)}),
    "against minutes": lambda: curves.against_minutes(DISTANCES, "KID", log=True),
    "against minutes of one": lambda: curves.against_minutes({"alone": MINUTES}, "PSNR (dB)"),
    "bands": lambda: curves.bands(SETTINGS, **STEPS),
    "bands of one": lambda: curves.bands({"alone": losses(3, 50)}, **STEPS),
    "reliability": lambda: curves.reliability(TABLES),
    "reliability of two": lambda: curves.reliability(dict(itertools.islice(TABLES.items(), 2))),
    "reliability of one": lambda: curves.reliability({"alone": bins()}),
    "selective": lambda: curves.selective(SURE),
    "selective of one": lambda: curves.selective({"alone": answered(0.6)}),
}  # fmt: skip


@functools.cache
def drawn(name):
    fig = DRAWN[name]()
    return fig, texts_of(fig)


def said(name):
    return [text for text, *_ in drawn(name)[1]]


def line_of(ax, label):
    (line,) = [line for line in ax.lines if line.get_label() == label]
    return line


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("fact", LAYOUT)
def test_of_every_figure(fact, name):
    fact(*drawn(name))


def test_curves_stand_in_their_panels_against_whole_epochs():
    fig, _ = drawn("history")
    loss, accuracy = fig.axes
    values = history(40, (20, 30, 31))
    for ax, keys in (loss, ["loss", "val_loss"]), (accuracy, ["accuracy", "val_accuracy", "val_balanced_accuracy"]):
        for line, key in zip(ax.lines, keys, strict=False):
            assert line.get_xdata().tolist() == list(range(1, 41))
            assert line.get_ydata().tolist() == values[key]
        assert all(float(label.get_text()).is_integer() for label in ax.get_xticklabels())
    assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in accuracy.lines[:3]}) == 3
    assert "epoch (8.0 minutes in all)" in said("history")


def test_rate_drops_stand_between_epochs_with_the_rate_written():
    assert {"0.0005", "0.00025", "0.000125"} <= set(said("history"))
    for ax in drawn("history")[0].axes:
        assert [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 2] == [20.5, 30.5, 31.5]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("history smooth", "rate up to 0.001, at last 1.6e-33"),
        ("history one cycle", "rate up to 0.1, at last 0"),
        ("history one cycle of four epochs", "rate up to 0.097, at last 0"),
        ("history of six drops", "rate up to 0.001, at last 1.6e-05"),
    ],
)
def test_a_rate_that_changes_often_is_told_in_words(name, words):
    assert words in said(name)
    assert [len(ax.lines) for ax in drawn(name)[0].axes] == [2, 3]


def test_five_changes_of_the_rate_are_marked_a_rise_too():
    rates = np.repeat([0.01, 0.1, 0.05, 0.02, 0.01, 0.001], 10)
    ax = curves.learning_curves({"loss": np.ones(60), "learning_rate": rates}).axes[0]
    assert [line.get_xdata()[0] for line in ax.lines[2:]] == [10.5, 20.5, 30.5, 40.5, 50.5]
    assert [text.get_text() for text in ax.texts] == ["0.1", "0.05", "0.02", "0.01", "0.001"]


@pytest.mark.parametrize(
    ("name", "epoch"), [("history diverged", 9), ("history diverged at once", 1), ("history loss alone", 3)]
)
def test_a_diverged_run_is_marked_at_its_epoch(name, epoch):
    assert f"diverged at epoch {epoch}" in said(name)
    crosses = [line for line in drawn(name)[0].axes[0].lines if line.get_marker() == "x"]
    assert [cross.get_xdata()[0] for cross in crosses] == [epoch]


def test_the_mark_of_divergence_stands_clear_of_the_curves():
    fig, texts = drawn("history diverged")
    (box,) = [box for text, box, *_ in texts if text.startswith("diverged")]
    ax = fig.axes[0]
    highest = max(np.nanmax(line.get_ydata()) for line in ax.lines[:2])
    assert box.y0 > ax.transData.transform((1, highest))[1]


def test_a_sound_run_is_not_marked():
    assert not any("diverged" in text for text in said("history"))


def test_a_curve_keeps_its_look_when_others_are_missing():
    values = history(5)
    full, part = (curves.learning_curves(h).axes[0] for h in (values, {"val_loss": values["val_loss"]}))
    assert full.lines[1].get_color() == part.lines[1].get_color() == style.ORANGE


@pytest.mark.parametrize("name", ["race", "race in logarithms"])
def test_a_race_draws_the_accuracy_of_each_run_at_its_minutes(name):
    ax = drawn(name)[0].axes[0]
    for label, table in RUNS.items():
        line = line_of(ax, label)
        assert line.get_xdata().tolist() == table["minutes"].tolist()
        assert line.get_ydata().tolist() == table["accuracy"].tolist()
    assert ax.get_xscale() == ("log" if "log" in name else "linear")


def test_epochs_that_were_not_scored_are_left_out_of_a_race():
    table = run(10, 5, 0.5)
    table.loc[[0, 2], "accuracy"] = np.nan
    line = line_of(curves.race({"a": table}).axes[0], "a")
    assert line.get_xdata().tolist() == [4, 8, 10]


def test_every_point_of_a_short_run_has_its_marker():
    ax = curves.race({"one": run(3, 1, 0.6), "ten": run(9, 10, 0.5), "many": run(9, 90, 0.5)}).axes[0]
    assert [line.get_markevery() is None for line in ax.lines] == [True, True, False]


def test_goals_are_dashed_lines_at_their_values_with_their_names():
    ax = drawn("race")[0].axes[0]
    dashed = [line for line in ax.lines if line.get_label() not in RUNS]
    assert sorted(line.get_ydata()[0] for line in dashed) == sorted(GOALS.values())
    assert all(line.get_ydata()[0] == line.get_ydata()[1] and line.get_linestyle() == "--" for line in dashed)
    assert set(GOALS) <= {text.replace("\n", " ") for text in said("race")}


def test_a_goal_above_every_run_is_in_sight():
    ax = curves.race({"a": run(10, 5, 0.3)}, goals={"far": 0.9}).axes[0]
    assert ax.get_ylim()[1] > 0.9


def test_eight_curves_differ_in_colour_in_line_and_in_marker():
    lines = [line_of(drawn("race")[0].axes[0], label) for label in RUNS]
    assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == 8
    assert len({str(dashes) for dashes in style.LOOKS["ls"]}) == 8


def test_bands_reach_from_the_lowest_seed_to_the_highest_about_the_mean():
    ax = drawn("bands")[0].axes[0]
    for band, (label, values) in zip(ax.collections, SETTINGS.items(), strict=False):
        steps, corners = np.arange(1, values.shape[1] + 1), band.get_paths()[0].vertices
        assert np.array_equal(line_of(ax, label).get_xdata(), steps)
        assert np.allclose(line_of(ax, label).get_ydata(), values.mean(axis=0))
        for step, low, high in zip(steps, values.min(axis=0), values.max(axis=0), strict=True):
            at = corners[corners[:, 0] == step, 1]
            assert (at.min(), at.max()) == pytest.approx((low, high))
    assert "lowest to highest seed of 3 to 5" in said("bands")
    assert "lowest to highest seed of 3" in said("bands of one")


def test_bands_are_told_apart_by_their_hatches():
    hatches = [band.get_hatch() for band in drawn("bands")[0].axes[0].collections[:4]]
    assert len(set(hatches)) == 4


def test_a_band_ends_where_a_seed_diverges():
    values = losses(3, 20)
    values[1, 12:] = np.inf
    ax = curves.bands({"a": values}, **STEPS).axes[0]
    assert np.flatnonzero(np.isnan(line_of(ax, "a").get_ydata())).tolist() == list(range(12, 20))
    assert ax.collections[0].get_paths()[0].vertices[:, 0].max() == 12


@pytest.mark.parametrize("name", ["reliability", "reliability of two", "reliability of one"])
def test_reliability_has_a_panel_a_table_with_the_diagonal_points_and_intervals(name):
    fig = drawn(name)[0]
    above = fig.axes[: len(fig.axes) // 2]
    tables = {"alone": bins()} if len(above) == 1 else dict(itertools.islice(TABLES.items(), len(above)))
    for ax, (title, table) in zip(above, tables.items(), strict=True):
        diagonal, points = ax.lines
        assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]
        assert np.array_equal(points.get_xydata(), table[["confidence", "accuracy"]])
        spans = [segment[:, 1] for segment in ax.collections[0].get_segments()]
        assert np.array_equal(spans, table[["low", "high"]])
        assert ax.get_title("left").replace("\n", " ") == title


def test_panels_of_reliability_are_about_square():
    for name in "reliability", "reliability of two", "reliability of one":
        fig, _ = drawn(name)
        box = fig.axes[0].get_window_extent()
        assert box.width / box.height == pytest.approx(1, abs=0.15)


def test_the_photographs_of_each_bin_are_bars_beneath():
    fig = drawn("reliability")[0]
    for ax, table in zip(fig.axes[3:], TABLES.values(), strict=True):
        (bars,) = [container for container in ax.containers if isinstance(container, BarContainer)]
        assert [bar.get_height() for bar in bars] == table["n"].tolist()
        assert np.allclose([bar.get_x() + bar.get_width() / 2 for bar in bars], table["confidence"])


def test_bins_without_photographs_are_left_out():
    table = bins().assign(n=[0, *[9] * 9])
    table.loc[0, ["confidence", "accuracy"]] = np.nan
    assert len(curves.reliability({"a": table}).axes[0].lines[1].get_xdata()) == 9


def test_accuracy_is_drawn_against_coverage_in_its_order():
    ax = drawn("selective")[0].axes[0]
    for label, table in SURE.items():
        assert np.array_equal(line_of(ax, label).get_xydata(), table[["coverage", "accuracy"]])
    mixed = curves.selective({"a": answered(0.5).sample(frac=1, random_state=0)}).axes[0]
    assert np.array_equal(line_of(mixed, "a").get_xydata(), answered(0.5)[["coverage", "accuracy"]])


PERCENT, BACK = run(9, 3, 50), run(9, 3, 0.5).iloc[::-1]
FROM_ZERO = run(9, 3, 0.5).assign(minutes=[0, 1, 2])
UPSIDE_DOWN = bins().rename(columns={"low": "high", "high": "low"})
WRONG = {
    "a history of nothing": (lambda: curves.learning_curves({"top_5": [1.0]}), "top_5"),
    "no epochs": (lambda: curves.learning_curves({"loss": []}), r"\[0\]"),
    "curves of two lengths": (lambda: curves.learning_curves({"loss": [1.0, 2.0], "val_loss": [1.0]}), r"\[1, 2\]"),
    "minutes of another length": (lambda: curves.learning_curves({"loss": [1.0]}, minutes=[1, 2]), r"\[1, 2\]"),
    "no runs": (lambda: curves.race({}), "race: 0 tables, not 1 to 8"),
    "nine runs": (lambda: curves.race({f"{i}": run(9, 3, 0.5) for i in range(9)}), "race: 9 tables"),
    "a run without minutes": (lambda: curves.race({"a": PERCENT[["accuracy"]]}), "race: a: .*no column minutes"),
    "a run without epochs": (lambda: curves.race({"a": PERCENT.head(0)}), "race: a: .*no rows"),
    "a run without scores": (lambda: curves.race({"a": run(9, 3, np.nan)}), "race: a: no row has every value"),
    "percent": (lambda: curves.race({"a": PERCENT}), r"race: a: accuracy from .* to 47.*\[0, 1\]"),
    "minutes that go back": (lambda: curves.race({"a": BACK}), "race: a: minutes go back"),
    "minute 0 in logarithms": (lambda: curves.race({"a": FROM_ZERO}, log=True), "race: a: minute 0 has no place"),
    "a goal in percent": (lambda: curves.race({"a": run(9, 3, 0.5)}, goals={"Shen's": 72}), "goal Shen's is 72"),
    "no settings": (lambda: curves.bands({}, **STEPS), "bands: 0 settings"),
    "five settings": (lambda: curves.bands({f"{i}": losses(2, 3) for i in range(5)}, **STEPS), "bands: 5 settings"),
    "one seed without its axis": (lambda: curves.bands({"a": losses(1, 9)[0]}, **STEPS), r"bands: a: .*\(9,\)"),
    "no seeds": (lambda: curves.bands({"a": losses(1, 9)[:0]}, **STEPS), r"bands: a: .*\(0, 9\)"),
    "a loss of nothing": (lambda: curves.bands({"a": np.full((2, 3), np.nan)}, **STEPS), "bands: a: no step is finite"),
    "four reliabilities": (lambda: curves.reliability({f"{i}": bins() for i in range(4)}), "4 tables, not 1 to 3"),
    "bins without n": (lambda: curves.reliability({"a": bins().drop(columns="n")}), "reliability: a: .*no column n"),
    "an interval upside down": (lambda: curves.reliability({"a": UPSIDE_DOWN}), "reliability: a: low .*high"),
    "seven classifiers": (lambda: curves.selective({f"{i}": answered(0.5) for i in range(7)}), "7 tables, not 1 to 6"),
    "coverage in percent": (
        lambda: curves.selective({"a": answered(0.5).assign(coverage=np.arange(50))}),
        "selective: a: coverage from 0 to 49",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG.keys())
def test_bad_input_is_told_in_one_line(call, message):
    with pytest.raises(FlowerlibError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
