"""Pictures that a network calls most of all a class."""

import numpy as np
import pytest
from test_explain import SIDE, SPOT, network, spot_network

from flowerlib import activation, maps
from flowerlib.errors import FlowerlibError
from flowerlib.models import backbones

WAYS = [activation.maximize, activation.maximize_frequencies]


@pytest.mark.parametrize("way", WAYS)
def test_the_picture_is_redder_where_the_network_looks(way):
    [picture] = way(spot_network(*SPOT), [1], side=SIDE, steps=40)
    assert picture.shape == (SIDE, SIDE, 3) and picture.dtype == np.uint8
    top, left, size = SPOT
    inside = np.zeros((SIDE, SIDE), bool)
    inside[top : top + size, left : left + size] = True
    reach = 0 if way is activation.maximize else 20  # under jitter it is redder around as well
    assert picture[inside, 0].mean() > picture[~inside, 0].mean() + (60 if not reach else 10)


@pytest.mark.parametrize("way", WAYS)
def test_the_class_is_more_probable_than_of_a_grey_picture(way):
    model = network()
    pictures = way(model, [0, 1], side=SIDE, steps=40)
    grey = np.full((1, SIDE, SIDE, 3), 127, np.uint8)
    assert (np.diag(maps.probabilities(model, pictures)) > maps.probabilities(model, grey)[0]).all()
    alone = np.concatenate([way(model, [label], side=SIDE, steps=40) for label in (0, 1)])
    assert np.abs(pictures.astype(int) - alone).mean() < 2  # pictures made together do not mix


@pytest.mark.parametrize("way", WAYS)
def test_the_same_seed_gives_the_same_picture(way):
    one, again, other = (way(network(), [0], side=SIDE, steps=5, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("name", ["mobilenet_v2", "vgg16"])
def test_a_float_picture_is_preprocessed_as_the_network_does_it(name):
    base = backbones.backbone(name, weights="random", size_px=32, pooled=True)
    picture = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    found = activation._logits(base, [7], 32)(picture.astype(np.float32) / 127.5 - 1)
    assert float(found[0]) == pytest.approx(float(base.predict_on_batch(picture)[0, 7]), rel=1e-3, abs=1e-5)


def test_a_class_that_is_not_there_is_refused():
    with pytest.raises(FlowerlibError, match="class 9 is not among the 2"):
        activation.maximize(network(), [9], side=SIDE)
