"""Networks trained on ImageNet, cut where a report cut them, as flat models with their preprocessing inside.

Layers bear the same names in every build, so that a cut, a checkpoint or a heat map finds them again.
"""

import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TypeVar

import keras
from keras import layers, ops

from flowerlib import weights as weight_files
from flowerlib.errors import FlowerlibError
from flowerlib.models import efficientnet

Choice = TypeVar("Choice")
CLASSES = 1000  # of ImageNet
POOLED = "pooled"  # the layer with which a head begins
UNFROZEN = (layers.Conv2D, layers.Activation, layers.ReLU)  # Cicalla et al. 2024, section 3.3.2
CAFFE_MEANS = (103.939, 116.779, 123.68)  # of ImageNet's blue, green and red


@keras.saving.register_keras_serializable(package="flowerlib")
class CaffePreprocessing(layers.Layer):
    """RGB to BGR less ImageNet's mean colour, as VGG and ResNet were trained (``preprocess_input``, mode "caffe")."""

    def call(self, pictures: keras.KerasTensor) -> keras.KerasTensor:
        """uint8 (batch, side, side, 3) to float32 of that shape in [-123.68, 151.061]."""
        return ops.flip(ops.cast(pictures, self.compute_dtype), axis=-1) - ops.array(CAFFE_MEANS, self.compute_dtype)


_TO_ONE = partial(layers.Rescaling, 1 / 127.5, -1.0)  # to [-1, 1]: ``preprocess_input``, mode "tf"
_LITE = partial(layers.Rescaling, 1 / 128, -127 / 128)  # (x - 127) / 128: ``tensorflow/tpu``, ``efficientnet/lite``
_NONE = partial(layers.Rescaling, 1.0)


def _bare(application: Callable[..., keras.Model]) -> Callable[[keras.KerasTensor], keras.Model]:
    """A builder of one of Keras's own networks behind preprocessed pictures, without its dense layers."""
    return lambda x: application(include_top=False, weights=None, input_tensor=x)


def _inception_v3(x: keras.KerasTensor) -> keras.Model:
    return _counted_anew(_bare(keras.applications.InceptionV3)(x))


def _mobilenet_v2(x: keras.KerasTensor) -> keras.Model:
    base = _bare(keras.applications.MobileNetV2)(x)
    return _with_top(base.inputs[0], base.output)


def _efficientnet_lite0(x: keras.KerasTensor) -> keras.Model:
    return _with_top(keras.utils.get_source_inputs(x)[0], efficientnet.features(x))


def _with_top(pictures: keras.KerasTensor, features: keras.KerasTensor) -> keras.Model:
    """The whole classifier, as its file has it: (B, 1000) logits from (B, 7, 7, 1280)."""
    x = layers.GlobalAveragePooling2D(name="average")(features)
    return keras.Model(pictures, layers.Dense(CLASSES, name="logits")(x))


def _counted_anew(model: keras.Model) -> keras.Model:
    """The same layers anew, named as in a fresh process: Keras counts "conv2d", "conv2d_1", … over all its models."""
    kinds = "conv2d|batch_normalization|activation|max_pooling2d|average_pooling2d|concatenate"
    matches = {layer.name: re.fullmatch(rf"({kinds})(?:_(\d+))?", layer.name) for layer in model.layers}
    numbers = {name: (match[1], int(match[2] or 0)) for name, match in matches.items() if match}
    first = {kind: min(number for each, number in numbers.values() if each == kind) for kind, _ in numbers.values()}

    def named(layer: layers.Layer) -> layers.Layer:
        kind, number = numbers.get(layer.name, (layer.name, 0))
        number -= first.get(kind, 0)
        return type(layer).from_config(layer.get_config() | {"name": f"{kind}_{number}" if number else kind})

    return keras.models.clone_model(model, clone_function=named)


def _vgg_cuts(convolutions: tuple[int, ...]) -> dict[str, str]:
    names = []
    for block, count in enumerate(convolutions, start=1):
        names += [f"block{block}_conv{i + 1}" for i in range(count)] + [f"block{block}_pool"]
    return {name: name for name in names}


def _resnet_cuts() -> dict[str, str]:
    stages = enumerate((3, 4, 6, 3), start=2)
    blocks = [f"conv{stage}_block{i + 1}_out" for stage, count in stages for i in range(count)]
    return {name: name for name in ("conv1_relu", "pool1_pool", *blocks)}


