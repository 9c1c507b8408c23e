"""Explanations by gradients: one plain function a method, all of the signature of ``maps.Method``.

Gradients are taken where the network's own preprocessing ends, because pictures of whole numbers have none.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf

from flowerlib import maps
from flowerlib.errors import FlowerlibError


def saliency(model: keras.Model, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The largest absolute gradient of a pixel's channels (Simonyan et al. 2014, section 3.1)."""
    maps.check(model, images, classes)
    front, behind = maps.halves(model)
    return maps.to_unit(np.abs(_gradients(behind, maps.numbers(front, images), classes)).max(axis=-1))


def smooth_grad(
    model: keras.Model,
    images: np.ndarray,
    classes: np.ndarray,
    *,
    samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
) -> np.ndarray:
    """Saliency averaged over noisy copies (Smilkov et al. 2017, eq. 1).

    Args:
        model, images, classes: as of every method (``maps.Method``).
        samples: copies.
        noise: standard deviation, as a share of the picture's range.
        seed: of the noise.
    """
    maps.check(model, images, classes)
    front, behind = maps.halves(model)
    numbers, random = maps.numbers(front, images), np.random.default_rng(seed)
    axes = tuple(range(1, numbers.ndim))
    scale = noise * (numbers.max(axis=axes, keepdims=True) - numbers.min(axis=axes, keepdims=True))
    total = np.zeros(images.shape[:3], np.float32)
    for _ in range(samples):
        noisy = numbers + scale * random.standard_normal(numbers.shape, dtype=np.float32)
        total += np.abs(_gradients(behind, noisy, classes)).max(axis=-1)
    return maps.to_unit(total)


def attributions(model: keras.Model, images: np.ndarray, classes: np.ndarray, *, steps: int = 64) -> np.ndarray:
    """Integrated gradients from a black picture, signed (Sundararajan et al. 2017, eq. 1).

    Args:
        model, images, classes: as of every method.
        steps: of the integral, at the middles of so many pieces.

    Returns:
        float32 (n, side, side, 3); over a picture they sum to the logit's difference from a black picture's.
    """
    maps.check(model, images, classes)
    front, behind = maps.halves(model)
    numbers, black = maps.numbers(front, images), maps.numbers(front, np.zeros_like(images[:1]))
    total = np.zeros_like(numbers)
    for step in range(steps):
        total += _gradients(behind, black + (step + 0.5) / steps * (numbers - black), classes)
    result: np.ndarray = (numbers - black) * total / steps
    return result


def integrated_gradients(model: keras.Model, images: np.ndarray, classes: np.ndarray, *, steps: int = 64) -> np.ndarray:
    """The absolute attribution of a pixel's channels together (Sundararajan et al. 2017)."""
    return maps.to_unit(np.abs(attributions(model, images, classes, steps=steps).sum(axis=-1)))


def grad_cam(model: keras.Model, images: np.ndarray, classes: np.ndarray, *, layer: str | None = None) -> np.ndarray:
    """Feature maps weighted by their mean gradients, where positive (Selvaraju et al. 2017, eq. 1 and 2).

    Args:
        model, images, classes: as of every method.
        layer: a layer that gives feature maps; the last convolution by default.

    Raises:
        FlowerlibError: no such layer, or one without feature maps; and as every method.
    """
    features, gradients = _at(model, images, classes, layer)
    weights = gradients.mean(axis=(1, 2), keepdims=True)
    return maps.to_unit(_enlarged(np.maximum((weights * features).sum(axis=-1), 0), images.shape[1]))


def grad_cam_plus_plus(
    model: keras.Model, images: np.ndarray, classes: np.ndarray, *, layer: str | None = None
) -> np.ndarray:
    """Grad-CAM with a weight for each place, for flowers seen more than once (Chattopadhay et al. 2018, eq. 19).

    Args and errors as ``grad_cam``.
    """
    features, gradients = _at(model, images, classes, layer)
    squares = gradients**2
    below = 2 * squares + features.sum(axis=(1, 2), keepdims=True) * gradients**3
    share = squares / np.where(below != 0, below, 1)
    weights = (share * np.maximum(gradients, 0)).sum(axis=(1, 2), keepdims=True)
    return maps.to_unit(_enlarged(np.maximum((weights * features).sum(axis=-1), 0), images.shape[1]))


def _gradients(behind: keras.Model, numbers: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Gradient of each picture's own logit by its numbers, float32 (n, side, side, 3)."""
    parts = []
    for some, labels in zip(maps.batches(numbers), maps.batches(np.asarray(classes)), strict=True):
        x = tf.convert_to_tensor(some)
        with tf.GradientTape() as tape:
            tape.watch(x)
            logits = tf.gather(behind(x, training=False), labels, axis=1, batch_dims=1)
        parts.append(tape.gradient(logits, x).numpy())
    return np.concatenate(parts)


def _at(
    model: keras.Model, images: np.ndarray, classes: np.ndarray, layer: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Feature maps of a layer and each picture's gradients by them, float32 (n, rows, columns, channels)."""
    maps.check(model, images, classes)
    front, behind = maps.halves(model)
    features, gradients = [], []
    with _listening(_feature_layer(model, layer)) as heard:
        for some, labels in zip(
            maps.batches(maps.numbers(front, images)), maps.batches(np.asarray(classes)), strict=True
        ):
            x = tf.convert_to_tensor(some)
            with tf.GradientTape() as tape:
                tape.watch(x)  # so that everything behind it is recorded, frozen layers too
                own = tf.gather(behind(x, training=False), labels, axis=1, batch_dims=1)
            features.append(heard[-1].numpy())
            gradients.append(tape.gradient(own, heard[-1]).numpy())
    return np.concatenate(features), np.concatenate(gradients)


@contextmanager
def _listening(layer: keras.layers.Layer) -> Iterator[list[tf.Tensor]]:
    """What a layer gives each time it is called, wherever it stands: in a flat model or in one inside another."""
    heard: list[tf.Tensor] = []
    call = layer.call

    def listened(*arguments: Any, **options: Any) -> tf.Tensor:
        heard.append(call(*arguments, **options))
        return heard[-1]

    layer.call = listened
    try:
        yield heard
    finally:
        layer.call = call


def _all_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers of a model and of the models inside it, in their order."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _all_layers(layer)
        else:
            yield layer


def _feature_layer(model: keras.Model, name: str | None) -> keras.layers.Layer:
    named = {layer.name: layer for layer in _all_layers(model)}
    known = [layer for layer in named.values() if isinstance(layer, keras.layers.Conv2D)]
    if name is None:
        if not known:
            raise FlowerlibError(f"{model.name} has no convolution to look at")
        return known[-1]
    if name not in named or len(named[name].output.shape) != 4:
        names = ", ".join(layer.name for layer in known)
        raise FlowerlibError(f"{model.name}: '{name}' is no layer with feature maps: one of {names}")
    return named[name]


def _enlarged(maps: np.ndarray, side: int) -> np.ndarray:
    return np.stack([cv2.resize(each, (side, side), interpolation=cv2.INTER_LINEAR) for each in maps])
