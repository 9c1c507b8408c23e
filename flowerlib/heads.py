"""Many single dense layers trained at once on fixed features: learning rate by momentum, over many draws of the parts.

Each step of SGD moves the weights of a head by a sum of training photographs, each times a number. So a head is kept
as its first weights and one coefficient a training photograph and class, and all that a step has to know of the
photographs is ``gram``, their inner products. For 700 photographs of 1,280 features that takes half the memory of
weights and a quarter of the arithmetic, and rounds less. The settings of a draw are columns of one matrix product.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from flowerlib import splits
from flowerlib.style import require

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
TINY = np.float32(1e-12)  # lost beside a coefficient, whose last digit is worth more
FORGET = 8  # steps between two sweeps of velocities that decay towards nothing


@dataclass(frozen=True)
class Draw:
    """Photographs drawn into three parts, as features.

    Attributes:
        train_x, val_x, test_x: float32 (photographs, features).
        train_y, val_y, test_y: int (photographs,), in 0 ... classes - 1.
        seed: of the draw, of the first weights and of the order of the batches.
    """

    train_x: Floats
    train_y: Ints
    val_x: Floats
    val_y: Ints
    test_x: Floats
    test_y: Ints
    seed: int


@dataclass(frozen=True)
class Heads:
    """What is kept of every head, by draw and setting.

    Attributes:
        learning_rates: float64 (settings,).
        momenta: float64 (settings,).
        best_epoch: int64 (draws, settings), from 1; the first with the highest validation accuracy.
        val_accuracy: float64 (draws, settings), of that epoch, in [0, 1].
        train_loss: float64 (draws, settings), cross-entropy in nats after the last epoch; NaN where training diverged.
        predictions: int64 (draws, settings, test photographs), of that best epoch.
        kernels: float32 (draws, settings, features, classes), of that best epoch.
        biases: float32 (draws, settings, classes), of that best epoch.
    """

    learning_rates: NDArray[np.float64]
    momenta: NDArray[np.float64]
    best_epoch: Ints
    val_accuracy: NDArray[np.float64]
    train_loss: NDArray[np.float64]
    predictions: Ints
    kernels: Floats
    biases: Floats


def draw(features: ArrayLike, labels: ArrayLike, seed: int) -> Draw:
    """Draw 70, 15 and 15 % of every class (Ash et al. 2022, data pre-processing).

    Args:
        features: float (photographs, features), finite.
        labels: int (photographs,), in 0 ... classes - 1.
        seed: of the draw and of the training on it.

    Raises:
        FlowerlibError: unequal lengths, or features that are not finite.
    """
    x, y = np.asarray(features, dtype=np.float32), np.asarray(labels, dtype=np.int64)
    require(x.ndim == 2 and y.shape == x.shape[:1], f"draw: features {x.shape}, labels {y.shape}: give one row a label")
    require(np.isfinite(x).all(), "draw: features that are not finite: leave those photographs out")
    train, val, test = (ids - 1 for ids in splits.stratified(y, seed))
    return Draw(x[train], y[train], x[val], y[val], x[test], y[test], seed)


def grid(learning_rates: Sequence[float], momenta: Sequence[float]) -> tuple[list[float], list[float]]:
    """Every rate with every momentum, as ``train`` takes them: the momenta of the first rate, of the second, …"""
    pairs = [(rate, momentum) for rate in learning_rates for momentum in momenta]
    return [rate for rate, _ in pairs], [momentum for _, momentum in pairs]


def train(
    draws: Sequence[Draw],
    learning_rates: Sequence[float],
    momenta: Sequence[float],
    *,
    epochs: int = 100,
    batch_size: int = 32,
    decay: float = 1.0,
    threads: int | None = None,
) -> Heads:
    """Train one head a draw and setting by SGD with momentum, and keep its best epoch (Ash et al. 2022, model results).

    v = momentum v - rate gradient, w = w + v, as Keras's ``SGD``; weights are Glorot-uniform and biases 0 at first; the
    loss is the mean softmax cross-entropy of a batch, the last of an epoch being smaller. But for rounding, a head
    depends on its draw and setting alone, not on what is trained beside it. A head that diverged goes on as NaN and, as
    in Keras, names the first class.

    Args:
        draws: one or more, with as many photographs in each part.
        learning_rates: (settings,), 0 or more.
        momenta: (settings,), 0 to 1, each with the rate at its place; ``grid`` makes all pairs.
        epochs: of every head.
        batch_size: photographs a step.
        decay: rate and momentum are multiplied by it after every epoch; above 0, at most 1.
        threads: draws trained at a time; None for one a core. It changes no digit.

    Raises:
        FlowerlibError: no draws or settings, draws of unequal sizes, or a number outside its range.
    """
    rates, velocities = np.asarray(learning_rates, dtype=np.float64), np.asarray(momenta, dtype=np.float64)
    _check(draws, rates, velocities, epochs, batch_size)
    require(0 < decay <= 1, f"heads: decay {decay:g}: give one above 0 and at most 1")
    classes = _classes(draws)
    one = partial(
        _train, rates=rates, momenta=velocities, epochs=epochs, batch_size=batch_size, decay=decay, classes=classes
    )
    # The products of a draw are too small to be worth sharing out among threads: whole draws are.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        kept = list(pool.map(one, draws))
    return Heads(rates, velocities, *(np.stack(values) for values in zip(*kept, strict=True)))


def _check(draws: Sequence[Draw], rates: np.ndarray, momenta: np.ndarray, epochs: int, batch_size: int) -> None:
    require(draws, "heads: no draws: give one or more")
    sizes = {(each.train_x.shape, each.val_x.shape, each.test_x.shape) for each in draws}
    require(len(sizes) == 1, f"heads: draws of {len(sizes)} sizes: give as many photographs and features in each")
    fits = rates.ndim == 1 and rates.size and rates.shape == momenta.shape
    require(fits, f"heads: rates {rates.shape}, momenta {momenta.shape}: give one of each a setting")
    require((rates >= 0).all(), f"heads: learning rate {rates.min():g}: give 0 or more")
    good = ((momenta >= 0) & (momenta <= 1)).all()
    require(good, f"heads: momenta from {momenta.min():g} to {momenta.max():g}: give 0 to 1")
    require(epochs >= 1 and batch_size >= 1, f"heads: {epochs} epochs, batches of {batch_size}: give 1 or more of each")


def _classes(draws: Sequence[Draw]) -> int:
    return 1 + max(int(y.max()) for each in draws for y in (each.train_y, each.val_y, each.test_y))


def _start(draw: Draw, classes: int, epochs: int) -> tuple[Floats, Iterator[Ints]]:
    """First weights (features, classes), Glorot and Bengio 2010, eq. 16; and the order of the photographs by epoch."""
    random = np.random.default_rng([draw.seed, 1])  # the draw itself took the stream of the seed alone
    features = draw.train_x.shape[1]
    limit = (6 / (features + classes)) ** 0.5
    kernel = random.uniform(-limit, limit, (features, classes)).astype(np.float32)
    return kernel, (random.permutation(len(draw.train_x)) for _ in range(epochs))


def _train(
    draw: Draw, *, rates: np.ndarray, momenta: np.ndarray, epochs: int, batch_size: int, decay: float, classes: int
) -> tuple[np.ndarray, ...]:
    """The fields of ``Heads`` for one draw. Arrays end in (classes, settings): reductions run over whole rows."""
    kernel, orders = _start(draw, classes, epochs)
    parts = {"train": draw.train_x, "val": draw.val_x, "test": draw.test_x}
    grams = {part: x @ draw.train_x.T + 1 for part, x in parts.items()}  # 1: each photograph moves the biases too
    first = {part: x @ kernel for part, x in parts.items()}
    state = np.zeros((2, len(draw.train_x), classes, rates.size), np.float32)
    weights, best = state[0], np.zeros_like(state[0])  # a coefficient a photograph and class
    hits, best_epoch = np.full(rates.size, -1), np.zeros(rates.size, np.int64)
    with np.errstate(all="ignore"):  # of heads that diverge
        for epoch, order in enumerate(orders, 1):
            decayed = decay ** (epoch - 1)
            how = (rates * decayed).astype(np.float32), (momenta * decayed).astype(np.float32), batch_size
            _epoch((grams["train"][order], first["train"][order], draw.train_y[order]), order, state, *how)
            right = _logits(grams["val"], first["val"], weights).argmax(axis=1) == draw.val_y[:, None]
            better = right.sum(axis=0) > hits
            hits, best_epoch = np.maximum(hits, right.sum(axis=0)), np.where(better, epoch, best_epoch)
            np.copyto(best, weights, where=better)
        loss = _loss(_logits(grams["train"], first["train"], weights), draw.train_y)
        predictions = _logits(grams["test"], first["test"], best).argmax(axis=1)
        kernels = kernel[..., None] + _times(draw.train_x.T, best)
    return best_epoch, hits / len(draw.val_y), loss, predictions.T, kernels.transpose(2, 0, 1), best.sum(axis=0).T


def _epoch(
    shown: tuple[Floats, Floats, Ints], order: Ints, state: Floats, rates: Floats, momenta: Floats, batch_size: int
) -> None:
    """All steps of one epoch, on weights and velocity in place; what is shown stands in the epoch's order."""
    (gram, first, labels), (weights, velocity) = shown, state
    for step, begin in enumerate(range(0, len(order), batch_size)):
        batch = slice(begin, begin + batch_size)
        errors = _logits(gram[batch], first[batch], weights)
        _to_errors(errors, labels[batch])
        errors *= rates / len(errors)
        velocity *= momenta
        velocity[order[batch]] -= errors
        weights += velocity
        if step % FORGET == 0:  # or they end as denormal numbers, which many processors take a hundred times longer for
            velocity += TINY
            velocity -= TINY


