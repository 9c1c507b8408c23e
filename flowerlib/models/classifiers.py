"""Networks trained from scratch to name a flower. Every builder takes uint8 pictures and returns logits.

Shapes are written for the reports' size, 96 px; any size that survives the poolings will do.
"""

from collections.abc import Callable, Sequence

import keras
from keras import layers, regularizers


def _pictures(size_px: int) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """An input of uint8 RGB pictures and the same scaled to [0, 1], the only preprocessing both reports apply."""
    pictures = keras.Input((size_px, size_px, 3), dtype="uint8", name="pictures")
    return pictures, layers.Rescaling(1 / 255, name="rescaling")(pictures)


def hughes_cnn(
    classes: int, size_px: int = 96, l2: float = 0.1, dropout: float = 0.1, norm_momentum: float = 0.99
) -> keras.Model:
    """VGG-like network of the 2024 report: ten convolutions in four blocks (Hughes 2024, table 1).

    Args:
        classes: number of logits; 102 gives 3,121,286 parameters, of which 3,120,326 are trainable.
        size_px: side of the square picture, 16 or more.
        l2: weight decay of the two hidden dense layers (section 2.1 says 0.1), added to the loss.
        dropout: share of the last feature map that is dropped (section 2.1).
        norm_momentum: of the batch norms' running statistics, which only prediction uses; Keras's 0.99 by default,
            which averages over about a hundred steps.

    Returns:
        A model from uint8 (batch, size, size, 3) to float32 logits (batch, classes). The report ends in a softmax;
        it lives in the loss here, which is the same function and numerically safer.
    """
    pictures, x = _pictures(size_px)  # (B, 96, 96, 3)
    for width, convolutions in ((32, 2), (64, 2), (128, 3), (256, 3)):
        for _ in range(convolutions):
            x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        x = layers.BatchNormalization(momentum=norm_momentum)(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Dropout(dropout)(x)  # (B, 6, 6, 256)
    x = layers.Flatten()(x)  # (B, 9216)
    for _ in range(2):
        x = layers.Dense(128, activation="relu", kernel_regularizer=regularizers.L2(l2))(x)
    return keras.Model(pictures, layers.Dense(classes, name="logits")(x), name="hughes_cnn")


def shen_cnn(
    classes: int,
    size_px: int = 96,
    widths: Sequence[int] = (16, 32, 64, 128, 256),
    batch_norm: bool = True,
    weight_decay: float = 0.001,
    dropout: float = 0.0,
) -> keras.Model:
    """Five convolutions, each with a pooling, and two dense layers (Shen 2025, table 2).

    Batch norms follow the five convolutions and the first dense layer: only so do the trainable parameters come to
    the report's 760,074 (10 classes) and 807,270 (102 classes). Momentum and epsilon are PyTorch's, which it used.

    Args:
        classes: number of logits.
        size_px: side of the square picture, at least 32 (five poolings).
        widths: filters of the five convolutions; table 3 doubles them.
        batch_norm: whether the batch norms are there (table 5).
        weight_decay: PyTorch's Adam adds ``weight_decay * w`` to the gradient of every parameter, which is the
            gradient of half that much L2 in the loss.
        dropout: share of the dense layers' outputs that is dropped (table 5).

    Returns:
        A model from uint8 (batch, size, size, 3) to float32 logits (batch, classes).
    """

    def decay() -> regularizers.Regularizer | None:
        return regularizers.L2(weight_decay / 2) if weight_decay else None

    def norm(x: keras.KerasTensor) -> keras.KerasTensor:
        if not batch_norm:
            return x
        return layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, beta_regularizer=decay(), gamma_regularizer=decay()
        )(x)

    pictures, x = _pictures(size_px)  # (B, 96, 96, 3)
    for width in widths:
        x = layers.Conv2D(width, 3, padding="same", kernel_regularizer=decay(), bias_regularizer=decay())(x)
        x = layers.ReLU()(norm(x))
        x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)  # (B, 2304) from (B, 3, 3, 256)
    x = layers.Dense(128, kernel_regularizer=decay(), bias_regularizer=decay())(x)
    x = layers.Dropout(dropout)(layers.ReLU()(norm(x)))
    x = layers.Dense(512, activation="relu", kernel_regularizer=decay(), bias_regularizer=decay())(x)
    x = layers.Dropout(dropout)(x)
    logits = layers.Dense(classes, kernel_regularizer=decay(), bias_regularizer=decay(), name="logits")(x)
    return keras.Model(pictures, logits, name="shen_cnn")


BUILDERS: dict[str, Callable[..., keras.Model]] = {"hughes_cnn": hughes_cnn, "shen_cnn": shen_cnn}
