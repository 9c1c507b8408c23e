"""Pictures steered by a classifier, on classifiers whose answer is known."""

import keras
import numpy as np
import pytest
from keras import layers

from flowerlib import diffusion, guiding, schedules
from flowerlib.errors import FlowerlibError

LABELS = np.array([0, 1, 2])


def colours(front: layers.Layer) -> keras.Model:
    """Calls a picture by its brightest channel."""
    pictures = keras.Input((8, 8, 3), dtype="uint8")
    logits = layers.GlobalAveragePooling2D()(front(pictures))
    return keras.Model(pictures, logits, name="colours")


def linear() -> keras.Model:
    return colours(layers.Rescaling(1 / 127.5, -1, name="rescaling"))


def test_a_push_goes_to_the_colour_that_is_asked_for_with_length_one():
    pictures = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 4, 4, 3))
    push = guiding.towards(linear())(pictures, LABELS)
    means = push.mean(axis=(1, 2))
    assert (means.argmax(axis=1) == LABELS).all()
    assert (np.delete(means[0], 0) < 0).all()
    np.testing.assert_allclose((push**2).mean(axis=(1, 2, 3)), 1, rtol=1e-5)


def test_the_classifier_sees_what_an_enlarger_makes():
    small = keras.Input((4, 4, 3))
    swapped = keras.Model(small, layers.UpSampling2D(2)(small[..., ::-1]))
    push = guiding.towards(linear(), swapped)(np.zeros((3, 4, 4, 3)), LABELS)
    assert (push.mean(axis=(1, 2)).argmax(axis=1) == [2, 1, 0]).all()


def test_steered_pictures_are_of_the_colour_and_without_strength_nothing_changes():
    noise = np.random.default_rng(1).standard_normal((3, 4, 4, 3))

    def grey(noisy: np.ndarray, loud: float) -> np.ndarray:
        """Says v for a picture that is grey."""
        return noisy * np.sqrt(1 - loud**2) / loud

    def made(strength: float) -> np.ndarray:
        network = guiding.steered(grey, "v", guiding.towards(linear()), LABELS, strength)
        return diffusion.sample(network, noise, schedules.cosine_noise, 10)

    np.testing.assert_allclose(made(0.0), 0, atol=1e-6)
    assert (made(0.2).mean(axis=(1, 2)).argmax(axis=1) == LABELS).all()


def test_preprocessing_that_bends_is_refused():
    bent = colours(layers.Lambda(lambda x: keras.ops.square(keras.ops.cast(x, "float32")), name="preprocessing"))
    with pytest.raises(FlowerlibError, match="colours cannot steer"):
        guiding.towards(bent)
