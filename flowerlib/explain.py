"""What in a picture made a network answer as it did: one plain function a method, all of one signature.

Each takes a model, uint8 pictures (n, side, side, 3) and an int class for each, and returns float32 maps
(n, side, side) in [0, 1], the largest value 1; a map that is nowhere above 0 stays 0. Gradients are taken where the
network's own preprocessing ends, because pictures of whole numbers have none.
"""

from collections.abc import Callable, Iterator

import cv2
import keras
import numpy as np
import tensorflow as tf

from flowerlib.errors import FlowerlibError

Method = Callable[[keras.Model, np.ndarray, np.ndarray], np.ndarray]
BATCH = 16  # pictures at a time where gradients are taken
FRONT = ("preprocessing", "centring", "whitening", "rescaling")  # the last layer that turns pictures into numbers


def halves(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """What turns pictures into numbers, and the network behind it; both share the model's layers.

    Raises:
        FlowerlibError: a model without such a layer, or one that is no Keras model (a quantized one has no gradients).
    """
    if not isinstance(model, keras.Model):
        raise FlowerlibError(
            f"{type(model).__name__} is no Keras model and has no gradients: explain the float network"
        )
    names = {layer.name: layer for layer in model.layers}
    front = next((names[name] for name in FRONT if name in names), None)
    if front is None:
        raise FlowerlibError(f"{model.name} has no layer {' or '.join(FRONT)}, where its numbers begin")
    return keras.Model(model.inputs, front.output), keras.Model(front.output, model.outputs)


def saliency(model: keras.Model, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The largest absolute gradient of a pixel's channels (Simonyan et al. 2014, section 3.1)."""
    check(model, images, classes)
    front, behind = halves(model)
    return to_unit(np.abs(_gradients(behind, _numbers(front, images), classes)).max(axis=-1))


def smooth_grad(
    model: keras.Model,
    images: np.ndarray,
    classes: np.ndarray,
    *,
    samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
) -> np.ndarray:
    """Saliency averaged over noisy copies (Smilkov et al. 2017, eq. 1).

    Args:
        model, images, classes: as of every method.
        samples: copies.
        noise: standard deviation, as a share of the picture's range.
        seed: of the noise.
    """
    check(model, images, classes)
    front, behind = halves(model)
    numbers, random = _numbers(front, images), np.random.default_rng(seed)
    axes = tuple(range(1, numbers.ndim))
    scale = noise * (numbers.max(axis=axes, keepdims=True) - numbers.min(axis=axes, keepdims=True))
    total = np.zeros(images.shape[:3], np.float32)
    for _ in range(samples):
        noisy = numbers + scale * random.standard_normal(numbers.shape, dtype=np.float32)
        total += np.abs(_gradients(behind, noisy, classes)).max(axis=-1)
    return to_unit(total)


def attributions(model: keras.Model, images: np.ndarray, classes: np.ndarray, *, steps: int = 64) -> np.ndarray:
    """Integrated gradients from a black picture, signed (Sundararajan et al. 2017, eq. 1).

    Args:
        model, images, classes: as of every method.
        steps: of the integral, at the middles of so many pieces.

    Returns:
        float32 (n, side, side, 3); over a picture they sum to the logit's difference from a black picture's.
    """
    check(model, images, classes)
    front, behind = halves(model)
    numbers, black = _numbers(front, images), _numbers(front, np.zeros_like(images[:1]))
    total = np.zeros_like(numbers)
    for step in range(steps):
        total += _gradients(behind, black + (step + 0.5) / steps * (numbers - black), classes)
    result: np.ndarray = (numbers - black) * total / steps
    return result


def integrated_gradients(model: keras.Model, images: np.ndarray, classes: np.ndarray, *, steps: int = 64) -> np.ndarray:
    """The absolute attribution of a pixel's channels together (Sundararajan et al. 2017)."""
    return to_unit(np.abs(attributions(model, images, classes, steps=steps).sum(axis=-1)))


def grad_cam(model: keras.Model, images: np.ndarray, classes: np.ndarray, *, layer: str | None = None) -> np.ndarray:
    """Feature maps weighted by their mean gradients, where positive (Selvaraju et al. 2017, eq. 1 and 2).

    Args:
        model, images, classes: as of every method.
        layer: a layer that gives feature maps; the last convolution by default.

    Raises:
        FlowerlibError: no such layer, or one without feature maps; and as every method.
    """
    features, gradients = _at(model, images, classes, layer)
    weights = gradients.mean(axis=(1, 2), keepdims=True)
    return to_unit(_enlarged(np.maximum((weights * features).sum(axis=-1), 0), images.shape[1]))


def grad_cam_plus_plus(
    model: keras.Model, images: np.ndarray, classes: np.ndarray, *, layer: str | None = None
) -> np.ndarray:
    """Grad-CAM with a weight for each place, for flowers seen more than once (Chattopadhay et al. 2018, eq. 19).

    Args and errors as ``grad_cam``.
    """
    features, gradients = _at(model, images, classes, layer)
    squares = gradients**2
    below = 2 * squares + features.sum(axis=(1, 2), keepdims=True) * gradients**3
    share = squares / np.where(below != 0, below, 1)
    weights = (share * np.maximum(gradients, 0)).sum(axis=(1, 2), keepdims=True)
    return to_unit(_enlarged(np.maximum((weights * features).sum(axis=-1), 0), images.shape[1]))


def occlusion(
    model: keras.Model, images: np.ndarray, classes: np.ndarray, *, patch: float = 0.2, stride: float = 0.1
) -> np.ndarray:
    """How far the probability falls when a grey patch covers a place (Zeiler and Fergus 2014, section 4.2).

    Args:
        model, images, classes: as of every method.
        patch: side of the patch, as a share of the picture's.
        stride: from one place to the next, likewise.
    """
    check(model, images, classes)
    side = images.shape[1]
    size, step = max(1, round(patch * side)), max(1, round(stride * side))
    places = [(top, left) for top in range(0, side, step) for left in range(0, side, step)]
    result = np.zeros(images.shape[:3], np.float32)
    for image, label, drop in zip(images, classes, result, strict=True):
        whole = _probabilities(model, image[None])[0, label]
        covered = np.repeat(image[None], len(places), axis=0)
        for copy, (top, left) in zip(covered, places, strict=True):
            copy[top : top + size, left : left + size] = 127
        counts = np.zeros_like(drop)
        for fall, (top, left) in zip(whole - _probabilities(model, covered)[:, label], places, strict=True):
            drop[top : top + size, left : left + size] += fall
            counts[top : top + size, left : left + size] += 1
        drop /= counts
    return to_unit(np.maximum(result, 0))


def rise(
    model: keras.Model,
    images: np.ndarray,
    classes: np.ndarray,
    *,
    masks: int = 1000,
    cells: int = 7,
    kept: float = 0.5,
    seed: int = 0,
) -> np.ndarray:
    """Mean probability behind the random masks that leave a pixel to be seen (Petsiuk et al. 2018, eq. 4).

    The paper's eq. 6 divides by how often a pixel should be seen; here by how often it was, which is less noisy.

    Args:
        model, images, classes: as of every method.
        masks: how many; all pictures are seen behind the same ones.
        cells: in a row of the coarse grid that a mask is enlarged from.
        kept: share of the cells that stay.
        seed: of the masks.
    """
    check(model, images, classes)
    side, random = images.shape[1], np.random.default_rng(seed)
    total, seen = np.zeros(images.shape[:3], np.float32), np.zeros(images.shape[1:3], np.float32)
    for start in range(0, masks, 64):
        drawn = np.stack([_mask(random, side, cells, kept) for _ in range(min(64, masks - start))])
        seen += drawn.sum(axis=0)
        for image, label, map_ in zip(images, classes, total, strict=True):
            behind = (drawn[..., None] * image).astype(np.uint8)
            map_ += np.tensordot(_probabilities(model, behind)[:, label].astype(np.float32), drawn, axes=1)
    total /= np.maximum(seen, 1e-6)
    return to_unit(total - total.min(axis=(1, 2), keepdims=True))


def _mask(random: np.random.Generator, side: int, cells: int, kept: float) -> np.ndarray:
    """A coarse grid of zeros and ones, enlarged and moved by up to a cell; float32 (side, side) in [0, 1]."""
    cell = -(-side // cells)
    grid = (random.random((cells + 1, cells + 1)) < kept).astype(np.float32)
    large = cv2.resize(grid, ((cells + 1) * cell,) * 2, interpolation=cv2.INTER_LINEAR)
    top, left = random.integers(0, cell, 2)
    return large[top : top + side, left : left + side]


def check(model: keras.Model, images: np.ndarray, classes: np.ndarray) -> None:
    """Refuse pictures and classes that the model does not take, in one line.

    Args:
        model: uint8 pictures -> logits, with gradients.
        images: uint8 (n, side, side, 3).
        classes: int (n,).

    Raises:
        FlowerlibError: what does not fit.
    """
    halves(model)
    wanted, count = model.inputs[0].shape[1], model.outputs[0].shape[-1]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or images.shape[1] != images.shape[2]:
        raise FlowerlibError(f"pictures {images.dtype} {images.shape}: give uint8 (n, side, side, 3)")
    if wanted not in (None, images.shape[1]):
        raise FlowerlibError(f"{model.name} takes pictures of {wanted} px, not of {images.shape[1]}")
    labels = np.asarray(classes)
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise FlowerlibError(f"classes {labels.dtype} {labels.shape}: give one whole number a picture")
    outside = labels[(labels < 0) | (labels >= count)]
    if len(outside):
        raise FlowerlibError(f"class {outside[0]} is not among the {count} of {model.name}, counted from 0")


def _numbers(front: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.concatenate([np.asarray(front.predict_on_batch(some)) for some in _batches(images)])


def _batches(images: np.ndarray, size: int = BATCH) -> Iterator[np.ndarray]:
    for start in range(0, len(images), size):
        yield images[start : start + size]


def _gradients(behind: keras.Model, numbers: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Gradient of each picture's own logit by its numbers, float32 (n, side, side, 3)."""
    parts = []
    for some, labels in zip(_batches(numbers), _batches(np.asarray(classes)), strict=True):
        x = tf.convert_to_tensor(some)
        with tf.GradientTape() as tape:
            tape.watch(x)
            logits = tf.gather(behind(x, training=False), labels, axis=1, batch_dims=1)
        parts.append(tape.gradient(logits, x).numpy())
    return np.concatenate(parts)


def _at(
    model: keras.Model, images: np.ndarray, classes: np.ndarray, layer: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Feature maps of a layer and each picture's gradients by them, float32 (n, rows, columns, channels)."""
    check(model, images, classes)
    front, _ = halves(model)
    watched = keras.Model(front.outputs, [_feature_layer(model, layer).output, *model.outputs])
    features, gradients = [], []
    for some, labels in zip(_batches(_numbers(front, images)), _batches(np.asarray(classes)), strict=True):
        x = tf.convert_to_tensor(some)
        with tf.GradientTape() as tape:
            tape.watch(x)  # so that everything behind it is recorded, frozen layers too
            found, logits = watched(x, training=False)
            own = tf.gather(logits, labels, axis=1, batch_dims=1)
        features.append(found.numpy())
        gradients.append(tape.gradient(own, found).numpy())
    return np.concatenate(features), np.concatenate(gradients)


def _feature_layer(model: keras.Model, name: str | None) -> keras.layers.Layer:
    known = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    if name is None:
        if not known:
            raise FlowerlibError(f"{model.name} has no convolution to look at")
        return known[-1]
    named = {layer.name: layer for layer in model.layers}
    if name not in named or len(named[name].output.shape) != 4:
        raise FlowerlibError(
            f"{model.name}: '{name}' is no layer with feature maps: one of {', '.join(x.name for x in known)}"
        )
    return named[name]


def _enlarged(maps: np.ndarray, side: int) -> np.ndarray:
    return np.stack([cv2.resize(each, (side, side), interpolation=cv2.INTER_LINEAR) for each in maps])


def to_unit(values: np.ndarray) -> np.ndarray:
    """Maps of which each one's largest value is 1, float32; of float (n, side, side) from 0."""
    largest = values.max(axis=(1, 2), keepdims=True)
    result: np.ndarray = (values / np.where(largest > 0, largest, 1)).astype(np.float32)
    return result


def _probabilities(model: keras.Model, images: np.ndarray, batch: int = 64) -> np.ndarray:
    logits = np.concatenate([np.asarray(model.predict_on_batch(some)) for some in _batches(images, batch)])
    return np.asarray(tf.nn.softmax(logits))


METHODS: dict[str, Method] = {
    "saliency": saliency,
    "smooth_grad": smooth_grad,
    "integrated_gradients": integrated_gradients,
    "grad_cam": grad_cam,
    "grad_cam_plus_plus": grad_cam_plus_plus,
    "occlusion": occlusion,
    "rise": rise,
}
