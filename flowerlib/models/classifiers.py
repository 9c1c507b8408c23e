"""Networks trained from scratch to name a flower. Every builder takes uint8 pictures and returns logits.

Shapes are written for the reports' size, 96 px; any size that survives the poolings will do.
"""

from collections.abc import Callable, Sequence

import keras
from keras import layers, regularizers

from flowerlib.models.whitening import ZcaWhitening


def _pictures(size_px: int | None, whitening_rank: int = 0) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """An input of uint8 RGB pictures and the same scaled to [0, 1], and whitened where a rank is given."""
    pictures = keras.Input((size_px, size_px, 3), dtype="uint8", name="pictures")
    x = layers.Rescaling(1 / 255, name="rescaling")(pictures)
    return pictures, ZcaWhitening(whitening_rank, name="whitening")(x) if whitening_rank else x


def hughes_cnn(
    classes: int,
    size_px: int = 96,
    l2: float = 0.1,
    dropout: float = 0.1,
    norm_momentum: float = 0.99,
    whitening_rank: int = 0,
) -> keras.Model:
    """VGG-like network of the 2024 report: ten convolutions in four blocks (Hughes 2024, table 1).

    Args:
        classes: number of logits; 102 gives 3,121,286 parameters, of which 3,120,326 are trainable.
        size_px: side of the square picture, 16 or more.
        l2: weight decay of the two hidden dense layers (section 2.1 says 0.1), added to the loss.
        dropout: share of the last feature map that is dropped (section 2.1).
        norm_momentum: of the batch norms' running statistics, which only prediction uses; Keras's 0.99 by default,
            which averages over about a hundred steps.
        whitening_rank: components of a ZCA whitening in front (section 2.2), to be set after a fit; 0: none.

    Returns:
        A model from uint8 (batch, size, size, 3) to float32 logits (batch, classes). The report ends in a softmax;
        it lives in the loss here, which is the same function and numerically safer.
    """
    pictures, x = _pictures(size_px, whitening_rank)  # (B, 96, 96, 3)
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
    softmax: bool = False,
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
        softmax: end in a softmax (section 2.3), although PyTorch's cross-entropy applies one of its own.

    Returns:
        A model from uint8 (batch, size, size, 3) to float32 logits (batch, classes); to shares with ``softmax``.
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
    x = layers.Dense(classes, kernel_regularizer=decay(), bias_regularizer=decay(), name="logits")(x)
    if softmax:
        # Keras's cross-entropy sees through a softmax that is the last operation; PyTorch's does not.
        x = layers.Rescaling(1.0, name="shares")(layers.Softmax()(x))
    return keras.Model(pictures, x, name="shen_cnn")


def qu_cnn(classes: int, size_px: int = 32, dropout: float = 0.25, whitening_rank: int = 0) -> keras.Model:
    """Qu's baseline: two convolutions and a dense layer (Qu 2018, section 4.3).

    The figure that showed it did not survive; widths, dropouts and size are those of the report's public code
    (github.com/qqu0127/see-flowers, ``baseline_model``).

    Args:
        classes: number of logits; 102 gives 2,207,814 parameters.
        size_px: side of the square picture.
        dropout: after each pooling and after the dense layer.
        whitening_rank: components of a ZCA whitening in front (section 4.3), to be set after a fit; 0: none.

    Returns:
        A model from uint8 (batch, size, size, 3) to float32 logits (batch, classes).
    """
    pictures, x = _pictures(size_px, whitening_rank)  # (B, 32, 32, 3)
    for width in (16, 32):
        x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        x = layers.Dropout(dropout)(layers.MaxPooling2D()(x))
    x = layers.Flatten()(x)  # (B, 2048) from (B, 8, 8, 32)
    x = layers.Dropout(dropout)(layers.Dense(1024, activation="relu")(x))
    return keras.Model(pictures, layers.Dense(classes, name="logits")(x), name="qu_cnn")


def residual_cnn(
    classes: int,
    size_px: int | None = None,
    widths: Sequence[int] = (64, 128, 256, 512),
    blocks: Sequence[int] = (1, 2, 2, 1),
    dropout: float = 0.0,
    norm_momentum: float = 0.9,
) -> keras.Model:
    """A small residual network for pictures of any size (He et al. 2016, with the shortcut of He et al. 2019).

    Args:
        classes: number of logits.
        size_px: ignored: it takes pictures of 32 px and more, and is trained on small ones first.
        widths: filters of each stage; a stage halves the side of the one before.
        blocks: residual blocks of each stage, two convolutions each.
        dropout: share of the averaged features that is dropped.
        norm_momentum: of the batch norms' running statistics.

    Returns:
        A model from uint8 (batch, side, side, 3) to float32 logits (batch, classes).
    """
    pictures, x = _pictures(None)  # (B, 64, 64, 3)
    x = layers.Rescaling(2.0, -1.0, name="centring")(x)  # to [-1, 1]
    x = layers.ReLU()(_norm(_conv(x, widths[0] // 2, stride=2), norm_momentum))  # (B, 32, 32, 32)
    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        for block in range(count):
            x = _residual(x, width, 2 if stage and not block else 1, norm_momentum)
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))  # (B, 512) from (B, 4, 4, 512)
    return keras.Model(pictures, layers.Dense(classes, name="logits")(x), name="residual_cnn")


def _residual(x: keras.KerasTensor, width: int, stride: int, momentum: float) -> keras.KerasTensor:
    """Two convolutions beside a shortcut, which averages where they skip (He et al. 2019, section 4.1, ResNet-D)."""
    y = layers.ReLU()(_norm(_conv(x, width, stride=stride), momentum))
    # Starting at zero, the block starts as its shortcut (Goyal et al. 2017, section 5.1).
    y = _norm(_conv(y, width), momentum, gamma="zeros")
    if stride > 1:
        x = layers.AveragePooling2D(stride, padding="same")(x)
    if x.shape[-1] != width:
        x = _norm(_conv(x, width, size=1), momentum)
    return layers.ReLU()(layers.Add()([x, y]))


def _conv(x: keras.KerasTensor, width: int, size: int = 3, stride: int = 1) -> keras.KerasTensor:
    return layers.Conv2D(width, size, strides=stride, padding="same", use_bias=False, kernel_initializer="he_normal")(x)


def _norm(x: keras.KerasTensor, momentum: float, gamma: str = "ones") -> keras.KerasTensor:
    return layers.BatchNormalization(momentum=momentum, epsilon=1e-5, gamma_initializer=gamma)(x)


BUILDERS: dict[str, Callable[..., keras.Model]] = {
    "hughes_cnn": hughes_cnn,
    "shen_cnn": shen_cnn,
    "qu_cnn": qu_cnn,
    "residual_cnn": residual_cnn,
}
