"""Generators of recipes: what they learn from, and the pictures that they make."""

import itertools
import json
import runpy
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowerlib import (
    data,
    enlarging,
    generated,
    picture_features,
    processes,
    racing,
    recipes,
    reconstructed,
    sampling,
    scored,
    splits,
    synthetic,
)
from flowerlib.errors import FlowerlibError

COUNT = 24
FINE = np.arange(COUNT) % 4


def setting(run, side, **changes):
    """Recipe, pictures and parts of a few drawn flowers of four kinds; an enlarger learns for five steps."""
    if run == "ours-diffusion":
        changes = {"generation.enlarger": "{minutes: null, steps: 5}", **changes}
    values = "".join(f"@{key}={value}" for key, value in changes.items())
    recipe = recipes.load(f"{run}@budget.steps=20@budget.batch_size=20{values}", "smoke")
    dataset = data.Dataset("drawn", synthetic.draw(FINE * 20, np.arange(COUNT), side)[0], FINE, None)
    part = splits.Part(np.arange(COUNT), FINE)
    return recipe, dataset, splits.Split(part, part, part, tuple("abcd"))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FLOWERLIB_CACHE", str(tmp_path_factory.mktemp("generated")))
    monkeypatch.setattr(generated, "manifest", lambda _: "few")
    monkeypatch.setattr(enlarging, "manifest", lambda _: "few")
    monkeypatch.setattr(data, "manifest", lambda _: "few")
    monkeypatch.setattr(reconstructed, "manifest", lambda _: "few")


def trained(run, side, **changes):
    recipe, dataset, split = setting(run, side, **changes)
    generator = generated.build(recipe, dataset, split)
    known, marks = generated.fit_or_load(generator, dataset, split)
    assert known.history["steps"][-1] == 20 and len(marks) == recipe.budget.marks
    return generator, dataset, split


@pytest.mark.parametrize(
    ("run", "changes"),
    [
        ("hughes-diffusion", {"data.size_px": 32}),
        ("keras-diffusion", {"data.size_px": 32, "model.widths": "[8, 16, 24]"}),
        ("ours-diffusion", {"data.size_px": 32, "model.widths": "[16, 32]"}),
        ("ours-diffusion-64", {"data.size_px": 32, "model.widths": "[16, 32]"}),
        ("ours-diffusion", {"data.size_px": 32, "model.widths": "[16, 32]", "generation.target": "epsilon"}),
    ],
)
def test_a_recipe_makes_pictures_and_the_same_seed_the_same(run, changes):
    generator, *_ = trained(run, 32, **changes)
    made = sampling.sample(generator, 5, seed=3)
    assert made.shape == (5, 32, 32, 3) and made.dtype == np.uint8
    np.testing.assert_array_equal(made, sampling.sample(generator, 5, seed=3))
    assert (made != sampling.sample(generator, 5, seed=4)).any()
    steps = list(sampling.trail(generator, 5, seed=3, steps=7))
    assert len(steps) == 7


def test_shens_process_runs_in_the_latent_of_an_autoencoder_that_was_trained():
    recipe, dataset, split = setting("shen-diffusion", 96, **{"data.size_px": 96})
    recipe = recipe.model_copy(update={"uses": ("shen-autoencoder@data.size_px=96",)})
    with pytest.raises(FlowerlibError, match="the weights of shen-autoencoder.* are not here.*flowerlib run"):
        generated.build(recipe, dataset, split)
    other = recipes.load(recipe.uses[0], "smoke")
    model = reconstructed.build(other, dataset, split)
    reconstructed.fit_or_load(other, model, dataset, split)
    generator = generated.build(recipe, dataset, split)
    assert generator.model.count_params() == 15_892_864 and generator.space.shape == (12, 12, 64)
    pictures = reconstructed.numbers(dataset.images[:4])
    np.testing.assert_allclose(
        generator.space.out(generator.space.into(pictures)), np.asarray(model.predict_on_batch(pictures)), atol=1e-5
    )
    noisier, cleaner = generated._shen_batch(generator, dataset, split, np.random.default_rng(0))
    assert noisier.shape == cleaner.shape == (20, 12, 12, 64)
    np.testing.assert_array_equal(noisier[:9], cleaner[1:10])


