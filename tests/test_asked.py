"""A generator that a classifier steers: on pictures whose kind is a colour."""

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from flowerlib import asked, data, generated, guiding, networks, recipes, sampling, scored, sheets, splits, synthetic
from flowerlib.errors import FlowerlibError

COUNT, NAMES = 24, ("red", "green", "blue")
FINE = np.arange(COUNT) % len(NAMES)


def colours(side: int) -> keras.Model:
    """Calls a picture by its brightest channel."""
    pictures = keras.Input((side, side, 3), dtype="uint8")
    numbers = layers.Rescaling(1 / 127.5, -1, name="rescaling")(pictures)
    return keras.Model(pictures, layers.GlobalAveragePooling2D()(numbers))


@pytest.fixture
def both(monkeypatch):
    """A generator that has learned nothing, beside classifiers of two sides that know what a colour is."""
    monkeypatch.setattr(data, "manifest", lambda _: "few")
    values = "@generation.enlarger=null@model.widths=[16, 32]@data.size_px=32"
    recipe = recipes.load(f"ours-diffusion{values}", "smoke")
    dataset = data.Dataset("drawn", synthetic.draw(FINE, np.arange(COUNT), 32)[0], FINE, None)
    part = splits.Part(np.arange(COUNT), FINE)
    split = splits.Split(part, part, part, NAMES)
    generator = generated.build(recipe, dataset, split)
    guide, judge = (networks.Network(recipe, colours(side), dataset, split) for side in (48, 32))
    return asked.Pair(generator, guide, guiding.towards(guide.model)), judge


def test_without_strength_the_generator_is_left_alone(both):
    pair, _ = both
    labels = scored.spread(3, 6)
    alone = asked.pictures(pair, labels, 0.0, seed=1)
    np.testing.assert_array_equal(alone, sampling.sample(pair.generator, 6, seed=1, labels=labels))
    barely = asked.pictures(pair, labels, 1e-9, seed=1)
    assert np.abs(barely.astype(int) - alone).max() <= 1  # the same noise


def test_steered_pictures_are_what_was_asked_for(both, monkeypatch):
    pair, judge = both
    monkeypatch.setattr(
        asked.picture_features, "features", lambda pictures: pictures[:, ::8, ::8].reshape(-1, 48) / 255
    )
    real = np.random.default_rng(0).random((40, 48))
    table, made = asked.by_strength(pair, judge, real, (0.0, 0.1), 12, seed=1)
    assert table["as asked"].iloc[0] < 0.8 and table["as asked"].iloc[1] == table["by the guide"].iloc[1] == 1
    assert list(made) == [0.0, 0.1] and made[0.1].shape == (12, 32, 32, 3)
    np.testing.assert_array_equal(made[0.1], asked.pictures(pair, scored.spread(3, 12), 0.1, seed=1))


def test_a_guide_of_other_kinds_or_a_generator_of_none_is_refused(both, monkeypatch):
    pair, judge = both
    other = splits.Split(*judge.split.parts().values(), names=("red", "green", "violet"))
    stranger = networks.Network(judge.recipe, judge.model, judge.dataset, other)
    monkeypatch.setattr(asked.generated, "load", lambda run, profile: pair.generator)
    monkeypatch.setattr(asked.networks, "load", lambda run, profile: stranger if run == "stranger" else judge)
    with pytest.raises(FlowerlibError, match="stranger does not know the kinds that ours-diffusion.* is asked for"):
        asked.load("ours-diffusion", "stranger", "smoke")
    assert asked.load("ours-diffusion", "judge", "smoke").guide is judge
    untold = keras.Model(pair.generator.model.inputs[:2], pair.generator.model.inputs[0])
    deaf = generated.Generator(pair.generator.recipe, untold, pair.generator.space, NAMES)
    monkeypatch.setattr(asked.generated, "load", lambda run, profile: deaf)
    with pytest.raises(FlowerlibError, match="keras-diffusion makes pictures of no class"):
        asked.load("keras-diffusion", "judge", "smoke")


def test_a_guide_steers_the_pictures_of_a_sheet(both, monkeypatch, tmp_path):
    pair, _ = both
    monkeypatch.setattr(asked.generated, "load", lambda run, profile: pair.generator)
    monkeypatch.setattr(asked.networks, "load", lambda run, profile: pair.guide)
    sheet = sheets.write("ours-diffusion", "smoke", "green", 2, 5, tmp_path, guide="guide")
    assert sheet.name == "ours_diffusion-green-guide-seed5-sheet.png"
    first = np.asarray(Image.open(tmp_path / "ours_diffusion-green-guide-seed5-001.png"))
    np.testing.assert_array_equal(first, asked.pictures(pair, np.full(2, 1), sheets.STRENGTH, seed=5)[0])
    assert first.mean(axis=(0, 1)).argmax() == 1
