"""The frozen phase of fine-tuning: the base re-run every epoch against one pass that is kept.

Both sides show a new head the same pictures in the same order and so end with the same validation loss. Validation is
not timed: both sides would do it alike. With 8 views, both show view 1 in the first epoch, view 2 in the second, ...
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from input import peak_memory, print_row

from flowerlib import augment, data, features, training
from flowerlib.data import Dataset
from flowerlib.errors import FlowerlibError
from flowerlib.fetch import cache_folder
from flowerlib.schema import Augment

BATCH, SEED, VALIDATION = 32, 1, 256
PARTS = ("pooled", "maps", "views")
CICALLA = Augment(rotation_deg=20, brightness=0.3, zoom=0.2, flip=True)  # Cicalla et al. 2024


@dataclass(frozen=True)
class Race:
    """What both sides are given."""

    dataset: Dataset
    train: np.ndarray
    validation: np.ndarray
    base: Callable[[bool], keras.Model]  # pooled or not
    identity: dict[str, str]
    epochs: int
    measured: int


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a head on a frozen base, re-run every epoch or kept.")
    parser.add_argument("--data", choices=["oxford102", "drawn"], default="oxford102")
    parser.add_argument("--images", type=int, default=1020, help="of the official training part (default 1020)")
    parser.add_argument("--size-px", type=int, default=224, help="side of the pictures (default 224)")
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--weights", choices=["imagenet", "random"], help="default: random for drawn flowers alone")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--measured-epochs", type=int, default=2, help="that the base is re-run in (default 2)")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS, help="what to compare (default all)")
    options = parser.parse_args()
    if options.images < BATCH or not 2 <= options.measured_epochs <= options.epochs:
        parser.error(f"--images is {BATCH} or more, --measured-epochs from 2 to --epochs")
    try:
        measure(options)
    except FlowerlibError as error:
        sys.exit(f"feature_cache.py: {error}")


def measure(options: argparse.Namespace) -> None:
    """Run the comparisons asked for; each prints its rows as it ends."""
    race = prepare(options)
    kind = "drawn flowers" if options.data == "drawn" else "photographs"
    weights = race.identity["weights"]
    print(f"{options.backbone}, {weights} weights, {options.size_px} px; {len(race.train)} {kind}, batches of {BATCH}")
    if race.measured < race.epochs:
        measured = f"the base is re-run in {race.measured}, of which the first builds its graphs"
        print(f"EXTRAPOLATED to {race.epochs} epochs: {measured}")
    # Features of its own, made anew and gone afterwards; on the disk where they would be kept.
    with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
        with patch.object(features, "cache_folder", lambda: Path(folder)):
            if "pooled" in options.part:
                compare("pooled features", race, pooled_head, pooled=True, aim=15)
            if "maps" in options.part:
                compare("feature maps", race, map_head, pooled=False, aim=8)
            if "views" in options.part:
                compare("pooled features, 8 views", race, pooled_head, pooled=True, aim=2, views=8)
    print_row("\npeak memory of this process", f"{peak_memory():.2f} GiB", "")


def prepare(options: argparse.Namespace) -> Race:
    """Pictures, parts and base; the pictures are put in the cache if they are not there."""
    from flowerlib.models.backbones import backbone

    weights = options.weights or ("random" if options.data == "drawn" else "imagenet")
    dataset = data.load(options.data, options.size_px)
    assert dataset.sets is not None
    train, validation = (dataset.sets[name] - 1 for name in ("trnid", "valid"))

    def base(pooled: bool) -> keras.Model:
        training.set_seeds(SEED)  # random weights are the same on both sides
        model = backbone(options.backbone, weights=weights, size_px=options.size_px, pooled=pooled)
        model.trainable = False
        return model

    identity = {"backbone": options.backbone, "weights": weights}
    some = train[: options.images], validation[: min(VALIDATION, options.images)]
    return Race(dataset, *some, base, identity, options.epochs, options.measured_epochs)


def pooled_head(shape: tuple[int, ...]) -> keras.Model:
    return _head([keras.layers.Dense(102)], shape)


def map_head(shape: tuple[int, ...]) -> keras.Model:
    convolution = keras.layers.Conv2D(64, 1, activation="relu")
    return _head([convolution, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(102)], shape)


def _head(layers: list[keras.layers.Layer], shape: tuple[int, ...]) -> keras.Model:
    training.set_seeds(SEED)
    return keras.Sequential([keras.Input(shape), *layers])


def compiled(model: keras.Model) -> keras.Model:
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def compare(
    name: str, race: Race, head: Callable[[tuple[int, ...]], keras.Model], *, pooled: bool, aim: float, views: int = 1
) -> None:
    """Train the head both ways; print seconds, their ratio, and how far the validation losses lie apart."""
    ranges = CICALLA if views > 1 else Augment()
    rerun, loss = rerun_base(race, race.base(pooled), head, ranges, views)
    whole = np.sum(rerun, axis=0) + (race.epochs - race.measured) * np.median(rerun[1:], axis=0)
    one_pass, epochs, same = keep_features(race, race.base(pooled), head, ranges, views)
    heads = np.sum(epochs, axis=0)
    kept = one_pass + heads
    ratio, by_processor = whole / kept
    verdict = f"aim {aim:g} or more" + (": below the aim" if ratio < aim else "")
    print(f"\n{name}")
    print_row(
        "  base in every epoch", f"{whole[0]:.1f} s", f"measured: {', '.join(f'{each[0]:.1f}' for each in rerun)}"
    )
    print_row("  base once, kept", f"{kept[0]:.1f} s", f"the pass {one_pass[0]:.1f}, all epochs {heads[0]:.1f}")
    print_row("  ratio", f"{ratio:.1f}", f"{verdict}; {by_processor:.1f} in processor seconds")
    print(
        f"  validation loss after {race.measured} epochs {loss:.6f} and {same:.6f}, difference {abs(loss - same):.1e}"
    )


def clock() -> np.ndarray:
    """Seconds on the wall and of the processors; the second hardly depend on what else the machine does."""
    return np.array([time.perf_counter(), time.process_time()])


def rerun_base(
    race: Race, base: keras.Model, head: Callable[[tuple[int, ...]], keras.Model], ranges: Augment, views: int
) -> tuple[list[np.ndarray], float]:
    """What each measured epoch of base and head took, the first with building its graphs; the validation loss."""
    top = head(base.output_shape[1:])
    pictures = keras.Input(base.input_shape[1:], dtype="uint8")
    model = compiled(keras.Model(pictures, top(base(pictures))))
    dataset, spent = race.dataset, []
    for epoch in range(race.measured):
        started = clock()
        shown = epoch_of(race, ranges, views, epoch)
        model.fit(augment.batches(dataset.images, dataset.fine, shown, ranges, BATCH), verbose=0, shuffle=False)
        spent.append(clock() - started)
    loss = model.evaluate(dataset.images[race.validation], dataset.fine[race.validation], verbose=0)
    return spent, loss


def epoch_of(race: Race, ranges: Augment, views: int, epoch: int) -> augment.Epoch:
    """The pictures that ``features.batches`` shows the features of, drawn as ``features.extract`` draws them."""
    labels = race.dataset.fine[race.train]
    indices = race.train[augment.plan(np.arange(len(labels)), labels, Augment(), SEED, epoch).indices]
    drawn = features.draws(SEED, np.full(len(indices), epoch % views), indices)
    return augment.Epoch(indices, np.full(len(indices), ranges.changes_pictures()), drawn)


def keep_features(
    race: Race, base: keras.Model, head: Callable[[tuple[int, ...]], keras.Model], ranges: Augment, views: int
) -> tuple[np.ndarray, list[np.ndarray], float]:
    """What the pass took, and each epoch of the head, all measured; the validation loss after as many as re-run."""
    labels = race.dataset.fine[race.train]
    started = clock()
    seen = features.extract(base, race.identity, race.dataset, race.train, views=views, augment=ranges, seed=SEED)
    one_pass = clock() - started
    validation = features.extract(base, race.identity, race.dataset, race.validation)[:, 0]
    model, spent, loss = compiled(head(seen.shape[2:])), [], float("nan")
    for epoch in range(race.epochs):
        started = clock()
        model.fit(features.batches(seen, labels, SEED, epoch, BATCH), verbose=0, shuffle=False)
        spent.append(clock() - started)
        if epoch + 1 == race.measured:
            loss = model.evaluate(np.asarray(validation), race.dataset.fine[race.validation], verbose=0)
    return one_pass, spent, loss


if __name__ == "__main__":
    main()