def test_hughes_learns_from_all_levels_of_one_picture_of_the_first_so_many():
    recipe, dataset, split = setting("hughes-diffusion", 32, **{"data.size_px": 32, "generation.pictures": 1})
    generator = generated.build(recipe, dataset, split)
    noisier, cleaner = generated._hughes_batch(generator, dataset, split, np.random.default_rng(0))
    assert len(noisier) == processes.HUGHES_LEVELS
    np.testing.assert_allclose(cleaner[0], reconstructed.numbers(dataset.images[0]), atol=1e-6)
    np.testing.assert_array_equal(noisier[:-1], cleaner[1:])


def test_a_picture_of_less_contrast_is_learned_from_and_given_back_with_its_own():
    recipe, dataset, split = setting("hughes-diffusion", 32, **{"data.size_px": 32, "generation.contrast": 0.5})
    generator = generated.build(recipe, dataset, split)
    drawn, _ = generated._drawn(generator, dataset, split, 40, np.random.default_rng(0))
    assert 0.25 <= drawn.min() and drawn.max() <= 0.75


def test_diffusion_batches_hold_what_the_network_is_taught():
    recipe, dataset, split = setting("ours-diffusion-64", 32, **{"data.size_px": 32, "model.widths": "[16, 32]"})
    generator = generated.build(recipe, dataset, split)
    (noisy, power, told), wanted, weights = generated._diffusion_batch(
        generator, dataset, split, np.random.default_rng(0)
    )
    assert noisy.shape == wanted.shape == (20, 32, 32, 3) and power.shape == told.shape == (20, 1)
    assert ((power >= 0) & (power <= 1)).all() and set(told.ravel()) <= {0, 1, 2, 3, 4} and (weights > 0).all()
    # Of v and the noisy picture the picture comes back, which keeps to its range.
    picture = np.sqrt(1 - power)[:, :, None, None] * noisy - np.sqrt(power)[:, :, None, None] * wanted
    assert -1.001 <= picture.min() and picture.max() <= 1.001


def test_guidance_0_is_the_model_itself_asked_for_none_the_unconditional_one_and_the_class_matters():
    generator, *_ = trained("ours-diffusion-64", 32, **{"data.size_px": 32, "model.widths": "[16, 32]"})
    noise = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype(np.float32)
    embedding = generator.model.get_layer("classes")
    embedding.set_weights([10 * np.random.default_rng(1).standard_normal(embedding.get_weights()[0].shape)])
    told = [noise, np.full((2, 1), 0.25, np.float32)]
    plain = np.asarray(generator.model.predict_on_batch([*told, np.array([[1], [2]])]))
    none = np.asarray(generator.model.predict_on_batch([*told, np.full((2, 1), 4)]))
    for guidance in (0.0, 1.5):
        found = sampling._asked(generator, np.array([1, 2]), guidance)(noise, 0.5)
        np.testing.assert_allclose(found, (1 + guidance) * plain - guidance * none, atol=1e-4)
        unasked = sampling._asked(generator, np.array([4, 4]), guidance)(noise, 0.5)
        np.testing.assert_allclose(unasked, none, atol=1e-4)
    assert np.abs(plain - none).max() > 1e-5


def test_a_network_that_is_told_no_class_cannot_be_asked_for_one():
    recipe, dataset, split = setting("keras-diffusion", 32, **{"data.size_px": 32, "model.widths": "[8, 16]"})
    generator = generated.build(recipe, dataset, split)
    with pytest.raises(FlowerlibError, match="makes pictures of no class"):
        sampling.sample(generator, 2, seed=0, labels=np.zeros(2, int))


