"""Kernels of few values: how many, how near, and what a file of them packs to."""

import keras
import numpy as np
import pytest
from keras import layers

from flowerlib import fewer_bits

RANDOM = np.random.default_rng(0)
KERNEL = RANDOM.standard_normal((3, 3, 16, 8)).astype(np.float32) * np.geomspace(0.01, 10, 8, dtype=np.float32)


@pytest.mark.parametrize("bits", [2, 4, 6])
def test_every_channel_takes_evenly_spaced_values_and_no_more_than_its_bits_allow(bits):
    levels = 2 ** (bits - 1) - 1
    found = fewer_bits.nearest(KERNEL, levels)
    assert found.shape == KERNEL.shape and found.dtype == np.float32
    for channel in found.reshape(-1, 8).T:
        values = np.unique(channel)
        assert len(values) <= 2 * levels + 1
        steps = values / np.abs(values[values != 0]).min()
        np.testing.assert_allclose(steps, steps.round(), atol=1e-3)


def test_more_bits_are_nearer_and_the_range_is_no_worse_than_the_whole_one():
    errors = [np.square(fewer_bits.nearest(KERNEL, 2 ** (bits - 1) - 1) - KERNEL).sum() for bits in (3, 4, 5, 6)]
    assert errors == sorted(errors, reverse=True)
    step = np.abs(KERNEL).max(axis=(0, 1, 2)) / 7
    plain = np.clip(np.rint(KERNEL / step), -7, 7) * step
    assert errors[1] < np.square(plain - KERNEL).sum()
    np.testing.assert_array_equal(fewer_bits.nearest(np.zeros((4, 2), np.float32), 3), np.zeros((4, 2)))


def test_a_copy_is_rounded_and_depthwise_kernels_biases_and_the_network_itself_stay():
    keras.utils.set_random_seed(0)
    x = pictures = keras.Input((8, 8, 3))
    for layer in (layers.Conv2D(4, 3), layers.DepthwiseConv2D(3), layers.Flatten(), layers.Dense(5)):
        x = layer(x)
    model = keras.Model(pictures, x)
    model.compile("sgd", lambda targets, logits: logits)
    before = [each.numpy() for each in model.weights]
    copy = fewer_bits.rounded(model, 3)
    for weight, old, new in zip(model.weights, before, copy.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)
        kept = "depthwise" in new.path or new.name == "bias"
        assert np.array_equal(new.numpy(), old) == kept, new.path


def test_bytes_of_fewer_values_pack_smaller(tmp_path):
    sizes = []
    for levels in (127, 15, 3):
        found = fewer_bits.nearest(RANDOM.standard_normal((4000, 1)).astype(np.float32), levels)
        (tmp_path / "file").write_bytes(np.rint(found / np.abs(found).max() * 127).astype(np.int8).tobytes())
        sizes.append(fewer_bits.packed_bytes(tmp_path / "file"))
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] < sizes[0] / 2
