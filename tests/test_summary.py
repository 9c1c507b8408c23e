"""Tables that set the reports' numbers beside ours."""

import math

import pytest

from flowerlib import recipes, splits, summary
from flowerlib.metrics import slug


def entry(value, low=None, high=None, interval="Wilson, photographs", n=320):
    return {"value": value, "low": low, "high": high, "interval": interval, "n": n, "training_minutes": 1.0}


@pytest.mark.parametrize(
    ("reported", "decimals", "found", "said"),
    [
        (0.81, 2, entry(0.80, 0.75, 0.84), "agrees"),
        (0.85, 2, entry(0.80, 0.75, 0.846), "agrees"),  # 0.85 was rounded: it may have been 0.846
        (0.86, 2, entry(0.80, 0.75, 0.846), "ours is lower"),
        (0.70, 2, entry(0.80, 0.75, 0.84), "ours is higher"),
        (320, 0, entry(320, interval="counted"), "agrees"),
        (320, 0, entry(310, interval="counted"), "ours is lower"),
    ],
)
def test_a_reported_number_agrees_when_it_lies_in_our_interval_as_rounded(reported, decimals, found, said):
    assert summary.agreement(reported, decimals, found) == said


def test_what_was_reduced_is_said_in_a_few_words():
    assert summary._note("shen-fine", "laptop") == "10 of 50 epochs"
    assert summary._note("shen-regularization", "laptop") == "px 64 of 96, 8,192 pictures shown"
    assert summary._note("shen-fine", "full") == "nothing"


def test_every_number_of_the_classification_sections_has_a_row():
    rows = summary.classification_claims({}, "laptop")
    claims = summary.claims()
    tables = claims.key.str.match(
        r"(hughes/(table[1235]|coarse|fine)|shen/(table[1-5]|coarse|fine|softmax|learning)|qu/table4.1)"
    )
    assert len(rows) >= tables.sum() > 100
    assert set(rows.reduced) == {"not yet"}


def test_every_number_on_phones_reconstruction_and_generation_has_a_row():
    rows = summary.claims_of({}, "laptop", ["04_quantization", "05_autoencoder", "06_diffusion"])
    claims = summary.claims()
    runs = ["quantization", "hughes-autoencoder", "shen-autoencoder"]
    runs += ["hughes-diffusion", "shen-diffusion", "shen-diffusion-small"]
    assert len(rows) == len(claims[claims.run.isin(runs)]) == 41 and set(rows.report) == {
        "Hughes",
        "Cicalla et al.",
        "Shen",
    }


def test_a_row_without_a_number_says_why():
    rows = summary.reported_vs_reproduced({}, "laptop", headline=False, runs=["cicalla-inception", "hughes-coarse"])
    said = rows.groupby("report")["reduced"].agg(set).to_dict()
    assert said == {"Cicalla et al.": {"no ImageNet weights"}, "Hughes": {"not yet"}}
    made = {"quantization/cicalla-inception/int8/test/size_mib": entry(10.9)}
    found = summary.reported_vs_reproduced(made, "laptop", runs=["quantization"]).set_index("claim")
    assert found.reproduced.dropna().tolist() == [10.9]
    assert set(found.reduced[found.reproduced.isna()]) == {"no ImageNet weights"}  # its accuracy


def test_every_run_that_a_classification_number_names_is_a_recipe_and_its_row_is_a_row():
    claims = summary.claims()
    for claim in claims[claims.run != ""].itertuples():
        recipe = recipes.load(claim.run, "laptop")
        if recipe.sweep:
            assert claim.result.split("/")[0] in recipe.sweep.rows


def test_a_sweeps_claims_are_the_reports_table():
    assert summary.claimed_rows("shen-regularization")["plain"] == {"train": 0.99, "validation": 0.63, "test": 0.66}
    assert summary.claimed_rows("shen-augmentation")["augmented"]["test"] == 0.81
    assert summary.claimed_rows("hughes-bias") == {}


