"""How far the numbers inside an int8 file are from those inside the float32 file, layer by layer."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from ai_edge_litert.interpreter import Interpreter, OpResolverType

_ENDING = "_1"  # Keras's export calls each layer a second time


def compare(exact: Path, small: Path, pictures: np.ndarray) -> pd.DataFrame:
    """Error of each layer's output in one file against the same layer in another.

    An error above that of the layers before it is that layer's own; what a layer inherits it cannot mend.

    Args:
        exact: the float32 file.
        small: the int8 file of the same network.
        pictures: uint8 (n, side, side, 3), for both.

    Returns:
        Columns layer and error, in the network's order: root of the mean squared difference over all pictures and
        places, as a share of the root of the mean square of the float32 values.
    """
    squares: dict[str, tuple[float, float]] = {}
    for right, found in zip(_outputs(exact, pictures), _outputs(small, pictures), strict=True):
        for layer in (each for each in right if each in found and right[each].shape == found[each].shape):
            off, all_of_it = squares.get(layer, (0.0, 0.0))
            difference = found[layer] - right[layer]
            squares[layer] = off + float(np.square(difference).sum()), all_of_it + float(np.square(right[layer]).sum())
    rows = [{"layer": layer, "error": np.sqrt(off / of)} for layer, (off, of) in squares.items() if of]
    return pd.DataFrame(rows, columns=["layer", "error"])


def _outputs(path: Path, pictures: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """Layer -> what it gives for a picture, in the order of the operations; a picture at a time."""
    # Without the delegate that fuses operations: it keeps nothing of what lies between them.
    interpreter = Interpreter(
        model_content=path.read_bytes(),
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    tensors = {each["index"]: each for each in interpreter.get_tensor_details()}
    given = [tensors[each["outputs"][0]] for each in interpreter._get_ops_details()]
    last = interpreter.get_output_details()[0]["index"]
    taken = interpreter.get_input_details()[0]["index"]
    for picture in pictures:
        interpreter.set_tensor(taken, picture[None])
        interpreter.invoke()
        yield {
            "logits" if each["index"] == last else _layer(each["name"]): _numbers(
                interpreter.get_tensor(each["index"]), each
            )
            for each in given
            if each["index"] == last or "/" in each["name"].split(";")[0]
        }


def _layer(tensor: str) -> str:
    """The Keras layer in a name such as "network_1/block_2_relu_1/Relu6;network_1/block_2_norm_1/sub"."""
    return tensor.split(";")[0].split("/")[1].removesuffix(_ENDING)


def _numbers(values: np.ndarray, tensor: dict[str, tuple[float, int]]) -> np.ndarray:
    scale, zero = tensor["quantization"]
    return (values.astype(np.float64) - zero) * scale if scale else values.astype(np.float64)
