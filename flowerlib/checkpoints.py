"""Trainings on disk: the checkpoint after each epoch, and the weights of a finished run with what is known of them.

Each file is written beside its place and renamed: a kill leaves the old one or the new one.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import keras
import numpy as np

from flowerlib.errors import FlowerlibError
from flowerlib.progress import machine


@dataclass
class Trained:
    """What is stored beside trained weights.

    Attributes:
        history: one value an epoch: loss (cross-entropy), objective (with the weight penalty), accuracy, val_loss,
            val_accuracy, val_balanced_accuracy, learning_rate and minutes (since the start, sessions added up).
        first_steps: cross-entropy of each of the first epoch's steps, 100 at most.
        diverged_at: the epoch (from 1) whose loss was not a number, or None.
        machine: processor and cores that trained.
        date: when the last epoch ended, UTC.
    """

    digest: str
    history: dict[str, list[float]] = field(default_factory=dict)
    first_steps: list[float] = field(default_factory=list)
    diverged_at: int | None = None
    machine: str = ""
    date: str = ""

    @property
    def epochs(self) -> int:
        return len(self.history.get("loss", []))

    @property
    def minutes(self) -> float:
        return self.history["minutes"][-1] if self.epochs else 0.0


def save(model: keras.Model, trained: Trained, path: Path) -> None:
    """Write model, optimizer and history beside the checkpoint and rename: a kill leaves the old or the new one."""
    arrays = {f"variable_{i}": np.asarray(variable.value) for i, variable in enumerate(_variables(model))}
    part = path.with_suffix(".part.npz")
    try:
        with open(part, "wb") as file:
            kept = json.dumps({"history": trained.history, "first_steps": trained.first_steps})
            np.savez(file, allow_pickle=False, kept=kept, **arrays)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise FlowerlibError(f"cannot write the checkpoint {path}: {error.strerror}") from error


def restore(model: keras.Model, path: Path) -> tuple[dict[str, list[float]], list[float]]:
    """Put a checkpoint's values into the model; history and first steps as they were then."""
    with np.load(path, allow_pickle=False) as arrays:
        for i, variable in enumerate(_variables(model)):
            variable.assign(arrays[f"variable_{i}"])
        kept = json.loads(str(arrays["kept"]))
    return kept["history"], kept["first_steps"]


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Weights, statistics, dropout's generators, optimizer state (its moving averages among it).

    A whitening is left out: it is large, and fitted again whenever the network is built.
    """
    return [*(each for each in model.variables if "whitening/" not in each.path), *model.optimizer.variables]


def weights(model: keras.Model) -> keras.Model:
    """The same layers without the optimizer, whose state Keras would store with the weights at twice their size."""
    return keras.Model(model.inputs, model.outputs)


def keep(model: keras.Model, trained: Trained, folder: Path) -> None:
    """Store weights, then what is known of them: the second file says that the first is whole."""
    trained.machine, trained.date = machine(), datetime.now(UTC).isoformat(timespec="seconds")
    part, note = folder / "part.weights.h5", folder / "training.part.json"
    try:
        weights(model).save_weights(part)
        os.replace(part, folder / "model.weights.h5")
        note.write_text(json.dumps(asdict(trained), indent=1), encoding="utf-8")
        os.replace(note, folder / "training.json")
    except OSError as error:
        part.unlink(missing_ok=True)
        note.unlink(missing_ok=True)
        raise FlowerlibError(f"cannot write the trained weights to {folder}: {error.strerror or error}") from error
    for name in ("checkpoint.npz", "best.npz"):
        (folder / name).unlink(missing_ok=True)
