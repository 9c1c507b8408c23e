"""The pretrained networks against Keras's own, and EfficientNet-Lite0 against its equations."""

import re
import shutil
from functools import cache

import h5py
import keras
import numpy as np
import pytest
import scipy.special
from keras.src.utils import file_utils
from numpy.lib.stride_tricks import sliding_window_view

from flowerlib import data, torch_file, weights
from flowerlib.errors import FlowerlibError
from flowerlib.fetch import OFFICIAL
from flowerlib.models import backbones, efficientnet, summary
from flowerlib.models.backbones import backbone, imagenet_classifier

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own

OURS = "efficientnet_lite0"
KERAS = {
    "vgg16": (keras.applications.VGG16, keras.applications.vgg16.preprocess_input),
    "vgg19": (keras.applications.VGG19, keras.applications.vgg19.preprocess_input),
    "resnet50": (keras.applications.ResNet50, keras.applications.resnet50.preprocess_input),
    "inception_v3": (keras.applications.InceptionV3, keras.applications.inception_v3.preprocess_input),
    "mobilenet_v2": (keras.applications.MobileNetV2, keras.applications.mobilenet_v2.preprocess_input),
}
# Without the dense layers, as keras.io and the papers have them; the last is Keras's with its layers counted
PARAMETERS = {
    "vgg16": 14_714_688,
    "vgg19": 20_024_384,
    "resnet50": 23_587_712,
    "inception_v3": 21_802_784,
    "mobilenet_v2": 2_257_984,
}
MAPS = {
    "vgg16": (7, 7, 512),
    "vgg19": (7, 7, 512),
    "resnet50": (7, 7, 2048),
    "inception_v3": (8, 8, 2048),
    "mobilenet_v2": (7, 7, 1280),
    OURS: (7, 7, 1280),
}
CUTS = [
    ("vgg16", "block5_conv2", (14, 14, 512)),
    ("vgg19", "block5_conv2", (14, 14, 512)),
    ("vgg16", "block4_pool", (14, 14, 512)),
    ("resnet50", "conv4_block6_out", (14, 14, 1024)),
    ("inception_v3", "conv2d_84", (8, 8, 192)),
    ("inception_v3", "mixed7", (17, 17, 768)),
    ("mobilenet_v2", "stem", (112, 112, 32)),
    ("mobilenet_v2", "block_0", (112, 112, 16)),
    ("mobilenet_v2", "block_13", (7, 7, 160)),
    (OURS, "stem", (112, 112, 32)),
    (OURS, "block_4", (28, 28, 40)),
    (OURS, "block_13", (7, 7, 192)),
]


def small(name):
    return backbones.BACKBONES[name].least_px


@cache
def random_backbone(name, size_px=None):
    """A whole backbone with random weights; built once, so a test that changes it builds its own."""
    return backbone(name, weights="random", size_px=size_px)


def pictures(side, count=2):
    return np.random.default_rng(side).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def predict(model, images):
    """Prediction without the graph that ``model.predict`` builds first, which takes longer than so few pictures."""
    return model(images, training=False).numpy()


