"""One picture at a time: LiteRT files of each kind against one another and against Keras `predict`, on one thread.

Weights are random and pictures noise, of the right size: the time depends on neither.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Before TensorFlow is imported: Keras has the one thread that the files have.
os.environ.update(dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1"))

import numpy as np
from input import peak_memory, print_row

from flowerlib import footprint, lite, quantization
from flowerlib.errors import FlowerlibError
from flowerlib.models.transfer import transfer

CLASSES = 102
# Network -> cut and side; InceptionV3 as Cicalla et al. 2024 cut it, with their head.
NETWORKS = {
    "mobilenet_v2": (None, 224, ()),
    "efficientnet_lite0": (None, 224, ()),
    "inception_v3": ("conv2d_84", 299, (512,)),
}
FLOAT_AIM, KERAS_AIM = 2, 10
SIZE_AIMS_MB = {"mobilenet_v2": 3.0, "efficientnet_lite0": 4.2}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time one picture through LiteRT files and through Keras.")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=10, help="in which the sides take turns (default 10)")
    parser.add_argument("--runs", type=int, default=10, help="pictures a side and round (default 10)")
    options = parser.parse_args()
    if min(options.rounds, options.runs) < 1:
        parser.error("--rounds and --runs are 1 or more")
    try:
        for name in options.networks:
            measure(name, options.rounds, options.runs)
    except FlowerlibError as error:
        sys.exit(f"latency.py: {error}")
    peak = peak_memory()
    print_row("peak memory", f"{peak:.1f} GiB", f"of this process, conversion included; aim 2 GiB{missed(peak > 2)}")


def measure(name: str, rounds: int, runs: int) -> None:
    """Export a network in every kind, let the kinds and Keras take turns, and print the medians."""
    cut, side, hidden = NETWORKS[name]
    model = transfer(CLASSES, side, name, cut=cut, weights="random", hidden=hidden)
    pictures = np.random.default_rng(0).integers(0, 256, (8, side, side, 3), dtype=np.uint8)
    names = tuple(f"class {number}" for number in range(CLASSES))
    print(f"{name}{f' cut at {cut}' if cut else ''}, random weights, {side} px, one thread")
    sides: dict[str, Callable[[], object]] = {"Keras predict": lambda: model.predict(pictures[:1], verbose=0)}
    megabytes = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in quantization.KINDS:
            path = Path(folder) / f"{kind}.tflite"
            quantization.export(model, kind, path, names, pictures=pictures if kind == "int8" else None)
            megabytes[kind] = path.stat().st_size / footprint.MEGA
            sides[kind] = one_picture(lite.load(path, threads=1), pictures[0])
        found = take_turns(sides, rounds, runs)
    for what, spent in found.items():
        size = f"; {megabytes[what]:.2f} MB" if what in megabytes else ""
        note = f"95 % below {np.quantile(spent, 0.95):.1f} ms{size}"
        if what == "int8" and name in SIZE_AIMS_MB:
            note += f"; aim {SIZE_AIMS_MB[name]} MB or less{missed(megabytes[what] > SIZE_AIMS_MB[name])}"
        print_row(f"  {what}", f"{np.median(spent):.1f} ms", note)
    for what, aim in (("float32", FLOAT_AIM), ("Keras predict", KERAS_AIM)):
        ratio = float(np.median(found[what]) / np.median(found["int8"]))
        print_row(f"  {what} / int8", f"{ratio:.1f}", f"aim {aim} or more{missed(ratio < aim)}")


def missed(is_missed: bool) -> str:
    return ": missed" if is_missed else ""


def one_picture(model: lite.LiteModel, picture: np.ndarray) -> Callable[[], object]:
    return lambda: model.logits(picture)


def take_turns(sides: dict[str, Callable[[], object]], rounds: int, runs: int) -> dict[str, list[float]]:
    """Milliseconds of every run; one round before them does not count."""
    spent: dict[str, list[float]] = {what: [] for what in sides}
    for number in range(rounds + 1):
        for what, run in sides.items():
            for _ in range(runs):
                started = time.perf_counter()
                run()
                if number:
                    spent[what].append(1000 * (time.perf_counter() - started))
    return spent


if __name__ == "__main__":
    main()
