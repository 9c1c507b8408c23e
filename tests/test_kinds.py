"""What a generator is told of kinds: components with deviation 1, and draws that are spread as the kind's pictures."""

import numpy as np

from flowerlib import kinds

RANDOM = np.random.default_rng(0)
LABELS = np.arange(600) % 3
CENTRES = 4 * RANDOM.standard_normal((3, 10))
FEATURES = CENTRES[LABELS] + RANDOM.standard_normal((600, 10)) @ RANDOM.standard_normal((10, 10))
FITTED = kinds.fit(FEATURES, LABELS, 6)


def test_what_is_told_of_the_pictures_has_mean_zero_and_deviation_one_and_no_correlation():
    assert FITTED.told.shape == (600, 6) and FITTED.told.dtype == np.float32
    np.testing.assert_allclose(FITTED.told.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.cov(FITTED.told, rowvar=False), np.eye(6), atol=1e-3)


def test_means_and_covariance_are_those_of_the_kinds():
    for kind in range(3):
        np.testing.assert_allclose(FITTED.means[kind], FITTED.told[LABELS == kind].mean(axis=0), atol=1e-5)
    within = np.cov(FITTED.told - FITTED.means[LABELS], rowvar=False)
    np.testing.assert_allclose(FITTED.factor @ FITTED.factor.T, within, atol=1e-4)


def test_draws_have_the_kind_s_mean_and_the_common_covariance():
    drawn = FITTED.draw(np.full(20_000, 2), np.random.default_rng(1))
    assert drawn.shape == (20_000, 6) and drawn.dtype == np.float32
    np.testing.assert_allclose(drawn.mean(axis=0), FITTED.means[2], atol=0.03)
    np.testing.assert_allclose(np.cov(drawn, rowvar=False), FITTED.factor @ FITTED.factor.T, atol=0.04)


def test_the_same_draws_come_of_the_same_seed_and_a_kind_s_are_nearest_to_it():
    labels = np.arange(90) % 3
    one, again = (FITTED.draw(labels, np.random.default_rng(seed)) for seed in (5, 5))
    np.testing.assert_array_equal(one, again)
    far = np.linalg.norm(one[:, None] - FITTED.means[None], axis=-1)
    assert (far.argmin(axis=1) == labels).mean() > 0.6
