"""Measures of maps, on networks and maps whose truth is known."""

import numpy as np
import pytest
import scipy.stats
from test_explain import CLASSES, PICTURES, SIDE, SPOT, network, spot_network

from flowerlib import faithfulness, gradients
from flowerlib import maps as maps_of
from flowerlib.errors import FlowerlibError

RED = np.zeros((2, SIDE, SIDE, 3), np.uint8)
RED[:, SPOT[0] : SPOT[0] + SPOT[2], SPOT[1] : SPOT[1] + SPOT[2], 0] = 255  # a red square on black, which it looks at
ONE = np.array([1, 1])


def perfect():
    """1 on the square, 0 elsewhere."""
    return (RED[..., 0] > 0).astype(np.float32)


def others():
    return {
        "random": faithfulness.random_map(None, RED, ONE),
        "centre": faithfulness.centre_blob(None, RED, ONE),
        "opposite": 1 - perfect(),
        "flat": np.ones((2, SIDE, SIDE), np.float32),
    }


def test_deletion_and_insertion_of_a_perfect_map_beat_every_other():
    model = spot_network(*SPOT)
    best = [measure(model, RED, ONE, perfect()) for measure in (faithfulness.deletion, faithfulness.insertion)]
    for name, maps in others().items():
        assert (faithfulness.deletion(model, RED, ONE, maps) > best[0]).all(), name
        assert (faithfulness.insertion(model, RED, ONE, maps) < best[1]).all(), name


def test_curves_begin_and_end_with_the_picture_and_its_blur():
    model = spot_network(*SPOT)
    blurred = faithfulness._blurred(RED)
    curve = faithfulness._curves(model, RED, ONE, perfect(), RED, blurred)
    whole, gone = (maps_of.probabilities(model, each)[:, 1] for each in (RED, blurred))
    np.testing.assert_allclose(curve[:, 0], whole, rtol=1e-5)
    np.testing.assert_allclose(curve[:, -1], gone, rtol=1e-5)


def test_the_area_of_a_constant_curve_is_its_height():
    assert faithfulness._areas(np.full((1, faithfulness.STEPS + 1), 0.3)) == pytest.approx([0.3])


def test_correlation_is_spearmans_and_a_flat_map_has_none():
    random = np.random.default_rng(0)
    one, other = random.random((2, 8, 8)), random.random((2, 8, 8))
    expected = [scipy.stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(faithfulness.correlation(one, other), expected)
    assert faithfulness.correlation(one, np.ones_like(one)).tolist() == [0, 0]
    np.testing.assert_allclose(faithfulness.correlation(one, one**3), 1)


def test_maps_that_do_not_look_at_the_picture_are_perfectly_stable():
    assert faithfulness.stability(faithfulness.centre_blob, network(), PICTURES, CLASSES) == pytest.approx([1, 1, 1])
    assert (faithfulness.stability(gradients.saliency, network(), PICTURES, CLASSES) < 1).all()


def test_a_map_that_does_not_look_at_the_network_survives_its_forgetting():
    """Adebayo's test tells apart what depends on the weights and what does not."""
    model = network()
    before = [weight.numpy() for weight in model.weights]
    blind = faithfulness.randomized(faithfulness.centre_blob, model, PICTURES, CLASSES)
    honest = faithfulness.randomized(gradients.saliency, model, PICTURES, CLASSES)
    assert blind["correlation"].tolist() == pytest.approx([1] * 12)
    assert honest[honest.stage == 4]["correlation"].mean() < 0.7
    assert honest["stage"].tolist() == [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3 and honest["share"].max() == 1
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


def test_the_weights_come_back_when_a_method_fails():
    model = network()
    before = [weight.numpy() for weight in model.weights]
    calls = []

    def failing(*arguments):
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return faithfulness.centre_blob(*arguments)

    with pytest.raises(KeyboardInterrupt):
        faithfulness.randomized(failing, model, PICTURES, CLASSES)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


def test_agreement_is_symmetric_with_ones_on_its_diagonal():
    table = faithfulness.agreement({**others(), "perfect": perfect()})
    np.testing.assert_allclose(table, table.T, atol=1e-12)
    assert (np.diag(table) == 1).all() and table.loc["perfect", "opposite"] == pytest.approx(-1)


def test_attributions_of_a_linear_network_miss_nothing_and_of_another_less_with_more_pieces():
    from test_explain import CLASSES, PICTURES, network, spot_network

    linear = spot_network(8, 16, 8)
    assert (faithfulness.completeness(linear, PICTURES, np.ones(3, int), 8) < 1e-4).all()
    few, many = (faithfulness.completeness(network(), PICTURES, CLASSES, pieces).mean() for pieces in (8, 128))
    assert many < 0.01 and many <= few


def test_pointing_and_share_on_the_flower():
    masks = RED[..., 0] > 0
    assert faithfulness.pointing(perfect(), masks).all() and not faithfulness.pointing(1 - perfect(), masks).any()
    assert faithfulness.share_on_flower(perfect(), masks).tolist() == [1, 1]
    flat = faithfulness.share_on_flower(others()["flat"], masks)
    assert flat == pytest.approx([SPOT[2] ** 2 / SIDE**2] * 2)
    assert np.isnan(faithfulness.share_on_flower(0 * perfect(), masks)).all()


@pytest.mark.parametrize("name", faithfulness.BASELINES)
def test_baselines_are_methods_like_the_others(name):
    maps = faithfulness.BASELINES[name](network(), PICTURES, CLASSES)
    assert maps.shape == PICTURES.shape[:3] and maps.dtype == np.float32 and maps.max() == 1 and maps.min() >= 0


def test_maps_of_another_size_are_refused():
    with pytest.raises(FlowerlibError, match=r"maps \(2, 8, 8\) of pictures \(2, 32, 32\)"):
        faithfulness.deletion(spot_network(*SPOT), RED, ONE, np.ones((2, 8, 8)))
