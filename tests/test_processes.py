"""The reports' ways from picture to noise: the distribution of what they materialize."""

import numpy as np
import pytest
import scipy.stats

from flowerlib import processes

RANDOM = np.random.default_rng(0)
PICTURE = RANDOM.random((24, 24, 3)).astype(np.float32)


def materialized(picture, levels, step):
    """As the reports write it: one level after the other, all of them kept."""
    kept = [picture]
    for _ in range(levels):
        kept.append(step(kept[-1]))
    return np.stack(kept)


def test_hughess_levels_have_the_distribution_of_the_materialized_set():
    reference = np.random.default_rng(1)
    theirs = materialized(PICTURE, 20, lambda x: x + 0.15 * reference.random(x.shape))
    ours = processes.hughes_levels(PICTURE, np.random.default_rng(2))
    assert ours.shape == (21, 24, 24, 3) and ours.dtype == np.float32
    for level in (1, 2, 7, 20):
        for one in (ours, theirs):
            noise = (one[level] - PICTURE).ravel()
            assert noise.mean() == pytest.approx(0.075 * level, rel=0.03)
            assert noise.var() == pytest.approx(level * 0.15**2 / 12, rel=0.12)
        same = scipy.stats.ks_2samp((ours[level] - PICTURE).ravel(), (theirs[level] - PICTURE).ravel())
        assert same.pvalue > 0.001, level
    assert (np.diff(ours, axis=0) >= 0).all() and np.diff(ours, axis=0).max() <= 0.15 + 1e-6


def test_shens_levels_have_the_distribution_of_the_materialized_set():
    reference = np.random.default_rng(3)
    step = lambda x: np.clip(x + processes.SHEN_INCREMENT * reference.standard_normal(x.shape), 0, 1)  # noqa: E731
    theirs = materialized(PICTURE, 10, step)
    ours = processes.shen_levels(PICTURE, np.random.default_rng(4))
    assert ours.shape == (11, 24, 24, 3) and 0 <= ours.min() and ours.max() <= 1
    for level in (1, 3, 10):
        assert scipy.stats.ks_2samp(ours[level].ravel(), theirs[level].ravel()).pvalue > 0.001, level


def test_the_last_of_shens_levels_is_almost_pure_noise():
    last = processes.shen_levels(PICTURE, np.random.default_rng(5))[-1]
    assert abs(np.corrcoef(last.ravel(), PICTURE.ravel())[0, 1]) < 0.25


def test_without_the_clamp_values_leave_the_range_of_pictures():
    free = processes.shen_levels(PICTURE, np.random.default_rng(6), clamp=False)
    assert free.min() < -0.5 and free.max() > 1.5


def test_noise_of_mean_0_is_dark_once_it_is_cut():
    half, zero = (processes.start_noise(4, 32, np.random.default_rng(7), mean=mean) for mean in (0.5, 0.0))
    assert half.mean() == pytest.approx(0.5, abs=0.01)
    assert zero.mean() < 0.33 and (zero == 0).mean() == pytest.approx(0.5, abs=0.02)


def test_meters_of_colour_and_contrast():
    red = np.zeros((2, 4, 4, 3))
    red[..., 0] = 0.6
    red[..., 1] = 0.2
    np.testing.assert_allclose(processes.channel_means(red), [0.75, 0.25, 0])
    board = np.indices((4, 4)).sum(axis=0)[None, ..., None] % 2 * np.ones((1, 1, 1, 3))
    assert processes.contrast(board) == pytest.approx(0.5)
