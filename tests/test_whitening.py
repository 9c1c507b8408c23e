"""ZCA whitening against numpy's decompositions and the formula with the whole covariance matrix."""

import keras
import numpy as np
import pytest

from flowerlib import whitening
from flowerlib.errors import FlowerlibError
from flowerlib.models import classifiers, summary
from flowerlib.models.whitening import ZcaWhitening

EPSILON = 1e-6  # Hughes 2024, section 2.2
SIZE = 12
VALUES = SIZE * SIZE * 3  # 432


def pictures(n, size=SIZE, seed=0):
    """Noise whose neighbours and channels resemble each other, as they do in photographs."""
    noise = np.random.default_rng(seed).random((n, size, size, 3))
    near = sum(np.roll(noise, by, axis) for axis in (1, 2) for by in (-1, 0, 1)) / 6
    return np.rint(255 * (0.5 * noise + 0.3 * near + 0.2 * near[..., ::-1])).astype(np.uint8)


def rows(images):
    return images.reshape(len(images), -1) / 255


def whole_zca(images, epsilon):
    """Mean and ZCA matrix by the whole covariance matrix, in float64 (Krizhevsky 2009, appendix A)."""
    mean = rows(images).mean(axis=0)
    covariance = (rows(images) - mean).T @ (rows(images) - mean) / len(images)
    axes, variances, _ = np.linalg.svd(covariance)
    return mean, axes @ np.diag(1 / np.sqrt(variances + epsilon)) @ axes.T


def whitened(fitted, images, **options):
    return whitening.apply(fitted, images, **options).reshape(len(images), -1).astype(np.float64)


MANY, FEW, NEW = pictures(700), pictures(80), pictures(20, seed=1)


# Where there are more pictures than values


def test_whitened_pictures_have_no_mean_and_the_identity_as_their_covariance():
    found = whitened(whitening.fit(MANY, EPSILON), MANY)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(found.T, bias=True), np.eye(VALUES), atol=0.02)


@pytest.mark.parametrize("epsilon", [1e-6, 0.01])
def test_many_pictures_and_new_ones_are_whitened_as_by_the_whole_covariance_matrix(epsilon):
    fitted, (mean, matrix) = whitening.fit(MANY, epsilon), whole_zca(MANY, epsilon)
    for images in (MANY, NEW):
        expected = (rows(images) - mean) @ matrix
        np.testing.assert_allclose(whitened(fitted, images), expected, atol=1e-3 * np.abs(expected).max())


def test_the_directions_of_many_pictures_that_do_not_vary_are_dropped():
    """Pictures of 48 free values, each four pixels large: 48 of the 192 directions vary."""
    blocks = np.random.default_rng(0).integers(0, 256, (600, 4, 4, 3), dtype=np.uint8)
    images = blocks.repeat(2, axis=1).repeat(2, axis=2)
    for some in (images, images[:150]):  # more pictures than values, and fewer
        assert len(whitening.fit(some, EPSILON).components) == 48


# Where there are fewer


def test_few_pictures_have_the_projector_on_their_span_as_their_covariance():
    found = whitened(whitening.fit(FEW, 1e-12), FEW)
    centred = rows(FEW) - rows(FEW).mean(axis=0)
    projector = np.linalg.pinv(centred, rcond=1e-6) @ centred
    assert np.trace(projector) == pytest.approx(79)
    np.testing.assert_allclose(np.cov(found.T, bias=True), projector, atol=1e-3)


def test_components_and_gains_are_those_of_numpys_singular_values():
    fitted = whitening.fit(FEW, EPSILON)
    _, singular, axes = np.linalg.svd(rows(FEW) - rows(FEW).mean(axis=0), full_matrices=False)
    assert len(fitted.components) == 79  # the mean takes one of eighty
    np.testing.assert_allclose(fitted.components @ fitted.components.T, np.eye(79), atol=1e-3)
    expected = np.sort(1 / np.sqrt(singular[:-1] ** 2 / 80 + EPSILON))
    np.testing.assert_allclose(np.sort(fitted.gains), expected, rtol=1e-3)
    np.testing.assert_allclose(fitted.components.T @ fitted.components, axes[:-1].T @ axes[:-1], atol=1e-3)


