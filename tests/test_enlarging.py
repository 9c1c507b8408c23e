"""Pictures at twice their side, as photographs taught."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from flowerlib import enlarging, splits, synthetic
from flowerlib.models import enlargers
from flowerlib.schema import Budget

PLAN = Budget(steps=150, batch_size=8, schedule="one_cycle", loss="mean_absolute_error", ema=0.9, marks=1)
COUNT, SIDE = 60, 32


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Drawn flowers with a split of their own, in a cache of their own."""
    monkeypatch.setenv("FLOWERLIB_CACHE", str(tmp_path))
    monkeypatch.setattr(enlarging, "manifest", lambda _: "few")
    places = np.arange(COUNT)
    images, labels = synthetic.draw(places % synthetic.KINDS, places, SIDE)[0], places % synthetic.KINDS
    train = splits.Part(places[:40], labels[:40])
    dataset = SimpleNamespace(name="drawn", images=images)
    return dataset, SimpleNamespace(train=train)


def test_before_training_it_stretches():
    model = enlargers.enlarger(SIDE, width=8, depth=2)
    small = np.random.default_rng(0).random((2, SIDE // 2, SIDE // 2, 3), dtype=np.float32)
    found = np.asarray(model(small))
    assert found.shape == (2, SIDE, SIDE, 3)
    stretched = np.stack([cv2.resize(each, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR) for each in small])
    np.testing.assert_allclose(found, stretched, atol=1e-5)


def test_it_is_nearer_than_bicubic_on_pictures_that_it_has_not_seen(drawn):
    dataset, split = drawn
    model = enlarging.fit_or_load(dataset, split, PLAN, seed=1)
    whole = dataset.images[40:].astype(np.float32) / 255
    small = enlarging.halve(whole)
    bicubic = np.stack([cv2.resize(each, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for each in small])
    assert np.abs(np.asarray(model(small)) - whole).mean() < 0.95 * np.abs(bicubic - whole).mean()


def test_taught_by_noisy_pictures_it_mends_noisy_ones_better(drawn):
    dataset, split = drawn
    whole = dataset.images[40:].astype(np.float32) / 255
    small = enlarging.halve(whole)
    noisy = small + 0.1 * np.random.default_rng(0).standard_normal(small.shape, dtype=np.float32)
    far = []
    for noise in (0.0, 0.2):
        model = enlarging.fit_or_load(dataset, split, PLAN, noise=noise, seed=1)
        far.append(np.abs(np.asarray(model(noisy)) - whole).mean())
    assert far[1] < 0.9 * far[0]


def test_it_is_trained_once_a_plan_and_seed(drawn, capsys):
    dataset, split = drawn
    plan = PLAN.model_copy(update={"steps": 20})
    first = enlarging.fit_or_load(dataset, split, plan, seed=1)
    assert "step 20" in capsys.readouterr().out
    again = enlarging.fit_or_load(dataset, split, plan, seed=1)
    assert not capsys.readouterr().out
    for one, other in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    other = enlarging.fit_or_load(dataset, split, plan, seed=2)
    assert any((one != two).any() for one, two in zip(first.get_weights(), other.get_weights(), strict=True))


def test_the_mean_is_of_four():
    four = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1).repeat(3, axis=3)
    np.testing.assert_allclose(enlarging.halve(four), np.full((1, 1, 1, 3), 1.5))
