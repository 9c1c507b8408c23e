"""Networks that reconstruct a picture. Every builder takes and returns float32 pictures, [0, 1] where they are clean.

Shapes are written for the reports' size, 96 px.
"""

from collections.abc import Callable

import keras
import numpy as np
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
    made = layers.Conv2D(3, 1, dtype="float32", name="picture")(x)
    return keras.Model(pictures, made, name="hughes_unet")


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


def patch_autoencoder(
    size_px: int = 96, patch: int = 32, width: int = 64, depth: int = 2, latent: int = 64
) -> keras.Model:
    """Ours: wide blocks of pixels on a linear path, and convolutions that mend what the blocks leave at their borders.

    The linear path is set to the principal components of blocks (``start_linear``) and does not learn; the rest begins
    at zero, so that training starts from what they reconstruct. Nothing but the latent leads to the second half.

    Args:
        size_px: side of the square picture, a multiple of ``patch``.
        patch: side of a block, a multiple of 8.
        width: channels of the mending convolutions.
        depth: residual blocks of them.
        latent: numbers for each 8x8 pixels.

    Returns:
        A model from float32 (batch, size, size, 3) to the same, not bounded, with a latent of (12, 12, 64).
    """
    pictures = keras.Input((size_px, size_px, 3), name="pictures")
    cells, numbers = patch // 8, latent * (patch // 8) ** 2
    x = _folded(pictures, patch)  # (B, 3, 3, 3072)
    x = layers.Dense(numbers, trainable=False, name="to_blocks")(x)  # (B, 3, 3, 1024)
    seen = _unfolded(x, cells, name=LATENT)  # (B, 12, 12, 64)
    x = layers.Dense(3 * patch**2, trainable=False, name="from_blocks")(_folded(seen, cells))
    linear = _unfolded(x, patch)
    x = layers.Conv2D(width, 3, padding="same")(_folded(linear, 4))  # (B, 24, 24, 64)
    x = layers.Activation("swish")(_residual(x, width, depth))
    x = layers.Conv2D(3 * 4**2, 3, padding="same", kernel_initializer="zeros")(x)
    return keras.Model(pictures, layers.Add(name="picture")([linear, _unfolded(x, 4)]), name="patch_autoencoder")


def start_linear(model: keras.Model, mean: np.ndarray, components: np.ndarray) -> None:
    """Let the linear path of ``patch_autoencoder`` be the principal components of blocks.

    Args:
        model: from ``patch_autoencoder``.
        mean: float (3,), of each channel of pictures in [0, 1].
        components: float (numbers, side * side * 3), orthonormal; pixels row by row, channels last.
    """
    level = np.tile(mean, components.shape[1] // 3)
    model.get_layer("to_blocks").set_weights([components.T, -components @ level])
    model.get_layer("from_blocks").set_weights([components, level])


def _folded(x: keras.KerasTensor, side: int) -> keras.KerasTensor:
    """(B, rows, columns, channels) -> (B, rows / side, columns / side, side * side * channels)."""
    rows, columns, channels = x.shape[1] // side, x.shape[2] // side, x.shape[3]
    x = layers.Reshape((rows, side, columns, side, channels))(x)
    return layers.Reshape((rows, columns, side * side * channels))(layers.Permute((1, 3, 2, 4, 5))(x))


def _unfolded(x: keras.KerasTensor, side: int, name: str | None = None) -> keras.KerasTensor:
    """The way back from ``_folded``."""
    rows, columns, channels = x.shape[1], x.shape[2], x.shape[3] // side**2
    x = layers.Permute((1, 3, 2, 4, 5))(layers.Reshape((rows, columns, side, side, channels))(x))
    return layers.Reshape((rows * side, columns * side, channels), name=name)(x)


def halves(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """An autoencoder's encoder and decoder, which share its layers.

    Args:
        model: with a layer "latent" that everything passes.

    Returns:
        Pictures -> latent and latent -> pictures.
    """
    latent = model.get_layer(LATENT).output
    return keras.Model(model.inputs, latent, name="encoder"), keras.Model(latent, model.outputs, name="decoder")


def silenced(model: keras.Model, what: str) -> keras.Model:
    """A trained U-Net that hears only half of itself: which half carries the picture?

    Args:
        model: from ``hughes_unet`` with skips.
        what: "latent", and only the skips speak; "skips", and only the latent does.

    Returns:
        A copy in which the convolutions behind each concatenation see zeros in place of the silent half.
    """
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for layer in copy.layers:
        if not isinstance(layer, layers.Concatenate):
            continue
        after = layer._outbound_nodes[0].operation
        kernel, bias = after.get_weights()
        risen = layer.input[0].shape[-1]  # channels that come from the latent
        kernel[:, :, slice(risen) if what == "latent" else slice(risen, None)] = 0
        after.set_weights([kernel, bias])
    return copy


def _convolution(width: int) -> layers.Conv2D:
    return layers.Conv2D(width, 3, padding="same", activation="relu")


def _residual(x: keras.KerasTensor, width: int, depth: int) -> keras.KerasTensor:
    for _ in range(depth):
        y = layers.Conv2D(width, 3, padding="same")(layers.Activation("swish")(x))
        y = layers.Conv2D(width, 3, padding="same", kernel_initializer="zeros")(layers.Activation("swish")(y))
        x = layers.Add()([x, y])
    return x


BUILDERS: dict[str, Callable[..., keras.Model]] = {
    "hughes_unet": hughes_unet,
    "shen_autoencoder": shen_autoencoder,
    "patch_autoencoder": patch_autoencoder,
}
