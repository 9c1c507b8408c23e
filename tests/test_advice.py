"""Report 002's advice: what becomes of a draw, triplets, and what a piece of advice is worth."""

import numpy as np
import pytest
from test_figures import LAYOUT, texts_of

from flowerlib import advice, comparisons, heads, settings, triplets
from flowerlib.errors import FlowerlibError

LABELS = np.arange(200) % 5
CENTRES = np.random.default_rng(0).normal(0, 0.5, (5, 30))
FEATURES = (CENTRES[LABELS] + np.random.default_rng(1).normal(0, 1, (200, 30))).astype(np.float32)
DRAWS = [heads.draw(FEATURES, LABELS, seed) for seed in range(3)]


def test_fewer_photographs_are_the_same_share_of_every_class():
    some = advice.fewer(DRAWS[0], 0.25)
    assert np.bincount(some.train_y).tolist() == [7] * 5
    assert {tuple(row) for row in some.train_x} <= {tuple(row) for row in DRAWS[0].train_x}
    assert some.test_x is DRAWS[0].test_x
    assert np.bincount(advice.fewer(DRAWS[0], 0.001).train_y).tolist() == [2] * 5


def test_views_join_the_training_photographs_that_they_were_made_of():
    views = np.stack([FEATURES + 100, FEATURES + 200], axis=1)
    more = advice.with_views(DRAWS[1], views, LABELS)
    count = len(DRAWS[1].train_x)
    assert len(more.train_x) == 3 * count
    np.testing.assert_array_equal(more.train_y[count:], np.repeat(DRAWS[1].train_y, 2))
    np.testing.assert_allclose(more.train_x[count::2], DRAWS[1].train_x + 100, rtol=1e-6)
    np.testing.assert_allclose(more.train_x[count + 1 :: 2], DRAWS[1].train_x + 200, rtol=1e-6)


def test_unwanted_photographs_leave_the_training_part_alone():
    unwanted = np.zeros(200, bool)
    unwanted[::4] = True
    less = advice.without(DRAWS[2], unwanted, LABELS)
    gone = {tuple(row) for row in FEATURES[unwanted]}
    assert not gone & {tuple(row) for row in less.train_x}
    assert len(less.train_x) == sum(tuple(row) not in gone for row in DRAWS[2].train_x)
    assert less.test_x is DRAWS[2].test_x


def test_a_score_is_that_of_the_sweep():
    found = heads.train(DRAWS, [0.05], [0.5], epochs=5)
    np.testing.assert_allclose(
        advice.score(DRAWS, (0.05, 0.5), epochs=5), settings.weighted_f1(found, DRAWS)[:, 0], atol=1e-12
    )


def test_a_decay_of_one_changes_nothing_and_a_strong_one_stops_the_training():
    free, kept = (heads.train(DRAWS, [0.05], [0.5], epochs=8, decay=decay) for decay in (1.0, 1e-6))
    once = heads.train(DRAWS, [0.05], [0.5], epochs=1)
    np.testing.assert_allclose(kept.train_loss, once.train_loss, rtol=1e-3)
    assert (free.train_loss < kept.train_loss).all()
    with pytest.raises(FlowerlibError, match="decay 0"):
        heads.train(DRAWS, [0.05], [0.5], epochs=1, decay=0)


def test_triplets_are_the_farthest_own_and_the_nearest_other():
    """Four unit vectors in a plane, two classes: distances by hand."""
    angles = np.deg2rad([0, 60, 90, 180])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    labels = np.array([0, 0, 1, 1])
    apart = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    expected = [max(apart[0, 1] - apart[0, 2] + 0.2, 0), max(apart[1, 0] - apart[1, 2] + 0.2, 0),
                max(apart[2, 3] - apart[2, 1] + 0.2, 0), max(apart[3, 2] - apart[3, 1] + 0.2, 0)]  # fmt: skip
    np.testing.assert_allclose(triplets.batch_hard(0.2)(labels, vectors), expected, atol=1e-5)


