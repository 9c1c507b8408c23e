"""Autoencoders and denoisers against the reports' own tables."""

import keras
import numpy as np
import pytest

from flowerlib.models import autoencoders, denoisers

HUGHES_TABLE_4 = [  # output shape and parameters of each layer with its own line, activations and joins included
    *(((96, 96, 3), 0), ((96, 96, 32), 896), ((96, 96, 32), 9_248), ((48, 48, 32), 0)),
    *(((48, 48, 64), 18_496), ((48, 48, 64), 36_928), ((24, 24, 64), 0)),
    *(((24, 24, 128), 73_856), ((24, 24, 128), 147_584), ((12, 12, 128), 0)),
    *(((12, 12, 512), 590_336), ((12, 12, 512), 2_359_808)),
    *(((24, 24, 128), 589_952), ((24, 24, 256), 0), ((24, 24, 128), 295_040), ((24, 24, 128), 147_584)),
    *(((48, 48, 64), 73_792), ((48, 48, 128), 0), ((48, 48, 64), 73_792), ((48, 48, 64), 36_928)),
    *(((96, 96, 32), 18_464), ((96, 96, 64), 0), ((96, 96, 32), 18_464), ((96, 96, 32), 9_248)),
    ((96, 96, 3), 99),
]
SHEN_TABLE_9 = {
    "down1_1": (64, 128, 12), "down1_2": (128, 128, 12), "down1_3": (128, 128, 12),
    "down2_1": (128, 256, 6), "down2_2": (256, 256, 6), "down2_3": (256, 256, 6),
    "bottleneck1": (256, 512, 3), "bottleneck2": (512, 1024, 3), "bottleneck3": (1024, 512, 3),
    "bottleneck4": (512, 256, 3), "up2_1": (256, 256, 6), "up2_2": (256, 256, 6), "up2_3": (512, 128, 6),
    "up1_1": (128, 128, 12), "up1_2": (128, 128, 12), "up1_3": (256, 64, 12), "output": (64, 64, 12),
}  # fmt: skip


def test_hughes_unet_is_its_table_line_by_line():
    model = autoencoders.hughes_unet()
    found = [(tuple(layer.output.shape[1:]), layer.count_params()) for layer in model.layers]
    assert found == HUGHES_TABLE_4
    assert model.count_params() == 4_500_515


def test_without_skips_everything_passes_the_latent():
    model = autoencoders.hughes_unet(skips=False)
    encoder, decoder = autoencoders.halves(model)
    assert encoder.output_shape[1:] == (12, 12, 512)
    pictures = np.random.default_rng(0).random((2, 96, 96, 3), dtype=np.float32)
    whole = model.predict_on_batch(pictures)
    np.testing.assert_allclose(decoder.predict_on_batch(encoder.predict_on_batch(pictures)), whole, atol=1e-5)
    with pytest.raises(ValueError):  # noqa: PT011 - Keras's own: the skips pass the latent by
        autoencoders.halves(autoencoders.hughes_unet())


def test_shens_autoencoder_is_its_tables():
    model = autoencoders.shen_autoencoder()
    assert model.count_params() == 47_107
    encoder, decoder = autoencoders.halves(model)
    kinds = (keras.layers.Conv2D, keras.layers.Conv2DTranspose)
    shapes = [tuple(layer.output.shape[1:]) for layer in model.layers if isinstance(layer, kinds)]
    assert shapes == [(48, 48, 16), (24, 24, 32), (12, 12, 64), (24, 24, 32), (48, 48, 16), (96, 96, 3)]
    assert (encoder.count_params(), decoder.count_params()) == (23_584, 23_523)
    found = model.predict_on_batch(np.random.default_rng(0).random((2, 96, 96, 3), dtype=np.float32))
    assert found.min() >= 0 and found.max() <= 1


def test_shens_denoiser_is_its_table():
    model = denoisers.shen_denoiser()
    for name, (before, after, side) in SHEN_TABLE_9.items():
        layer = model.get_layer(name)
        assert layer.count_params() == 9 * before * after + after, name
        assert tuple(layer.output.shape[1:]) == (side, side, after), name
    assert model.count_params() == 15_892_864
    assert model.output_shape == model.input_shape == (None, 12, 12, 64)


def test_keras_unet_is_told_its_noise_level_and_begins_with_zeros():
    model = denoisers.keras_unet(32, (8, 16, 24))
    rng = np.random.default_rng(0)
    noisy, power = rng.normal(size=(2, 32, 32, 3)).astype(np.float32), np.array([[0.1], [0.9]], np.float32)
    assert (model.predict_on_batch([noisy, power]) == 0).all()
    model.get_layer("said").kernel.assign(rng.normal(size=model.get_layer("said").kernel.shape))
    one, other = (model.predict_on_batch([noisy, each]) for each in (power, power[::-1]))
    assert np.abs(one - other).max() > 0.01
    assert one.shape == noisy.shape


def test_ours_is_told_level_and_class_in_pictures_and_in_the_latent():
    rng = np.random.default_rng(0)
    for side, patch, channels in ((32, 2, 3), (12, 1, 64)):
        model = denoisers.conditional_unet(side, (16, 32), patch=patch, channels=channels)
        for layer in model.layers:  # what begins with zeros would hide what it is told
            for weight in layer.trainable_weights:
                weight.assign(rng.normal(0, 0.2, weight.shape))
        noisy = rng.normal(size=(1, side, side, channels)).astype(np.float32)
        told = [(0.1, 3), (0.9, 3), (0.1, 102)]
        first, level, label = (
            model.predict_on_batch([noisy, np.array([[power]], np.float32), np.array([[kind]])]) for power, kind in told
        )
        assert first.shape == noisy.shape
        assert np.abs(first - level).max() > 1e-3 and np.abs(first - label).max() > 1e-3


def test_a_noise_embedding_is_sines_and_cosines_of_geometric_frequencies():
    found = np.asarray(denoisers.NoiseEmbedding(8)(np.array([[0.25]], np.float32)))[0]
    speeds = 2 * np.pi * np.array([1, 10, 100, 1000])
    np.testing.assert_allclose(found, [*np.sin(0.25 * speeds), *np.cos(0.25 * speeds)], atol=2e-3)
