"""ZCA whitening as a layer, so that it travels with the network and prediction cannot forget it."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="flowerlib")
class ZcaWhitening(keras.layers.Layer):
    """Project on the fitted components, scale each, and back (see ``flowerlib.whitening``).

    Args:
        rank: components that are kept.
    """

    def __init__(self, rank: int, **kwargs: object) -> None:
        super().__init__(**(kwargs | {"trainable": False}))  # a saved layer hands its own `trainable` back
        self.rank = rank

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make mean (values,), components (rank, values) and gains (rank,); all zero until they are set."""
        values = shape[1] * shape[2] * shape[3]  # type: ignore[operator]
        self.mean = self.add_weight(shape=(values,), initializer="zeros", name="mean")
        self.components = self.add_weight(shape=(self.rank, values), initializer="zeros", name="components")
        self.gains = self.add_weight(shape=(self.rank,), initializer="zeros", name="gains")

    def call(self, pictures: keras.KerasTensor) -> keras.KerasTensor:
        """float32 (batch, side, side, 3) in [0, 1] to the same shape, whitened."""
        flat = ops.reshape(pictures, (-1, self.mean.shape[0])) - self.mean  # (B, values)
        scores = ops.matmul(flat, ops.transpose(self.components)) * self.gains  # (B, rank)
        return ops.reshape(ops.matmul(scores, self.components), ops.shape(pictures))

    def get_config(self) -> dict[str, object]:
        """What Keras needs to make the layer anew."""
        return super().get_config() | {"rank": self.rank}
