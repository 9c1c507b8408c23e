"""What every explanation shares: pictures and classes that fit, the place where numbers begin, maps from 0 to 1.

An explanation is a float32 map (n, side, side) in [0, 1] of uint8 pictures (n, side, side, 3), one class each; the
largest value of each map is 1, a map that is nowhere above 0 stays 0.
"""

from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from flowerlib.errors import FlowerlibError

Method = Callable[[keras.Model, np.ndarray, np.ndarray], np.ndarray]
BATCH = 16  # pictures at a time where gradients are taken
FRONT = ("preprocessing", "centring", "whitening", "rescaling")  # the last layer that turns pictures into numbers


def halves(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """What turns pictures into numbers, and the network behind it; both share the model's layers.

    Raises:
        FlowerlibError: a model without such a layer, or one that is no Keras model (a quantized one has no gradients).
    """
    if not isinstance(model, keras.Model):
        raise FlowerlibError(
            f"{type(model).__name__} is no Keras model and has no gradients: explain the float network"
        )
    names = {layer.name: layer for layer in model.layers}
    front = next((names[name] for name in FRONT if name in names), None)
    if front is None:
        raise FlowerlibError(f"{model.name} has no layer {' or '.join(FRONT)}, where its numbers begin")
    return keras.Model(model.inputs, front.output), keras.Model(front.output, model.outputs)


def check(model: keras.Model, images: np.ndarray, classes: np.ndarray) -> None:
    """Refuse pictures and classes that the model does not take, in one line.

    Args:
        model: uint8 pictures -> logits, with gradients.
        images: uint8 (n, side, side, 3).
        classes: int (n,).

    Raises:
        FlowerlibError: what does not fit.
    """
    halves(model)
    wanted, count = model.inputs[0].shape[1], model.outputs[0].shape[-1]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or images.shape[1] != images.shape[2]:
        raise FlowerlibError(f"pictures {images.dtype} {images.shape}: give uint8 (n, side, side, 3)")
    if wanted not in (None, images.shape[1]):
        raise FlowerlibError(f"{model.name} takes pictures of {wanted} px, not of {images.shape[1]}")
    labels = np.asarray(classes)
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise FlowerlibError(f"classes {labels.dtype} {labels.shape}: give one whole number a picture")
    outside = labels[(labels < 0) | (labels >= count)]
    if len(outside):
        raise FlowerlibError(f"class {outside[0]} is not among the {count} of {model.name}, counted from 0")


def numbers(front: keras.Model, images: np.ndarray) -> np.ndarray:
    """What the front of a network (of ``halves``) makes of uint8 pictures, float32 (n, side, side, channels)."""
    return np.concatenate([np.asarray(front.predict_on_batch(some)) for some in batches(images)])


def batches(images: np.ndarray, size: int = BATCH) -> Iterator[np.ndarray]:
    """An array in pieces of so many rows, the last one smaller."""
    for start in range(0, len(images), size):
        yield images[start : start + size]


def to_unit(values: np.ndarray) -> np.ndarray:
    """Maps of which each one's largest value is 1, float32; of float (n, side, side) from 0."""
    largest = values.max(axis=(1, 2), keepdims=True)
    result: np.ndarray = (values / np.where(largest > 0, largest, 1)).astype(np.float32)
    return result


def probabilities(model: keras.Model, images: np.ndarray, batch: int = 64) -> np.ndarray:
    """Probabilities float32 (n, classes) of uint8 pictures."""
    logits = np.concatenate([np.asarray(model.predict_on_batch(some)) for some in batches(images, batch)])
    return np.asarray(tf.nn.softmax(logits))
