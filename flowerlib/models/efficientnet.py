"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excite, with ReLU6 (Tan and Le 2019; Liu 2020).

Keras has no Lite. Layers are those of ``tensorflow/tpu``'s ``efficientnet/lite``, and so are the weights. Shapes are
written for 224 px.
"""

import re
from collections.abc import Mapping

import keras
import numpy as np
from keras import layers

# Repeats, kernel, stride of the first, expansion, width: EfficientNet-B0's (Tan and Le 2019, table 1)
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
REPEATS = tuple(stage[0] for stage in STAGES)
STEM, OUT = 32, 1280  # width of the first and the last convolution; Lite never scales them

_OUTSIDE = {"_conv_stem": "stem", "_bn0": "stem_norm", "_conv_head": "out", "_bn1": "out_norm", "_fc": "logits"}
_INSIDE = {
    "_expand_conv": "expand",
    "_bn0": "expand_norm",
    "_depthwise_conv": "depthwise",
    "_bn1": "depthwise_norm",
    "_project_conv": "project",
    "_bn2": "project_norm",
}
_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_OTHERS = {"weight": "kernel", "bias": "bias"}


def features(x: keras.KerasTensor) -> keras.KerasTensor:
    """The network up to its last feature map (Tan and Le 2019, table 1; Liu 2020).

    Args:
        x: float32 (batch, side, side, 3), pictures as (x - 127) / 128.

    Returns:
        float32 (batch, side / 32, side / 32, 1280) in [0, 6], the side rounded up. Layers are named "stem",
        "block_0_depthwise" to "block_15_project", "out", and what follows each with "_norm" and "_relu" behind.
    """
    x = _norm(_conv(x, STEM, 3, 2, "stem"), "stem", relu=True)  # (B, 112, 112, 32)
    block = 0
    for repeats, size, stride, expansion, width in STAGES:
        for repeat in range(repeats):
            x = _block(x, f"block_{block}", size, 1 if repeat else stride, expansion, width)
            block += 1
    return _norm(_conv(x, OUT, 1, 1, "out"), "out", relu=True)  # (B, 7, 7, 1280) from (B, 7, 7, 320)


def _block(x: keras.KerasTensor, name: str, size: int, stride: int, expansion: int, width: int) -> keras.KerasTensor:
    """Expand, convolve each channel, project; beside a shortcut where the shape stays (Sandler et al. 2018)."""
    y, channels = x, x.shape[-1]
    if expansion > 1:
        y = _norm(_conv(y, expansion * channels, 1, 1, f"{name}_expand"), f"{name}_expand", relu=True)
    y = layers.DepthwiseConv2D(
        size, stride, "same", use_bias=False, depthwise_initializer=_initializer(), name=f"{name}_depthwise"
    )(y)
    y = _norm(y, f"{name}_depthwise", relu=True)
    y = _norm(_conv(y, width, 1, 1, f"{name}_project"), f"{name}_project", relu=False)
    return layers.Add(name=f"{name}_add")([x, y]) if stride == 1 and channels == width else y


def _conv(x: keras.KerasTensor, width: int, size: int, stride: int, name: str) -> keras.KerasTensor:
    return layers.Conv2D(width, size, stride, "same", use_bias=False, kernel_initializer=_initializer(), name=name)(x)


def _initializer() -> keras.initializers.Initializer:
    return keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal")


def _norm(x: keras.KerasTensor, name: str, *, relu: bool) -> keras.KerasTensor:
    x = layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_norm")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if relu else x


def from_torch(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """PyTorch's arrays under Keras's names and in its layout.

    Args:
        arrays: from ``torch_file.read``; names such as ``_blocks.3._bn1.running_var``.

    Returns:
        "layer/variable" -> array, such as ``block_3_depthwise_norm/moving_variance``; for ``fill``.

    Raises:
        ValueError: a name that an EfficientNet-Lite has not.
    """
    counters = "num_batches_tracked"  # training steps that a norm has seen; prediction has no use for them
    return {_keras_name(name): _keras_layout(name, each) for name, each in arrays.items() if counters not in name}


def _keras_name(name: str) -> str:
    match = re.fullmatch(r"(?:_blocks\.(\d+)\.)?(\w+)\.(\w+)", name, re.ASCII)
    block, module, kind = match.groups() if match else (None, "", "")
    layer = (_INSIDE if block else _OUTSIDE).get(module)
    variable = (_NORM if module.startswith("_bn") else _OTHERS).get(kind)
    if layer is None or variable is None:
        raise ValueError(f"no layer for the array {name}")
    return f"block_{block}_{layer}/{variable}" if block else f"{layer}/{variable}"


def _keras_layout(name: str, array: np.ndarray) -> np.ndarray:
    if "_depthwise_conv." in name:
        return array.transpose(2, 3, 0, 1)  # (channels, 1, height, width) to (height, width, channels, 1)
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def fill(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Put arrays into a model's variables, all of them or none.

    Args:
        model: a whole EfficientNet-Lite0.
        arrays: from ``from_torch``; each is used once, and each variable filled.

    Raises:
        ValueError: an array too many, one too few or of another shape; the model is as it was before.
    """
    variables = {f"{layer.name}/{each.name}": each for layer in model.layers for each in layer.variables}
    if unpaired := sorted(variables.keys() ^ arrays.keys()):
        where = "the file" if unpaired[0] in arrays else "the network"
        raise ValueError(f"{len(unpaired)} arrays have no partner, such as {unpaired[0]} of {where}")
    for name, variable in variables.items():
        if tuple(variable.shape) != arrays[name].shape:
            raise ValueError(f"{name} has shape {arrays[name].shape} instead of {tuple(variable.shape)}")
    for name, variable in variables.items():
        variable.assign(arrays[name])
