"""Networks that reconstruct a picture. Every builder takes and returns float32 pictures, [0, 1] where they are clean.

Shapes are written for the reports' size, 96 px.
"""

from collections.abc import Callable

import keras
from keras import layers

LATENT = "latent"  # the layer at which an autoencoder is divided


def hughes_unet(size_px: int = 96, skips: bool = True) -> keras.Model:
    """The U-Net that the 2024 report uses as autoencoder and as denoiser (Hughes 2024, table 4): 4,500,515 parameters.

    The table prints 48x48x192 for the second concatenation; 64 + 64 channels fit its parameters and its inputs.

    Args:
        size_px: side of the square picture, a multiple of 8.
        skips: whether the expanding half sees the contracting half's feature maps. Without them a true autoencoder is
            left, with fewer parameters, whose latent is (12, 12, 512).

    Returns:
        A model from float32 (batch, size, size, 3) to the same shape, not bounded.
    """
    pictures = keras.Input((size_px, size_px, 3), name="pictures")  # (B, 96, 96, 3)
    x, maps = pictures, []
    for width in (32, 64, 128):
        for _ in range(2):
            x = _convolution(width)(x)
        maps.append(x)
        x = layers.MaxPooling2D()(x)
    x = _convolution(512)(x)  # (B, 12, 12, 512)
    x = layers.Conv2D(512, 3, padding="same", activation="relu", name=LATENT)(x)
    for width, seen in zip((128, 64, 32), reversed(maps), strict=True):
        x = layers.Conv2DTranspose(width, 3, strides=2, padding="same")(x)
        x = layers.Concatenate()([x, seen]) if skips else x
        for _ in range(2):
            x = _convolution(width)(x)
    return keras.Model(pictures, layers.Conv2D(3, 1, name="picture")(x), name="hughes_unet")


def shen_autoencoder(size_px: int = 96) -> keras.Model:
    """Three strided convolutions and their mirror image (Shen 2025, tables 6 and 7): 47,107 parameters.

    As in PyTorch, with one pixel of padding on every side. The report does not name its activations: ReLU between the
    layers, none on the latent, and a sigmoid at the end, which its pictures in [0, 1] need.

    Args:
        size_px: side of the square picture, a multiple of 8.

    Returns:
        A model from float32 (batch, size, size, 3) in [0, 1] to the same, with a latent of (12, 12, 64).
    """
    pictures = x = keras.Input((size_px, size_px, 3), name="pictures")
    for number, width in enumerate((16, 32, 64), 1):
        x = layers.ZeroPadding2D(1)(x)
        last = number == 3
        x = layers.Conv2D(width, 3, strides=2, activation=None if last else "relu", name=LATENT if last else None)(x)
    for width in (32, 16):
        x = layers.Conv2DTranspose(width, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(3, 3, strides=2, padding="same", activation="sigmoid", name="picture")(x)
    return keras.Model(pictures, x, name="shen_autoencoder")


def halves(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """An autoencoder's encoder and decoder, which share its layers.

    Args:
        model: with a layer "latent" that everything passes.

    Returns:
        Pictures -> latent and latent -> pictures.
    """
    latent = model.get_layer(LATENT).output
    return keras.Model(model.inputs, latent, name="encoder"), keras.Model(latent, model.outputs, name="decoder")


def _convolution(width: int) -> layers.Conv2D:
    return layers.Conv2D(width, 3, padding="same", activation="relu")


BUILDERS: dict[str, Callable[..., keras.Model]] = {"hughes_unet": hughes_unet, "shen_autoencoder": shen_autoencoder}