def same(found, expected):
    """Equal but for the order in which float32 numbers are added."""
    assert found.shape == expected.shape and expected.any()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def failure(call, *arguments, **options):
    with pytest.raises(FlowerlibError) as caught:
        call(*arguments, **options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A weights folder of the test's own, and no mirror."""
    monkeypatch.setenv("FLOWERLIB_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("FLOWERLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FLOWERLIB_MIRROR", raising=False)
    return tmp_path


# Shapes and sizes


@pytest.mark.parametrize("name", MAPS)
def test_uint8_pictures_go_in_and_the_last_feature_map_comes_out(name):
    model = random_backbone(name)
    side = 299 if name == "inception_v3" else 224
    assert (model.name, model.input_shape) == (name, (None, side, side, 3))
    assert (model.inputs[0].name, model.inputs[0].dtype) == ("pictures", "uint8")
    assert model.output_shape == (None, *MAPS[name])


@pytest.mark.parametrize("name", KERAS)
def test_parameters_are_those_of_keras_own_networks(name):
    assert random_backbone(name).count_params() == PARAMETERS[name]


def test_efficientnet_lite0_has_its_parameters():
    model = imagenet_classifier(OURS, weights="random")
    assert summary.parameters(model)[1] == 4_652_008
    top = 1280 * 1000 + 1000
    assert summary.parameters(random_backbone(OURS))[1] == 4_652_008 - top


@pytest.mark.parametrize("name", MAPS)
def test_a_backbone_is_flat(name):
    kinds = [type(layer) for layer in random_backbone(name).layers]
    assert kinds[0] is keras.layers.InputLayer and not any(issubclass(kind, keras.Model) for kind in kinds)
    assert random_backbone(name).layers[1].name == "preprocessing"


def test_pooled_features_are_the_average_of_the_map():
    map_model = random_backbone("mobilenet_v2", 64)
    pooled = backbone("mobilenet_v2", weights="random", size_px=64, pooled=True)
    assert pooled.output_shape == (None, 1280) and pooled.layers[-1].name == "pooled"
    pooled.set_weights(map_model.get_weights())
    same(predict(pooled, pictures(64)), predict(map_model, pictures(64)).mean(axis=(1, 2)))


# Preprocessing


@pytest.fixture(scope="module", params=KERAS)
def beside(request):
    """A small random backbone and Keras's own network with the same weights."""
    model = random_backbone(request.param, small(request.param))
    application = KERAS[request.param][0](include_top=False, weights=None, input_shape=model.input_shape[1:])
    application.set_weights(model.get_weights())
    return model, application


def test_the_preprocessing_inside_is_keras_own(beside):
    model, application = beside
    images = pictures(model.input_shape[1])
    preprocess = KERAS[model.name][1]
    same(predict(model, images), predict(application, preprocess(images.astype(np.float32))))


@pytest.mark.parametrize("name", ["vgg16", "mobilenet_v2"])
def test_a_forgotten_preprocessing_feeds_values_to_255(name):
    model = backbone(name, weights="random", size_px=32, preprocessing="none")
    fed = keras.Model(model.input, model.get_layer("preprocessing").output)
    np.testing.assert_array_equal(predict(fed, pictures(32)), pictures(32).astype(np.float32))
    assert model.get_layer("preprocessing").output.dtype == "float32"


def test_efficientnet_gets_x_less_127_by_128():
    model = random_backbone(OURS, 32)
    fed = keras.Model(model.input, model.get_layer("preprocessing").output)
    np.testing.assert_array_equal(predict(fed, pictures(32)), (pictures(32).astype(np.float32) - 127) / 128)


# Cuts


@pytest.mark.parametrize(("name", "cut", "shape"), CUTS)
def test_a_cut_has_the_shape_of_the_paper(name, cut, shape):
    assert random_backbone(name).get_layer(backbones.BACKBONES[name].cuts[cut]).output.shape == (None, *shape)


@pytest.mark.parametrize("name", MAPS)
def test_cuts_stand_in_the_order_of_the_network_and_end_with_its_last_map(name):
    model = random_backbone(name)
    names = [layer.name for layer in model.layers]
    places = [names.index(layer) for layer in backbones.BACKBONES[name].cuts.values()]
    assert places[-1] == len(names) - 1 and len(set(places)) == len(places)
    assert name == "inception_v3" or places == sorted(places)  # its convolutions first, then its "mixed"
    assert list(backbones.BACKBONES[name].cuts) == backbones.cuts(name)


@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
def test_block5_conv2_is_the_second_convolution_after_the_fourth_pooling(name):
    kinds = [type(layer).__name__ for layer in backbone(name, weights="random", size_px=32, cut="block5_conv2").layers]
    assert kinds.count("MaxPooling2D") == 4 and kinds[-3:] == ["MaxPooling2D", "Conv2D", "Conv2D"]


@pytest.mark.parametrize("name", ["mobilenet_v2", OURS])
def test_a_block_ends_where_the_next_begins(name):
    model, ends = random_backbone(name), list(backbones.BACKBONES[name].cuts.items())
    for (cut, layer), (following, _) in zip(ends[1:-2], ends[2:-1], strict=True):
        assert model.get_layer(f"{following}_expand").input is model.get_layer(layer).output, cut


def test_inceptions_layers_bear_the_same_names_in_every_build():
    builds = [backbone("inception_v3", weights="random", size_px=75, cut="conv2d_84") for _ in range(2)]
    first, second = ([layer.name for layer in model.layers] for model in builds)
    assert first == second and first[-1] == "conv2d_84" and first[2] == "conv2d"
    assert [variable.path for variable in builds[0].variables] == [variable.path for variable in builds[1].variables]


def test_inceptions_convolutions_are_numbered_as_keras_creates_them():
    """In a fresh process "conv2d_84" is the 85th that InceptionV3's code creates: 1x1 behind a pooling, 192 wide."""
    own = keras.applications.InceptionV3(include_top=False, weights=None, input_shape=(75, 75, 3))
    made = [layer for layer in own.layers if isinstance(layer, keras.layers.Conv2D)]
    made.sort(key=lambda layer: int(re.search(r"\d+$", f"{layer.name}_0" if layer.name == "conv2d" else layer.name)[0]))
    model = random_backbone("inception_v3", 75)
    for number, layer in enumerate(made):
        ours = model.get_layer(f"conv2d_{number}" if number else "conv2d")
        assert (ours.kernel.shape, ours.strides) == (layer.kernel.shape, layer.strides)
    cut = model.get_layer("conv2d_84")
    assert len(made) == 94 and cut.kernel.shape == (1, 1, 1280, 192)
    pooling = next(layer for layer in model.layers if layer.output is cut.input)
    assert isinstance(pooling, keras.layers.AveragePooling2D)


def test_a_cut_that_does_not_exist_is_refused_with_those_that_do():
    said = failure(backbone, "inception_v3", weights="random", cut="conv2d_94")
    assert said == ("inception_v3 has no cut 'conv2d_94': one of conv2d, conv2d_1 to conv2d_93, mixed0 to mixed10")
    said = failure(backbone, "mobilenet_v2", weights="random", cut="block_17")
    assert said == "mobilenet_v2 has no cut 'block_17': one of stem, block_0 to block_16, out_relu"
    said = failure(backbone, "vgg16", weights="random", cut="block6_conv1")
    assert said.endswith("block4_pool, block5_conv1 to block5_conv3, block5_pool")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("vgg11", {}, "unknown backbone 'vgg11': one of vgg16, vgg19, resnet50, inception_v3, mobilenet_v2, "),
        ("vgg16", {"weights": "places"}, "unknown weights 'places': one of imagenet, random"),
        ("vgg16", {"preprocessing": "torch"}, "unknown preprocessing 'torch': one of own, none"),
        ("inception_v3", {"size_px": 74, "weights": "random"}, "inception_v3 takes pictures of 75 px and more, not 74"),
    ],
)
def test_an_unknown_option_is_refused_in_one_line(name, options, said):
    assert failure(backbone, name, **options).startswith(said)


