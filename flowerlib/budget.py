"""Train for so many minutes, or so many steps, on batches that are drawn when their turn comes.

For networks that reconstruct or generate: what they learn from is made on the fly, so there are no epochs. What a step
shows depends on seed and step alone, so that a killed run goes on where its last checkpoint left it.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from flowerlib import checkpoints, schedules
from flowerlib.checkpoints import Trained
from flowerlib.errors import FlowerlibError
from flowerlib.progress import BudgetLine
from flowerlib.schema import Budget
from flowerlib.training import _one_training

ROWS = 20  # of the history, each with a checkpoint
Batch = Callable[[np.random.Generator], tuple]  # -> inputs, targets and, where examples count unequally, weights


@dataclass(frozen=True)
class Mark:
    """A network as it was on its way.

    Attributes:
        minutes: of training until then.
        steps: until then.
        weights: file of its weights; the moving averages where the budget keeps them.
    """

    minutes: float
    steps: int
    weights: Path


@contextmanager
def precision(budget: Budget) -> Iterator[None]:
    """Layers that are built meanwhile compute as the budget says; their weights are float32 always."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if budget.precision == "bfloat16" else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def compile_for(model: keras.Model, budget: Budget) -> None:
    """Give a network its optimizer and loss.

    Args:
        model: any.
        budget: its loss, rate and moving average.
    """
    averaged = {"use_ema": True, "ema_momentum": budget.ema} if budget.ema else {}
    # Measured on two cores: compiling with XLA does not pay.
    model.compile(keras.optimizers.Adam(budget.learning_rate, **averaged), budget.loss, jit_compile=False)
    model.optimizer.build(model.trainable_variables)


def fit_or_load(model: keras.Model, budget: Budget, batch: Batch, folder: Path, *, seed: int) -> Trained:
    """Train a network until its budget is spent, go on where a killed run stopped, or load what was trained before.

    Args:
        model: its answers have the shape of the targets; holds the trained weights afterwards.
        budget: minutes or steps; minutes do not count checkpoints, and differ from machine to machine in their steps,
            which the history tells.
        batch: draws what a step shows.
        folder: of checkpoint, marks, weights and what is known of them; its name is the training's digest.
        seed: of every draw.

    Returns:
        History with loss, minutes, steps and learning_rate, a value a row.

    Raises:
        FlowerlibError: the loss is not a number; a full disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "training.json"
    if not done.exists():
        with _one_training():
            if not done.exists():
                compile_for(model, budget)
                _fit(model, budget, batch, Trained(folder.name), folder, seed)
    checkpoints.weights(model).load_weights(folder / "model.weights.h5")
    return Trained(**json.loads(done.read_text(encoding="utf-8")))


def marks(trained: Trained, budget: Budget, folder: Path) -> list[Mark]:
    """The network on its way, at equal shares of its budget; the last is the trained one.

    Args:
        trained: from ``fit_or_load``.
        budget: with its number of marks.
        folder: see there.
    """
    rows = [round(ROWS * (number + 1) / budget.marks) - 1 for number in range(budget.marks)]
    return [
        Mark(trained.history["minutes"][row], int(trained.history["steps"][row]), _place(folder, row)) for row in rows
    ]


def _fit(model: keras.Model, budget: Budget, batch: Batch, trained: Trained, folder: Path, seed: int) -> None:
    checkpoint = folder / "checkpoint.npz"
    if checkpoint.exists():
        trained.history, _ = checkpoints.restore(model, checkpoint)
        print(f"going on after {trained.minutes:.1f} minutes", flush=True)
    line, marked = BudgetLine(), {round(ROWS * (number + 1) / budget.marks) - 1 for number in range(budget.marks)}
    for row in range(trained.epochs, ROWS):
        _row(model, budget, batch, trained, seed, (row + 1) / ROWS, line)
        if not np.isfinite(trained.history["loss"][-1]):
            raise FlowerlibError(
                f"the loss is not a number after {trained.history['steps'][-1]:,.0f} steps;"
                f" the last checkpoint is {checkpoint}: lower the learning rate"
            )
        if row in marked:
            _mark(model, budget, _place(folder, row))
        checkpoints.save(model, trained, checkpoint)
        line.row(trained.history, (row + 1) / ROWS)
    if budget.ema:
        model.optimizer.finalize_variable_values(model.trainable_variables)
    checkpoints.keep(model, trained, folder)


def _row(
    model: keras.Model, budget: Budget, batch: Batch, trained: Trained, seed: int, until: float, line: BudgetLine
) -> None:
    """Steps until a share of the budget is spent, at least one; their mean loss becomes a row of the history."""
    before, step = trained.minutes, int(trained.history["steps"][-1]) if trained.epochs else 0
    started = time.monotonic()
    losses: list[float] = []
    while True:
        spent = before + (time.monotonic() - started) / 60
        share = spent / budget.minutes if budget.minutes else step / (budget.steps or 1)
        if losses and share >= until:
            break
        rate = schedules.SCHEDULES[budget.schedule](min(share, 1.0), 1, budget.learning_rate)
        model.optimizer.learning_rate = rate
        losses.append(float(model.train_on_batch(*batch(np.random.default_rng([seed, step])))))
        step += 1
        line.step(step, losses[-1], share)
    values = {"loss": float(np.mean(losses)), "minutes": spent, "steps": float(step), "learning_rate": rate}
    for name, value in values.items():
        trained.history.setdefault(name, []).append(value)


def _mark(model: keras.Model, budget: Budget, path: Path) -> None:
    """Store the weights as they would be if the training ended here."""
    now = [np.asarray(each.value) for each in model.trainable_variables]
    if budget.ema:
        model.optimizer.finalize_variable_values(model.trainable_variables)
    part = path.with_name(f"part-{path.name}")
    try:
        checkpoints.weights(model).save_weights(part)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise FlowerlibError(f"cannot write the weights {path}: {error.strerror or error}") from error
    for variable, value in zip(model.trainable_variables, now, strict=True):
        variable.assign(value)


def _place(folder: Path, row: int) -> Path:
    return folder / f"mark_{row + 1:02d}.weights.h5"