def test_few_pictures_are_whitened_as_by_the_whole_covariance_matrix():
    mean, matrix = whole_zca(FEW, EPSILON)
    expected = (rows(FEW) - mean) @ matrix
    np.testing.assert_allclose(whitened(whitening.fit(FEW, EPSILON), FEW), expected, atol=1e-3 * np.abs(expected).max())


def test_a_gain_of_one_over_the_root_of_epsilon_is_the_whole_singular_matrix_outside_the_span():
    mean, matrix = whole_zca(FEW, EPSILON)
    expected = (rows(NEW) - mean) @ matrix
    found = whitened(whitening.fit(FEW, EPSILON), NEW, outside_gain=EPSILON**-0.5)
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())
    assert np.abs(expected).mean() > 10 * np.abs(whitened(whitening.fit(FEW, EPSILON), NEW)).mean()


def test_what_lies_outside_the_span_is_dropped_by_default():
    fitted = whitening.fit(FEW, EPSILON)
    _, _, axes = np.linalg.svd(rows(FEW) - rows(FEW).mean(axis=0))
    outside = axes[79:]  # all other directions
    assert np.abs(whitened(fitted, NEW) @ outside.T).max() < 1e-3 * np.abs(whitened(fitted, NEW)).max()


def test_pictures_are_taken_up_block_by_block_to_the_same_fit(monkeypatch):
    for images in (MANY, FEW):
        whole = whitened(whitening.fit(images, EPSILON), NEW)
        with monkeypatch.context() as patch:
            patch.setattr(whitening, "BLOCK", 32)
            np.testing.assert_allclose(whitened(whitening.fit(images, EPSILON), NEW), whole, rtol=1e-2, atol=1e-2)


# What is refused


@pytest.mark.parametrize("part", ["test", "validation"])
def test_whitening_is_fitted_on_the_training_part_alone(part):
    with pytest.raises(FlowerlibError, match=f"^whitening is fitted on the part 'train' only, not on '{part}'$"):
        whitening.fit(FEW, EPSILON, part)


@pytest.mark.parametrize("n", [0, 1])
def test_whitening_needs_two_pictures(n):
    with pytest.raises(FlowerlibError, match=f"^whitening needs two pictures or more, not {n}$"):
        whitening.fit(FEW[:n], EPSILON)


# The layer


@pytest.fixture(scope="module")
def layer():
    """A model of the rescaling and the whitening alone, with a fit's values."""
    fitted = whitening.fit(FEW, EPSILON)
    whiten = ZcaWhitening(len(fitted.components), name="whitening")
    inputs = keras.Input((SIZE, SIZE, 3), dtype="uint8")
    model = keras.Model(inputs, whiten(keras.layers.Rescaling(1 / 255)(inputs)))
    whiten.set_weights([fitted.mean, fitted.components, fitted.gains])
    return model


def test_the_layer_whitens_as_apply_does(layer):
    expected = whitening.apply(whitening.fit(FEW, EPSILON), NEW)
    found = layer.predict_on_batch(NEW)
    assert found.shape == NEW.shape
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def test_the_layer_is_loaded_in_keras_safe_mode_with_its_values(layer, tmp_path):
    layer.save(tmp_path / "whitening.keras")
    loaded = keras.saving.load_model(tmp_path / "whitening.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded.predict_on_batch(NEW), layer.predict_on_batch(NEW))


@pytest.mark.parametrize("build", [classifiers.hughes_cnn, classifiers.qu_cnn])
def test_a_whitening_in_front_is_not_trained_and_no_parameter(build):
    plain, whitening_too = build(4, 16), build(4, 16, whitening_rank=7)
    assert summary.parameters(whitening_too) == summary.parameters(plain)
    assert len(whitening_too.trainable_weights) == len(plain.trainable_weights)
    held = [weight.shape for weight in whitening_too.get_layer("whitening").weights]
    assert held == [(16 * 16 * 3,), (7, 16 * 16 * 3), (7,)]
