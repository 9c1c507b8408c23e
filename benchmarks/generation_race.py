"""The race: the four ways to make pictures with the same minutes of training each; KID against photographs.

Each keeps its own process, network, rate and data; making the pictures that are scored does not count. How long that
takes is timed for ours.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from input import peak_memory, print_row

from flowerlib import budget, data, generated, picture_features, recipes, reconstructed, sampling, scored, splits
from flowerlib.errors import FlowerlibError

RACERS = ("hughes-diffusion", "shen-diffusion", "keras-diffusion", "ours-diffusion")
AIM = 4  # times the KID of ours
STEPS, AIM_SECONDS = 20, {"without guidance": 15, "with guidance": 30}  # of AT_ONCE pictures


def main() -> None:
    parser = argparse.ArgumentParser(description="Train four generators for the same minutes and score their pictures.")
    parser.add_argument("--minutes", type=float, default=3, help="of training each (default 3)")
    parser.add_argument("--samples", type=int, default=1000, help="pictures that are scored (default 1000)")
    parser.add_argument("--profile", choices=["laptop", "smoke"], default="laptop", help="laptop needs the photographs")
    options = parser.parse_args()
    if options.minutes <= 0 or options.samples < 4:
        parser.error("--minutes is above 0, --samples 4 or more")
    try:
        race(options.minutes, options.samples, options.profile)
    except FlowerlibError as error:
        sys.exit(f"generation_race.py: {error}")


def race(minutes: float, samples: int, profile: str) -> None:
    """Train and score every racer and print a row each."""
    real, found = None, {}
    for run in RACERS:
        recipe = shortened(run, minutes, profile)
        dataset = data.load(recipe.data.name, recipe.data.size_px, recipe.data.resize)
        split = splits.make(recipe.data.split, recipe.data.labels, dataset.fine, dataset.sets, recipe.seed)
        if real is None:
            real = scored.reference(dataset, samples)
            floor = scored.kid(real.validation, real.test)
            print(f"{minutes:g} minutes each; {samples:,} pictures; KID in features of {picture_features.NETWORK}")
            print_row("photographs", f"{floor.value:.3f}", f"against others, {floor.low:.3f} to {floor.high:.3f}")
        if recipe.generation.latent:
            train_autoencoder(recipe, dataset, split)
        generator = generated.build(recipe, dataset, split)
        taken = tuple(generator.model.inputs[0].shape[1:])
        if taken != generator.space.shape:
            print_row(
                run, "left out", f"its network takes {taken}, this profile's pictures give {generator.space.shape}"
            )
            continue
        with tempfile.TemporaryDirectory() as folder:  # a race begins anew every time
            batch = generated.batches(generator, dataset, split)
            trained = budget.fit_or_load(generator.model, recipe.budget, batch, Path(folder), seed=recipe.seed)
        pictures = sampling.sample(generator, samples, seed=scored.SEED)
        found[run] = scored.kid(picture_features.features(pictures), np.asarray(real.validation))
        said = f"{found[run].low:.3f} to {found[run].high:.3f}, {trained.history['steps'][-1]:,.0f} steps"
        print_row(run, f"{found[run].value:.3f}", said)
        if run == "ours-diffusion":
            time_sampling(generator)
    ours = found["ours-diffusion"].value
    for run, aim in (("hughes-diffusion", AIM), ("shen-diffusion", AIM), ("keras-diffusion", 1)):
        if run in found:
            ratio = found[run].value / ours
            print_row(f"{run} / ours", f"{ratio:.1f}", f"aim {aim} or more{': missed' * (ratio < aim)}")
    print_row("peak memory", f"{peak_memory():.1f} GiB", "of the one process that trains all four")


def time_sampling(generator: generated.Generator) -> None:
    """Print how long some pictures take, as asked for, without guidance and with it."""
    labels = scored.spread(len(generator.names), generated.AT_ONCE)
    for (name, aim), guidance in zip(AIM_SECONDS.items(), (0, generator.recipe.generation.guidance), strict=True):
        taken = []
        for _ in range(2):  # the first builds the graph
            started = time.perf_counter()
            made = sampling.sample(
                generator, len(labels), seed=scored.SEED, labels=labels, steps=STEPS, guidance=guidance
            )
            taken.append(time.perf_counter() - started)
        said = f"{len(made)} of {made.shape[1]} px, {STEPS} steps; aim {aim} s{': missed' * (min(taken) > aim)}"
        print_row(name, f"{min(taken):.1f} s", said)


def shortened(run: str, minutes: float, profile: str) -> recipes.Recipe:
    """A racer with so many minutes in all; one that enlarges its pictures spends a sixth of them on that network."""
    plan = recipes.load(run, profile).generation.enlarger
    own = minutes if plan is None else minutes * 5 / 6
    recipe = recipes.load(f"{run}@budget.steps=null@budget.minutes={own:.3g}@budget.marks=1", profile)
    if plan is None:
        return recipe
    enlarger = plan.model_copy(update={"steps": None, "minutes": minutes / 6})
    return recipe.model_copy(update={"generation": recipe.generation.model_copy(update={"enlarger": enlarger})})


def train_autoencoder(recipe: recipes.Recipe, dataset: data.Dataset, split: splits.Split) -> None:
    """The autoencoder that a latent process runs in; kept, and its minutes not counted."""
    other = recipes.load(recipe.uses[0], recipe.profile)
    model = reconstructed.build(other, dataset, split)
    reconstructed.fit_or_load(other, model, dataset, split)


if __name__ == "__main__":
    main()
