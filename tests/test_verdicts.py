"""What comparisons of runs are worth: from records as the exporter writes them."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from flowerlib import comparisons, pipeline, recipes, verdicts

RANDOM = np.random.default_rng(0)
LABELS = np.repeat(np.arange(10), 10)


def predicted(share):
    """Answers of which about a share are right."""
    return np.where(RANDOM.random(len(LABELS)) < share, LABELS, (LABELS + 1) % 10)


@pytest.fixture
def build(tmp_path, monkeypatch):
    """An empty build folder; call it with a run, labels and predictions to add a record."""
    monkeypatch.setattr(pipeline, "ROOT", tmp_path)

    def add(run, labels, answers, **more):
        folder = pipeline.record_folder(run, "laptop")
        folder.mkdir(parents=True)
        kept = {"labels": " ".join(map(str, labels)), "predicted": " ".join(map(str, answers))}
        (folder / "record.json").write_text(json.dumps({"predictions": {"test": kept}, **more}), encoding="utf-8")

    return add


def test_answers_come_back_as_they_were_kept(build):
    answers = predicted(0.5)
    build("shen-fine", LABELS, answers)
    labels, found = verdicts.answers("shen-fine", "laptop")
    np.testing.assert_array_equal(labels, LABELS)
    np.testing.assert_array_equal(found, answers)
    assert verdicts.answers("hughes-fine", "laptop") is None


def test_runs_on_the_same_pictures_are_compared_picture_by_picture(build):
    one, other = predicted(0.9), predicted(0.4)
    build("qu-baseline-b", LABELS, one)
    build("qu-baseline-a", LABELS, other)
    [row] = verdicts.judged("laptop").to_dict("records")
    test = comparisons.mcnemar(LABELS, one, other)
    assert (row["difference"], row["low"], row["high"]) == (test.value, test.low, test.high)
    assert row["p"] == "< 0.001" and test.p < 0.001
    assert row["claimed"] == pytest.approx(0.302 - 0.181) and row["verdict"] == comparisons.HOLDS


def test_runs_on_other_pictures_are_compared_as_two_samples(build):
    one, other = predicted(0.9), predicted(0.4)
    build("qu-baseline-c", LABELS[::2], one[::2])
    build("qu-baseline-b", LABELS, other)
    [row] = verdicts.judged("laptop").to_dict("records")
    hits = (one[::2] == LABELS[::2]).sum(), (other == LABELS).sum()
    fisher = scipy.stats.fisher_exact([[hits[0], 50 - hits[0]], [hits[1], 100 - hits[1]]]).pvalue
    assert row["p"] == verdicts.said_p(fisher) and row["n"] == 150


def test_no_p_value_is_said_to_be_0():
    said = [verdicts.said_p(p) for p in (1.0, 0.0334, 0.0005, 0.00049, 0.0, np.nan)]
    assert said == ["1.000", "0.033", "0.001", "< 0.001", "< 0.001", ""]


def test_without_a_claim_the_better_run_is_named_or_none(build):
    good, bad = predicted(0.95), predicted(0.2)
    build("ours-fine", LABELS, good)
    build("shen-fine", LABELS, bad)
    build("hughes-fine", LABELS, good)
    table = verdicts.judged("laptop").set_index("question")["verdict"]
    assert table["ours, or Shen's network, on 102 kinds?"] == "the first is better"
    assert table["ours, or Hughes's network, on 102 kinds?"] == comparisons.UNKNOWN


def test_what_the_shares_in_the_loss_do_is_told_for_both_accuracies(build):
    labels = np.repeat([0, 1], [80, 20])
    frequent = np.where(np.arange(100) < 90, 0, 1)  # names the frequent class, and half of the rare one
    build("ours-coarse-2025", labels, labels)
    build("ours-coarse-2025@training.logit_adjustment=0", labels, frequent)
    accuracy, balanced = verdicts.imbalance("laptop").to_dict("records")
    assert (accuracy["without"], balanced["without"]) == (0.9, 0.75)
    assert accuracy["difference"] == pytest.approx(0.1) and balanced["difference"] == pytest.approx(0.25)
    assert accuracy["low"] > 0 and 0 < balanced["low"] < 0.25 < balanced["high"] and balanced["n"] == 100


def test_no_runs_give_an_empty_table_with_its_columns(build):
    assert verdicts.judged("laptop").empty and "verdict" in verdicts.judged("laptop")
    assert verdicts.imbalance("laptop").empty and "difference" in verdicts.imbalance("laptop")
    assert verdicts.split_audit({}).empty and "accuracy" in verdicts.split_audit({})
    assert verdicts.sweeps_judged({}, "laptop").empty and verdicts.race("laptop") == {}


def test_every_comparison_names_runs_of_the_laptop_or_the_full_profile():
    known = set(recipes.runs("laptop")) | set(recipes.runs("full"))
    table = verdicts.pairs()
    assert set(table.one) | set(table.other) <= known and table.key.is_unique


def test_claimed_differences_are_those_of_the_reports_own_numbers():
    claims = pd.read_csv(verdicts.DATA / "reported.csv").drop_duplicates(["run", "result"]).set_index(["run", "result"])
    for pair in verdicts.pairs().dropna(subset=["claimed"]).itertuples():
        one, other = (claims.value[run, "test/accuracy"] for run in (pair.one, pair.other))
        assert pair.claimed == pytest.approx(one - other)


def test_a_sweeps_difference_is_judged_against_the_reports_own():
    entry = {"value": -0.15, "low": -0.2, "high": -0.1, "n": 3, "interval": "t, paired, seeds, against augmented"}
    results = {
        "shen-augmentation/not_augmented/test/difference": entry,
        "shen-augmentation/not_augmented/test/p_holm": {**entry, "value": 0.01},
    }
    [row] = verdicts.sweeps_judged(results, "laptop").to_dict("records")
    assert row["claimed"] == pytest.approx(0.66 - 0.81) and row["verdict"] == comparisons.HOLDS


def test_the_race_reads_the_runs_own_histories(build):
    history = {"minutes": [1.0, 2.0], "val_accuracy": [0.3, 0.5]}
    build("ours-fine", LABELS, LABELS, training={"history": history})
    build("shen-fine", LABELS, LABELS)
    assert list(verdicts.race("laptop")) == ["ours-fine"]
    assert verdicts.race("laptop")["ours-fine"].accuracy.tolist() == [0.3, 0.5]


def test_a_test_on_two_parts_is_near_the_paired_one_when_answers_are_independent():
    one, other = np.arange(400) % 10 < 8, np.arange(300) % 10 < 5
    found = comparisons.unpaired(one, other)
    assert found.value == pytest.approx(0.3) and found.low < 0.3 < found.high and found.n == 700
    assert comparisons.unpaired(other, one).value == -found.value
