"""The league of explanations, on a network whose answer is known: what is kept, what beats what."""

from types import SimpleNamespace

import numpy as np
import pytest
from test_explain import SIDE, SPOT, spot_network

from flowerlib import explain, faithfulness, finetuning, league, league_views, lime, outlines, picking
from flowerlib.schema import Explanation
from flowerlib.splits import Part, Split

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
    found = picking.chosen(labels, predicted, 10)
    assert (predicted[found] == labels[found]).tolist()[:6] == [True, False] * 3
    assert len(set(found.tolist())) == 10
    assert (picking.chosen(labels, predicted, 10) == found).all()
    assert (picking.chosen(labels, predicted, 10, seed=1) != found).any()


def answering(right_share, n=3000, classes=4, stage=None):
    """A network that is right on a share of its test part, and says how many photographs it was asked for."""
    labels = np.arange(n) % classes
    answers = np.where(np.arange(n) < right_share * n, labels, (labels + 1) % classes)
    nothing = Part(np.empty(0, int), np.empty(0, int))
    seen = []

    def probabilities(part):
        seen.append(len(part))
        assert (np.diff(part.indices) > 0).all()  # pictures are read in the order in which they lie
        np.testing.assert_array_equal(part.labels, labels[part.indices - 5])
        return np.eye(classes)[answers[part.indices - 5]]

    split = Split(nothing, nothing, Part(np.arange(n) + 5, labels), tuple("abcd"))
    stages = [SimpleNamespace(name=stage)] if stage else []
    return SimpleNamespace(split=split, probabilities=probabilities, stages=stages), seen, answers


@pytest.mark.parametrize(("share", "count"), [(0.9, 100), (0.999, 20), (0.1, 40)])
def test_photographs_are_asked_until_there_are_enough_of_both(share, count):
    network, seen, answers = answering(share)
    found = picking.asked(network, count)
    assert len(found.indices) == len(np.unique(found.indices)) == count and sum(seen) == found.count
    np.testing.assert_array_equal(found.predicted, answers[found.indices - 5])
    np.testing.assert_array_equal(found.labels, network.split.test.labels[found.indices - 5])
    wrong = (found.predicted != found.labels).sum()
    assert found.counts() == {"test/asked": sum(seen), "test/photographs": count, "test/wrong": wrong}
    half = min(count // 2, round(3000 * (1 - share)), round(3000 * share))
    assert (found.predicted == found.labels)[: 2 * half].tolist() == [True, False] * half
    assert (found.count == 3000) == (share == 0.999)  # where three are wrong in all, the whole part is asked
    again, other = picking.asked(answering(share)[0], count), picking.asked(answering(share)[0], count, seed=1)
    np.testing.assert_array_equal(found.indices, again.indices)
    assert (other.indices != found.indices).any()


@pytest.mark.parametrize(("stage", "times"), [("head", 1), (finetuning.ALL_LAYERS, 2)])
def test_a_network_on_kept_features_is_asked_once(stage, times):
    network, seen, _ = answering(0.5, n=100, stage=stage)
    picking.asked(network, 90)
    assert len(seen) == times


def test_means_end_where_their_values_must():
    values = np.array([0.99, 1.0, 0.2, 0.98])
    free, bounded = league.mean(values), league.mean(values, 0, 1)
    assert free.high > 1 and bounded.high == 1
    assert (free.value, free.low, free.n) == (bounded.value, bounded.low, bounded.n)


def test_the_local_fit_is_judged_on_copies_that_it_has_not_seen(case):
    found = league.local_fits(case, 2)
    fits = [lime.fit(case.model, case.images[i], 1, samples=PLAN.copies) for i in range(2)]
    each = [lime.explained(case.model, case.images[i], 1, fit) for i, fit in enumerate(fits)]
    assert found.value == pytest.approx(np.mean(each)) and found.n == 2 and found.high <= 1


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
    table = league_views.table(case, found).set_index("method")
    assert table.loc[explain.title("saliency"), "beats"] == "random, centre"
    assert table.loc["random", "beats"] == ""
    assert league.beaten(case)["saliency"] == ["random", "centre"]
    assert np.isnan(table.loc["centre", "stability"])
    assert (table["seconds"] > 0).all()
    stages = league_views.forgetting(case)
    assert stages["method"].tolist() == [explain.title(name) for name in explain.METHODS]
    assert stages.shape[1] == 1 + faithfulness.STAGES
    agreed = league_views.agreement(case, 4).set_index("method")
    np.testing.assert_allclose(np.diag(agreed), 1)
    np.testing.assert_allclose(agreed, agreed.T)
    for measured in found.values():
        for score in measured.values():
            assert score.low <= score.value <= score.high


def test_outlines_say_whether_a_map_lies_on_the_flower(case):
    top, left, size = SPOT
    masks = np.zeros(case.images.shape[:3], bool)
    masks[:, top : top + size, left : left + size] = True
    found = outlines.on_flowers(case, masks, "saliency")
    assert found["pointing"].value == 1
    assert found["share_on_flower"].value == pytest.approx(1)
    assert outlines.on_flowers(case, ~masks, "saliency")["pointing"].value == 0
    table = outlines.pointing({"saliency": found})
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
    table = league_views.listening(found, heard)
    assert table["taken from"].tolist() == ["convolution", "after activation"] * 2
    for name in ("grad_cam", "grad_cam_plus_plus"):
        for measure in ("deletion", "insertion", "stability"):
            assert heard[name][measure].value == pytest.approx(found[name][measure].value, abs=1e-6)


def test_every_method_explains_one_picture(case):
    found = league_views.of_one(case.model, case.images[:1], 1, PLAN)
    assert set(found) == {explain.title(name) for name in league.methods(PLAN)}
    assert all(each.shape == (1, SIDE, SIDE) for each in found.values())
    np.testing.assert_array_equal(found["saliency"], league_views.vivid(league.maps(case, "saliency")[:1]))
    tiles = league_views.tiles(case.images[:1], found)
    assert tiles.shape == (1 + len(found), SIDE, SIDE, 3) and (tiles[0] == case.images[0]).all()


def test_what_is_seen_is_the_map_up_to_its_99th_percentile():
    maps = np.stack([np.linspace(0, 1, 10_000).reshape(100, 100), np.zeros((100, 100))])
    bright, flat = league_views.vivid(maps)
    assert bright.max() == 1 and (bright == 1).mean() == pytest.approx(0.01, abs=0.001)
    np.testing.assert_allclose(bright[bright < 1], maps[0][bright < 1] / 0.99, rtol=1e-3)
    assert not flat.any()


def test_grad_cam_is_shown_from_both_layers(case):
    shown = league_views.shown(case, 2)
    names = list(shown)
    assert names[names.index("Grad-CAM") + 1] == "Grad-CAM, after activation"
    assert len(shown) == len(explain.METHODS) + 1 and all(each.shape == (2, SIDE, SIDE) for each in shown.values())


def test_made_pictures_are_seen_with_contrast_and_photographs_as_they_are(case):
    rows = league_views.looked_at_and_made(case.model, case.images[:2], [0, 1], PLAN.model_copy(update={"steps": 3}))
    picture, saliency, grad_cam, *made = league_views.to_see(rows)
    np.testing.assert_array_equal(picture, case.images[:2])
    for name, each in zip(league_views.MADE, made, strict=True):
        assert each.min() == 0 and each.max() == 255 and np.ptp(rows[name].astype(int)) < 255