def _times(matrix: Floats, weights: Floats) -> Floats:
    """(m, photographs) times (photographs, classes, settings) in one product."""
    return (matrix @ weights.reshape(len(weights), -1)).reshape(len(matrix), *weights.shape[1:])


def _logits(gram: Floats, first: Floats, weights: Floats) -> Floats:
    """Logits (m, classes, settings): those of the first weights, and what the coefficients add."""
    logits = _times(gram, weights)
    logits += first[..., None]
    return logits


def _to_errors(logits: Floats, labels: Ints) -> None:
    """Turn logits into the gradient of the cross-entropy, softmax minus label, in place."""
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    logits[np.arange(len(labels)), labels] -= 1


def _loss(logits: Floats, labels: Ints) -> NDArray[np.float64]:
    """Mean cross-entropy in nats, (settings,); NaN where it is no number."""
    logits -= logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]
    means = losses.mean(axis=0, dtype=np.float64)
    return np.where(np.isfinite(means), means, np.nan)


def fit_one(draw: Draw, learning_rate: float, momentum: float, *, epochs: int = 100, batch_size: int = 32) -> Heads:
    """One head of ``train`` as Keras's ``fit`` trains it, from the same weights in the same order: slow, to check by.

    Args:
        draw: of the photographs.
        learning_rate: 0 or more.
        momentum: 0 to 1.
        epochs: of the training.
        batch_size: photographs a step.

    Returns:
        As ``train`` with one draw and one setting.
    """
    import keras  # the sweep itself needs no TensorFlow

    kernel, orders = _start(draw, _classes([draw]), epochs)
    model = keras.Sequential([keras.Input(kernel.shape[:1]), keras.layers.Dense(kernel.shape[1])])
    model.set_weights([kernel, np.zeros(kernel.shape[1])])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(learning_rate, float(momentum)), loss)
    hits, best_epoch, best = -1, 0, model.get_weights()
    for epoch, order in enumerate(orders, 1):
        model.fit(draw.train_x[order], draw.train_y[order], batch_size, shuffle=False, verbose=0)
        right = int((model.predict(draw.val_x, verbose=0).argmax(axis=1) == draw.val_y).sum())
        if right > hits:
            hits, best_epoch, best = right, epoch, model.get_weights()
    loss_after = model.evaluate(draw.train_x, draw.train_y, verbose=0)
    model.set_weights(best)
    predictions = model.predict(draw.test_x, verbose=0).argmax(axis=1)
    found = best_epoch, hits / len(draw.val_y), loss_after, predictions, *best
    return Heads(np.array([learning_rate]), np.array([momentum]), *(np.asarray(each)[None, None] for each in found))
