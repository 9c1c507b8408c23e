"""Fine-tuning: heads on what a frozen network gives, then layers below. EfficientNet-Lite0 on few drawn flowers."""

import keras
import numpy as np
import pytest

from flowerlib import (
    cycles,
    digests,
    finetuning,
    frozen,
    head_rows,
    metrics,
    pipeline,
    range_test,
    recipes,
    synthetic,
    training,
)
from flowerlib.data import Dataset
from flowerlib.errors import FlowerlibError
from flowerlib.models import backbones
from flowerlib.models.transfer import transfer
from flowerlib.schema import Recipe
from flowerlib.splits import Part, Split

SIZE, KINDS = 32, 4
FINE = np.repeat(np.arange(KINDS), 12)
RECIPE = {
    "name": "tiny",
    "profile": "smoke",
    "notebook": "02_fine_tuning",
    "title": "A small head on few drawn flowers",
    "report": "cicalla",
    "data": {"name": "drawn", "split": "official", "labels": "fine", "size_px": SIZE},
    "model": {"builder": "transfer", "backbone": "efficientnet_lite0", "hidden": [8], "dropout": 0.2},
    "augment": {"flip": True, "rotation_deg": 20},
    "finetuning": {
        "batch_size": 8,
        "views": 2,
        "phases": [
            {"epochs": 3, "momentum": 0.9, "cycle": {"low": 0.01, "high": 0.1, "step_size": 1, "unit": "epochs"}},
            {"unfreeze": 10, "epochs": 2, "learning_rate": 0.05},
        ],
    },
}
# Of its last ten layers the convolutions that Keras calls Conv2D, and the activations.
LAST_TEN = ("block_15_expand_relu", "block_15_depthwise_relu", "block_15_project", "out", "out_relu")
TRAINING = {"optimizer": "sgd", "learning_rate": 0.01, "epochs": 2, "batch_size": 8, "flips_at_test": True}


def recipe(**changes):
    return Recipe.model_validate(RECIPE | changes)


def phases(*given, **more):
    return recipe(finetuning=RECIPE["finetuning"] | {"phases": list(given)}, **more)


@pytest.fixture(scope="module")
def dataset():
    return Dataset("drawn", synthetic.draw(FINE * 20, np.arange(len(FINE)), SIZE)[0], FINE, None)


