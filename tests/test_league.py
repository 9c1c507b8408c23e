"""The league of explanations, on a network whose answer is known: what is kept, what beats what."""

import numpy as np
import pytest
from test_explain import SIDE, SPOT, spot_network

from flowerlib import explain, faithfulness, league
from flowerlib.schema import Explanation

PLAN = Explanation(photographs=(16, 4), stable=(4, 2), randomized=(3, 2), copies=60)
RANDOM = np.random.default_rng(0)


@pytest.fixture
def case(cache):
    images = RANDOM.integers(0, 40, (16, SIDE, SIDE, 3), dtype=np.uint8)
    top, left, size = SPOT
    images[:, top : top + size, left : left + size] = [255, 0, 0]
    return league.Case(spot_network(*SPOT), images, np.ones(16, np.int64), PLAN)


def test_right_and_wrong_answers_take_turns():
    labels, predicted = np.zeros(20, int), np.array([0] * 17 + [1] * 3)
    found = league.chosen(labels, predicted, 10)
    assert (predicted[found] == labels[found]).tolist()[:6] == [True, False] * 3
    assert len(set(found.tolist())) == 10
    assert (league.chosen(labels, predicted, 10) == found).all()
    assert (league.chosen(labels, predicted, 10, seed=1) != found).any()


def test_slow_methods_have_fewer_photographs(case):
    assert len(league.maps(case, "saliency")) == 16
    assert len(league.maps(case, "rise")) == 4
    assert league.steady(case, "saliency").shape == (4,)
    assert league.forgetful(case, "rise").shape == (2, faithfulness.STAGES)
    assert league.over_seeds(case, "rise").shape == (2,)
    assert league.over_seeds(case, "saliency") is None


def test_what_was_measured_is_kept_and_another_network_or_picture_is_measured_anew(case, monkeypatch):
    first = np.array(league.faithful(case, "saliency"))
    monkeypatch.setattr(faithfulness, "deletion", lambda *_: pytest.fail("measured again"))
    np.testing.assert_array_equal(league.faithful(case, "saliency"), first)
    other = league.Case(case.model, case.images[::-1], case.classes, PLAN)
    with pytest.raises(pytest.fail.Exception):
        league.faithful(other, "saliency")


def test_measures_are_those_of_faithfulness(case):
    maps = league.maps(case, "saliency")
    areas = league.faithful(case, "saliency")
    np.testing.assert_allclose(
        areas[:, 0], faithfulness.deletion(case.model, case.images, case.classes, maps), rtol=1e-6
    )
    np.testing.assert_allclose(
        areas[:, 1], faithfulness.insertion(case.model, case.images, case.classes, maps), rtol=1e-6
    )


def test_the_table_ranks_a_method_that_looks_where_the_network_does_above_the_baselines(case):
    found = league.scores(case)
    assert set(found) == set(league.methods(PLAN))
    table = league.table(case, found).set_index("method")
    assert table.loc[explain.title("saliency"), "beats"] == "random, centre"
    assert table.loc["random", "beats"] == ""
    assert league.beaten(case)["saliency"] == ["random", "centre"]
    assert np.isnan(table.loc["centre", "stability"])
    assert (table["seconds"] > 0).all()
    stages = league.forgetting(case)
    assert stages["method"].tolist() == [explain.title(name) for name in league.METHODS]
    assert stages.shape[1] == 1 + faithfulness.STAGES
    agreed = league.agreement(case, 4).set_index("method")
    np.testing.assert_allclose(np.diag(agreed), 1)
    np.testing.assert_allclose(agreed, agreed.T)
    for measured in found.values():
        for score in measured.values():
            assert score.low <= score.value <= score.high


def test_outlines_say_whether_a_map_lies_on_the_flower(case):
    top, left, size = SPOT
    masks = np.zeros(case.images.shape[:3], bool)
    masks[:, top : top + size, left : left + size] = True
    found = league.on_flowers(case, masks, "saliency")
    assert found["pointing"].value == 1
    assert found["share_on_flower"].value == pytest.approx(1)
    assert league.on_flowers(case, ~masks, "saliency")["pointing"].value == 0
    table = league.pointing({"saliency": found})
    assert table.loc[0, ["method", "points at the flower", "n"]].tolist() == ["saliency", 1, 16]


@pytest.mark.parametrize(
    ("values", "said"),
    [({"stable": (200, 10)}, "at most the photographs"), ({"randomized": (1, 1)}, "two photographs or more")],
)
def test_a_plan_that_cannot_be_measured_is_refused(values, said):
    with pytest.raises(ValueError, match=said):
        Explanation(**values)


def test_grad_cam_is_heard_at_another_layer_and_stands_beside_the_leagues_own(case):
    found = league.scores(case)
    assert league.last_maps(case.model) == "red"
    heard = league.heard_at(case, "red")  # the only convolution: both layers are the same
    table = league.listening(found, heard)
    assert table["taken from"].tolist() == ["convolution", "after activation"] * 2
    for name in ("grad_cam", "grad_cam_plus_plus"):
        for measure in ("deletion", "insertion", "stability"):
            assert heard[name][measure].value == pytest.approx(found[name][measure].value, abs=1e-6)


def test_every_method_explains_one_picture(case):
    found = league.of_one(case.model, case.images[:1], 1, PLAN)
    assert set(found) == {explain.title(name) for name in league.methods(PLAN)}
    assert all(each.shape == (1, SIDE, SIDE) for each in found.values())
    np.testing.assert_array_equal(found["saliency"][0], league.maps(case, "saliency")[0])
