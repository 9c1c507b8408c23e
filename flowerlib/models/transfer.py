"""A pretrained network with a head of its own: uint8 pictures in, logits out, all layers in one flat model."""

from collections.abc import Callable, Sequence

import keras
from keras import layers, regularizers

from flowerlib.models.backbones import backbone as pretrained


def transfer(
    classes: int,
    size_px: int | None = None,
    backbone: str = "efficientnet_lite0",
    cut: str | None = None,
    weights: str = "imagenet",
    preprocessing: str = "own",
    pooling: str = "average",
    hidden: Sequence[int] = (),
    batch_norm: bool = True,
    l2: float = 0.0,
    dropout: float = 0.0,
) -> keras.Model:
    """A head on a pretrained network, as the reports build theirs (Cicalla et al. 2024, section 3.3; Qu 2018, 4.3).

    The head is pooling, then for each hidden width a dense layer, batch norm, ReLU and dropout, then the logits;
    without hidden layers the dropout comes after the pooling.

    Args:
        classes: number of logits.
        size_px: side of the square picture; the backbone's own by default.
        backbone: a name of ``flowerlib.models.backbones``.
        cut: its layer that the head stands on; its last feature map by default.
        weights: "imagenet" or "random", of the backbone.
        preprocessing: "own", or "none" for pixels from 0 to 255 as they are, which no backbone was trained on.
        pooling: "average" over the feature map, or "flatten".
        hidden: widths of the hidden dense layers.
        batch_norm: whether one follows each of them.
        l2: penalty on their kernels.
        dropout: share dropped after each of them.

    Returns:
        A model from uint8 (batch, size, size, 3) to float32 logits (batch, classes); its head begins at layer "pooled".

    Raises:
        FlowerlibError: as ``backbones.backbone``.
    """
    base = pretrained(backbone, weights=weights, cut=cut, size_px=size_px, preprocessing=preprocessing)
    pool = layers.Flatten if pooling == "flatten" else layers.GlobalAveragePooling2D
    x = pool(name="pooled")(base.output)  # (B, 1280) from (B, 7, 7, 1280)
    for number, width in enumerate(hidden, 1):
        x = layers.Dense(width, kernel_regularizer=regularizers.L2(l2) if l2 else None, name=f"hidden_{number}")(x)
        x = layers.BatchNormalization(name=f"hidden_{number}_norm")(x) if batch_norm else x
        x = layers.ReLU(name=f"hidden_{number}_relu")(x)
        x = layers.Dropout(dropout, name=f"hidden_{number}_dropout")(x) if dropout else x
    if dropout and not hidden:
        x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(base.input, layers.Dense(classes, name="logits")(x), name=f"transfer_{backbone}")


BUILDERS: dict[str, Callable[..., keras.Model]] = {"transfer": transfer}