def test_a_network_without_its_top_has_no_imagenet_classifier():
    said = failure(imagenet_classifier, "vgg16", weights="random")
    assert said == "no ImageNet classifier for 'vgg16': one of mobilenet_v2, efficientnet_lite0"


# Freezing


def with_head(base):
    """A head with a batch norm of its own on the pooled features of a backbone."""
    x = keras.layers.BatchNormalization(name="head_norm")(keras.layers.Dense(8, name="hidden")(base.output))
    return keras.Model(base.input, keras.layers.Dense(3, name="logits")(x))


def learning(model):
    return {layer.name for layer in model.layers if layer.trainable_weights}


def test_of_resnets_last_ten_layers_the_convolutions_and_activations_learn():
    """They are the whole of conv4_block6: three convolutions, norms and activations, and their sum."""
    base = backbone("resnet50", weights="random", size_px=32, cut="conv4_block6_out", pooled=True)
    model, block = with_head(base), "conv4_block6"
    steps = [f"{block}_{i}_{kind}" for i in (1, 2) for kind in ("conv", "relu")]
    assert backbones.unfreeze(model, 10) == [*steps, f"{block}_3_conv", f"{block}_out"]
    convolutions = {f"{block}_{i}_conv" for i in (1, 2, 3)}
    assert learning(base) == convolutions
    assert learning(model) == {*convolutions, "hidden", "head_norm", "logits"}
    assert len(backbones.unfreeze(model, 20)) == 12 and len(learning(base)) == 6
    assert backbones.unfreeze(base, 0) == [] and learning(base) == set()


