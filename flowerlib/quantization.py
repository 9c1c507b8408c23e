"""From a trained classifier to a file for a phone: LiteRT in float32, float16, dynamic-range and full-integer int8.

Jacob et al. 2018; Cicalla et al. 2024, section 3.4. Every file takes uint8 RGB: where numbers stay float, the
preprocessing is in the graph; where they are integers, it is in the scale and zero point of the input.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from flowerlib import lite, maps
from flowerlib.errors import FlowerlibError
from flowerlib.splits import Split

KINDS = ("float32", "float16", "dynamic", "int8")


def representative(split: Split, count: int, seed: int = 0) -> np.ndarray:
    """Positions of training photographs that stand for all when ranges are measured; int64 (count,).

    Args:
        split: never its validation or test part.
        count: how many; at most the training part.
        seed: of the draw.

    Raises:
        FlowerlibError: more than there are.
    """
    if not 1 <= count <= len(split.train):
        raise FlowerlibError(f"{count} representative photographs of {len(split.train)} training photographs")
    return np.random.default_rng(seed).permutation(split.train.indices)[:count]


def export(
    model: keras.Model,
    kind: str,
    path: Path,
    names: Sequence[str],
    *,
    pictures: np.ndarray | None = None,
    stored_px: int | None = None,
    resize: str = "antialiased",
    run: str = "",
) -> None:
    """Write a classifier as one LiteRT file with the names of its classes.

    Args:
        model: uint8 pictures of a fixed side -> logits.
        kind: one of ``KINDS``.
        path: of the file, which is there whole or not at all.
        names: one a class.
        pictures: uint8 (n, side, side, 3) from ``representative``, for "int8".
        stored_px: side that its pictures were kept at before they were brought to the model's; the same by default.
        resize: how they were brought to it.
        run: whose network it is.

    Raises:
        FlowerlibError: an unknown kind, int8 without pictures, a model of another shape, a converter that fails.
    """
    if kind not in KINDS:
        raise FlowerlibError(f"unknown kind '{kind}': one of {', '.join(KINDS)}")
    if (kind == "int8") != (pictures is not None):
        raise FlowerlibError("int8, and nothing else, needs representative pictures")
    side = model.inputs[0].shape[1]
    if side is None or model.outputs[0].shape[-1] != len(names):
        raise FlowerlibError(f"{model.name}: a fixed side and a name for each of its logits are needed")
    about = {"size_px": side, "stored_px": stored_px or side, "resize": resize, "kind": kind, "run": run}
    part = path.with_suffix(".part.tflite")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        part.write_bytes(_converted(model, kind, pictures))
        lite.attach(part, tuple(names), about)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _converted(model: keras.Model, kind: str, pictures: np.ndarray | None) -> bytes:
    front, behind = maps.halves(model)
    exported = behind if kind == "int8" else model
    if kind == "int8":
        _check_scale(model, front)
    with tempfile.TemporaryDirectory() as folder:
        exported.export(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if kind != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if kind == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if kind == "int8":
            assert pictures is not None
            converter.representative_dataset = lambda: _numbers(front, pictures)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.uint8
            converter.inference_output_type = tf.int8
        try:
            return converter.convert()
        except Exception as error:  # the converter raises whatever its C++ does
            raise FlowerlibError(f"{model.name} cannot be converted to {kind}: {str(error).splitlines()[0]}") from error


def _check_scale(model: keras.Model, front: keras.Model) -> None:
    """Refuse preprocessing that is more than one scale for all pixels, which the input of an int8 file cannot have."""
    side = model.inputs[0].shape[1]
    greys = np.stack([np.full((side, side, 3), level, np.uint8) for level in (0, 102, 255)])
    low, middle, high = maps.numbers(front, greys)
    scale = (high - low).mean()
    even = max(np.ptp(low), np.ptp(high), np.abs(middle - (low + 0.4 * (high - low))).max())
    if not even < 1e-3 * scale:
        raise FlowerlibError(
            f"{model.name}: its preprocessing is not one scale for all pixels and channels; int8 files take pixels as"
            " they are: export it as dynamic"
        )


def _numbers(front: keras.Model, pictures: np.ndarray) -> Iterator[list[np.ndarray]]:
    """What the network behind its preprocessing sees, a picture at a time; first the ends of the range of a pixel.

    With them the scale of the input is that of a uint8 picture: then the file takes pictures as they are.
    """
    ends = np.stack([np.zeros(pictures.shape[1:], np.uint8), np.full(pictures.shape[1:], 255, np.uint8)])
    for picture in (*ends, *pictures):
        yield [maps.numbers(front, picture[None])]
