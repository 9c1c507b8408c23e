"""An embedding in which a class lies together: batch-hard triplets on features of a frozen network.

Ash et al. 2022 recommend it and do not try it.
"""

import keras
import numpy as np
from keras import layers, ops

from flowerlib.errors import FlowerlibError


def batch_hard(margin: float = 0.2) -> keras.losses.Loss:
    """The loss of each picture's farthest own and nearest other picture in a batch (Hermans et al. 2017, eq. 5).

    Args:
        margin: by how much the nearest other has to be farther; distances are between unit vectors, 0 to 2.

    Returns:
        A loss of int (batch,) labels and float32 (batch, width) unit vectors. A picture without another of its class,
        or of another class, in its batch counts nothing.
    """

    def loss(labels: keras.KerasTensor, embeddings: keras.KerasTensor) -> keras.KerasTensor:
        labels = ops.reshape(labels, (-1, 1))
        same = ops.equal(labels, ops.transpose(labels))
        # Rounding may leave a square just below 0, and the root has no slope at 0.
        squares = ops.maximum(2 - 2 * ops.matmul(embeddings, ops.transpose(embeddings)), 1e-12)
        distances = ops.sqrt(squares)
        itself = ops.eye(ops.shape(distances)[0], dtype="bool")
        own = ops.logical_and(same, ops.logical_not(itself))
        farthest = ops.max(ops.where(own, distances, 0.0), axis=1)
        nearest = ops.min(ops.where(same, 4.0, distances), axis=1)
        counted = ops.logical_and(ops.any(own, axis=1), ops.any(ops.logical_not(same), axis=1))
        return ops.where(counted, ops.maximum(farthest - nearest + margin, 0.0), 0.0)

    return loss


def fit(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    width: int = 64,
    epochs: int = 30,
    batch_size: int = 128,
    learning_rate: float = 0.001,
    margin: float = 0.2,
    seed: int = 0,
) -> keras.Model:
    """Train a linear embedding on features (Hermans et al. 2017).

    Args:
        features: float32 (n, features).
        labels: int (n,).
        width: of the embedding.
        epochs: passes over the features.
        batch_size: rows a step; large enough that a batch has several of each class.
        learning_rate: of Adam.
        margin: see ``batch_hard``.
        seed: of the weights and the order.

    Returns:
        A model from (batch, features) to unit vectors (batch, width).

    Raises:
        FlowerlibError: fewer than two classes.
    """
    if len(np.unique(labels)) < 2:
        raise FlowerlibError("triplets need two classes or more")
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((features.shape[1],))
    unit = layers.UnitNormalization(name="unit")
    model = keras.Model(inputs, unit(layers.Dense(width, use_bias=False, name="embedding")(inputs)))
    model.compile(keras.optimizers.Adam(learning_rate), batch_hard(margin))
    model.fit(features, labels, batch_size=batch_size, epochs=epochs, verbose=0)
    return model


def nearest_mean(embedded: np.ndarray, labels: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Name new pictures by the class whose mean vector is nearest (Snell et al. 2017, eq. 1 and 2).

    Args:
        embedded: float (n, width) of the training pictures.
        labels: int (n,), in 0 ... classes - 1.
        new: float (m, width).

    Returns:
        int64 (m,).
    """
    means = np.stack([embedded[labels == label].mean(axis=0) for label in range(labels.max() + 1)])
    return ((new[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
