"""Speed of what stands between the cache and a network; README.md beside it says how to read the table.

What is compared takes turns in one process (A B A B ...), so that whatever else the machine does slows both.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import psutil
import tensorflow as tf

from flowerlib import augment, data, recipes, splits, training
from flowerlib.data import Dataset
from flowerlib.errors import FlowerlibError
from flowerlib.schema import Augment

ROUNDS = 5
BATCH = 32
MOVES = Augment(flip=True, shift=0.1)
FULL = Augment(flip=True, shift=0.1, rotation_deg=20, shear_deg=10, zoom=0.1, brightness=0.2)
# For a process of its own, where nothing is warm but the disk's cache.
FRESH = """import sys, time, tensorflow
start = time.perf_counter()
sys.path.insert(0, sys.argv[1])
from input import first_batch
first_batch()
print(time.perf_counter() - start)"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the way from the cache to a network.")
    parser.add_argument("--images", type=int, default=2048, help="pictures to augment (default 2048)")
    parser.add_argument("--seconds", type=float, default=5, help="for each side in each round (default 5)")
    parser.add_argument("--part", choices=["first-batch", "augment", "training", "all"], default="all")
    options = parser.parse_args()
    if options.images < BATCH or options.seconds <= 0:
        parser.error(f"--images is {BATCH} or more, --seconds more than 0")
    try:
        measure(options.part, options.images, options.seconds)
    except FlowerlibError as error:
        sys.exit(f"input.py: {error}")


def measure(part: str, images: int, seconds: float) -> None:
    """Run the parts asked for; each prints its rows as it ends."""
    dataset = pictures("hughes-fine")[1]
    kind = "drawn flowers (photographs need FLOWERLIB_MIRROR)" if dataset.name == "drawn" else "photographs"
    print(f"{kind}, uint8, {dataset.images.shape[1]} px; medians of {ROUNDS} alternating rounds")
    if part in ("first-batch", "all"):
        compare_first_batch()
    training.set_seeds(1)  # deterministic operations, as every training has them: they change tf.data too
    if part in ("augment", "all"):
        whole = min(images, len(dataset.images)) // BATCH * BATCH  # in full batches
        some = replace(dataset, images=dataset.images[:whole], fine=dataset.fine[:whole])
        compare_augmentation("full set of transforms", FULL, some, seconds, aim=5)
        compare_augmentation("shift and flip", MOVES, some, seconds, aim=10)
    if part in ("training", "all"):
        compare_training("hughes-fine", seconds, aim=0.9)
        compare_training("ours-fine", seconds, aim=0.9)
        compare_training("shen-fine", seconds, aim=0.8)
    memory = peak_memory()
    print_row("\npeak memory of this process", f"{memory:.2f} GiB", at_most(memory, 3, "GiB"))


def pictures(name: str) -> tuple[recipes.Recipe, Dataset, splits.Split]:
    """A recipe, its pictures (put in the cache if missing) and its split; without a mirror drawn flowers."""
    drawn = "" if os.environ.get("FLOWERLIB_MIRROR", "").strip() else "@data.name=drawn"
    recipe = recipes.load(name + drawn, "laptop")
    assert recipe.data is not None
    dataset = data.load(recipe.data.name, recipe.data.size_px, recipe.data.resize)
    return recipe, dataset, splits.make(recipe.data.split, recipe.data.labels, dataset.fine, dataset.sets)


def epochs(dataset: Dataset, indices: np.ndarray, ranges: Augment, size: int) -> Iterator[tf.data.Dataset]:
    """Epoch after epoch of some pictures with their fine labels, each planned and its pipeline built anew."""
    for epoch in count():
        shown = augment.plan(indices, dataset.fine[indices], ranges, 1, epoch)
        yield augment.batches(dataset.images, dataset.fine, shown, ranges, size)


def first_batch() -> None:
    """From the files to the first batch of a training."""
    recipe, dataset, split = pictures("hughes-fine")
    next(iter(next(epochs(dataset, split.train.indices, recipe.augment, BATCH))))


def compare_first_batch() -> None:
    """Seconds to the first batch in three fresh processes, every import counted but TensorFlow's."""
    command = [sys.executable, "-c", FRESH, str(Path(__file__).parent)]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(3)]
    seconds = median(float(run.stdout.split()[-1]) for run in runs)
    print_row("\nfirst batch of a split", f"{seconds:.2f} s", at_most(seconds, 3, "s"))