def test_a_process_of_levels_takes_no_more_steps_than_it_has_or_its_recipe_watches():
    generator, *_ = trained("hughes-diffusion", 32, **{"data.size_px": 32})
    assert len(list(sampling.trail(generator, 1, seed=0))) == processes.HUGHES_LEVELS
    assert len(list(sampling.trail(generator, 1, seed=0, steps=30))) == 30  # section 4.3 watches beyond its levels
    with pytest.raises(FlowerlibError, match="hughes-diffusion.* cannot take 31 steps: its process has 20 levels"):
        sampling.sample(generator, 1, seed=0, steps=31)


def test_levels_that_are_no_number_name_their_step(monkeypatch):
    generator, *_ = trained("hughes-diffusion", 32, **{"data.size_px": 32})
    calls = iter([1, 1, np.nan])
    monkeypatch.setattr(sampling, "in_batches", lambda model, arrays: arrays * next(calls))
    with pytest.raises(FlowerlibError, match="not a number in step 3"):
        sampling.sample(generator, 1, seed=0)


def test_what_is_said_of_a_training_counts_its_pictures():
    recipe, dataset, split = setting("hughes-diffusion", 32, **{"data.size_px": 32, "generation.pictures": 10})
    said = scored.training(generated.build(recipe, dataset, split), 50, dataset, split)
    assert said["train/epochs"] == 5  # fifty steps of one picture of ten
    assert said["train/parameters_millions"] == pytest.approx(4.500515)
    assert sum(said[f"train/{name}_share"] for name in ("red", "green", "blue")) == pytest.approx(1)


def test_between_two_noises_the_ends_are_their_own_pictures():
    generator, *_ = trained("ours-diffusion", 32, **{"data.size_px": 32, "model.widths": "[16, 32]"})
    [row] = sampling.between(generator, 1, 5, seed=0)
    assert row.shape == (5, 32, 32, 3)
    changes = [np.abs(a.astype(float) - b).mean() for a, b in itertools.pairwise(row)]
    assert max(changes) < np.abs(row[0].astype(float) - row[-1]).mean() + 1e-9


@pytest.mark.parametrize("kind", ["uniform", "matched", "structured"])
def test_hughes_starts_are_as_bright_as_they_say(kind):
    noise = processes.hughes_start(4, 32, np.random.default_rng(0), kind)
    assert noise.shape == (4, 32, 32, 3) and noise.dtype == np.float32
    expected = 0.5 if kind == "uniform" else 2.0  # grey and twenty times half of 0.15
    assert noise.mean() == pytest.approx(expected, abs=0.1)
    smooth = np.abs(np.diff(noise, axis=1)).mean() / noise.std()
    assert smooth < 1.2 and (kind != "structured" or noise.std() > 0.2)


def test_classes_are_asked_for_evenly():
    assert np.bincount(scored.spread(4, 10)).tolist() == [3, 3, 2, 2]
    few = scored.spread(102, 24)
    assert len(set(few)) == 24 and few.max() > 90


def test_a_copy_of_a_training_photograph_is_the_nearest_of_all():
    random = np.random.default_rng(0)
    train, test = random.normal(size=(200, 8)).astype(np.float32), random.normal(size=(100, 8)).astype(np.float32)
    made = random.normal(size=(50, 8)).astype(np.float32)
    made[17] = train[33] + 1e-4
    found = scored.nearest(made, train, 3, test)
    assert found.loc[0, ["picture", "photograph", "share"]].tolist() == [17, 33, 0]
    assert found["share"].is_monotonic_increasing


def test_a_meter_reads_colours_and_contrast():
    red = np.zeros((2, 8, 8, 3), np.uint8)
    red[..., 0] = 255
    found = scored.meter(red)
    assert (found["red"], found["green"], found["blue"]) == (1, 0, 0)
    assert found["brightness"] == pytest.approx(1 / 3) and found["contrast"] == pytest.approx(np.sqrt(2) / 3)
    assert scored.meter(np.zeros_like(red))["brightness"] == 0


