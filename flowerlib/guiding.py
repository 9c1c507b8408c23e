"""Pictures that a classifier steers while they are made: what the generator has in mind is moved towards the kind."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from flowerlib import diffusion, maps
from flowerlib.errors import FlowerlibError

Push = Callable[[np.ndarray, np.ndarray], np.ndarray]  # pictures in [-1, 1], their kinds -> where to move them


def steered(
    network: diffusion.Network, kind: str, push: Push, labels: np.ndarray, strength: float
) -> diffusion.Network:
    """A network's answers, with the picture that each stands for moved while it is still noisy.

    As guidance by a classifier (Dhariwal and Nichol 2021, algorithm 2), but with its gradient taken at the picture that
    the network has in mind, which it knows, in place of the noisy one, which it does not (Bansal et al. 2023, section
    3.1), and of one length, so that a classifier that is sure already does not stop.

    Args:
        network: noisy pictures and their noise rate -> what it was taught.
        kind: what that is, one of ``diffusion.TARGETS``.
        push: from ``towards``.
        labels: int (n,), what each picture should be.
        strength: how far a picture of nothing but noise is moved, root mean square.
    """

    def answer(noisy: np.ndarray, loud: float) -> np.ndarray:
        signal = float(np.sqrt(max(0.0, 1 - loud**2)))
        picture, _ = diffusion.split(kind, network(noisy, loud), noisy, signal, loud)
        picture = np.clip(picture, -1, 1)
        picture = picture + strength * loud * push(picture, labels)
        return diffusion.target(kind, picture, (noisy - signal * picture) / loud, signal, loud)

    return answer


def towards(classifier: keras.Model, enlarger: keras.Model | None = None) -> Push:
    """Which change of a picture makes a classifier surer of a kind, of root mean square 1.

    Args:
        classifier: uint8 pictures -> logits; its preprocessing is linear.
        enlarger: from pictures in [0, 1] to larger ones, through which the classifier sees them.

    Raises:
        FlowerlibError: preprocessing that is not linear.
    """
    front, behind = maps.halves(classifier)
    black, grey, white = (_numbers_of(front, value) for value in (0, 102, 255))
    if np.abs(black + 0.4 * (white - black) - grey).max() > 1e-3:
        raise FlowerlibError(f"{classifier.name} cannot steer: what it makes of a pixel is not linear")
    side = behind.inputs[0].shape[1]

    @tf.function(reduce_retracing=True)
    def gradient(pictures: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(pictures)
            seen = (pictures + 1) / 2
            if enlarger is not None:
                seen = tf.cast(enlarger(seen, training=False), tf.float32)
            # Seen as they are and mirrored: what both agree on is less of a trick.
            both = tf.concat([seen, seen[:, :, ::-1]], axis=0)
            numbers = black + tf.image.resize(both, (side, side), "bicubic") * (white - black)
            logits = tf.cast(behind(numbers, training=False), tf.float32)
            chances = tf.nn.log_softmax(logits)
            sure = tf.reduce_sum(tf.gather(chances, tf.concat([labels, labels], 0), axis=1, batch_dims=1))
        return tape.gradient(sure, pictures)

    def push(pictures: np.ndarray, labels: np.ndarray) -> np.ndarray:
        found = gradient(tf.constant(pictures, tf.float32), tf.constant(labels)).numpy()
        lengths = np.sqrt((found**2).mean(axis=(1, 2, 3), keepdims=True))
        return found / np.maximum(lengths, np.finfo(np.float32).tiny)

    return push


def _numbers_of(front: keras.Model, value: int) -> np.ndarray:
    side = front.inputs[0].shape[1]
    return maps.numbers(front, np.full((1, side, side, 3), value, np.uint8))[:, :1, :1]
