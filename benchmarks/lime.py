"""LIME: ours against the bare forward passes, and against the `lime` package on the same segments."""

import argparse
import os
import sys
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.append(sys.path.pop(0))  # this file bears the package's name: let the package be found first

import keras
import numpy as np
from input import peak_memory, print_row
from lime.lime_image import LimeImageExplainer

from flowerlib import data, lime, maps, splits
from flowerlib.errors import FlowerlibError
from flowerlib.models import backbones

BATCH = 50


def main() -> None:
    parser = argparse.ArgumentParser(description="Time LIME against its forward passes and against the lime package.")
    parser.add_argument("--data", choices=["oxford102", "drawn"], default="oxford102")
    parser.add_argument("--images", type=int, default=8, help="test photographs (default 8)")
    parser.add_argument("--samples", type=int, default=1000, help="copies of a photograph (default 1000)")
    parser.add_argument("--size-px", type=int, default=224)
    options = parser.parse_args()
    if options.images < 1 or options.samples < BATCH:
        parser.error(f"--images is 1 or more, --samples {BATCH} or more")
    try:
        measure(options)
    except FlowerlibError as error:
        sys.exit(f"lime.py: {error}")


def measure(options: argparse.Namespace) -> None:
    """Run both comparisons and print them."""
    weights = "random" if options.data == "drawn" else "imagenet"
    model = backbones.imagenet_classifier("mobilenet_v2", weights=weights, size_px=options.size_px)
    dataset = data.load(options.data, options.size_px)
    test = splits.make("official", "fine", dataset.fine, dataset.sets).test.indices
    images = np.asarray(dataset.images[np.sort(test[:: len(test) // options.images][: options.images])])
    labels = maps.probabilities(model, images).argmax(axis=1)
    kind = "drawn flowers" if options.data == "drawn" else "photographs"
    print(
        f"MobileNetV2, {weights} weights, {options.size_px} px; {len(images)} {kind}, {options.samples} copies of each"
    )
    parts = [lime.segments(image) for image in images]
    lime.fit(model, images[0], int(labels[0]), parts=parts[0], samples=BATCH)  # builds the graph
    lime.quick(model, images[0], int(labels[0]), parts=parts[0])

    bare, own = [], []
    for image, label, segments in zip(
        images, labels, parts, strict=True
    ):  # in turns: the ratio holds on a busy machine
        bare.append(seconds(lambda image=image: forward(model, image, options.samples)))
        own.append(
            seconds(
                lambda image=image, label=label, segments=segments: lime.fit(
                    model, image, int(label), parts=segments, samples=options.samples
                )
            )
        )
    ratio = sum(own) / sum(bare)
    print_row(
        "ours / bare forward passes", f"{ratio:.2f}", f"{np.mean(own):.1f} s / {np.mean(bare):.1f} s; aim 1.15 or less"
    )

    ours, theirs, again = [], [], []
    spent: dict[str, list[float]] = {"ours": [], "lime": []}
    samples = []
    for image, label, segments in zip(images, labels, parts, strict=True):
        started = time.perf_counter()
        found = lime.quick(model, image, int(label), parts=segments, samples=options.samples)
        spent["ours"].append(time.perf_counter() - started)
        samples.append(found.samples)
        ours.append(set(found.top().tolist()))
        started = time.perf_counter()
        theirs.append(package(model, image, int(label), segments, options.samples, seed=1))
        spent["lime"].append(time.perf_counter() - started)
        again.append(package(model, image, int(label), segments, options.samples, seed=2))
    faster = sum(spent["lime"]) / sum(spent["ours"])
    spans = " / ".join(f"{np.mean(spent[name]):.1f} s" for name in ("lime", "ours"))
    print_row("lime package / ours, quick", f"{faster:.1f}", f"{spans}, {np.mean(samples):.0f} copies; aim 3")
    print_row("top five: ours with lime", f"{overlap(ours, theirs):.2f}", "aim: no less than the next line")
    print_row("top five: lime with itself", f"{overlap(theirs, again):.2f}", "another seed")
    print_row("memory", f"{peak_memory():.1f} GiB", "the most that the process held")


def forward(model: keras.Model, image: np.ndarray, samples: int) -> None:
    """The forward passes alone, in the same batches."""
    copies = np.repeat(image[None], BATCH, axis=0)
    for _ in range(samples // BATCH):
        model.predict_on_batch(copies)


def package(model: keras.Model, image: np.ndarray, label: int, parts: np.ndarray, samples: int, seed: int) -> set[int]:
    """The five segments with the largest weights by the lime package."""
    explained = LimeImageExplainer(random_state=seed).explain_instance(
        image,
        lambda pictures: maps.probabilities(model, np.asarray(pictures).astype(np.uint8), BATCH),
        labels=(label,),
        top_labels=None,
        num_features=int(parts.max()) + 1,
        num_samples=samples,
        batch_size=BATCH,
        segmentation_fn=lambda _: parts,
        random_seed=seed,
    )
    ranked = sorted(explained.local_exp[label], key=lambda pair: -pair[1])
    return {int(segment) for segment, _ in ranked[: lime.TOP]}


def overlap(one: list[set[int]], other: list[set[int]]) -> float:
    """Mean share of the five that two lists of top fives have in common."""
    return float(np.mean([len(a & b) / lime.TOP for a, b in zip(one, other, strict=True)]))


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