def test_batch_norms_never_learn_whatever_is_asked_for():
    base = backbone(OURS, weights="random", size_px=32, pooled=True)
    touched = backbones.unfreeze(base, 6, kinds=(keras.layers.Layer,))
    assert touched == ["block_15_depthwise_relu", "block_15_project", "out", "out_relu"]
    assert learning(base) == {"block_15_project", "out"}


def test_more_layers_than_there_are_cannot_be_unfrozen():
    base = backbone("vgg16", weights="random", size_px=32, cut="block1_pool")
    assert failure(backbones.unfreeze, base, 6) == "vgg16: cannot unfreeze 6 of the 5 layers before the head"


def test_frozen_batch_norms_do_not_move_in_a_training_step_and_the_heads_do():
    keras.utils.set_random_seed(0)
    model = with_head(backbone("mobilenet_v2", weights="random", size_px=32, pooled=True))
    frozen = backbones.freeze_batch_norms(model)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert frozen == [norm.name for norm in norms if norm.name != "head_norm"] and len(frozen) == 52
    for norm in norms:
        norm.gamma.assign(2 * norm.gamma)  # random kernels halve a signal: after 52 of them no step would be seen
    before = {norm.name: norm.get_weights() for norm in norms}
    kernel = model.get_layer("Conv_1").get_weights()[0]
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.train_on_batch(pictures(32, 6), np.arange(6) % 3)
    moved = [
        norm.name
        for norm in norms
        if any((a != b).any() for a, b in zip(before[norm.name], norm.get_weights(), strict=True))
    ]
    assert moved == ["head_norm"]
    assert (model.get_layer("Conv_1").get_weights()[0] != kernel).any()


# Saving


@pytest.mark.parametrize(("name", "cut"), [("vgg16", "block1_pool"), ("mobilenet_v2", "block_1"), (OURS, "block_1")])
def test_a_saved_backbone_loads_in_safe_mode_and_predicts_the_same(name, cut, tmp_path):
    model = backbone(name, weights="random", size_px=32, cut=cut)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(predict(loaded, pictures(32)), predict(model, pictures(32)))


# Keras's own files


class Asked(Exception):
    """What a network of Keras wants to download."""


@pytest.mark.parametrize("name", ["vgg16", "vgg19", "resnet50", "inception_v3"])
def test_official_addresses_and_checksums_are_those_that_keras_uses(name, monkeypatch):
    def get_file(name, url, file_hash=None, **_):
        raise Asked(name, url, file_hash)

    monkeypatch.setattr(file_utils, "get_file", get_file)
    with pytest.raises(Asked) as caught:
        KERAS[name][0](include_top=False, weights="imagenet")
    file, url, md5 = caught.value.args
    assert weights.CANDIDATES[name][0].file == file
    assert OFFICIAL[f"weights/{file}"] == (url, f"md5:{md5}")