def test_a_picture_alone_in_its_class_or_a_batch_of_one_class_counts_nothing():
    vectors = np.eye(3, dtype=np.float32)
    assert np.asarray(triplets.batch_hard()(np.array([0, 1, 2]), vectors)).tolist() == [0, 0, 0]
    assert np.asarray(triplets.batch_hard()(np.array([1, 1, 1]), vectors)).tolist() == [0, 0, 0]


def test_a_triplet_embedding_draws_classes_together():
    model = triplets.fit(DRAWS[0].train_x, DRAWS[0].train_y, width=8, epochs=60, batch_size=70, learning_rate=0.01)
    embedded = model.predict(DRAWS[0].train_x, verbose=0)
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, atol=1e-5)
    named = triplets.nearest_mean(embedded, DRAWS[0].train_y, embedded)
    plain = triplets.nearest_mean(DRAWS[0].train_x, DRAWS[0].train_y, DRAWS[0].train_x)
    assert (named == DRAWS[0].train_y).mean() > 0.8 and plain.shape == named.shape
    with pytest.raises(FlowerlibError, match="two classes"):
        triplets.fit(FEATURES[:5], np.zeros(5, int))


def test_nearest_means_are_sklearns_nearest_centroids():
    from sklearn.neighbors import NearestCentroid

    draw = DRAWS[1]
    expected = NearestCentroid().fit(draw.train_x, draw.train_y).predict(draw.test_x)
    np.testing.assert_array_equal(triplets.nearest_mean(draw.train_x, draw.train_y, draw.test_x), expected)


def test_advice_is_compared_draw_by_draw():
    scores = {"as it is": np.array([0.5, 0.6, 0.7]), "better": np.array([0.6, 0.71, 0.79]), "alike": np.ones(3) * 0.6}
    table = advice.table(scores, "as it is").set_index("advice")
    test = comparisons.paired_seeds(scores["better"], scores["as it is"])
    assert table.loc["better", "difference"] == test.value and table.loc["better", "p"] == pytest.approx(2 * test.p)
    assert np.isnan(table.loc["as it is", "difference"])


def test_a_conclusion_is_judged_where_its_settings_were_trained():
    found = heads.train(DRAWS, *heads.grid([0.001, 0.01], [0.0, 0.1]), epochs=3)
    table = settings.conclusions(found, settings.weighted_f1(found, DRAWS))
    assert table["conclusion"].tolist() == ["rate 0.001 beats 0.01", "no momentum beats 0.1"]
    assert table["reported"].tolist() == [0.03, 0.09]
    assert set(table["verdict"]) <= {comparisons.HOLDS, comparisons.FAILS, comparisons.UNKNOWN}


def test_conclusions_are_the_differences_of_the_reports_scores():
    from flowerlib.summary import claimed

    reported = claimed("ash-runs", "test/weighted_f1")
    by_setting = {pair: reported[f"model{i}"] for i, pair in enumerate(settings.REPORTED, 1)}
    for (one, other), difference in settings.CONCLUSIONS.values():
        assert difference == pytest.approx(by_setting[one] - by_setting[other])


@pytest.mark.parametrize("fact", LAYOUT)
def test_a_learning_curve_can_be_read(fact):
    import pandas as pd

    rows = [{"photographs": n, "value": v, "low": v - 0.02, "high": v + 0.02} for n, v in ((50, 0.7), (700, 0.9))]
    fig = advice.learning_curve(pd.DataFrame(rows))
    fact(fig, texts_of(fig))


def test_photographs_without_flowers_are_those_of_the_list_in_the_order_of_the_data_set():
    unwanted = advice.flowerless("flowers5", 1000)
    assert unwanted.sum() == 20
    known = sorted((row["class"], row["file"]) for row in advice._rows("flower_photos_subset.csv"))
    found = [known[place] for place in np.flatnonzero(unwanted)]
    assert found == [(row["class"], row["file"]) for row in advice._rows("flower_photos_without_flowers.csv")]
    assert not advice.flowerless("drawn", 500).any()