def test_kid_by_minutes_is_read_from_a_record_or_its_run_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(racing, "record_folder", lambda run, _: tmp_path / run)
    with pytest.raises(FlowerlibError, match="keras-diffusion has no KID by minutes: python -m flowerlib run"):
        racing.of_record("keras-diffusion", "smoke")
    (tmp_path / "keras-diffusion").mkdir()
    rows = {"columns": ["minutes", "value", "low", "high"], "rows": [[1.0, 0.5, 0.4, 0.6], [2.0, 0.3, 0.2, 0.4]]}
    (tmp_path / "keras-diffusion" / "record.json").write_text(json.dumps({"tables": {"kid_by_minutes": rows}}))
    assert racing.of_record("keras-diffusion", "smoke")["value"].tolist() == [0.5, 0.3]
    (tmp_path / "keras-diffusion").rename(tmp_path / "ours-diffusion")
    assert racing.of_record("ours-diffusion", "laptop")["minutes"].tolist() == [3.5, 4.5]  # the enlarger's 2.5 first


def test_by_minutes_each_mark_has_pictures_and_the_last_are_those_of_the_trained_weights(monkeypatch):
    random = np.random.default_rng(0)
    monkeypatch.setattr(scored.picture_features, "features", lambda made: random.normal(size=(len(made), 8)))
    generator, dataset, split = trained("keras-diffusion", 32, **{"model.widths": "[8, 16]", "budget.marks": 2})
    _, marks = generated.fit_or_load(generator, dataset, split)
    table, by_mark = scored.by_minutes(generator, marks, random.normal(size=(12, 8)), 12)
    assert list(table) == ["minutes", "value", "low", "high", "pictures"] and table["pictures"].tolist() == [4, 12]
    assert [len(some) for some in by_mark] == [4, 12]
    generated.fit_or_load(generator, dataset, split)
    np.testing.assert_array_equal(by_mark[-1], sampling.sample(generator, 12, seed=scored.SEED))
    np.testing.assert_array_equal(by_mark[-1][:4], sampling.sample(generator, 4, seed=scored.SEED), "the same noise")


