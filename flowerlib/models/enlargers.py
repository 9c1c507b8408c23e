"""A network that gives a picture at twice its side."""

import keras
from keras import layers


def enlarger(size_px: int = 64, width: int = 48, depth: int = 6) -> keras.Model:
    """Residual blocks at the small side, whose answer is added to the picture stretched (Lim et al. 2017, section 3).

    Args:
        size_px: side of the large picture, an even number.
        width: channels.
        depth: residual blocks.

    Returns:
        A model from float32 (batch, size / 2, size / 2, 3) in [0, 1] to (batch, size, size, 3), not bounded; before
        training it stretches.
    """
    small = keras.Input((size_px // 2, size_px // 2, 3), name="small")
    x = first = layers.Conv2D(width, 3, padding="same")(layers.Rescaling(2.0, -1.0)(small))
    for _ in range(depth):
        y = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        x = layers.Add()([x, layers.Conv2D(width, 3, padding="same", kernel_initializer="zeros")(y)])
    x = layers.Conv2D(width, 3, padding="same", activation="relu")(layers.Add()([x, first]))
    detail = layers.Conv2DTranspose(3, 2, strides=2, kernel_initializer="zeros", dtype="float32", name="detail")(x)
    stretched = layers.UpSampling2D(2, interpolation="bilinear", dtype="float32", name="stretched")(small)
    return keras.Model(small, layers.Add(dtype="float32", name="large")([stretched, detail]), name="enlarger")
