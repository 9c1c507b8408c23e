"""The race: how far do the reports' recipes and ours come in the same minutes? README.md says how to read the table.

Every racer trains on the same photographs with its own augmentation and schedule, shortened to the minutes given; the
test part is not read.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pandas as pd
from input import pictures

from flowerlib import training
from flowerlib.checkpoints import Trained
from flowerlib.data import Dataset
from flowerlib.errors import FlowerlibError
from flowerlib.models import summary
from flowerlib.schema import Recipe
from flowerlib.splits import Split

RACERS = ("hughes-fine", "shen-fine", "qu-baseline-c", "ours-audit")
LOOKS = 5  # at the validation part
STEPS = 6  # that are timed beforehand at each size, after two that compile
RESERVE = 0.93  # of the minutes are planned: a busy moment must not push a racer over the line


def main() -> None:
    parser = argparse.ArgumentParser(description="Race the recipes of 102 kinds against each other.")
    parser.add_argument("--minutes", type=float, default=5, help="of training for each racer (default 5)")
    parser.add_argument("--racers", nargs="+", default=list(RACERS), help=f"recipes (default {' '.join(RACERS)})")
    options = parser.parse_args()
    if options.minutes <= 0:
        parser.error("--minutes must be more than 0")
    try:
        race(options.racers, options.minutes)
    except FlowerlibError as error:
        sys.exit(f"time_to_accuracy.py: {error}")


def race(racers: list[str], minutes: float) -> None:
    """Run one racer after the other and print the table."""
    rows = []
    for name in racers:
        recipe, dataset, split = pictures(name)
        print(f"{name}, {minutes:g} minutes", flush=True)
        rows.append({"recipe": name, **run(recipe, dataset, split, minutes)})
    kind = "drawn flowers: no results" if dataset.name == "drawn" else "photographs"
    print(f"\nAccuracy on the validation part ({len(split.validation)} {kind}) after each fifth of {minutes:g} minutes")
    print(pd.DataFrame(rows).to_string(index=False, float_format=lambda value: f"{value:.3g}"))


def run(recipe: Recipe, dataset: Dataset, split: Split, minutes: float) -> dict[str, object]:
    """Train one racer for about the minutes given, its schedule shortened to them."""
    shown = round(RESERVE * minutes * 60 * speed(recipe, dataset, split))
    assert recipe.training is not None and recipe.model is not None
    batch = recipe.training.batch_size
    changes = {"epochs": LOOKS, "presentations": max(shown, LOOKS * batch), "best_by": None, "patience": None}
    if recipe.model.norm_momentum is None and recipe.model.builder == "hughes_cnn":
        recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"norm_momentum": 0.9})})
    racer = recipe.model_copy(update={"training": recipe.training.model_copy(update=changes)})
    model = training.build(racer, split, dataset)
    with tempfile.TemporaryDirectory() as folder:
        trained = Trained("race")
        training.fit(racer, model, dataset, split, trained, Path(folder))
    row: dict[str, object] = {
        f"{look + 1}/{LOOKS}": value for look, value in enumerate(trained.history["val_accuracy"])
    }
    row |= {"minutes": trained.minutes, "pictures shown": changes["presentations"]}
    row["parameters"] = summary.parameters(model)[0]
    return row


def speed(recipe: Recipe, dataset: Dataset, split: Split) -> float:
    """Pictures a second of training over the run's sizes, validation counted as if it were training."""
    assert recipe.training is not None
    sizes = recipe.training.sizes_px or (0,)
    model = training.build(recipe, split, dataset)
    seconds, batch = 0.0, recipe.training.batch_size
    for size in sizes:
        changes = {"sizes_px": (size,) if size else (), "presentations": batch * (STEPS + 2), "epochs": 1}
        timed = recipe.model_copy(update={"training": recipe.training.model_copy(update=changes)})
        batches = list(training.epoch_batches(timed, dataset, split, 0))
        for step, (images, targets) in enumerate(batches):
            if step == 2:
                started = time.perf_counter()
            model.train_on_batch(images, targets)
        seconds += (time.perf_counter() - started) / (STEPS * batch) / len(sizes)
    return 1 / seconds


if __name__ == "__main__":
    main()