def test_features_of_photographs_are_computed_once(monkeypatch):
    photographs, calls = synthetic.draw(FINE * 20, np.arange(COUNT), 32)[0], []

    def features(some):
        calls.append(len(some))
        return np.repeat(some.mean(axis=(1, 2, 3), dtype=np.float32)[:, None], 1280, axis=1)

    monkeypatch.setattr(picture_features, "features", features)
    first = picture_features.of_photographs(photographs)
    np.testing.assert_allclose(first[:, 7], photographs.mean(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_array_equal(picture_features.of_photographs(photographs), first)
    assert sum(calls) == COUNT
    picture_features.of_photographs(photographs[::-1])
    assert sum(calls) == 2 * COUNT


def test_half_precision_keeps_weights_answers_and_the_noise_level_whole():
    generator, *_ = trained("ours-diffusion", 32, **{"model.widths": "[16, 32]", "budget.precision": "bfloat16"})
    model = generator.model
    assert {each.dtype for each in model.weights} == {"float32"} and model.outputs[0].dtype == "float32"
    assert {layer.compute_dtype for layer in model.layers if "conv2d" in layer.name} == {"bfloat16"}
    assert model.get_layer("noise_level").output.dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"
    again, *_ = trained("ours-diffusion", 32, **{"model.widths": "[16, 32]"})
    one, other = (sampling.sample(each, 4, seed=1, steps=5).astype(float) for each in (generator, again))
    assert np.abs(one - other).mean() < 12 < np.abs(one - one[::-1]).mean()


def test_an_arm_stands_beside_its_racer_after_as_many_minutes():
    columns = ["minutes", "value", "low", "high", "pictures"]
    racer = pd.DataFrame(
        [[3.1, 0.5, 0.4, 0.6, 250], [6, 0.4, 0.3, 0.5, 250], [9, 0.3, 0.2, 0.4, 1000]], columns=columns
    )
    tables = {"shen": racer, "shen-diffusion": racer.assign(value=[0.9, 0.8, 0.7])}
    tables["shen-diffusion@seed=2"] = pd.DataFrame([[3.0, 0.6, 0.5, 0.7, 1000]], columns=columns)
    racers, arms = racing.arms(tables)
    assert list(racers) == ["shen", "shen-diffusion"]
    assert arms[["run", "minutes", "KID", "racer", "its minutes", "its KID"]].to_numpy().tolist() == [
        ["shen-diffusion@seed=2", 3.0, 0.6, "shen-diffusion", 3.1, 0.9]
    ]
    assert racing.arms({"shen": racer})[1].empty


@given(st.integers(1, 60), st.integers(1, 60))
def test_photographs_to_compare_with_come_from_first_to_last(count, more):
    found = scored.evenly(np.arange(count + more), count)
    assert len(set(found)) == count and (np.diff(found) > 0).all()
    assert np.diff(found, prepend=-1, append=count + more).max() <= 1 + np.ceil((count + more) / max(1, count - 1))


def test_fewer_pictures_are_compared_with_photographs_of_all_kinds():
    """Photographs lie kind by kind; the first kinds alone would be far from pictures of all of them."""
    kinds = np.repeat(np.linspace(-4, 4, 40), 20)[:, None] * np.ones(8)
    random = np.random.default_rng(0)
    photographs, made = kinds + random.normal(size=kinds.shape), kinds[::8] + random.normal(size=(100, 8))
    found = scored.kid(made, photographs)
    assert found.n == 100 and found.low < 0 < found.high


def test_a_blurred_pale_and_mirrored_photograph_counts_as_copied():
    _, dataset, split = setting("ours-diffusion", 32)
    seen, unseen = np.arange(16), np.arange(16, COUNT)
    real = scored.Reference(*[np.zeros((1, 1))] * 3, indices=seen, unseen=unseen)
    made = cv2.GaussianBlur(dataset.images[3], (5, 5), 0)[:, ::-1]
    pale = (150 + made / 5).astype(np.uint8)
    assert scored.copied(np.stack([made, pale]), dataset, real).value == 1
    assert scored.copied(dataset.images[unseen[::-1]], dataset, real).value < 0.2


def test_an_enlarging_generator_learns_from_small_pictures_and_gives_large_ones():
    recipe, dataset, split = setting("ours-diffusion", 32, **{"data.size_px": 32, "model.widths": "[16, 32]"})
    generator = generated.build(recipe, dataset, split)
    (noisy, *_), wanted, _ = generated._diffusion_batch(generator, dataset, split, np.random.default_rng(0))
    assert noisy.shape == wanted.shape == (20, 16, 16, 3)
    pictures = reconstructed.numbers(dataset.images)
    small = generator.space.into(pictures)
    again = generator.space.out(small)
    assert again.shape == pictures.shape
    # Their means, which know no place, are three times as far.
    assert np.abs(again - pictures).mean() < 0.3 * np.abs(pictures.mean(axis=(1, 2), keepdims=True) - pictures).mean()


@pytest.mark.parametrize("profile", ["smoke", "laptop"])
def test_the_benchmark_of_memory_trains_recipes_for_a_few_steps(profile, monkeypatch):
    folder = Path(__file__).resolve().parent.parent / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))  # it imports its neighbour
    benchmark = runpy.run_path(str(folder / "diffusion_memory.py"))
    for run in benchmark["RUNS"]:
        recipe = recipes.load(benchmark["RUN"].format(run=run, steps=5), profile)
        assert (recipe.budget.steps, recipe.budget.minutes) == (5, None) and recipe.seed == 987654