def test_table_5_pairs_each_class_with_its_own():
    results = {
        f"hughes-fine/test/{slug(name)}/{part}": entry(0.5, 0.2, 0.8)
        for name in splits.fine_names()
        for part in ("precision", "recall", "f1")
    }
    table = summary.table5(results)
    assert len(table) == 102 and list(table["class"])[:2] == ["Pink Primrose", "Hard-leaved Pocket Orchid"]
    assert table["precision"].mean() == pytest.approx(0.85, abs=0.005)  # the report's macro average
    assert (table["recall agrees"] == "agrees").sum() == ((table.recall > 0.19) & (table.recall < 0.81)).sum()
    assert summary.table5({}).empty


def test_counted_values_stay_whole_and_scores_unrounded():
    results = {
        "hughes-coarse/test/images": entry(320, interval="counted"),
        "hughes-coarse/test/accuracy": entry(1 / 3, 0.3, 0.4),
    }
    rows = summary.classification_claims(results, "laptop").dropna(subset=["reproduced"])
    assert {type(value) for value in rows.reproduced} == {int, float} and math.isclose(min(rows.reproduced), 1 / 3)


def test_hard_labels_are_ranked_by_recall_counted_from_0_and_from_1():
    names = splits.fine_names()
    results = {f"shen-fine/test/{slug(name)}/recall": entry(label / 102, 0, 1) for label, name in enumerate(names)}
    table = summary.hard_labels(results, ["shen-fine", "hughes-fine"])
    assert table["class"].tolist() == ["canterbury bells", "garden phlox", "hard-leaved pocket orchid", "carnation"]
    assert table["rank"].tolist() == [3, 32, 2, 31]


def test_runs_that_differ_in_their_seed_alone_are_averaged():
    values = {"qu-baseline-a": 0.18, "qu-baseline-a@seed=2": 0.20, "qu-baseline-a@seed=3": 0.19, "shen-fine": 0.7}
    table = summary.over_seeds({f"{run}/test/accuracy": entry(value) for run, value in values.items()}, "laptop")
    [row] = table.to_dict("records")
    assert (row["run"], row["seeds"], row["lowest seed"], row["highest seed"]) == ("qu-baseline-a", 3, 0.18, 0.20)
    assert row["mean"] == pytest.approx(0.19) and row["low"] < 0.19 < row["high"]
    means = summary.seed_means({f"{run}/test/accuracy": entry(value) for run, value in values.items()}, "laptop")
    [(key, score)] = means.items()
    assert key == "qu-baseline-a/test/accuracy_over_seeds" and score.n == 3 and score.interval == "t, seeds"
    assert (score.value, score.low, score.high) == (row["mean"], row["low"], row["high"])


def test_a_score_of_no_photographs_agrees_with_nothing():
    claim = summary.claims().set_index("key").loc["hughes/table2/bell_shaped_flowers/precision"]
    found = {f"{claim.run}/{claim.result}": entry(0.0, 0.0, 1.0, n=0)}
    rows = summary.reported_vs_reproduced(found, "laptop", headline=False, runs=[claim.run]).dropna(subset=["n"])
    assert rows["verdict"].tolist() == [""]


def test_a_claim_names_its_part_unless_its_words_do():
    rows = summary.reported_vs_reproduced({}, "laptop", headline=False)
    for claim, row in zip(summary.claims().itertuples(), rows["claim"], strict=True):
        own = f"{claim.what} ({claim.section})"
        word = {"train": "training", "validation": "validation"}.get(claim.part)
        assert row == (own if not word or word in claim.what else f"{claim.what}, {word} part ({claim.section})")


def test_every_slip_stands_once():
    table = summary.slips()
    slip = "Section 2.1 says three convolutions a block; Table 1 has two in each of the first two blocks."
    assert (summary.claims().slip.str.contains(slip, regex=False)).sum() > 2  # beside several numbers
    assert (table["what does not fit"] == slip).sum() == 1
    assert not table.duplicated(["report", "what does not fit"]).any()