def _inception_cuts() -> dict[str, str]:
    convolutions = ["conv2d", *(f"conv2d_{i}" for i in range(1, 94))]
    return {name: name for name in (*convolutions, *(f"mixed{i}" for i in range(11)))}


def _mobile_cuts(stem: str, first: str, repeats: tuple[int, ...], norm: str) -> dict[str, str]:
    """A block ends in its sum, or in its last norm where a stage begins and there is nothing to add."""
    begins = [not i for count in repeats for i in range(count)]
    ends = {f"block_{i}": f"block_{i}_project{norm}" if begin else f"block_{i}_add" for i, begin in enumerate(begins)}
    return {"stem": stem} | ends | {"block_0": f"{first}_project{norm}", "out_relu": "out_relu"}


@dataclass(frozen=True)
class _Network:
    """What tells a backbone from the others.

    Attributes:
        build: preprocessed pictures -> the network as its weights file has it.
        preprocessing: makes the layer in front.
        cuts: cut -> layer, from the first to the last feature map.
        size_px: side of the pictures it was trained on.
        least_px: side of the smallest that it takes.
    """

    build: Callable[[keras.KerasTensor], keras.Model]
    preprocessing: Callable[..., layers.Layer]
    cuts: dict[str, str]
    size_px: int = 224
    least_px: int = 32


BACKBONES = {
    "vgg16": _Network(_bare(keras.applications.VGG16), CaffePreprocessing, _vgg_cuts((2, 2, 3, 3, 3))),
    "vgg19": _Network(_bare(keras.applications.VGG19), CaffePreprocessing, _vgg_cuts((2, 2, 4, 4, 4))),
    "resnet50": _Network(_bare(keras.applications.ResNet50), CaffePreprocessing, _resnet_cuts()),
    "inception_v3": _Network(_inception_v3, _TO_ONE, _inception_cuts(), 299, 75),
    "mobilenet_v2": _Network(
        _mobilenet_v2, _TO_ONE, _mobile_cuts("Conv1_relu", "expanded_conv", (1, 2, 3, 4, 3, 3, 1), "_BN")
    ),
    "efficientnet_lite0": _Network(
        _efficientnet_lite0, _LITE, _mobile_cuts("stem_relu", "block_0", efficientnet.REPEATS, "_norm")
    ),
}
WITH_TOP = ("mobilenet_v2", "efficientnet_lite0")  # whose weights file holds the classifier of ImageNet too


def backbone(
    name: str,
    *,
    weights: str = "imagenet",
    cut: str | None = None,
    size_px: int | None = None,
    pooled: bool = False,
    preprocessing: str = "own",
) -> keras.Model:
    """A network of ``BACKBONES`` up to a cut: one flat model, every layer trainable.

    Args:
        name: such as "resnet50".
        weights: "imagenet" or "random".
        cut: a feature map that ``cuts`` names; None: the last one, as ``include_top=False`` gives it.
        size_px: side of the square picture; None: that of ImageNet's training, 224, or 299 for InceptionV3.
        pooled: end in the average over the feature map, a layer named "pooled".
        preprocessing: "own", or "none", which feeds raw values in [0, 255] to see what forgetting it costs.

    Returns:
        A model from "pictures", uint8 RGB (batch, side, side, 3), to float32 (batch, rows, columns, channels), or
        (batch, channels) when pooled.

    Raises:
        FlowerlibError: an unknown name, cut or option; weights that are missing, damaged or another network's.
    """
    layer = _chosen(_network(name).cuts, cut or cuts(name)[-1], f"{name} has no cut")
    whole = _whole(name, weights, size_px, preprocessing)
    features = whole.get_layer(layer).output
    if pooled:
        features = layers.GlobalAveragePooling2D(name=POOLED)(features)
    return keras.Model(whole.inputs[0], features, name=name)


