"""Tables of fine-tuned networks: the reports' numbers beside ours, and nothing where a run was not made."""

import numpy as np
import pytest

from flowerlib import fine_tuned


def entry(value):
    return {"value": value, "low": value - 0.01, "high": value + 0.01, "n": 6149, "training_minutes": 5.0}


def test_table_1_has_the_reports_numbers_and_no_others_where_nothing_was_run():
    table = fine_tuned.before_and_after({}, "laptop").set_index(["run", "phase"])
    rows = {
        ("cicalla-vgg16", "head alone"): (0.7686, 0.8037),
        ("cicalla-vgg16", "5 layers unfrozen"): (0.6731, 0.8291),
        ("cicalla-resnet50", "head alone"): (2.0619, 0.7441),
        ("cicalla-resnet50", "20 layers unfrozen"): (1.2464, 0.8446),
        ("cicalla-inception", "head alone"): (0.6209, 0.8333),
        ("cicalla-inception", "10 layers unfrozen"): (0.5154, 0.8614),
    }
    for row, (loss, accuracy) in rows.items():
        assert table.loc[row, ["loss, reported", "accuracy, reported"]].tolist() == [loss, accuracy]
    assert table[["loss", "accuracy", "low", "high"]].isna().all(axis=None)
    assert set(table["note"]) == {fine_tuned.ABSENT}


def test_a_run_that_was_made_stands_beside_the_reports():
    results = {f"cicalla-mobilenet/{key}": entry(0.8) for key in ("test/accuracy", "head/test/accuracy", "test/loss")}
    table = fine_tuned.before_and_after(results, "laptop")
    made = table[table.run == "cicalla-mobilenet"]
    assert made["accuracy"].tolist() == [0.8, 0.8] and np.isnan(made["accuracy, reported"]).all()
    assert made["note"].tolist() == ["", ""] and np.isnan(made["loss"].iloc[0])


def test_table_4_2_has_both_sizes_of_training_part():
    results = {"qu-efficientnet-a/test/balanced_accuracy": entry(0.9)}
    table = fine_tuned.two_steps(results, "laptop").set_index("run")
    reported = {"qu-vgg16-a": 0.757, "qu-vgg19-a": 0.781, "qu-inception-a": 0.904}
    reported |= {"qu-vgg16-c": 0.889, "qu-vgg19-c": 0.925, "qu-inception-c": 0.962}
    assert table["reported"].dropna().to_dict() == pytest.approx(reported)
    assert table["balanced accuracy"].dropna().to_dict() == {"qu-efficientnet-a": 0.9}
    assert set(table["training photographs"]) == {1020, 6149}


def test_table_4_3_is_context_as_printed():
    assert fine_tuned.context()["top-1 accuracy, as printed"].max() == 0.958


def test_preprocessing_is_compared_model_by_model():
    results = {"ash-runs/model3/test/weighted_f1": {"value": 0.9, "n": 150}}
    results["ash-runs-raw/model3/test/weighted_f1"] = {"value": 0.6, "n": 150}
    table = fine_tuned.preprocessing(results).set_index("model")
    assert table["reported"].dropna().to_dict() == {
        **{"model1": 0.55, "model2": 0.39, "model3": 0.58, "model4": 0.55},
        **{"model5": 0.5, "model6": 0.49, "model7": 0.55},
    }
    assert table.loc["model3", ["hidden layer, scaled", "hidden layer, 0 to 255"]].tolist() == [0.9, 0.6]
    assert table["single layer, scaled"].isna().all()