@pytest.fixture(scope="module")
def split():
    places = np.arange(len(FINE))
    parts = (np.flatnonzero(places % 12 < 6), np.flatnonzero(places % 12 // 3 == 2), np.flatnonzero(places % 12 > 8))
    return Split(*(Part(each, FINE[each]) for each in parts), names=tuple("abcd"))


@pytest.fixture(scope="module")
def done(dataset, split, tmp_path_factory):
    """Two phases and all layers: recipe, model, its stages, and its weights before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWERLIB_CACHE", str(tmp_path_factory.mktemp("done")))
        whole = recipe(training=TRAINING)
        model = finetuning.build(whole, split)
        before = values(model)
        yield whole, model, finetuning.fit_or_load(whole, model, dataset, split), before


def values(model):
    return {weight.path: weight.numpy() for weight in model.weights}


def changed(one, other):
    return {path.split("/")[0] for path in one if not np.array_equal(one[path], other[path])}


def test_a_head_is_pooling_hidden_layers_and_logits():
    model = transfer(5, 32, "mobilenet_v2", weights="random", hidden=(8, 6), l2=0.005, dropout=0.5)
    names = [layer.name for layer in model.layers]
    head = [f"hidden_{i}{part}" for i in (1, 2) for part in ("", "_norm", "_relu", "_dropout")]
    assert names[names.index("pooled") :] == ["pooled", *head, "logits"]
    assert model.output_shape == (None, 5) and model.inputs[0].dtype == "uint8"
    assert [model.get_layer(f"hidden_{i}").kernel_regularizer.l2 for i in (1, 2)] == pytest.approx([0.005, 0.005])


def test_a_head_may_stand_on_the_flat_map_and_on_pixels_that_nobody_scaled():
    model = transfer(5, 64, "mobilenet_v2", weights="random", pooling="flatten", preprocessing="none", dropout=0.1)
    assert model.get_layer("pooled").output.shape == (None, 2 * 2 * 1280)
    assert [layer.name for layer in model.layers][-2:] == ["dropout", "logits"]


def test_report_001_heads_have_their_parameters():
    """Cicalla et al. 2024, section 3.3: dense layers, norms of four values each, 102 logits."""
    inception = transfer(102, 75, "inception_v3", "conv2d_84", "random", hidden=(512,), dropout=0.5)
    sizes = {layer.name: layer.count_params() for layer in inception.layers}
    channels = inception.get_layer("pooled").output.shape[1]
    assert sizes["hidden_1"] == (channels + 1) * 512 and sizes["hidden_1_norm"] == 4 * 512
    assert sizes["logits"] == 513 * 102


@pytest.mark.parametrize("lowest", ["block_15_project", "block_15_expand", "block_14_depthwise"])
def test_two_halves_give_what_the_whole_gives(split, dataset, lowest):
    model = finetuning.build(recipe(), split)
    lower, upper = finetuning.halves(model, lowest)
    names = [layer.name for layer in model.layers]
    assert names.index(lower.layers[-1].name) < names.index(lowest)
    pictures = dataset.images[:4]
    np.testing.assert_allclose(
        upper.predict_on_batch(lower.predict_on_batch(pictures)), model.predict_on_batch(pictures), rtol=1e-5, atol=1e-5
    )


def test_a_shortcut_is_not_cut(split):
    model = finetuning.build(recipe(), split)
    lower, _ = finetuning.halves(model, "block_14_project")  # within a block whose sum needs its input
    assert lower.layers[-1].name == "block_13_add"


def test_the_head_phase_changes_the_head_alone_and_the_next_the_layers_it_names(done, split):
    the_recipe, model, stages, before = done
    head = {"hidden_1", "hidden_1_norm", "logits"}
    after = []
    for stage in stages:
        finetuning.restore(model, stage)
        after.append(values(model))
    assert {name for name in changed(before, after[0]) if "seed" not in name} == head
    moved = {name for name in changed(after[0], after[1]) if "seed" not in name}
    assert moved == head | {name for name in stages[1].learned if not name.endswith("relu")}
    assert stages[1].learned == LAST_TEN


def test_batch_norms_below_the_head_never_move(done):
    _, model, stages, before = done
    finetuning.restore(model, stages[-1])
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    below = [weight for layer in norms if not layer.name.startswith("hidden") for weight in layer.weights]
    assert len(below) > 100
    for weight in below:
        np.testing.assert_array_equal(weight.numpy(), before[weight.path])


def test_the_last_phase_trains_every_layer_from_photographs(done):
    the_recipe, model, stages, _ = done
    assert [stage.name for stage in stages] == ["head", "10 layers", "all layers"]
    kernels = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert set(kernels) <= set(stages[2].learned)
    assert stages[2].trained.epochs == TRAINING["epochs"]


def test_all_layers_may_learn_from_smaller_pictures(dataset, split, cache):
    smaller = recipe(
        augment={"flip": True, "crop": 0.5}, training=TRAINING | {"sizes_px": [16, 24], "test_px": 40, "epochs": 2}
    )
    model = finetuning.build(smaller, split)
    any_side = finetuning.of_any_side(model)
    assert [layer.name for layer in any_side.layers] == [layer.name for layer in model.layers]
    assert all(one is other for one, other in zip(any_side.weights, model.weights, strict=True))
    stages = finetuning.fit_or_load(smaller, model, dataset, split)
    before = values(model)
    found = finetuning.predict(smaller, model, stages[-1], dataset, split.test)
    assert found.shape == (len(split.test), KINDS)
    finetuning.restore(model, stages[-2])
    assert len(changed(before, values(model))) > 50
    finetuning.restore(model, stages[-1])
    assert not changed(before, values(model))
    with pytest.raises(FlowerlibError, match=r"32 px only|pooling"):
        flat = smaller.model_copy(update={"model": smaller.model.model_copy(update={"pooling": "flatten"})})
        finetuning.fit_or_load(flat, finetuning.build(flat, split), dataset, split)


def test_what_is_trained_is_loaded_the_second_time(done, dataset, split, monkeypatch):
    the_recipe, model, stages, _ = done
    for module, name in ((frozen, "fit"), (training, "fit")):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("trained again"))
    other = finetuning.build(the_recipe, split)
    again = finetuning.fit_or_load(the_recipe, other, dataset, split)
    assert [stage.trained for stage in again] == [stage.trained for stage in stages]
    finetuning.restore(model, stages[-1])
    for one, two in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_run_that_was_killed_after_a_phase_ends_with_the_same_numbers(done, dataset, split, cache, monkeypatch):
    the_recipe, model, stages, _ = done
    real = frozen.fit

    def killed(*arguments):
        if arguments[1].unfreeze:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(frozen, "fit", killed)
    with pytest.raises(KeyboardInterrupt):
        finetuning.fit_or_load(the_recipe, finetuning.build(the_recipe, split), dataset, split)
    monkeypatch.setattr(frozen, "fit", real)
    again = finetuning.fit_or_load(the_recipe, finetuning.build(the_recipe, split), dataset, split)
    for stage, other in zip(stages, again, strict=True):
        assert {k: v for k, v in other.trained.history.items() if k != "minutes"} == {
            k: v for k, v in stage.trained.history.items() if k != "minutes"
        }


def test_logits_of_a_phase_are_those_of_the_whole_network(done, dataset, split):
    the_recipe, model, stages, _ = done
    for stage in stages[:2]:
        found = finetuning.predict(the_recipe, model, stage, dataset, split.test)
        np.testing.assert_allclose(found, training.logits(model, dataset.images, split.test.indices), atol=1e-4)
    found = finetuning.predict(the_recipe, model, stages[2], dataset, split.test)
    np.testing.assert_array_equal(found, training.logits(model, dataset.images, split.test.indices, flips=True))


def test_one_history_has_all_phases_and_their_minutes_added_up(done):
    *_, stages, _ = done
    whole = finetuning.whole(stages)
    assert whole.epochs == sum(stage.trained.epochs for stage in stages) == 7
    assert whole.minutes == pytest.approx(sum(stage.trained.minutes for stage in stages))
    assert (np.diff(whole.history["minutes"]) > 0).all()
    assert whole.history["val_accuracy"][3:5] == stages[1].trained.history["val_accuracy"]


def test_a_table_of_phases_has_their_scores(done, split):
    *_, stages, _ = done
    probabilities = np.full((len(split.test), KINDS), 1 / KINDS)
    scores = {stage.name: metrics.classification(split.test.labels, probabilities) for stage in stages}
    right = np.eye(KINDS)[split.test.labels]
    logits = {"head": -right, "10 layers": right, "all layers": right}
    table = finetuning.stage_table(stages, scores, split.test.labels, logits)
    assert table["phase"].tolist() == ["head", "10 layers", "all layers"]
    assert table["loss"].tolist() == pytest.approx([np.log(KINDS)] * 3)
    assert np.isnan(table["adds"][0]) and table["adds"].tolist()[1:] == [1, 0]
    assert table["p"][1] < 0.01 < table["p"][2]


def test_a_cycle_sets_the_rate_of_every_step(dataset, split, cache, monkeypatch):
    taken = []
    real = frozen._Rate.on_train_batch_begin

    def begin(callback, batch, logs=None):
        real(callback, batch, logs)
        taken.append(float(callback.optimizer.learning_rate))

    monkeypatch.setattr(frozen._Rate, "on_train_batch_begin", begin)
    the_recipe = phases(RECIPE["finetuning"]["phases"][0])
    finetuning.fit_or_load(the_recipe, finetuning.build(the_recipe, split), dataset, split)
    steps = len(split.train) // 8
    assert taken == pytest.approx([cycles.triangular(i, steps, 0.01, 0.1) for i in range(3 * steps)], rel=1e-6)


def test_a_phase_without_a_better_epoch_stops_and_keeps_the_best(dataset, split, cache):
    the_recipe = phases({"epochs": 30, "learning_rate": 1e-9, "best_by": "val_accuracy", "patience": 2})
    [stage] = finetuning.fit_or_load(the_recipe, finetuning.build(the_recipe, split), dataset, split)
    assert stage.trained.epochs - 1 - training.best_epoch(stage.trained.history, "val_accuracy") == 2


def test_a_loss_that_is_no_number_stops_the_run_or_is_said(dataset, split, cache):
    phase = {"epochs": 3, "learning_rate": 10}
    the_recipe = phases(phase)
    real = frozen.features.batches

    def infinite(*arguments):
        return real(*arguments).map(lambda x, y: (x * np.inf, y))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen.features, "batches", infinite)
        with pytest.raises(FlowerlibError, match="not a number in epoch 1 of phase 'head' at learning rate 10"):
            finetuning.fit_or_load(the_recipe, finetuning.build(the_recipe, split), dataset, split)
        allowed = the_recipe.model_copy(update={"may_diverge": True})
        [stage] = finetuning.fit_or_load(allowed, finetuning.build(allowed, split), dataset, split)
    assert stage.trained.diverged_at == 1


def test_a_range_test_leaves_the_network_as_it_was(dataset, split, cache):
    model = finetuning.build(recipe(), split)
    before = values(model)
    losses = finetuning.try_rates(recipe(), model, dataset, split, range_test.rates(1e-4, 1, 30, geometric=True))
    assert np.isfinite(losses).all() and losses[:5].mean() == pytest.approx(np.log(KINDS), abs=0.7)
    assert {name for name in changed(before, values(model)) if "seed" not in name} == set()


def test_other_weights_are_another_training(monkeypatch):
    needy = recipe(needs=("weights/mobilenet_v2",))
    found = []
    for checksum in ("one", "two"):
        monkeypatch.setattr(digests.weights, "checksum", lambda name, checksum=checksum: checksum)
        found.append(digests.training_digest(needy, "data"))
    assert len({*found, digests.training_digest(recipe(), "data")}) == 3
    assert "finetuning.fit_or_load" in digests.training_parts(recipe(), "data")["functions"]


def test_a_recipe_whose_weights_are_missing_is_left_out_with_the_ways_to_get_them(monkeypatch, tmp_path):
    monkeypatch.delenv("FLOWERLIB_MIRROR", raising=False)
    monkeypatch.setenv("FLOWERLIB_CACHE", str(tmp_path))
    monkeypatch.setenv("FLOWERLIB_WEIGHTS", str(tmp_path))
    needy = recipes.load("cicalla-vgg16@data.name=drawn", "full")
    reason = pipeline.missing_need(needy)
    assert "vgg16" in reason and "FLOWERLIB_MIRROR" in reason and "fetch --weights vgg16" in reason
    assert pipeline.state(needy).blocked


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        ({"epochs": 1}, "either a learning_rate or a cycle"),
        ({"epochs": 1, "learning_rate": 0.1, "patience": 2}, "patience needs best_by"),
        ({"epochs": 1, "learning_rate": 0.1, "optimizer": "adam", "momentum": 0.9}, "momentum is sgd's"),
        ({"epochs": 1, "cycle": {"low": 1, "high": 0.1, "step_size": 2, "unit": "epochs"}}, "exchange them"),
    ],
)
def test_phases_that_make_no_sense_are_refused(phase, said):
    with pytest.raises(ValueError, match=said):
        phases(phase)


def test_views_without_augmentation_are_refused():
    with pytest.raises(ValueError, match="views are augmented views"):
        recipe(augment={})


def test_every_fine_tuning_recipe_names_a_network_and_a_cut_that_exist():
    for name in recipes.names():
        each = recipes.load(name, "full")
        if each.finetuning is None or each.model is None or each.model.backbone is None:
            continue
        assert each.needs == (f"weights/{each.model.backbone}",)
        assert each.model.cut is None or each.model.cut in backbones.cuts(each.model.backbone)


def test_no_phase_is_longer_than_a_profile_allows(dataset, split, cache):
    plan = {"batch_size": 8, "most_epochs": 2, "phases": [{"epochs": 5, "learning_rate": 0.01}]}
    the_recipe = recipe(finetuning=plan)
    [stage] = finetuning.fit_or_load(the_recipe, finetuning.build(the_recipe, split), dataset, split)
    assert stage.trained.epochs == 2


def test_rows_of_a_table_of_heads_answer_every_part(dataset, split, cache, monkeypatch):
    rows = {
        "slow": {"finetuning.phases": [{"epochs": 2, "learning_rate": 1e-6, "best_by": "val_accuracy"}]},
        "fast": {"finetuning.phases": [{"epochs": 4, "learning_rate": 0.05, "best_by": "val_accuracy"}]},
    }
    sweep = {"rows": rows, "reference": "slow", "seeds": [1]}
    the_recipe = phases({"epochs": 1, "learning_rate": 0.01}, sweep=sweep)
    monkeypatch.setattr(head_rows.data, "load", lambda *_: dataset)
    monkeypatch.setattr(head_rows.splits, "make", lambda *_: split)
    found = head_rows.answers(the_recipe)
    assert [each.row for each in found] == ["slow", "fast"]
    assert all(each.probabilities["train"].shape == (len(split.train), KINDS) for each in found)
    scores = head_rows.scores(found)
    assert scores["fast/train/accuracy"].value == (found[1].predictions("train") == split.train.labels).mean()
    table = head_rows.table(found, {"fast": 0.5})
    assert table["run"].tolist() == ["slow", "fast"] and table["reported"].tolist()[1] == 0.5
    assert table["weighted F1"].tolist()[1] == scores["fast/test/weighted_f1"].value
    kept = found[1].trained.history["val_accuracy"]
    assert head_rows.best_epochs(found)["fast"] == 1 + int(np.argmax(kept))


def test_pooled_features_are_the_averages_of_the_last_map(dataset, split, cache):
    found = frozen.pooled(recipe(), dataset)
    base = backbones.backbone("efficientnet_lite0", size_px=SIZE)
    np.testing.assert_allclose(found[:5, 0], base.predict_on_batch(dataset.images[:5]).mean(axis=(1, 2)), atol=1e-4)
    assert frozen.pooled(recipe(), dataset, views=2).shape == (len(FINE), 2, 1280)
