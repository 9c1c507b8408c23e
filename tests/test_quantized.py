"""Files of a trained network: made once, asked about every picture, measured."""

import time

import keras
import numpy as np
import pytest
from test_finetuning import KINDS, RECIPE, SIZE, dataset, recipe, split  # noqa: F401 - fixtures

from flowerlib import (
    comparisons,
    data,
    finetuning,
    footprint,
    layer_errors,
    lite,
    metrics,
    quantization,
    quantized,
)
from flowerlib.errors import FlowerlibError
from flowerlib.models.classifiers import residual_cnn
from flowerlib.networks import Network


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWERLIB_CACHE", str(tmp_path_factory.mktemp("files")))
        pictures, parts = dataset.__wrapped__(), split.__wrapped__()
        phases = {"phases": [{"epochs": 3, "learning_rate": 0.05}]}
        the_recipe = recipe(finetuning=RECIPE["finetuning"] | phases, model=RECIPE["model"] | {"cut": "block_8"})
        patch.setattr(data, "manifest", lambda name: "few")
        model = finetuning.build(the_recipe, parts)
        stages = finetuning.fit_or_load(the_recipe, model, pictures, parts)
        yield Network(the_recipe, model, pictures, parts, tuple(stages))


@pytest.fixture(scope="module")
def files(network):
    return quantized.make(network, 8)


def test_every_kind_is_made_once(network, files, monkeypatch):
    assert set(files.paths) == set(quantization.KINDS)
    monkeypatch.setattr(quantization, "export", lambda *_: pytest.fail("made again"))
    assert quantized.make(network, 8).paths == files.paths


def test_a_file_answers_as_the_network_and_its_answers_are_kept(network, files, monkeypatch):
    found = quantized.answers(files)
    expected = network.model.predict_on_batch(quantized.pictures(network, network.split.test))
    np.testing.assert_allclose(found["float32"], expected, atol=1e-4)
    monkeypatch.setattr(lite.LiteModel, "logits", lambda *_: pytest.fail("asked again"))
    for kind, again in quantized.answers(files).items():
        np.testing.assert_array_equal(again, found[kind])


def test_a_table_of_files_compares_each_with_the_float_one(files):
    found = quantized.answers(files)
    table = quantized.table(files, found).set_index("file")
    labels = files.network.split.test.labels
    assert table.loc["int8", "accuracy"] == (found["int8"].argmax(axis=1) == labels).mean()
    assert table.loc["float32", "agreement"] == 1 and np.isnan(table.loc["float32", "difference"])
    assert table.loc["float32", "MB"] > table.loc["float16", "MB"] > table.loc[["dynamic", "int8"], "MB"].max()
    scores = quantized.scores(files, found)
    assert scores["int8/test/accuracy"] == metrics.accuracy(labels, found["int8"].argmax(axis=1))


def test_the_fewest_photographs_that_do_best_are_chosen_on_the_validation_part(network):
    found = quantized.study(network, (4, 8, 10_000))
    assert found["photographs"].tolist() == [4, 8]
    assert set(found["n"]) == {len(network.split.validation)}
    highest = found["accuracy"].max()
    assert quantized.best(found) == found[found["accuracy"] == highest]["photographs"].min()


def test_speed_and_memory_are_positive_and_the_95th_percentile_is_no_less_than_the_median(files):
    table = quantized.speeds(files, 5)
    assert (table["ms, 1 thread"] > 0).all() and (table["95 % below, 1"] >= table["ms, 1 thread"]).all()
    assert {"ms, 2 threads", "95 % below, 2"} <= set(table.columns)
    assert table["peak MB"].between(20, 400).all()  # its own, not that of the process which asks


def test_an_outline_has_files_of_a_size_and_random_weights_alone(network):
    other = quantized.outline("cicalla-mobilenet@model.weights=random@data.size_px=32", "smoke", network)
    table = quantized.sizes(quantized.make(other, 4)).set_index("file")["MB"]
    assert table["float32"] > 3 * table["int8"] > 0
    assert quantized.pictures(other, network.split.test, 2).shape == (2, SIZE, SIZE, 3)
    learns = sum(np.prod(each.shape) for each in other.model.trainable_variables)
    assert learns > 0.95 * other.model.count_params()  # all but the batch norms' running statistics
    with pytest.raises(FlowerlibError, match="an outline has model.weights random"):
        quantized.outline("cicalla-efficientnet", "smoke", network)


def test_layers_are_compared_on_validation_photographs(files, monkeypatch):
    seen = []
    monkeypatch.setattr(layer_errors, "compare", lambda exact, small, pictures: seen.append(pictures))
    quantized.by_layer(files, 3)
    chosen = files.network.split.validation.indices[:3]
    np.testing.assert_array_equal(seen[0], files.network.dataset.images[chosen])


