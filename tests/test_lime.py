"""LIME against a ridge regression of scikit-learn, and on a network whose answer is known."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from test_explain import SIDE, SPOT, spot_network

from flowerlib import lime, synthetic
from flowerlib.errors import FlowerlibError

PICTURE = synthetic.draw(np.array([3]), np.array([0]), SIDE)[0][0]
QUARTERS = (np.arange(SIDE)[:, None] // 8) * 4 + np.arange(SIDE) // 8  # sixteen squares of 8 px
HELD = (SPOT[0] // 8) * 4 + SPOT[1] // 8  # the one that the network looks at


@pytest.fixture(scope="module")
def model():
    return spot_network(*SPOT)


def bright():
    """A red square that the answer rests on, on black: hidden, it turns into its mean, so half of it is made black."""
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[::2, :, 0] = 255
    top, left, size = SPOT
    picture[top : top + size, left : left + size, 0] = 255
    return picture


def test_the_ridge_is_scikit_learns():
    random = np.random.default_rng(0)
    shown, seen = random.random((200, 12)) < 0.5, random.random(200)
    shown[0] = True
    distance = 1 - np.sqrt(shown.mean(axis=1))
    weight = np.sqrt(np.exp(-(distance**2) / 0.25**2))
    expected = Ridge(alpha=1.0).fit(shown.astype(float), seen, sample_weight=weight)
    found, r2 = lime._ridge(shown, seen)
    np.testing.assert_allclose(found, expected.coef_, atol=1e-10)
    assert r2 == pytest.approx(expected.score(shown.astype(float), seen, sample_weight=weight))


def test_segments_cover_the_picture_and_are_counted_from_0():
    found = lime.segments(PICTURE, 20)
    assert found.shape == (SIDE, SIDE)
    assert np.array_equal(np.unique(found), np.arange(found.max() + 1))


def test_the_segment_that_the_answer_rests_on_has_the_largest_weight(model):
    picture = bright()
    quarters = QUARTERS.copy()
    quarters[quarters == (HELD + 1)] = HELD  # with the striped square beside it, so that hiding changes its redness
    found = lime.fit(model, picture, 1, parts=np.unique(quarters, return_inverse=True)[1].reshape(SIDE, SIDE))
    assert found.top(1)[0] == np.unique(found.segments[SPOT[0], SPOT[1]])[0]
    assert found.r2 > 0.9 and found.samples == 1000
    others = np.delete(found.weights, found.top(1))
    assert np.abs(others).max() < 0.1 * found.weights.max()


def test_the_same_seed_gives_the_same_bits_and_another_seed_a_correlated_map(model):
    one, again, other = (lime.fit(model, PICTURE, 1, samples=400, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.weights, again.weights)
    assert not np.array_equal(one.weights, other.weights)
    assert np.corrcoef(one.weights, other.weights)[0, 1] > 0.5


def test_sampling_stops_when_the_top_segments_hold_still(model):
    found = lime.fit(model, bright(), 1, parts=QUARTERS, patience=3, samples=5000)
    assert 200 <= found.samples < 5000 and found.samples % 50 == 0
    assert lime.fit(model, bright(), 1, parts=QUARTERS, samples=120).samples == 120


@pytest.mark.parametrize("count", [2, 15, 16, 50, 63])
def test_a_plan_shows_all_segments_and_all_pairs_equally_often(count):
    plan = lime.planned(count, np.random.default_rng(0))
    assert len(plan) == 2 << count.bit_length() and plan.shape[1] == count
    signs = 2 * plan.astype(int) - 1
    np.testing.assert_array_equal(signs.T @ signs, len(plan) * np.eye(count))
    np.testing.assert_array_equal(signs[::2], -signs[1::2])  # each copy and its opposite
    assert plan.all(axis=1).any()  # the picture itself is among them


def test_planned_weights_are_those_of_many_random_copies():
    """On an answer with effects of pairs, which a plan nearly cancels and random copies have to average out."""
    random = np.random.default_rng(3)
    single, pairs = random.normal(0, 1, 20), np.triu(random.normal(0, 0.3, (20, 20)), 1)

    def answer(shown):
        signs = 2 * shown.astype(float) - 1
        return signs @ single + np.einsum("ni,ij,nj->n", signs, pairs, signs)

    plan = lime.planned(20, random)
    found, _ = lime._ridge(plan, answer(plan))
    some = random.random((len(plan), 20)) < 0.5
    by_chance, _ = lime._ridge(some, answer(some))
    many = random.random((40_000, 20)) < 0.5
    wanted, _ = lime._ridge(many, answer(many))
    assert np.abs(found - wanted).mean() < 0.5 * np.abs(by_chance - wanted).mean()


def test_a_quick_explanation_finds_the_same_segment_with_fewer_copies(model):
    quarters = np.where(QUARTERS == HELD + 1, HELD, QUARTERS)  # as above
    parts = np.unique(quarters, return_inverse=True)[1].reshape(SIDE, SIDE)
    one, again = (lime.quick(model, bright(), 1, parts=parts, seed=1) for _ in range(2))
    np.testing.assert_array_equal(one.weights, again.weights)
    assert one.samples < 1000
    slow = lime.fit(model, bright(), 1, parts=parts, samples=1000)
    assert one.top(1)[0] == slow.top(1)[0]
    assert lime.quick(model, PICTURE, 1, parts=QUARTERS, samples=20).samples <= 20
    with pytest.raises(FlowerlibError, match=r"segments \(16, 16\) of a picture \(32, 32\)"):
        lime.quick(model, PICTURE, 1, parts=QUARTERS[:16, :16])


@pytest.mark.parametrize("samples", [2, 33, 65])
def test_a_quick_explanation_looks_at_no_more_copies_than_it_may(model, samples):
    assert lime.quick(model, PICTURE, 1, parts=QUARTERS, samples=samples).samples <= samples
    with pytest.raises(FlowerlibError, match="1 samples of a picture"):
        lime.quick(model, PICTURE, 1, parts=QUARTERS, samples=1)


def test_a_flat_answer_is_looked_at_twice(model, monkeypatch):
    monkeypatch.setattr(lime, "_probability", lambda model, pictures, label: np.full(len(pictures), 0.5))
    found = lime.quick(model, PICTURE, 1, parts=QUARTERS)
    assert found.samples == 64 and not found.weights.any()


def test_a_fit_of_noise_explains_nothing_of_new_copies_and_a_straight_line_all(model, monkeypatch):
    random = np.random.default_rng(0)
    parts = QUARTERS
    monkeypatch.setattr(lime, "_probability", lambda model, pictures, label: random.random(len(pictures)))
    noise = lime.fit(model, PICTURE, 1, parts=parts, samples=40)
    assert noise.r2 > 0.2 and lime.explained(model, PICTURE, 1, noise) < 0.05
    slopes = random.normal(size=16)

    def line(model, pictures, label):
        shown = (pictures == PICTURE).all(axis=-1).reshape(len(pictures), 4, 8, 4, 8).all(axis=(2, 4))
        return shown.reshape(len(pictures), 16) @ slopes

    monkeypatch.setattr(lime, "_probability", line)
    straight = lime.fit(model, PICTURE, 1, parts=parts, samples=400)
    assert lime.explained(model, PICTURE, 1, straight) > 0.99


def test_quick_maps_are_those_of_quick_fits(model):
    [found] = lime.quick_lime(model, PICTURE[None], np.array([1]), samples=128)
    fit = lime.quick(model, PICTURE, 1, samples=128)
    expected = np.maximum(fit.weights, 0)[fit.segments]
    np.testing.assert_allclose(found, expected / expected.max(), rtol=1e-5)


def test_a_map_has_one_value_a_segment(model):
    [found] = lime.lime(model, PICTURE[None], np.array([1]), samples=100)
    assert found.shape == (SIDE, SIDE) and found.min() >= 0 and found.max() == 1
    parts = lime.segments(PICTURE)
    assert all(len(np.unique(found[parts == part])) == 1 for part in range(parts.max() + 1))


def test_segments_of_another_size_and_classes_that_are_not_there_are_refused(model):
    with pytest.raises(FlowerlibError, match=r"segments \(16, 16\) of a picture \(32, 32\)"):
        lime.fit(model, PICTURE, 1, parts=QUARTERS[:16, :16])
    with pytest.raises(FlowerlibError, match="class 7 is not among the 2"):
        lime.fit(model, PICTURE, 7)
