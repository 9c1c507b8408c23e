"""The networks against the reports' tables, layer by layer and parameter by parameter."""

import keras
import numpy as np
import pytest
import scipy.special

from flowerlib.models import classifiers, summary

# Table 1 of Hughes 2024, from its rescaling on
HUGHES_TABLE_1 = [
    ("Rescaling", "96 x 96 x 3", 0),
    ("Conv2D", "96 x 96 x 32", 896),
    ("Conv2D", "96 x 96 x 32", 9_248),
    ("BatchNormalization", "96 x 96 x 32", 128),
    ("MaxPooling2D", "48 x 48 x 32", 0),
    ("Conv2D", "48 x 48 x 64", 18_496),
    ("Conv2D", "48 x 48 x 64", 36_928),
    ("BatchNormalization", "48 x 48 x 64", 256),
    ("MaxPooling2D", "24 x 24 x 64", 0),
    ("Conv2D", "24 x 24 x 128", 73_856),
    ("Conv2D", "24 x 24 x 128", 147_584),
    ("Conv2D", "24 x 24 x 128", 147_584),
    ("BatchNormalization", "24 x 24 x 128", 512),
    ("MaxPooling2D", "12 x 12 x 128", 0),
    ("Conv2D", "12 x 12 x 256", 295_168),
    ("Conv2D", "12 x 12 x 256", 590_080),
    ("Conv2D", "12 x 12 x 256", 590_080),
    ("BatchNormalization", "12 x 12 x 256", 1_024),
    ("MaxPooling2D", "6 x 6 x 256", 0),
    ("Dropout", "6 x 6 x 256", 0),
    ("Flatten", "9216", 0),
    ("Dense", "128", 1_179_776),
    ("Dense", "128", 16_512),
    ("Dense", "102", 13_158),
]
# Table 2 of Shen 2025: it lists neither batch norms nor activations, nor the flattening
SHEN_TABLE_2 = [
    ("Conv2D", "96 x 96 x 16"),
    ("MaxPooling2D", "48 x 48 x 16"),
    ("Conv2D", "48 x 48 x 32"),
    ("MaxPooling2D", "24 x 24 x 32"),
    ("Conv2D", "24 x 24 x 64"),
    ("MaxPooling2D", "12 x 12 x 64"),
    ("Conv2D", "12 x 12 x 128"),
    ("MaxPooling2D", "6 x 6 x 128"),
    ("Conv2D", "6 x 6 x 256"),
    ("MaxPooling2D", "3 x 3 x 256"),
    ("Dense", "128"),
    ("Dense", "512"),
]
# Qu's public code, baseline_model: the report's figure did not survive
QU_BASELINE = [
    ("Conv2D", "32 x 32 x 16", 448),
    ("MaxPooling2D", "16 x 16 x 16", 0),
    ("Dropout", "16 x 16 x 16", 0),
    ("Conv2D", "16 x 16 x 32", 4_640),
    ("MaxPooling2D", "8 x 8 x 32", 0),
    ("Dropout", "8 x 8 x 32", 0),
    ("Flatten", "2048", 0),
    ("Dense", "1024", 2_098_176),
    ("Dropout", "1024", 0),
    ("Dense", "102", 104_550),
]
SMALL = {"widths": (4, 4, 4, 4, 8)}


def hughes(classes=10, size_px=32, **options):
    return classifiers.hughes_cnn(classes, size_px, **options)


def shen(classes=10, size_px=32, **options):
    return classifiers.shen_cnn(classes, size_px, **(SMALL | options))


