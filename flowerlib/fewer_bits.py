"""A network whose kernels take few values, so that its file packs better: fake quantization without further training.

Jacob et al. 2018, section 3, with each output channel's range chosen for the least squared error. The int8 file holds
the few values exactly enough; whatever ships a file (an app's package, a ZIP archive) then packs it.
"""

import zlib
from pathlib import Path

import keras
import numpy as np
from keras import layers

TRIED = np.linspace(0.4, 1, 25)  # shares of a channel's largest weight where its range may end


def rounded(model: keras.Model, bits: int) -> keras.Model:
    """A copy of a network whose dense and ordinary convolution kernels take 2**bits - 1 values a channel.

    Depthwise kernels, which are few and sensitive, and biases stay as they are.

    Args:
        model: with its trained weights, which it keeps.
        bits: from 2; of 8 the int8 file makes use anyway.
    """
    copy = keras.models.clone_model(keras.Model(model.input, model.output))  # without its loss, as ``at_side``
    copy.set_weights(model.get_weights())
    for layer in copy.layers:
        if isinstance(layer, layers.Dense | layers.Conv2D) and not isinstance(layer, layers.DepthwiseConv2D):
            layer.kernel.assign(nearest(layer.kernel.numpy(), 2 ** (bits - 1) - 1))
    return copy


def nearest(kernel: np.ndarray, levels: int) -> np.ndarray:
    """A kernel float32 (..., channels) on 2 * levels + 1 evenly spaced values a channel, those of least squared error.

    Args:
        kernel: output channels last.
        levels: on either side of 0.
    """
    flat = kernel.reshape(-1, kernel.shape[-1])
    largest = np.abs(flat).max(axis=0)
    best, least = np.zeros_like(flat), np.full(flat.shape[1], np.inf)
    for share in TRIED:
        step = np.where(largest > 0, share * largest / levels, 1)
        tried = np.clip(np.rint(flat / step), -levels, levels) * step
        error = np.square(tried - flat).sum(axis=0)
        best, least = np.where(error < least, tried, best), np.minimum(error, least)
    return best.reshape(kernel.shape).astype(np.float32)


def packed_bytes(path: Path) -> int:
    """Size of a file as a ZIP archive or an app's package holds it (deflate)."""
    return len(zlib.compress(path.read_bytes(), 9))
