"""The picture that a network would call most of all a class: activation maximization, as reported and as later done."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from flowerlib import maps
from flowerlib.errors import FlowerlibError

# How a colour's three parts vary together in photographs (Olah et al. 2017): decorrelated colours -> RGB.
COLOURS = np.array([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]], np.float32)


def maximize(
    model: keras.Model,
    labels: Sequence[int],
    *,
    side: int,
    steps: int = 256,
    rate: float = 2.0,
    l2: float = 0.01,
    seed: int = 0,
) -> np.ndarray:
    """Climb each class's logit less a penalty on the picture's square (Simonyan et al. 2014, section 2; Qu 2018, 3.2).

    Args:
        model: uint8 pictures -> logits.
        labels: the classes, a picture each; all begin with the same noise.
        side: of the pictures.
        steps: of gradient ascent, each of one length.
        rate: length of a step, in levels of 0 to 255 a pixel, root mean square.
        l2: weight of the mean square of the picture, in units of its range about grey.
        seed: of the noise that they begin with.

    Returns:
        uint8 (classes, side, side, 3).

    Raises:
        FlowerlibError: a class or a side that the model does not take.
    """
    start = np.random.default_rng(seed).normal(0, 0.02, (1, side, side, 3)).astype(np.float32)
    pictures = tf.Variable(np.repeat(start, len(labels), axis=0))
    logits, axes = _logits(model, labels, side), (1, 2, 3)
    for _ in range(steps):
        with tf.GradientTape() as tape:
            scores = logits(pictures) - l2 * side**2 * tf.reduce_mean(pictures**2, axis=axes)
        slope = tape.gradient(scores, pictures)  # of their sum: a picture's own, because each has a score of its own
        length = tf.sqrt(tf.reduce_mean(slope**2, axis=axes, keepdims=True))
        pictures.assign(tf.clip_by_value(pictures + rate / 127.5 * slope / (length + 1e-12), -1, 1))
    return _as_pictures(pictures.numpy())


def maximize_frequencies(
    model: keras.Model,
    labels: Sequence[int],
    *,
    side: int,
    steps: int = 256,
    rate: float = 0.05,
    jitter: float = 0.07,
    seed: int = 0,
) -> np.ndarray:
    """Climb the logits over frequencies and decorrelated colours, under jitter and blur (Olah et al. 2017).

    What a network answers to in single pixels drowns in high frequencies; a step of one length in every frequency, slow
    ones first, and a picture that is moved at each step, leave what holds up.

    Args:
        model, labels, side, steps: as of ``maximize``.
        rate: of Adam.
        jitter: how far the pictures are moved at each step, as a share of their side.
        seed: of the start and of the moves, which all pictures share.

    Returns:
        uint8 (classes, side, side, 3).
    """
    random = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    scale = (1 / np.maximum(np.hypot(rows, columns), 1 / side)).astype(np.float32)
    start = random.normal(0, 0.01, (1, 2, 3, *scale.shape)).astype(np.float32)
    waves = tf.Variable(np.repeat(start, len(labels), axis=0))
    optimizer, logits, reach = keras.optimizers.Adam(rate), _logits(model, labels, side), max(1, round(jitter * side))
    for step in range(steps):
        moves = random.integers(-reach, reach + 1, 2)
        with tf.GradientTape() as tape:
            moved = tf.roll(_from_waves(waves, scale, side), moves.tolist(), axis=(1, 2))
            loss = -tf.reduce_sum(logits(_blurred(moved, 1 - step / steps)))
        optimizer.apply([tape.gradient(loss, waves)], [waves])
    return _as_pictures(_from_waves(waves, scale, side).numpy())


def _logits(model: keras.Model, labels: Sequence[int], side: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """The logit of its class of each float picture in [-1, 1], with the network's own preprocessing."""
    classes = np.asarray(labels)
    maps.check(model, np.zeros((len(classes), side, side, 3), np.uint8), classes)
    front, behind = maps.halves(model)
    # Preprocessing is a straight line in every pixel: two pictures say which, and gradients pass through it.
    low, high = (
        front.predict_on_batch(np.full((1, side, side, 3), level, np.uint8)).astype(np.float32) for level in (0, 255)
    )
    if low.shape != (1, side, side, 3):
        raise FlowerlibError(f"{model.name}: its preprocessing changes the shape of pictures")
    swapped = _swaps_colours(front, side)

    @tf.function  # hundreds of steps: layer by layer they would take four times as long
    def logits(pictures: tf.Tensor) -> tf.Tensor:
        seen = pictures[..., ::-1] if swapped else pictures
        return tf.gather(behind(low + (seen + 1) / 2 * (high - low), training=False), classes, axis=1, batch_dims=1)

    found: Callable[[tf.Tensor], tf.Tensor] = logits
    return found


def _swaps_colours(front: keras.Model, side: int) -> bool:
    """Whether red comes out last, as networks from Caffe want it."""
    red = np.zeros((1, side, side, 3), np.uint8)
    red[..., 0] = 255
    values = front.predict_on_batch(red)[0, 0, 0] - front.predict_on_batch(np.zeros_like(red))[0, 0, 0]
    return bool(abs(values[2]) > abs(values[0]))


def _from_waves(waves: tf.Tensor, scale: np.ndarray, side: int) -> tf.Tensor:
    """Pictures (n, side, side, 3) in [-1, 1] from the real and imaginary parts of their frequencies."""
    planes = tf.signal.irfft2d(tf.complex(waves[:, 0] * scale, waves[:, 1] * scale), fft_length=[side, side])
    return tf.tanh(4 * tf.einsum("nchw,rc->nhwr", planes, COLOURS / np.abs(COLOURS).sum(axis=0).max()))


def _blurred(pictures: tf.Tensor, strength: float) -> tf.Tensor:
    """Mixed with their mean over three by three pixels; less and less as strength falls from 1 to 0."""
    return pictures + strength * (tf.nn.avg_pool2d(pictures, 3, 1, "SAME") - pictures)


def _as_pictures(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint((values + 1) * 127.5), 0, 255).astype(np.uint8)
