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
    """All parameters and the trainable ones; the state of dropout's generators is not a parameter."""
    trainable = sum(_size(weight) for weight in model.trainable_weights)
    frozen = sum(_size(weight) for weight in model.non_trainable_weights if "seed_generator" not in weight.path)
    return trainable + frozen, trainable


def _size(weight: keras.Variable) -> int:
    return math.prod(int(side) for side in weight.shape)