def test_worst_classes_are_those_that_lose_most(files):
    found = quantized.answers(files)
    exact = np.eye(KINDS)[files.network.split.test.labels]
    lost = exact.copy()
    lost[files.network.split.test.labels == 2] = np.eye(KINDS)[0]
    table = quantized.worst_classes(files, found | {"float32": exact, "int8": lost}, 2)
    assert table.loc[0, ["class", "float32", "int8", "lost"]].tolist() == ["c", 1, 0, 1]


def test_an_optimizer_with_momentum_doubles_the_file():
    model = keras.Sequential([keras.Input((50,)), keras.layers.Dense(400), keras.layers.Dense(400)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    found = footprint.sizes_mb(model)
    assert found["weights"] == pytest.approx(4 * model.count_params() / 1e6)
    assert found["keras file"] == pytest.approx(found["weights"], rel=0.1)
    assert found["keras file with momentum"] == pytest.approx(2 * found["weights"], rel=0.1)


def test_a_network_for_pictures_of_any_side_gets_one_and_can_be_exported(tmp_path):
    model = residual_cnn(3, None, widths=(8, 16), blocks=(1, 1))
    model.compile("sgd", lambda targets, logits: logits)  # as one that was trained with a loss of ours
    fixed = quantized.at_side(model, SIZE)
    assert fixed.input_shape == (None, SIZE, SIZE, 3)
    pictures = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8)
    np.testing.assert_allclose(fixed.predict_on_batch(pictures), model.predict_on_batch(pictures), atol=1e-6)
    for kind in ("float32", "int8"):
        shown = pictures if kind == "int8" else None
        quantization.export(fixed, kind, tmp_path / kind, ("a", "b", "c"), pictures=shown)
    np.testing.assert_allclose(
        footprint.answers(tmp_path / "float32", pictures), model.predict_on_batch(pictures), atol=1e-4
    )
    table = layer_errors.compare(tmp_path / "float32", tmp_path / "int8", pictures)
    assert table["layer"].is_unique and table["layer"].iloc[-1] == "logits" and len(table) > 4
    assert (table["error"] < 0.5).all()


def test_ranges_are_measured_on_training_photographs_and_the_study_judges_on_validation(network, monkeypatch, tmp_path):
    monkeypatch.setenv("FLOWERLIB_CACHE", str(tmp_path))
    asked, shown = [], []
    pictures, export = quantized.pictures, quantization.export
    monkeypatch.setattr(
        quantized, "pictures", lambda network, part, most=None: asked.append(part) or pictures(network, part, most)
    )
    monkeypatch.setattr(
        quantization, "export", lambda *given, **named: shown.append(named["pictures"]) or export(*given, **named)
    )
    quantized.study(network, (6,))
    chosen = quantization.representative(network.split, 6)
    assert set(chosen) <= set(network.split.train.indices)
    assert asked[0] is network.split.validation
    used = [each.indices.tolist() for each in asked[1:]]
    assert used == [chosen.tolist()], "nothing but the training part is shown to the converter"
    [given] = [each for each in shown if each is not None]
    np.testing.assert_array_equal(given, network.dataset.images[chosen])


def test_tables_of_several_networks_become_one_with_p_adjusted_for_all_of_them(files):
    table = quantized.table(files, quantized.answers(files))
    both = quantized.together({"one": table, "other": table, "outline": quantized.sizes(files)})
    assert both.columns[0] == "network" and len(both) == 12
    expected = comparisons.holm([*table["p"], *table["p"], *[np.nan] * 4])
    np.testing.assert_array_equal(both["p"], expected)
    assert both[both["network"] == "outline"]["accuracy"].isna().all()
    assert str(both["n"].dtype) == "Int64"  # a missing one makes no float of the others
    compared = table[table["file"] != "float32"]
    assert (compared["its low"] <= compared["difference"]).all()
    assert (compared["difference"] <= compared["its high"]).all()


def test_the_smallest_file_that_is_accurate_enough_is_chosen_on_the_validation_part(network):
    found = quantized.packed(network, (4,), 8)
    assert found["bits"].tolist() == [8, 4] and set(found["n"]) == {len(network.split.validation)}
    packed = found.set_index("bits")["packed MB"]
    assert packed[4] < 0.8 * packed[8]
    made_up = found.assign(accuracy=[0.9, 0.8], low=[0.88, 0.78])
    assert [quantized.smallest(made_up, least) for least in (0.7, 0.79, 0.85, 0.95)] == [4, 8, 8, 8]
    score = quantized.packed_score(network, 4, 8)
    assert score.n == len(network.split.test) and 0 <= score.value <= 1


def test_a_cold_start_names_a_flower_and_its_seconds_are_the_whole_commands(files):
    [picture] = quantized.pictures(files.network, files.network.split.test, 1)
    started = time.perf_counter()
    found = footprint.cold_seconds(files.paths["int8"], picture, runs=1)
    assert 0.05 < found < time.perf_counter() - started
    with pytest.raises(FlowerlibError, match="predict failed: flowerlib: .* no such model"):
        footprint.cold_seconds(files.paths["int8"].with_name("other.tflite"), picture, runs=1)
