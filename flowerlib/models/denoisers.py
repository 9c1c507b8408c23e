"""Networks that take noise away. Every builder takes and returns float32 arrays of one shape, whatever is between."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import layers, ops


@keras.saving.register_keras_serializable(package="flowerlib")
class NoiseEmbedding(layers.Layer):
    """The noise power as sines and cosines of frequencies from 1 to 1,000 (Vaswani et al. 2017, section 3.5)."""

    def __init__(self, width: int = 32, **options: object) -> None:
        # Of a product of a thousand, bfloat16 would keep no digit behind the point.
        super().__init__(**{"dtype": "float32", **options})
        self.width = width

    def call(self, power: keras.KerasTensor) -> keras.KerasTensor:
        """float32 (batch, 1) in [0, 1] to (batch, width) in [-1, 1]."""
        speeds = ops.convert_to_tensor(2 * np.pi * np.geomspace(1, 1000, self.width // 2), self.compute_dtype)
        return ops.concatenate([ops.sin(power * speeds), ops.cos(power * speeds)], axis=-1)

    def get_config(self) -> dict[str, object]:
        return super().get_config() | {"width": self.width}


def keras_unet(size_px: int = 64, widths: Sequence[int] = (32, 64, 96, 128), depth: int = 2) -> keras.Model:
    """The U-Net of Keras's own example of implicit models (Beres 2022), where a student would start.

    Args:
        size_px: side of the square picture, a multiple of 2 to the number of widths less one.
        widths: of the levels; the last is the bottom.
        depth: residual blocks on the way down and on the way up of each level.

    Returns:
        A model from noisy float32 (batch, size, size, 3) and noise power (batch, 1) to (batch, size, size, 3).
    """
    noisy, power = keras.Input((size_px, size_px, 3), name="noisy"), keras.Input((1,), name="noise_power")
    level = layers.Reshape((1, 1, 32))(NoiseEmbedding(32, name="noise_level")(power))
    x = layers.Conv2D(widths[0], 1)(noisy)
    x = layers.Concatenate()([x, layers.UpSampling2D(size_px, interpolation="nearest")(level)])
    maps = []
    for width in widths[:-1]:
        for _ in range(depth):
            x = _keras_block(x, width)
            maps.append(x)
        x = layers.AveragePooling2D(2)(x)
    for _ in range(depth):
        x = _keras_block(x, widths[-1])
    for width in reversed(widths[:-1]):
        x = layers.UpSampling2D(2, interpolation="bilinear")(x)
        for _ in range(depth):
            x = _keras_block(layers.Concatenate()([x, maps.pop()]), width)
    said = layers.Conv2D(3, 1, kernel_initializer="zeros", dtype="float32", name="said")(x)
    return keras.Model([noisy, power], said, name="keras_unet")


def _keras_block(x: keras.KerasTensor, width: int) -> keras.KerasTensor:
    shortcut = x if x.shape[-1] == width else layers.Conv2D(width, 1)(x)
    y = layers.BatchNormalization(center=False, scale=False)(x)
    y = layers.Conv2D(width, 3, padding="same", activation="swish")(y)
    return layers.Add()([layers.Conv2D(width, 3, padding="same")(y), shortcut])


def conditional_unet(
    size_px: int = 64,
    widths: Sequence[int] = (96, 128, 192),
    depth: int = 2,
    patch: int = 2,
    classes: int = 102,
    channels: int = 3,
) -> keras.Model:
    """Ours: noise level and class reach every block as a scale and a shift of its channels (Dhariwal and Nichol 2021).

    Pictures are folded into patches first, which spares three quarters of the work at the picture's own side.

    Args:
        size_px: side of the square array.
        widths: of the levels; the last is the bottom.
        depth: residual blocks on the way down and on the way up of each level.
        patch: side of a patch.
        classes: how many; their number itself stands for "any", which guidance needs.
        channels: of the array: 3 of a picture, 64 of Shen's latent.

    Returns:
        A model from noisy float32 (batch, size, size, channels), noise power (batch, 1) and class int32 (batch, 1) to
        an array of the first one's shape.
    """
    noisy = keras.Input((size_px, size_px, channels), name="noisy")
    power, label = keras.Input((1,), name="noise_power"), keras.Input((1,), dtype="int32", name="class")
    told = layers.Dense(2 * widths[0], activation="swish")(NoiseEmbedding(64, name="noise_level")(power))
    told = layers.Add()([told, layers.Flatten()(layers.Embedding(classes + 1, 2 * widths[0], name="classes")(label))])
    told = layers.Dense(2 * widths[0], activation="swish", name="told")(told)
    x = layers.Conv2D(widths[0], patch, strides=patch)(noisy)
    maps = [x]
    for number, width in enumerate(widths):
        if number:
            x = layers.Conv2D(width, 3, strides=2, padding="same")(x)
            maps.append(x)
        for _ in range(depth):
            x = _told_block(x, told, width)
            maps.append(x)
    for number, width in reversed(list(enumerate(widths))):
        for _ in range(depth + 1):
            x = _told_block(layers.Concatenate()([x, maps.pop()]), told, width)
        if number:
            x = layers.Conv2DTranspose(widths[number - 1], 2, strides=2)(x)
    x = layers.Activation("swish")(layers.GroupNormalization(16)(x))
    said = layers.Conv2DTranspose(
        channels, patch, strides=patch, kernel_initializer="zeros", dtype="float32", name="said"
    )(x)
    return keras.Model([noisy, power, label], said, name="conditional_unet")


def _told_block(x: keras.KerasTensor, told: keras.KerasTensor, width: int) -> keras.KerasTensor:
    shortcut = x if x.shape[-1] == width else layers.Conv2D(width, 1)(x)
    y = layers.Conv2D(width, 3, padding="same")(layers.Activation("swish")(layers.GroupNormalization(16)(x)))
    scale, shift = (layers.Reshape((1, 1, width))(layers.Dense(width)(told)) for _ in range(2))
    y = layers.GroupNormalization(16)(y)
    y = layers.Add()([y, layers.Multiply()([y, scale]), shift])
    y = layers.Conv2D(width, 3, padding="same", kernel_initializer="zeros")(layers.Activation("swish")(y))
    return layers.Add()([y, shortcut])


def shen_denoiser(
    widths: Sequence[int] = (128, 256), bottleneck: Sequence[int] = (512, 1024, 512, 256), latent: int = 64
) -> keras.Model:
    """The U-Net that works in the latent of the 2025 report (Shen 2025, table 9): 15,892,864 parameters.

    Layers bear the table's names. It is not told how much noise there is. The report names no activations: ReLU after
    every convolution but the last.

    Args:
        widths: of the two levels; the report's first network, of 5 million parameters, is not described.
        bottleneck: of the four convolutions at the bottom; the last has the second level's width.
        latent: channels of the latent.

    Returns:
        A model from float32 (batch, 12, 12, 64) to the same shape.
    """
    assert bottleneck[-1] == widths[-1], "the bottleneck ends in the second level's width"
    noisy = x = keras.Input((12, 12, latent), name="noisy")
    maps = []
    for level, width in enumerate(widths, 1):
        for number in (1, 2, 3):
            x = _convolution(width, f"down{level}_{number}")(x)
        maps.append(x)
        x = layers.MaxPooling2D(name=f"pool{level}")(x)
    for number, width in enumerate(bottleneck, 1):
        x = _convolution(width, f"bottleneck{number}")(x)  # (B, 3, 3, 256) at last
    for level, seen, after in ((2, maps[1], widths[0]), (1, maps[0], latent)):
        width = widths[level - 1]
        x = layers.Conv2DTranspose(width, 3, strides=2, padding="same", activation="relu", name=f"up{level}_1")(x)
        x = _convolution(width, f"up{level}_2")(x)
        x = _convolution(after, f"up{level}_3")(layers.Concatenate(name=f"seen{level}")([x, seen]))
    cleaner = layers.Conv2D(latent, 3, padding="same", dtype="float32", name="output")(x)
    return keras.Model(noisy, cleaner, name="shen_denoiser")


def _convolution(width: int, name: str) -> layers.Conv2D:
    return layers.Conv2D(width, 3, padding="same", activation="relu", name=name)


BUILDERS: dict[str, Callable[..., keras.Model]] = {
    "shen_denoiser": shen_denoiser,
    "keras_unet": keras_unet,
    "conditional_unet": conditional_unet,
}
