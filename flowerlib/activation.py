"""The picture that a network would call most of all a class: activation maximization, as reported and as later done."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from flowerlib import maps
from flowerlib.errors import FlowerlibError

# How a colour's three parts vary together in photographs (Olah et al. 2017): decorrelated colours -> RGB.
COLOURS = np.array([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]], np.float32)


def maximize(
    model: keras.Model, label: int, *, side: int, steps: int = 256, rate: float = 2.0, l2: float = 0.01, seed: int = 0
) -> np.ndarray:
    """Climb the class's logit less a penalty on the picture's square (Simonyan et al. 2014, section 2; Qu 2018, 3.2).

    Args:
        model: uint8 pictures -> logits.
        label: the class.
        side: of the picture.
        steps: of gradient ascent, each of one length.
        rate: length of a step, in levels of 0 to 255 a pixel, root mean square.
        l2: weight of the mean square of the picture, in units of its range about grey.
        seed: of the noise that it begins with.

    Returns:
        uint8 (side, side, 3).

    Raises:
        FlowerlibError: a class or a side that the model does not take.
    """
    picture = tf.Variable(np.random.default_rng(seed).normal(0, 0.02, (1, side, side, 3)).astype(np.float32))
    logit = _logit(model, label, side)
    for _ in range(steps):
        with tf.GradientTape() as tape:
            score = logit(picture) - l2 * side**2 * tf.reduce_mean(picture**2)
        slope = tape.gradient(score, picture)
        picture.assign_add(rate / 127.5 * slope / (tf.sqrt(tf.reduce_mean(slope**2)) + 1e-12))
        picture.assign(tf.clip_by_value(picture, -1, 1))
    return _as_picture(picture[0].numpy())


def maximize_frequencies(
    model: keras.Model,
    label: int,
    *,
    side: int,
    steps: int = 256,
    rate: float = 0.05,
    jitter: float = 0.07,
    seed: int = 0,
) -> np.ndarray:
    """Climb the logit over frequencies and decorrelated colours, under jitter and blur (Olah et al. 2017).

    What a network answers to in single pixels drowns in high frequencies; a step of one length in every frequency, slow
    ones first, and a picture that is moved at each step, leave what holds up.

    Args:
        model, label, side, steps: as of ``maximize``.
        rate: of Adam.
        jitter: how far the picture is moved at each step, as a share of its side.
        seed: of the start and of the moves.
    """
    random = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    scale = (1 / np.maximum(np.hypot(rows, columns), 1 / side)).astype(np.float32)
    waves = tf.Variable(random.normal(0, 0.01, (2, 3, *scale.shape)).astype(np.float32))
    optimizer, logit, reach = keras.optimizers.Adam(rate), _logit(model, label, side), max(1, round(jitter * side))
    for step in range(steps):
        moves = random.integers(-reach, reach + 1, 2)
        with tf.GradientTape() as tape:
            picture = _from_waves(waves, scale, side)
            moved = tf.roll(picture, moves.tolist(), axis=(1, 2))
            loss = -logit(_blurred(moved, 1 - step / steps))
        optimizer.apply([tape.gradient(loss, waves)], [waves])
    return _as_picture(_from_waves(waves, scale, side)[0].numpy())


def _logit(model: keras.Model, label: int, side: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """The class's logit of a float picture (1, side, side, 3) in [-1, 1], with the network's own preprocessing."""
    maps.check(model, np.zeros((1, side, side, 3), np.uint8), np.array([label]))
    front, behind = maps.halves(model)
    # Preprocessing is a straight line in every pixel: two pictures say which, and gradients pass through it.
    low, high = (
        front.predict_on_batch(np.full((1, side, side, 3), level, np.uint8)).astype(np.float32) for level in (0, 255)
    )
    if low.shape != (1, side, side, 3):
        raise FlowerlibError(f"{model.name}: its preprocessing changes the shape of pictures")
    swapped = _swaps_colours(front, side)

    @tf.function  # hundreds of steps of one picture: layer by layer they would take four times as long
    def logit(picture: tf.Tensor) -> tf.Tensor:
        seen = picture[..., ::-1] if swapped else picture
        return behind(low + (seen + 1) / 2 * (high - low), training=False)[0, label]

    found: Callable[[tf.Tensor], tf.Tensor] = logit
    return found


def _swaps_colours(front: keras.Model, side: int) -> bool:
    """Whether red comes out last, as networks from Caffe want it."""
    red = np.zeros((1, side, side, 3), np.uint8)
    red[..., 0] = 255
    values = front.predict_on_batch(red)[0, 0, 0] - front.predict_on_batch(np.zeros_like(red))[0, 0, 0]
    return bool(abs(values[2]) > abs(values[0]))


def _from_waves(waves: tf.Tensor, scale: np.ndarray, side: int) -> tf.Tensor:
    """A picture (1, side, side, 3) in [-1, 1] from the real and imaginary parts of its frequencies."""
    planes = tf.signal.irfft2d(tf.complex(waves[0] * scale, waves[1] * scale), fft_length=[side, side])
    return tf.tanh(4 * tf.einsum("chw,rc->hwr", planes, COLOURS / np.abs(COLOURS).sum(axis=0).max()))[None]


def _blurred(picture: tf.Tensor, strength: float) -> tf.Tensor:
    """Mixed with its mean over three by three pixels; less and less as strength falls from 1 to 0."""
    return picture + strength * (tf.nn.avg_pool2d(picture, 3, 1, "SAME") - picture)


def _as_picture(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint((values + 1) * 127.5), 0, 255).astype(np.uint8)