def imagenet_classifier(
    name: str, *, weights: str = "imagenet", size_px: int | None = None, preprocessing: str = "own"
) -> keras.Model:
    """A whole network of ``WITH_TOP``, with ImageNet's classes as Keras numbers them (985: daisy).

    Args:
        name: "mobilenet_v2" or "efficientnet_lite0".
        weights, size_px, preprocessing: as of ``backbone``.

    Returns:
        A flat model from uint8 RGB (batch, side, side, 3) to float32 logits (batch, 1000), of the layer "logits".

    Raises:
        FlowerlibError: as ``backbone``, or a network whose weights end with its features.
    """
    _chosen(dict.fromkeys(WITH_TOP), name, "no ImageNet classifier for")
    whole = _whole(name, weights, size_px, preprocessing)
    return keras.Model(whole.inputs[0], whole.output, name=name)


def cuts(name: str) -> list[str]:
    """The feature maps at which ``backbone`` cuts a network, from its first to its last; builds nothing.

    InceptionV3's convolutions are counted from its own first, "conv2d", as in a fresh process; its "mixed" follow.
    """
    return list(_network(name).cuts)


def freeze_batch_norms(model: keras.Model) -> list[str]:
    """Freeze the batch norms before the head, which keep their statistics then; compile afterwards.

    Args:
        model: a backbone, alone or with a head that begins at the layer "pooled".

    Returns:
        Their names. Other layers stay as they are.
    """
    norms = [layer for layer in _before_head(model) if isinstance(layer, layers.BatchNormalization)]
    for norm in norms:
        norm.trainable = False
    return [norm.name for norm in norms]


def unfreeze(model: keras.Model, count: int, kinds: tuple[type[layers.Layer], ...] = UNFROZEN) -> list[str]:
    """Of the last layers before the head let those of some kinds learn (Cicalla et al. 2024, section 3.3.2).

    All others before the head are frozen, batch norms always. Compile afterwards.

    Args:
        model: a backbone, alone or with a head that begins at the layer "pooled".
        count: how many of the last layers are looked at, of any kind; 0 freezes all.
        kinds: classes of those that learn; a depthwise convolution is no Conv2D to Keras.

    Returns:
        Names of the layers that learn now, from the first to the last, activations among them.

    Raises:
        FlowerlibError: there are fewer layers than that before the head.
    """
    before = _before_head(model)
    if not 0 <= count <= len(before):
        raise FlowerlibError(f"{model.name}: cannot unfreeze {count} of the {len(before)} layers before the head")
    for layer in before:
        layer.trainable = False
    last = before[len(before) - count :]
    chosen = [each for each in last if isinstance(each, kinds) and not isinstance(each, layers.BatchNormalization)]
    for layer in chosen:
        layer.trainable = True
    return [layer.name for layer in chosen]


def _before_head(model: keras.Model) -> list[layers.Layer]:
    names = [layer.name for layer in model.layers]
    return model.layers[: names.index(POOLED)] if POOLED in names else model.layers


def _network(name: str) -> _Network:
    return _chosen(BACKBONES, name, "unknown backbone")


def _whole(name: str, weights: str, size_px: int | None, preprocessing: str) -> keras.Model:
    """The network as its weights file has it, with preprocessing in front."""
    network = _network(name)
    fronts: dict[str, Callable[..., layers.Layer]] = {"own": network.preprocessing, "none": _NONE}
    front = _chosen(fronts, preprocessing, "unknown preprocessing")
    is_trained = _chosen({"imagenet": True, "random": False}, weights, "unknown weights")
    side = network.size_px if size_px is None else size_px
    if side < network.least_px:
        raise FlowerlibError(f"{name} takes pictures of {network.least_px} px and more, not {side}")
    if is_trained:
        weight_files.locate(name)  # before the work of building
    pictures = keras.Input((side, side, 3), dtype="uint8", name="pictures")
    whole = network.build(front(name="preprocessing")(pictures))
    if is_trained:
        weight_files.load(name, whole)
    return whole


def _chosen(known: Mapping[str, Choice], key: str, complaint: str) -> Choice:
    if key not in known:
        raise FlowerlibError(f"{complaint} '{key}': one of {_listed(list(known))}")
    return known[key]


def _listed(names: list[str]) -> str:
    """Names with commas; three or more that only count on are "first to last"."""
    groups = [list(group) for _, group in groupby(names, lambda name: name.rstrip(string.digits))]
    return ", ".join(f"{group[0]} to {group[-1]}" if len(group) > 2 else ", ".join(group) for group in groups)