def of_type(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def rows(model, *kinds):
    table = summary.layer_table(model)
    return [row for row in table.itertuples(index=False, name=None) if not kinds or row[0] in kinds]


def randomized(model):
    """The model with every parameter drawn, biases and norms too."""
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(random.normal(size=variable.shape))
    return model


def penalty(model):
    return float(sum(model.losses)) if model.losses else 0.0


def sum_of_squares(variables):
    return sum(float(np.square(np.asarray(variable, dtype=np.float64)).sum()) for variable in variables)


def shen_parameters(widths, classes, last_side=3):
    """Trainable parameters in closed form: weights and biases, and two numbers a channel for each norm."""
    channels = [3, *widths]
    convolutions = sum(9 * a * b + b for a, b in zip(channels, widths, strict=False))
    dense = [last_side**2 * widths[-1], 128, 512, classes]
    hidden = sum(a * b + b for a, b in zip(dense, dense[1:], strict=False))
    return convolutions + hidden + 2 * (sum(widths) + 128)


# Hughes


def test_the_hughes_network_is_table_1_row_by_row():
    model = classifiers.hughes_cnn(102)
    first, *others = rows(model)
    assert first == ("InputLayer", "96 x 96 x 3", 0)
    assert others == HUGHES_TABLE_1


def test_the_hughes_network_has_the_reports_parameters():
    model = classifiers.hughes_cnn(102)
    assert model.count_params() == 3_121_286
    assert summary.parameters(model) == (3_121_286, 3_120_326)


def test_the_coarse_hughes_network_differs_in_its_last_layer_alone():
    model = classifiers.hughes_cnn(10)
    fewer = (128 * 102 + 102) - (128 * 10 + 10)
    assert model.count_params() == 3_121_286 - fewer == 3_109_418
    assert rows(model)[1:-1] == HUGHES_TABLE_1[:-1]
    assert rows(model)[-1] == ("Dense", "10", 1_290)


def test_hughes_l2_is_that_of_the_two_hidden_dense_layers():
    model = randomized(hughes(l2=0.03))
    kernels = [layer.kernel for layer in of_type(model, keras.layers.Dense)[:2]]
    assert penalty(model) == pytest.approx(0.03 * sum_of_squares(kernels), rel=1e-5)
    assert penalty(randomized(hughes(l2=0.0))) == 0


def test_hughes_defaults_are_the_reports():
    model = hughes()
    assert [float(layer.kernel_regularizer.l2) for layer in of_type(model, keras.layers.Dense)[:2]] == [
        pytest.approx(0.1)
    ] * 2
    assert [layer.rate for layer in of_type(model, keras.layers.Dropout)] == [0.1]
    assert {layer.activation.__name__ for layer in of_type(model, keras.layers.Conv2D)} == {"relu"}


def test_hughes_options_change_what_they_say():
    model = hughes(dropout=0.4, norm_momentum=0.9)
    assert [layer.rate for layer in of_type(model, keras.layers.Dropout)] == [0.4]
    assert [layer.momentum for layer in of_type(model, keras.layers.BatchNormalization)] == [0.9] * 4


# Shen


@pytest.mark.parametrize(("classes", "count"), [(10, 760_074), (102, 807_270)])
def test_the_shen_network_has_the_reports_trainable_parameters(classes, count):
    model = classifiers.shen_cnn(classes)
    everything, trainable = summary.parameters(model)
    assert trainable == count == shen_parameters((16, 32, 64, 128, 256), classes)
    assert everything - trainable == 2 * (16 + 32 + 64 + 128 + 256 + 128)  # the running statistics of its norms


@pytest.mark.parametrize("classes", [10, 102])
def test_the_shen_network_is_table_2_row_by_row(classes):
    listed = rows(classifiers.shen_cnn(classes), "Conv2D", "MaxPooling2D", "Dense")
    assert [row[:2] for row in listed] == [*SHEN_TABLE_2, ("Dense", str(classes))]


def test_shen_kernels_are_3_with_stride_1_and_padding():
    for layer in of_type(classifiers.shen_cnn(10), keras.layers.Conv2D):
        assert (layer.kernel_size, layer.strides, layer.padding) == ((3, 3), (1, 1), "same")


def test_shen_norms_follow_the_convolutions_and_the_first_dense_layer_with_pytorchs_values():
    kinds = [type(layer).__name__ for layer in shen().layers]
    before = [kinds[i - 1] for i, kind in enumerate(kinds) if kind == "BatchNormalization"]
    assert before == ["Conv2D"] * 5 + ["Dense"]
    for norm in of_type(shen(), keras.layers.BatchNormalization):
        assert (norm.momentum, norm.epsilon) == (0.9, 1e-5)


@pytest.mark.parametrize("classes", [10, 102])
def test_shen_widths_of_table_3_double_the_convolutions(classes):
    widths = (32, 64, 128, 256, 512)
    model = classifiers.shen_cnn(classes, widths=widths)
    assert [layer.filters for layer in of_type(model, keras.layers.Conv2D)] == list(widths)
    assert summary.parameters(model)[1] == shen_parameters(widths, classes)


def test_shen_without_batch_norm_has_none_and_that_many_parameters_less():
    model = classifiers.shen_cnn(10, batch_norm=False)
    assert of_type(model, keras.layers.BatchNormalization) == []
    assert summary.parameters(model) == (760_074 - 2 * 624, 760_074 - 2 * 624)


def test_shen_dropout_is_that_of_the_two_hidden_dense_layers():
    kinds = [(type(layer).__name__, getattr(layer, "rate", None)) for layer in shen(dropout=0.3).layers]
    assert [kind for kind in kinds if kind[0] == "Dropout"] == [("Dropout", 0.3)] * 2
    assert kinds[-1][0] == "Dense" and kinds[-2] == ("Dropout", 0.3)


def test_dropouts_generators_are_not_counted_as_parameters():
    assert summary.parameters(shen(dropout=0.3)) == summary.parameters(shen(dropout=0.0))


@pytest.mark.parametrize("weight_decay", [0.001, 0.4])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_shen_weight_decay_is_half_of_it_times_the_squares_of_all_parameters(weight_decay, batch_norm):
    model = randomized(shen(weight_decay=weight_decay, batch_norm=batch_norm))
    squares = sum_of_squares(model.trainable_variables)
    assert penalty(model) == pytest.approx(weight_decay / 2 * squares, rel=1e-5)


def test_shen_without_weight_decay_has_no_penalty():
    assert penalty(randomized(shen(weight_decay=0))) == 0


@pytest.fixture(scope="module")
def sharing():
    """A Shen network that ends in a softmax, pictures, and the logits below the softmax."""
    model = randomized(shen(6, softmax=True, weight_decay=0, batch_norm=False))
    pictures = np.random.default_rng(1).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
    model.get_layer("logits").kernel.assign(model.get_layer("logits").kernel / 1e5)  # logits of a few units
    below = keras.Model(model.input, model.get_layer("logits").output)
    return model, pictures, np.asarray(below.predict_on_batch(pictures), dtype=np.float64)


def test_shen_with_a_softmax_gives_the_shares_of_its_logits(sharing):
    model, pictures, logits = sharing
    shares = np.asarray(model.predict_on_batch(pictures))
    assert 1 < np.abs(logits).max() < 100
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(shares, scipy.special.softmax(logits, axis=1), atol=1e-5)


@pytest.mark.parametrize("soft", [False, True])
def test_the_loss_of_a_shen_network_with_a_softmax_is_that_of_a_second_softmax(sharing, soft):
    """As PyTorch's cross-entropy; Keras's own would see through a softmax that is the last operation."""
    model, pictures, logits = sharing
    labels = np.arange(9) % 6
    kind = keras.losses.CategoricalCrossentropy if soft else keras.losses.SparseCategoricalCrossentropy
    model.compile(keras.optimizers.SGD(0.0), kind(from_logits=True))
    targets = np.eye(6)[labels] if soft else labels
    double = -scipy.special.log_softmax(scipy.special.softmax(logits, axis=1), axis=1)[np.arange(9), labels].mean()
    single = -scipy.special.log_softmax(logits, axis=1)[np.arange(9), labels].mean()
    assert abs(double - single) > 0.1
    assert model.test_on_batch(pictures, targets) == pytest.approx(double, rel=1e-5)
    assert model.train_on_batch(pictures, targets) == pytest.approx(double, rel=1e-5)


# Qu


def test_the_qu_network_is_the_public_codes_row_by_row_with_its_parameters():
    model = classifiers.qu_cnn(102)
    assert rows(model)[2:] == QU_BASELINE
    assert rows(model)[:2] == [("InputLayer", "32 x 32 x 3", 0), ("Rescaling", "32 x 32 x 3", 0)]
    assert summary.parameters(model) == (2_207_814, 2_207_814)
    assert [layer.rate for layer in of_type(model, keras.layers.Dropout)] == [0.25] * 3


# The residual network


def residual_parameters(widths, blocks, classes):
    """Trainable parameters in closed form: convolutions without bias, and two numbers a channel for each norm."""
    before, count = widths[0] // 2, 27 * (widths[0] // 2) + widths[0]
    for width, several in zip(widths, blocks, strict=True):
        count += 9 * before * width + (2 * several - 1) * 9 * width**2 + 2 * several * 2 * width
        count += before * width + 2 * width if before != width else 0  # the shortcut
        before = width
    return count + before * classes + classes


def test_the_residual_network_has_its_parameters():
    model = classifiers.residual_cnn(102)
    everything, trainable = summary.parameters(model)
    assert everything == 6_416_710
    assert trainable == residual_parameters((64, 128, 256, 512), (1, 2, 2, 1), 102)
    norms = of_type(model, keras.layers.BatchNormalization)
    assert everything - trainable == 2 * sum(norm.gamma.shape[0] for norm in norms)  # running statistics


@pytest.mark.parametrize(("side", "sides"), [(64, [32, 16, 8, 4]), (80, [40, 20, 10, 5]), (50, [25, 13, 7, 4])])
def test_each_stage_of_the_residual_network_halves_the_side_of_a_picture_of_any_size(side, sides):
    model = classifiers.residual_cnn(102)
    assert model.input_shape == (None, None, None, 3)
    sums = [layer.output for layer in of_type(model, keras.layers.Add)]
    found = keras.Model(model.input, [*sums, model.output]).compute_output_shape((2, side, side, 3))
    widths, stages = (64, 128, 256, 512), (0, 1, 1, 2, 2, 3)
    assert found[:-1] == [(2, sides[stage], sides[stage], widths[stage]) for stage in stages]
    assert found[-1] == (2, 102)


def test_one_residual_network_names_pictures_of_two_sizes():
    model = randomized(classifiers.residual_cnn(5, widths=(4, 8), blocks=(1, 1)))
    for side in (32, 48):
        pictures = np.random.default_rng(side).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
        assert np.asarray(model.predict_on_batch(pictures)).shape == (3, 5)


def test_a_residual_block_starts_as_its_shortcut():
    """Its last norm starts at zero, so the sum is the shortcut: here the block's own input (Goyal et al. 2017)."""
    model = classifiers.residual_cnn(5, widths=(8, 8), blocks=(1, 2))
    last = of_type(model, keras.layers.Add)[-1]
    both = keras.Model(model.input, [*last.input, last.output])
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    shortcut, convolved, total = (np.asarray(values) for values in both.predict_on_batch(pictures))
    assert shortcut.any() and not convolved.any()
    np.testing.assert_array_equal(total, shortcut)


# Operations


def test_the_operations_of_the_hughes_network_are_those_of_table_1_by_hand():
    operations = 0
    for layer, shape, parameters in HUGHES_TABLE_1:
        *sides, channels = (int(side) for side in shape.split(" x "))
        if layer in ("Conv2D", "Dense"):  # each weight but the biases multiplies and adds once at every place
            operations += 2 * int(np.prod(sides)) * (parameters - channels)
    assert summary.gflops(classifiers.hughes_cnn(102), 96) == pytest.approx(operations / 1e9)


def test_the_operations_of_a_residual_network_grow_with_the_area_and_a_whitenings_are_counted():
    residual = classifiers.residual_cnn(102)
    dense = 2 * 512 * 102 / 1e9
    one, two = (summary.gflops(residual, side) - dense for side in (64, 128))
    assert two == pytest.approx(4 * one)
    plain, whitened = (summary.gflops(classifiers.qu_cnn(4, 16, whitening_rank=rank), 16) for rank in (0, 7))
    assert whitened - plain == pytest.approx(2 * 2 * 7 * 16 * 16 * 3 / 1e9)  # to the components and back


# All


@pytest.mark.parametrize("build", [hughes, shen])
def test_pictures_go_in_as_bytes_and_logits_come_out(build):
    model = randomized(build(7, 48))
    assert (model.input_shape, model.inputs[0].dtype) == ((None, 48, 48, 3), "uint8")
    pictures = np.random.default_rng(1).integers(0, 256, (5, 48, 48, 3), dtype=np.uint8)
    found = np.asarray(model.predict_on_batch(pictures))
    assert found.shape == (5, 7) and found.dtype == np.float32
    assert (found < 0).any() and (np.abs(found.sum(axis=1) - 1) > 1e-3).all()
    assert model.layers[-1].activation is keras.activations.linear


@pytest.mark.parametrize("build", [hughes, shen])
def test_pictures_are_scaled_to_one(build):
    model = build()
    scaled = keras.Model(model.input, model.get_layer("rescaling").output)
    pictures = np.full((1, 32, 32, 3), 255, dtype=np.uint8)
    pictures[0, 0, 0] = (0, 51, 102)
    values = np.asarray(scaled.predict_on_batch(pictures))
    assert values[0, 0, 0] == pytest.approx([0, 0.2, 0.4]) and values[0, 1:] == pytest.approx(1)


@pytest.mark.parametrize("name", classifiers.BUILDERS)
def test_every_builder_takes_classes_and_size_and_bears_its_name(name):
    model = classifiers.BUILDERS[name](3, 64)
    side = None if name == "residual_cnn" else 64  # it takes pictures of any size
    assert model.name == name and model.input_shape == (None, side, side, 3) and model.output_shape == (None, 3)


def test_a_layer_table_adds_up_to_the_models_parameters():
    for model in (hughes(), shen(dropout=0.2), classifiers.qu_cnn(10), classifiers.residual_cnn(10)):
        assert summary.layer_table(model)["parameters"].sum() == summary.parameters(model)[0]
