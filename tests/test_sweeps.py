"""Sweeps: each row with each seed once, and differences that pair the seeds."""

import numpy as np
import pytest
import scipy.stats

from flowerlib import comparisons, recipes, sweeps
from flowerlib.checkpoints import Trained

ACCURACY = {"base": [0.60, 0.63, 0.66], "better": [0.80, 0.84, 0.85], "like": [0.61, 0.62, 0.67]}


def outcome(row, seed, test):
    accuracy = {"train": 0.9, "validation": test - 0.01, "test": test}
    trained = Trained("digest", first_steps=[2.0 + seed, 1.0 + seed])
    return sweeps.Outcome(row, seed, accuracy, accuracy, 1000, 0.5, trained)


@pytest.fixture
def found():
    """Three rows over three seeds, seed by seed as they are trained."""
    return [outcome(row, seed + 1, ACCURACY[row][seed]) for seed in range(3) for row in ACCURACY]


def test_scores_are_means_over_the_seeds_with_students_interval(found):
    score = sweeps.scores(found)["better/test/accuracy"]
    low, high = scipy.stats.t.interval(0.95, 2, np.mean(ACCURACY["better"]), scipy.stats.sem(ACCURACY["better"]))
    assert (score.value, score.low, score.high, score.n) == pytest.approx((np.mean(ACCURACY["better"]), low, high, 3))


def test_differences_pair_the_seeds_as_scipys_paired_t_test_does(found):
    pairs = sweeps.differences(found, "base")
    assert set(pairs) == {"better", "like"}
    assert pairs["better"].p == pytest.approx(scipy.stats.ttest_rel(ACCURACY["better"], ACCURACY["base"]).pvalue)
    assert pairs["better"].value == pytest.approx(np.mean(ACCURACY["better"]) - np.mean(ACCURACY["base"]))


def test_the_order_of_the_seeds_changes_no_difference(found):
    assert sweeps.differences(found[::-1], "base") == sweeps.differences(found, "base")


def test_holms_correction_is_over_the_rows_of_the_table(found):
    numbers, pairs = sweeps.difference_numbers(found, "base"), sweeps.differences(found, "base")
    adjusted = comparisons.holm([pairs["better"].p, pairs["like"].p])
    assert [numbers[f"{row}/test/p_holm"].value for row in ("better", "like")] == pytest.approx(adjusted.tolist())
    assert "Holm over 2" in numbers["better/test/p_holm"].interval


def test_the_table_says_which_of_the_reports_differences_hold(found):
    reported = {"base": {"test": 0.66}, "better": {"test": 0.81}, "like": {"test": 0.60}}
    table = sweeps.table(found, reported, "base").set_index("row")
    assert table["difference holds?"].to_dict() == {
        "base": "compared with",
        "better": comparisons.HOLDS,
        "like": comparisons.UNKNOWN,
    }
    assert table["reported"].to_dict() == {"base": 0.66, "better": 0.81, "like": 0.60}
    assert table["minutes"].tolist() == [1.5] * 3


def test_a_row_that_the_report_does_not_number_gets_no_verdict(found):
    table = sweeps.table(found, {"base": {"test": 0.66}}, "base").set_index("row")
    assert table["difference holds?"].tolist() == ["compared with", "", ""]


def test_first_steps_are_seeds_by_steps(found):
    steps = sweeps.first_steps(found)["base"]
    np.testing.assert_array_equal(steps, [[3.0, 2.0], [4.0, 3.0], [5.0, 4.0]])


def test_every_row_is_trained_with_every_seed_seed_by_seed(cache, capsys):
    changes = "@training.epochs=1@training.presentations=128@data.size_px=32@model.widths=[4]@sweep.seeds=[1, 2]"
    recipe = recipes.load("shen-augmentation" + changes, "smoke")
    found = sweeps.outcomes(recipe)
    rows = ["augmented", "not_augmented"]
    assert [(each.row, each.seed) for each in found] == [(row, seed) for seed in (1, 2) for row in rows]
    assert all(0 <= each.accuracy[part] <= 1 for each in found for part in sweeps.PARTS)
    assert "row not_augmented, seed 2: training 4 of 4" in capsys.readouterr().out
    assert len(list((cache / "trained").glob("*/training.json"))) == 4