def compare_augmentation(name: str, ranges: Augment, dataset: Dataset, seconds: float, aim: float) -> None:
    """Images a second of Keras's legacy generator and of ours doing the same, each by its own front door."""
    everything = np.arange(len(dataset.images))
    sides = {
        "Keras's ImageDataGenerator": lambda: speed(legacy_batches(dataset, ranges), seconds),
        "flowerlib": lambda: speed(chain.from_iterable(epochs(dataset, everything, ranges, BATCH)), seconds),
    }
    compare(f"{name}, batches of {BATCH}", sides, aim)


def legacy_batches(dataset: Dataset, ranges: Augment) -> Iterator:
    """Endless float32 batches of Keras's legacy generator, in one thread: its `workers` are for fit alone."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    generator = ImageDataGenerator(
        rotation_range=ranges.rotation_deg,
        shear_range=ranges.shear_deg,
        width_shift_range=ranges.shift,
        height_shift_range=ranges.shift,
        zoom_range=ranges.zoom,
        horizontal_flip=ranges.flip,
        brightness_range=(1 - ranges.brightness, 1 + ranges.brightness) if ranges.brightness else None,
        fill_mode="nearest",
    )
    return generator.flow(dataset.images, dataset.fine, batch_size=BATCH)


def speed(batches: Iterator, seconds: float) -> float:
    """Images a second of endless batches (pictures, labels), counted from the second batch on."""
    next(batches)
    started, images = time.perf_counter(), 0
    while (spent := time.perf_counter() - started) < seconds:
        images += len(next(batches)[1])
    return images / spent


def compare_training(name: str, seconds: float, aim: float | None) -> None:
    """Images a second of fit on one batch in memory and on epochs from the cache with their augmentation."""
    recipe, dataset, split = pictures(name)
    assert recipe.training is not None
    size = recipe.training.batch_size
    if recipe.training.sizes_px:  # at the largest crops, all the time
        largest = {"sizes_px": recipe.training.sizes_px[-1:]}
        recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update=largest)})
    model = training.build(recipe, split)
    supply = (training.epoch_batches(recipe, dataset, split, epoch) for epoch in count())
    epoch = next(supply)
    batch = next(iter(epoch))

    def fit(batches: tf.data.Dataset, steps: int) -> float:
        started = time.perf_counter()
        model.fit(batches.take(steps), verbose=0, shuffle=False)
        return steps * size / (time.perf_counter() - started)

    constant = tf.data.Dataset.from_tensors(batch).repeat().with_options(epoch.options())
    fit(constant, 2)  # traces the step
    steps = min(max(2, round(seconds * fit(constant, 3) / size)), len(epoch) - 1)  # of whole batches
    sides = {
        "one batch in memory": lambda: fit(constant, steps),
        "from the cache": lambda: fit(next(supply), steps),
    }
    compare(f"training {name}, {steps} steps of {size}", sides, aim)


def compare(name: str, sides: dict[str, Callable[[], float]], aim: float | None) -> None:
    """Measure both sides in turn after one round that does not count; print them and second by first."""
    rounds = [[measured() for measured in sides.values()] for _ in range(1 + ROUNDS)][1:]
    print(f"\n{name}")
    for side, values in zip(sides, zip(*rounds, strict=True), strict=True):
        print_row(f"  {side}", f"{median(values):.0f} images/s", f"{min(values):.0f} to {max(values):.0f}")
    ratio = median(second / first for first, second in rounds)
    verdict = f"aim {aim:g} or more" + (": below the aim" if ratio < aim else "") if aim else "no aim"
    print_row("  ratio", f"{ratio:.2f}", verdict)


def at_most(value: float, aim: float, unit: str) -> str:
    return f"aim {aim:g} {unit} or less" + (": above the aim" if value > aim else "")


def print_row(what: str, value: str, note: str) -> None:
    print(f"{what:32}{value:>16}   {note}", flush=True)


def peak_memory() -> float:
    """The most GiB that this process has held."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**30
    from resource import RUSAGE_SELF, getrusage

    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**30


if __name__ == "__main__":
    main()
