"""Networks that take noise away. Every builder takes and returns float32 arrays of one shape."""

from collections.abc import Callable, Sequence

import keras
from keras import layers


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
    cleaner = layers.Conv2D(latent, 3, padding="same", name="output")(x)
    return keras.Model(noisy, cleaner, name="shen_denoiser")


def _convolution(width: int, name: str) -> layers.Conv2D:
    return layers.Conv2D(width, 3, padding="same", activation="relu", name=name)


BUILDERS: dict[str, Callable[..., keras.Model]] = {"shen_denoiser": shen_denoiser}
