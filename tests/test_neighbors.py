"""Neighbours against scikit-learn's brute force, and planted wrong labels that are found."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from flowerlib import mistakes, neighbors
from flowerlib.errors import FlowerlibError

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(0, 1, (400, 64)).astype(np.float32) + 1
QUERIES = RANDOM.normal(0, 1, (30, 64)).astype(np.float32) + 1
LABELS = RANDOM.integers(0, 8, 400)


@pytest.mark.parametrize("metric", neighbors.METRICS)
def test_neighbours_are_scikit_learns_brute_force(metric):
    found, far = neighbors.nearest(neighbors.index(FEATURES, metric), QUERIES, 7)
    brute = NearestNeighbors(n_neighbors=7, algorithm="brute", metric=metric).fit(FEATURES.astype(float))
    distances, positions = brute.kneighbors(QUERIES.astype(float))
    np.testing.assert_array_equal(found, positions)
    np.testing.assert_allclose(far, distances, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("metric", neighbors.METRICS)
def test_a_picture_is_its_own_nearest(metric):
    found, far = neighbors.nearest(neighbors.index(FEATURES, metric), FEATURES, 1)
    np.testing.assert_array_equal(found[:, 0], np.arange(400))
    assert far.max() < 1e-3


def test_of_equal_pictures_the_first_is_found_first():
    twice = np.concatenate([FEATURES[:5], FEATURES[:5]])
    found, _ = neighbors.nearest(neighbors.index(twice), FEATURES[:5], 2)
    np.testing.assert_array_equal(found, np.stack([np.arange(5), np.arange(5) + 5], axis=1))


def test_the_nearest_of_a_class_is_of_that_class_and_no_other_is_nearer():
    classes = RANDOM.integers(0, 8, len(QUERIES))
    found, far = neighbors.nearest_of_class(neighbors.index(FEATURES), LABELS, QUERIES, classes)
    np.testing.assert_array_equal(LABELS[found], classes)
    for query, label, distance in zip(QUERIES, classes, far, strict=True):
        own = np.linalg.norm(FEATURES[label == LABELS] - query, axis=1)
        assert distance == pytest.approx(own.min(), rel=1e-4)


def test_planted_label_flips_are_found():
    centres = RANDOM.normal(0, 3, (8, 64))
    truth = RANDOM.integers(0, 8, 600)
    features = (centres[truth] + RANDOM.normal(0, 1, (600, 64))).astype(np.float32)
    flipped = RANDOM.random(600) < 0.05
    labels = np.where(flipped, (truth + 1 + RANDOM.integers(0, 7, 600)) % 8, truth)
    close, _ = neighbors.nearest(neighbors.index(features), features, 11)
    probabilities = np.full((600, 8), 0.01)
    probabilities[np.arange(600), truth] = 0.93
    found = neighbors.suspects(labels, probabilities, labels[close[:, 1:]])
    table = neighbors.precision_at(found, flipped, (10, 1000))
    assert table["precision"].tolist() == [1.0, 1.0] and table["wrong"].iloc[-1] == flipped.sum()


def test_precision_is_that_of_a_network_that_errs_beside_labels_that_were_flipped_by_mistakes_own_function():
    """Some mistakes of the network fall among the suspects: the printed share is less than one, and counted by hand."""
    truth = RANDOM.integers(0, 8, 600)
    labels, flipped = mistakes.flipped(truth, 8, 0.05, seed=1)
    errs = RANDOM.random(600) < 0.05
    said = np.where(errs, (truth + 1) % 8, truth)
    probabilities = np.full((600, 8), 0.0)
    probabilities[np.arange(600), said] = RANDOM.uniform(0.6, 1, 600)
    found = neighbors.suspects(labels, probabilities, np.repeat(said[:, None], 5, axis=1))
    table = neighbors.precision_at(found, flipped, (10, 40)).set_index("suspects")["precision"]
    surest = sorted(np.flatnonzero(said != labels), key=lambda each: (-probabilities[each].max(), each))
    for count in (10, 40):
        assert table[count] == np.mean([flipped[each] for each in surest[:count]])
    assert 0.2 < table[40] < 0.9


def test_without_suspects_there_is_no_precision():
    probabilities = np.eye(8)[LABELS]
    found = neighbors.suspects(LABELS, probabilities, np.tile(LABELS[:, None], 5))
    assert found.empty and neighbors.precision_at(found, np.zeros(400, bool)).empty


def test_neighbours_that_disagree_with_a_sure_network_make_no_suspect():
    probabilities = np.eye(8)[(LABELS + 1) % 8]
    assert neighbors.suspects(LABELS, probabilities, np.tile(LABELS[:, None], 5)).empty
    assert len(neighbors.suspects(LABELS, probabilities, np.tile((LABELS[:, None] + 1) % 8, 5))) == 400


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: neighbors.index(FEATURES, "manhattan"), "unknown metric 'manhattan': one of euclidean, cosine"),
        (lambda: neighbors.index(FEATURES * np.nan), "give finite numbers"),
        (lambda: neighbors.index(FEATURES * 0, "cosine"), "have no angle"),
        (
            lambda: neighbors.nearest(neighbors.index(FEATURES), QUERIES[:, :5]),
            r"queries \(30, 5\): give \(pictures, 64\)",
        ),
        (lambda: neighbors.nearest(neighbors.index(FEATURES), QUERIES, 401), "nearest 401"),
    ],
)
def test_what_cannot_be_searched_is_refused(call, said):
    with pytest.raises(FlowerlibError, match=said):
        call()


def test_isolation_is_the_mean_distance_to_the_nearest_others():
    points = np.random.default_rng(4).normal(size=(700, 6)).astype(np.float32)
    points[3] += 50
    found = neighbors.isolation(neighbors.index(points), 5)
    expected = NearestNeighbors(n_neighbors=6, algorithm="brute").fit(points).kneighbors(points)[0]
    np.testing.assert_allclose(found, expected[:, 1:].mean(axis=1), rtol=1e-4)
    assert found.argmax() == 3