def legacy_file(model, path):
    """A model's weights as Keras published them: layers at the top of an HDF5 file."""
    model.save(path.with_suffix(".whole.h5"))
    with h5py.File(path.with_suffix(".whole.h5")) as whole, h5py.File(path, "w") as bare:
        group = whole["model_weights"]
        for layer in group:
            group.copy(layer, bare)
        for key, value in group.attrs.items():
            bare.attrs[key] = value


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "inception_v3", "mobilenet_v2"])
@pytest.mark.filterwarnings("ignore")  # Keras advises against HDF5
def test_a_file_as_keras_publishes_it_fills_the_backbone(name, folder):
    top = name == "mobilenet_v2"
    own = KERAS[name][0](include_top=top, weights=None, input_shape=(small(name), small(name), 3))
    random = np.random.default_rng(0)
    for variable in own.variables:
        if len(variable.shape) == 1:  # what Keras starts at zero or one
            variable.assign(variable.numpy() + random.uniform(0.1, 0.5, variable.shape))
    legacy_file(own, folder / weights.CANDIDATES[name][0].file)
    model = imagenet_classifier(name, size_px=small(name)) if top else backbone(name, size_px=small(name))
    for found, expected in zip(model.get_weights(), own.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore")
def test_the_weights_of_another_network_are_refused(folder):
    file = weights.CANDIDATES["vgg19"][0].file
    legacy_file(random_backbone("vgg16", 32), folder / file)
    said = failure(backbone, "vgg19", size_px=32)
    assert said.startswith(f"{folder / file} does not hold the weights of vgg19 (Layer count mismatch")


def dequantised(folder):
    return folder / weights.CANDIDATES["mobilenet_v2"][1].file


@pytest.mark.parametrize("change", ["one layer more", "one layer less", "other widths", "no arrays", "text"])
def test_a_keras_file_of_another_network_is_refused(folder, change):
    path = dequantised(folder)
    base = random_backbone("mobilenet_v2", 32)
    x = keras.layers.GlobalAveragePooling2D()(base.output)
    if change == "text":
        path.write_text("weights")
    elif change == "no arrays":
        h5py.File(path, "w").close()
    elif change == "one layer less":
        base.save_weights(path)
    elif change == "other widths":
        keras.Model(base.input, keras.layers.Dense(999)(x)).save_weights(path)
    else:
        keras.Model(base.input, keras.layers.Dense(5)(keras.layers.Dense(1000)(x))).save_weights(path)
    said = failure(backbone, "mobilenet_v2", size_px=32)
    assert said.startswith(f"{path} does not hold the weights of mobilenet_v2 (") and said.endswith("or remove it")


def test_a_truncated_file_is_refused(folder):
    imagenet_classifier("mobilenet_v2", weights="random", size_px=32).save_weights(dequantised(folder))
    assert backbone("mobilenet_v2", size_px=32)
    content = dequantised(folder).read_bytes()
    for share in (0.1, 0.5, 0.99):
        dequantised(folder).write_bytes(content[: int(share * len(content))])
        assert "does not hold the weights of mobilenet_v2 (" in failure(backbone, "mobilenet_v2", size_px=32)


def test_missing_weights_are_said_before_anything_is_built(folder, monkeypatch):
    monkeypatch.setattr(keras, "Input", None)
    assert failure(backbone, "resnet50") == weights.missing("resnet50")


def test_a_truncated_package_file_is_refused_with_file_and_network(folder):
    path = folder / weights.CANDIDATES[OURS][0].file
    shutil.copyfile(weights.locate(OURS), path.with_suffix(".whole"))
    path.write_bytes(path.with_suffix(".whole").read_bytes()[:10_000_000])
    said = failure(backbone, OURS)
    assert said.startswith(f"{OURS}: {path} is no whole PyTorch file")


# EfficientNet-Lite0 and its package


@pytest.fixture(scope="module")
def arrays():
    return torch_file.read(weights.locate(OURS))


def test_every_array_of_the_package_fills_one_variable(arrays):
    converted = efficientnet.from_torch(arrays)
    model = imagenet_classifier(OURS, weights="random", size_px=32)
    efficientnet.fill(model, converted)
    counters = sum("num_batches_tracked" in name for name in arrays)
    assert len(converted) == len(arrays) - counters == len(model.weights)
    found = {f"{layer.name}/{each.name}": each.numpy() for layer in model.layers for each in layer.variables}
    for name, array in converted.items():
        np.testing.assert_array_equal(found[name], array)


def test_an_array_too_many_too_few_or_of_another_shape_fills_nothing(arrays):
    converted = efficientnet.from_torch(arrays)
    model = imagenet_classifier(OURS, weights="random", size_px=32)
    before = model.get_weights()
    fewer = {name: array for name, array in converted.items() if name != "out/kernel"}
    for changed, said in (
        (fewer, "1 arrays have no partner, such as out/kernel of the network"),
        (converted | {"out/bias": np.zeros(1280)}, "1 arrays have no partner, such as out/bias of the file"),
        (converted | {"logits/bias": np.zeros(999)}, r"logits/bias has shape \(999,\) instead of \(1000,\)"),
    ):
        with pytest.raises(ValueError, match=said):
            efficientnet.fill(model, changed)
    for then, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(then, now)
    with pytest.raises(ValueError, match="no layer for the array _blocks.0._se_reduce.weight"):
        efficientnet.from_torch({"_blocks.0._se_reduce.weight": np.zeros((1, 1, 1, 1))})


class Equations:
    """EfficientNet-Lite0 in numpy, channels first, from PyTorch's arrays and names: no code of the package in it."""

    def __init__(self, arrays):
        self.arrays = arrays

    def convolve(self, x, name, stride):
        kernel = self.arrays[f"{name}.weight"]
        size, side = kernel.shape[-1], x.shape[-1]
        padding = max((-(-side // stride) - 1) * stride + size - side, 0)  # SAME: the odd one comes after
        before = padding // 2
        x = np.pad(x, ((0, 0), (0, 0), *[(before, padding - before)] * 2))
        windows = sliding_window_view(x, (size, size), axis=(2, 3))[:, :, ::stride, ::stride]
        if kernel.shape[1] == 1 < x.shape[1]:
            return np.einsum("bcijkl,ckl->bcij", windows, kernel[:, 0])
        return np.einsum("bcijkl,ockl->boij", windows, kernel, optimize=True)

    def norm(self, x, name):
        gamma, beta, mean, variance = (
            self.arrays[f"{name}.{kind}"][:, None, None] for kind in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta

    def block(self, x, name, stride):
        y = x
        if f"{name}._expand_conv.weight" in self.arrays:
            y = np.clip(self.norm(self.convolve(y, f"{name}._expand_conv", 1), f"{name}._bn0"), 0, 6)
        y = np.clip(self.norm(self.convolve(y, f"{name}._depthwise_conv", stride), f"{name}._bn1"), 0, 6)
        y = self.norm(self.convolve(y, f"{name}._project_conv", 1), f"{name}._bn2")
        return x + y if x.shape == y.shape else y

    def features(self, images):
        x = (images.transpose(0, 3, 1, 2).astype(np.float32) - 127) / 128
        x = np.clip(self.norm(self.convolve(x, "_conv_stem", 2), "_bn0"), 0, 6)
        for block in range(16):
            x = self.block(x, f"_blocks.{block}", 2 if block in (1, 3, 5, 11) else 1)
        return np.clip(self.norm(self.convolve(x, "_conv_head", 1), "_bn1"), 0, 6).transpose(0, 2, 3, 1)


@pytest.mark.parametrize("side", [64, 75])
def test_efficientnets_features_are_those_of_its_equations(arrays, side):
    """At 75 px the paddings of several layers are even, at 64 px none is."""
    same(predict(backbone(OURS, size_px=side), pictures(side)), Equations(arrays).features(pictures(side)))


# On photographs


@pytest.fixture(scope="module")
def daisies(photographs):
    """uint8 (200, 224, 224, 3): the first of the five classes."""
    return np.asarray(data.load("flowers5", 224, quiet=True).images[:200])


@pytest.mark.parametrize("name", backbones.WITH_TOP)
def test_photographs_of_daisies_are_named_daisies(name, daisies):
    if said := weights.missing(name):
        pytest.skip(said)
    classes = imagenet_classifier(name).predict(daisies, batch_size=20, verbose=0).argmax(axis=1)
    assert (classes == 985).mean() >= 0.85


def test_without_its_preprocessing_efficientnet_knows_no_daisy(daisies):
    model = imagenet_classifier(OURS, preprocessing="none")
    assert (predict(model, daisies[:10]).argmax(axis=1) == 985).mean() <= 0.2


def test_mobilenets_features_are_those_of_keras_own_loader(daisies):
    if said := weights.missing("mobilenet_v2"):
        pytest.skip(said)
    own = keras.applications.MobileNetV2(weights=None)
    own.load_weights(weights.locate("mobilenet_v2"))
    images = daisies[:4]
    preprocessed = keras.applications.mobilenet_v2.preprocess_input(images.astype(np.float32))
    features = keras.Model(own.input, own.get_layer("out_relu").output)
    same(predict(backbone("mobilenet_v2"), images), predict(features, preprocessed))
    logits = predict(imagenet_classifier("mobilenet_v2"), images)
    same(scipy.special.softmax(logits, axis=1), predict(own, preprocessed))
