"""A classifier in one LiteRT file that knows its classes' names; runs without TensorFlow.

The names lie in a ZIP archive behind the model, as TensorFlow Lite's metadata keeps associated files: whoever unzips
the model finds labels.txt, and every LiteRT runtime reads the file as it is.
"""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from flowerlib.errors import FlowerlibError

MAKES = "quantization"  # the run that makes files
LABELS, ABOUT = "labels.txt", "flowerlib.json"


@dataclass(frozen=True)
class LiteModel:
    """A file ready to answer.

    Attributes:
        interpreter: of LiteRT, its tensors allocated.
        names: one a class.
        about: size_px, stored_px, resize, kind and run, as they were written.
    """

    interpreter: Interpreter
    names: tuple[str, ...]
    about: dict[str, Any]

    def probabilities(self, pictures: np.ndarray) -> np.ndarray:
        """float64 (n, classes) of uint8 pictures (n, side, side, 3), one after the other."""
        return _softmax(np.stack([self.logits(picture) for picture in pictures]))

    def logits(self, picture: np.ndarray) -> np.ndarray:
        """float64 (classes,) of one uint8 picture (side, side, 3)."""
        taken, given = self.interpreter.get_input_details()[0], self.interpreter.get_output_details()[0]
        self.interpreter.set_tensor(taken["index"], picture[None])
        self.interpreter.invoke()
        values = self.interpreter.get_tensor(given["index"])[0]
        scale, zero = given["quantization"]
        return (values.astype(np.float64) - zero) * scale if scale else values.astype(np.float64)


def load(path: Path, threads: int = 1) -> LiteModel:
    """Open a file that ``quantization.export`` wrote.

    Args:
        path: of the .tflite file.
        threads: that it may use.

    Raises:
        FlowerlibError: a missing file, one that is not LiteRT, or one without names.
    """
    if not path.is_file():
        raise FlowerlibError(f"{path}: no such model; this makes one: {_how()}")
    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise FlowerlibError(f"{path} is no LiteRT model")
    try:
        with zipfile.ZipFile(path) as kept:
            names = tuple(kept.read(LABELS).decode().splitlines())
            about = json.loads(kept.read(ABOUT))
            side, _, _ = (about[key] for key in ("size_px", "stored_px", "resize"))
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise FlowerlibError(f"{path} lacks the names of its classes: export it with this bundle") from error
    try:
        interpreter = Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise FlowerlibError(f"{path} is no LiteRT model that runs here ({str(error).splitlines()[0]})") from error
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    if taken["dtype"] != np.uint8 or tuple(taken["shape"]) != (1, side, side, 3):
        raise FlowerlibError(f"{path} takes {taken['dtype'].__name__} {tuple(taken['shape'])}, not uint8 RGB")
    if given["shape"][-1] != len(names):
        raise FlowerlibError(f"{path} has {given['shape'][-1]} classes and {len(names)} names")
    return LiteModel(interpreter, names, about)


def attach(path: Path, names: tuple[str, ...], about: dict[str, Any]) -> None:
    """Put names and what is known of a model behind it; the file itself stays as it is."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as kept:
        kept.writestr(LABELS, "\n".join(names) + "\n")
        kept.writestr(ABOUT, json.dumps(about, sort_keys=True))


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return result


def _how() -> str:
    """The command that makes a model, with its minutes and those of the networks that it starts from."""
    from flowerlib import recipes  # a model that answers needs none of them

    profile = "laptop" if MAKES in recipes.runs("laptop") else "full"
    recipe = recipes.load(MAKES, profile)
    before = sum(recipes.load(run, profile).expect.minutes for run in recipe.uses)
    command = f"python -m flowerlib run {MAKES} --profile {profile}"
    return (
        f"{command} (about {recipe.expect.minutes:g} minutes; its last cell says where the files are), after the same"
        f" with each of {', '.join(recipe.uses)} ({before:g} minutes)"
    )
