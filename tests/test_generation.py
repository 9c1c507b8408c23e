"""Scores of generated pictures, on sets of features whose answer is known."""

import numpy as np
import pytest

from flowerlib import generation
from flowerlib.errors import FlowerlibError

RANDOM = np.random.default_rng(0)
WIDTH = 8


def drawn(count, mean=0.0, seed=0):
    return np.random.default_rng(seed).normal(mean, 1, (count, WIDTH))


def test_mmd_is_the_double_loop():
    one, other = drawn(12, seed=1), drawn(9, 0.5, seed=2)

    def kernel(x, y):
        return (x @ y / WIDTH + 1) ** 3

    within = sum(kernel(one[i], one[j]) for i in range(12) for j in range(12) if i != j) / (12 * 11)
    within += sum(kernel(other[i], other[j]) for i in range(9) for j in range(9) if i != j) / (9 * 8)
    between = sum(kernel(x, y) for x in one for y in other) / (12 * 9)
    assert generation.mmd2(one, other) == pytest.approx(within - 2 * between)


def test_mmd_is_unbiased_on_gaussians_with_a_known_distance():
    """For the cubic kernel E[(x.y / d + 1)^3] of Gaussians with means a, b and unit covariance is known."""

    def expected(a, b):
        dot, square = a @ b, a @ a + b @ b + WIDTH
        third = dot**3 + 3 * dot * square + 6 * dot  # E[(x.y)^3], x and y independent
        return third / WIDTH**3 + 3 * (dot**2 + square) / WIDTH**2 + 3 * dot / WIDTH + 1

    zero, shifted = np.zeros(WIDTH), np.full(WIDTH, 0.5)
    known = expected(zero, zero) + expected(shifted, shifted) - 2 * expected(zero, shifted)
    found = [generation.mmd2(drawn(60, seed=2 * i), drawn(60, 0.5, seed=2 * i + 1)) for i in range(400)]
    error = np.std(found) / 20
    assert np.mean(found) == pytest.approx(known, abs=4 * error)
    equal = [generation.mmd2(drawn(60, seed=2 * i), drawn(60, seed=2 * i + 1)) for i in range(400)]
    assert np.mean(equal) == pytest.approx(0, abs=4 * np.std(equal) / 20)


def test_kid_holds_zero_between_equals_and_grows_with_the_distance():
    real = drawn(600, seed=3)
    equal = generation.kid(drawn(600, seed=4), real, size=200)
    assert equal.low < 0 < equal.high and equal.n == 600
    near, far = (generation.kid(drawn(600, mean, seed=5), real, size=200) for mean in (0.3, 0.8))
    assert 0 < near.low < near.value < far.low
    with pytest.raises(FlowerlibError, match="as many on both sides"):
        generation.kid(drawn(10), drawn(11))


def test_kid_is_the_mean_over_its_subsets():
    one, other = drawn(9, seed=1), drawn(9, 0.5, seed=2)
    random = np.random.default_rng(7)
    expected = [generation.mmd2(*(each[random.permutation(9)[:4]] for each in (one, other))) for _ in range(20)]
    assert generation.kid(one, other, subsets=20, size=4, seed=7).value == pytest.approx(np.mean(expected))


def test_precision_and_recall_of_half_a_set():
    real = np.concatenate([drawn(200, -8, seed=6), drawn(200, 8, seed=7)])
    half = generation.precision_recall(drawn(200, 8, seed=8), real)
    assert half["precision"].value > 0.8
    assert 0.35 < half["recall"].value < 0.55
    outside = generation.precision_recall(drawn(200, 40, seed=9), real)
    assert outside["precision"].value == 0


def test_a_planted_copy_of_a_training_photograph_is_flagged_as_memorized():
    train, test, made = drawn(500, seed=10), drawn(300, seed=11), drawn(200, seed=12)
    made[17] = train[40] + 1e-3
    found = generation.memorized(made, train, test)
    assert found[17]
    assert found.sum() <= 8  # a hundredth of as many as there are, and some luck


def test_a_faint_copy_is_told_from_faint_pictures():
    """As a blur does, faintness brings pictures nearer to all photographs at once."""
    train, test, faint = drawn(500, seed=10), drawn(300, seed=11), 0.2 * drawn(200, seed=12)
    assert generation.memorized(faint, train, test).mean() > 0.04
    assert generation.copied(faint, train, test).mean() < 0.02
    faint[17] = 0.9 * train[40]
    assert generation.copied(faint, train, test)[17]


def test_of_few_training_photographs_all_are_neighbours():
    train, test = drawn(3, seed=1), drawn(30, seed=2)
    assert generation.copied(train + 1e-6, train, test).all()
