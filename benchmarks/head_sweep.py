"""The head sweep: 64 settings of learning rate and momentum on 20 draws; README.md says how to read the table.

`flowerlib.heads` trains the settings of a draw together. The report's way, one Keras `fit` after the other, would take
hours: some of its fits are timed and the rest reckoned from them. Features are random, of the right size: what they
show changes neither side's seconds.
"""

import argparse
import os
import sys
import time
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from flowerlib import heads
from flowerlib.errors import FlowerlibError
from flowerlib.heads import Draw

RATES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
MOMENTA = (0.0, 0.01, 0.1, 0.5, 0.8, 0.9, 0.99, 1.0)
PHOTOGRAPHS, FEATURES, CLASSES = 1000, 1280, 5
BATCH = 32
AIM_S, AIM_RATIO = 60, 50


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the sweep of heads against a loop of Keras fits.")
    parser.add_argument("--draws", type=int, default=20, help="of the photographs (default 20)")
    parser.add_argument("--epochs", type=int, default=100, help="of every head (default 100)")
    parser.add_argument("--fits", type=int, default=2, help="Keras fits that are timed, 0 for none (default 2)")
    options = parser.parse_args()
    if min(options.draws, options.epochs) < 1 or options.fits < 0:
        parser.error("--draws and --epochs are 1 or more, --fits 0 or more")
    try:
        measure(options.draws, options.epochs, options.fits)
    except FlowerlibError as error:
        sys.exit(f"head_sweep.py: {error}")


def measure(draws: int, epochs: int, fits: int) -> None:
    """Time both sides and print them, the sweep scaled to its full size where less was asked for."""
    settings = len(RATES) * len(MOMENTA)
    drawn = [random_draw(seed) for seed in range(draws)]
    heads.train(drawn[:1], *heads.grid(RATES, MOMENTA), epochs=1)  # what is loaded and allocated once does not count
    seconds = sweep_seconds(drawn, epochs)
    print(f"random features, {PHOTOGRAPHS} by {FEATURES}; {settings} settings, {draws} draws, {epochs} epochs")
    print_row("flowerlib, whole sweep", f"{seconds:.1f} s", f"{1e3 * seconds / (draws * settings):.1f} ms a head")
    whole = seconds * 20 / draws * 100 / epochs
    said = "measured" if (draws, epochs) == (20, 100) else "reckoned in proportion"
    print_row("  at 20 draws, 100 epochs", f"{whole:.1f} s", f"{said}; aim {AIM_S} s or less{above(whole, AIM_S)}")
    if not fits:
        return
    each = [fit_seconds(drawn[0], epochs) for _ in range(fits)]
    loop = median(each) * draws * settings
    print_row("Keras, one fit", f"{median(each):.1f} s", f"{min(each):.1f} to {max(each):.1f} in {fits} fits")
    print_row(f"  {draws * settings} fits", f"{loop / 60:.0f} min", "reckoned from these")
    ratio = loop / seconds
    print_row("ratio", f"{ratio:.0f}", f"aim {AIM_RATIO} or more{': below the aim' * (ratio < AIM_RATIO)}")


def above(value: float, aim: float) -> str:
    return ": above the aim" if value > aim else ""


def random_draw(seed: int) -> Draw:
    """Features as an average over a map of ReLUs has them, not negative; labels of which they know a little."""
    random = np.random.default_rng(0)  # the same photographs for every draw
    labels = np.arange(PHOTOGRAPHS) % CLASSES
    centres = random.normal(0, 0.1, (CLASSES, FEATURES))
    features = np.maximum(0, random.normal(0, 0.8, (PHOTOGRAPHS, FEATURES)) + centres[labels] + 0.1)
    return heads.draw(features, labels, seed)


def sweep_seconds(drawn: list[Draw], epochs: int) -> float:
    started = time.perf_counter()
    heads.train(drawn, *heads.grid(RATES, MOMENTA), epochs=epochs, batch_size=BATCH)
    return time.perf_counter() - started


def fit_seconds(draw: Draw, epochs: int) -> float:
    """One head as the report trains it, with its validation, but without writing the best epoch to a file."""
    started = time.perf_counter()
    keras.backend.clear_session()
    layers = [keras.Input((FEATURES,)), keras.layers.Dense(CLASSES, activation="softmax")]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    validation = (draw.val_x, draw.val_y)
    model.fit(draw.train_x, draw.train_y, BATCH, epochs, validation_data=validation, verbose=0)
    return time.perf_counter() - started


def print_row(what: str, value: str, note: str) -> None:
    print(f"{what:32}{value:>12}   {note}", flush=True)


if __name__ == "__main__":
    main()
