"""What a network is made of, as a table to hold against the reports'."""

import math

import keras
import pandas as pd


def layer_table(model: keras.Model) -> pd.DataFrame:
    """Layer type, output shape without the batch, and parameters; one row a layer, as Keras's own summary.

    Activations, dropouts and the like that have no parameters and change no shape are rows too.
    """
    rows = []
    for layer in model.layers:
        shape = getattr(layer, "output", None)
        sides = tuple(shape.shape[1:]) if shape is not None else ()
        rows.append(
            {
                "layer": type(layer).__name__,
                "output": " x ".join(str(side) for side in sides),
                "parameters": int(layer.count_params()),
            }
        )
    return pd.DataFrame(rows)


def parameters(model: keras.Model) -> tuple[int, int]:
    """All parameters and the trainable ones; the state of dropout's generators and a whitening are no parameters."""
    trainable = sum(_size(weight) for weight in model.trainable_weights)
    others = ("seed_generator", "whitening/")
    frozen = sum(_size(weight) for weight in model.non_trainable_weights if not any(o in weight.path for o in others))
    return trainable + frozen, trainable


def gflops(model: keras.Model, size_px: int) -> float:
    """Billions of floating-point operations to predict one picture: two a multiplication in convolutions and matrices.

    Norms, activations and poolings, a few percent of it, are not counted, as is usual.

    Args:
        model: a network of this package.
        size_px: side of the picture that it gets.
    """
    counted = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)]
    shapes = keras.Model(model.inputs, [layer.output for layer in counted]).compute_output_shape(
        (1, size_px, size_px, 3)
    )
    total = 0
    for layer, shape in zip(counted, shapes, strict=True):
        total += 2 * math.prod(shape[1:-1]) * _size(layer.kernel)
    whitening = [layer for layer in model.layers if layer.name == "whitening"]
    total += sum(4 * _size(layer.components) for layer in whitening)
    return total / 1e9


def _size(weight: keras.Variable) -> int:
    return math.prod(int(side) for side in weight.shape)
