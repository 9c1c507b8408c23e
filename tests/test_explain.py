"""Explanations: each method against its formula, on networks whose answer is known."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

from flowerlib import explain, gradients, maps
from flowerlib.errors import FlowerlibError

SIDE = 32


def network(*, frozen=False, nested=False):
    """Two convolutions, average, two logits; nested: the convolutions in a model of their own."""
    keras.utils.set_random_seed(3)
    pictures = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="pictures")
    x = layers.Rescaling(1 / 255, name="preprocessing")(pictures)
    start = keras.Input((SIDE, SIDE, 3)) if nested else x
    y = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(start)
    y = layers.Conv2D(5, 3, strides=2, padding="same", name="second")(y)
    x = keras.Model(start, y, name="base")(x) if nested else y
    x = layers.Dense(2, name="logits")(layers.GlobalAveragePooling2D(name="pooled")(x))
    model = keras.Model(pictures, x, name="small")
    if frozen:
        for layer in model.layers:
            layer.trainable = False
    return model


def spot_network(top, left, size):
    """Logit 1 is the mean redness of a square, and of nothing else."""
    mask = np.zeros((SIDE, SIDE, 1), np.float32)
    mask[top : top + size, left : left + size] = 1 / size**2
    pictures = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="pictures")
    x = layers.Rescaling(1 / 255, name="preprocessing")(pictures)
    red = layers.Conv2D(1, 1, use_bias=False, name="red")
    x = layers.Flatten()(red(x))
    dense = layers.Dense(2, name="logits")
    model = keras.Model(pictures, dense(x), name="spot")
    red.set_weights([np.array([1, 0, 0], np.float32).reshape(1, 1, 3, 1)])
    dense.set_weights([np.stack([np.zeros(SIDE**2), 8 * mask.ravel()], axis=1), np.zeros(2)])
    return model


PICTURES = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
CLASSES = np.array([0, 1, 1])
SPOT = (8, 16, 8)


@pytest.mark.parametrize("name", explain.METHODS)
def test_a_map_has_the_pictures_size_and_reaches_from_0_to_1(name):
    found = explain.METHODS[name](network(), PICTURES, CLASSES)
    assert found.shape == PICTURES.shape[:3] and found.dtype == np.float32
    assert found.min() >= 0 and set(found.max(axis=(1, 2)).tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("name", sorted(set(explain.METHODS) - {"grad_cam", "grad_cam_plus_plus", "lime"}))
def test_every_method_finds_the_square_that_the_answer_rests_on(name):
    picture = np.full((1, SIDE, SIDE, 3), 255, np.uint8)
    [found] = explain.METHODS[name](spot_network(*SPOT), picture, np.array([1]))
    top, left, size = SPOT
    inside = np.zeros((SIDE, SIDE), bool)
    inside[top : top + size, left : left + size] = True
    assert found[inside].mean() > (1.3 if name == "rise" else 3) * found[~inside].mean()


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_grad_cam_is_its_formula(frozen, nested):
    """Behind an average and a dense layer the gradient is the dense kernel over the number of places."""
    model, flat = network(frozen=frozen, nested=nested), network()
    features = keras.Model(flat.inputs, flat.get_layer("second").output).predict_on_batch(PICTURES)
    kernel = model.get_layer("logits").kernel.numpy()[:, CLASSES].T
    raw = np.maximum(np.einsum("nhwc,nc->nhw", features, kernel / 16**2), 0)
    enlarged = maps.to_unit(gradients._enlarged(raw, SIDE))
    np.testing.assert_allclose(gradients.grad_cam(model, PICTURES, CLASSES), enlarged, atol=1e-4)


def test_grad_cam_plus_plus_is_its_formula():
    model = network()
    features = keras.Model(model.inputs, model.get_layer("second").output).predict_on_batch(PICTURES)
    slope = (model.get_layer("logits").kernel.numpy()[:, CLASSES].T / 16**2)[:, None, None]
    alpha = slope**2 / (2 * slope**2 + features.sum(axis=(1, 2), keepdims=True) * slope**3)
    weights = (alpha * np.maximum(slope, 0) * np.ones_like(features)).sum(axis=(1, 2), keepdims=True)
    raw = np.maximum((weights * features).sum(axis=-1), 0)
    found = gradients.grad_cam_plus_plus(model, PICTURES, CLASSES)
    np.testing.assert_allclose(found, maps.to_unit(gradients._enlarged(raw, SIDE)), atol=1e-3)


def test_integrated_gradients_sum_to_the_logits_difference():
    model = network()
    found = gradients.attributions(model, PICTURES, CLASSES).sum(axis=(1, 2, 3))
    black = np.zeros_like(PICTURES)
    logits = [model.predict_on_batch(each)[np.arange(3), CLASSES] for each in (PICTURES, black)]
    np.testing.assert_allclose(found, logits[0] - logits[1], rtol=0.01)


def test_saliency_is_the_slope_measured_by_small_steps():
    model, label = network(), 1
    [found] = gradients.saliency(model, PICTURES[:1], np.array([label]))
    behind = maps.halves(model)[1]
    numbers = maps.numbers(maps.halves(model)[0], PICTURES[:1])
    slopes = []
    for place in ((3, 5), (10, 18), (25, 30)):
        steps = np.repeat(numbers, 6, axis=0).astype(np.float64)
        for channel, sign in itertools.product(range(3), (-1, 1)):
            steps[2 * channel + (sign > 0), *place, channel] += sign * 1e-2
        logits = np.asarray(behind.predict_on_batch(steps.astype(np.float32)), np.float64)[:, label]
        slopes.append(np.abs(logits[1::2] - logits[::2]).max())
        assert found[place] > 0
    ratios = np.array([found[3, 5], found[10, 18], found[25, 30]]) / slopes
    np.testing.assert_allclose(ratios, ratios[0], rtol=0.05)


@pytest.mark.parametrize("name", ["smooth_grad", "rise"])
def test_the_same_seed_gives_the_same_map_and_another_seed_one_that_is_like_it(name):
    method, picture = explain.METHODS[name], np.full((1, SIDE, SIDE, 3), 255, np.uint8)
    one, again, other = (method(spot_network(*SPOT), picture, np.array([1]), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert name == "smooth_grad" or not np.array_equal(one, other)  # a linear network has one gradient
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.2


def test_a_nested_base_is_explained_like_a_flat_one():
    flat, nested = network(), network(nested=True)
    for name in ("saliency", "integrated_gradients", "occlusion", "grad_cam", "grad_cam_plus_plus"):
        method = explain.METHODS[name]
        np.testing.assert_allclose(
            method(nested, PICTURES, CLASSES), method(flat, PICTURES, CLASSES), atol=1e-4, err_msg=name
        )


@pytest.mark.parametrize(
    ("images", "classes", "said"),
    [
        (PICTURES.astype(np.float32), CLASSES, "pictures float32"),
        (PICTURES[:, :16], CLASSES, r"pictures uint8 \(3, 16, 32, 3\)"),
        (PICTURES[:, :16, :16], CLASSES, "takes pictures of 32 px, not of 16"),
        (PICTURES, np.array([0, 1, 2]), "class 2 is not among the 2"),
        (PICTURES, np.array([0, 1]), "one whole number a picture"),
    ],
)
def test_pictures_and_classes_that_do_not_fit_are_refused(images, classes, said):
    for method in explain.METHODS.values():
        with pytest.raises(FlowerlibError, match=said):
            method(network(), images, classes)


def test_a_layer_without_feature_maps_and_a_model_without_gradients_are_refused():
    for layer in ("logits", "nonsense"):
        with pytest.raises(FlowerlibError, match=f"'{layer}' is no layer with feature maps: one of first, second"):
            gradients.grad_cam(network(), PICTURES, CLASSES, layer=layer)
    with pytest.raises(FlowerlibError, match="bytes is no Keras model and has no gradients"):
        gradients.saliency(b"a quantized model", PICTURES, CLASSES)
