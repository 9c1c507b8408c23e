"""A generator of a recipe, trained or loaded; ``sampling`` makes pictures with it.

Three processes share one training: Hughes's and Shen's learn to give the level before of a picture that grows noisier
(``processes``), ours learns of any noise level, which it is told (``diffusion``).
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from flowerlib import (
    budget,
    data,
    diffusion,
    digests,
    enlarging,
    networks,
    processes,
    recipes,
    reconstructed,
    splits,
)
from flowerlib.budget import Mark
from flowerlib.checkpoints import Trained
from flowerlib.data import Dataset, manifest
from flowerlib.errors import FlowerlibError
from flowerlib.fetch import cache_folder
from flowerlib.models import autoencoders, denoisers
from flowerlib.schedules import NOISE_SCHEDULES
from flowerlib.schema import Recipe
from flowerlib.splits import Split
from flowerlib.training import set_seeds

AT_ONCE = 64  # pictures that are made together


@dataclass(frozen=True)
class Space:
    """Where a process runs: pixels from -1 to 1, or the latent of an autoencoder with mean 0 and deviation 1.

    Attributes:
        shape: of an array.
        into: pictures float32 (n, side, side, 3) in [0, 1] -> arrays.
        out: arrays -> pictures.
        bounds: that arrays of pictures keep to, or None.
    """

    shape: tuple[int, ...]
    into: Callable[[np.ndarray], np.ndarray]
    out: Callable[[np.ndarray], np.ndarray]
    bounds: tuple[float, float] | None


@dataclass(frozen=True)
class Generator:
    """A network that makes pictures of noise.

    Attributes:
        recipe: its run.
        model: with some weights; ``budget.Mark`` has others.
        space: where its process runs.
        names: one a class that it can be asked for, besides none.
    """

    recipe: Recipe
    model: keras.Model
    space: Space
    names: tuple[str, ...]


def build(recipe: Recipe, dataset: Dataset, split: Split) -> Generator:
    """The recipe's network with freshly seeded weights, and the space that it works in.

    Args:
        recipe: the run; has ``generation``.
        dataset: the pictures.
        split: its parts; the latent's mean and deviation are those of the training part.

    Raises:
        FlowerlibError: an autoencoder that was not trained here.
    """
    assert recipe.data is not None and recipe.generation is not None and recipe.budget is not None
    space = _latent(recipe, dataset, split) if recipe.generation.latent else _pixels(recipe, dataset, split)
    set_seeds(recipe.seed)
    with budget.precision(recipe.budget):
        return Generator(recipe, _network(recipe, space, len(split.names)), space, split.names)


def _network(recipe: Recipe, space: Space, classes: int) -> keras.Model:
    assert recipe.model is not None
    builder, options = recipe.model.builder, recipe.model.options()
    if builder == "hughes_unet":
        return autoencoders.hughes_unet(space.shape[0], **options)
    if builder == "conditional_unet":
        options |= {"channels": space.shape[-1], "classes": classes}
        return denoisers.conditional_unet(space.shape[0], **options)
    if builder == "shen_denoiser":
        return denoisers.shen_denoiser(**options)
    return denoisers.BUILDERS[builder](space.shape[0], **options)


def _pixels(recipe: Recipe, dataset: Dataset, split: Split) -> Space:
    """Pixels as each process takes them: from 0 to 1, diffusion's from -1 to 1, of half the side where it says so."""
    assert recipe.data is not None and recipe.generation is not None
    side = recipe.data.size_px
    if recipe.generation.process == "hughes":
        return Space((side, side, 3), lambda pictures: pictures, lambda arrays: arrays, None)
    if recipe.generation.enlarger:
        assert recipe.budget is not None
        plan = recipe.generation.enlarger.model_copy(update={"precision": recipe.budget.precision})
        noise = recipe.generation.enlarger_noise
        enlarger = enlarging.fit_or_load(dataset, split, plan, noise=noise, seed=recipe.seed)
        return Space(
            (side // 2, side // 2, 3),
            lambda pictures: 2 * enlarging.halve(pictures) - 1,
            lambda arrays: in_batches(enlarger, (arrays + 1) / 2),
            (-1.0, 1.0),
        )
    return Space((side, side, 3), lambda pictures: 2 * pictures - 1, lambda arrays: (arrays + 1) / 2, (-1.0, 1.0))


def _latent(recipe: Recipe, dataset: Dataset, split: Split) -> Space:
    """The latent of the autoencoder that the run uses; Shen's process takes it as it is, diffusion at one scale."""
    assert recipe.generation is not None
    other = recipes.load(recipe.uses[0], recipe.profile)
    model = reconstructed.build(other, dataset, split)
    networks.require_trained(other)
    reconstructed.fit_or_load(other, model, dataset, split)
    encoder, decoder = autoencoders.halves(model)
    mean, deviation = np.zeros((), np.float32), np.ones((), np.float32)
    if recipe.generation.process == "diffusion":
        some = split.train.indices[:: max(1, len(split.train) // 1000)]
        seen = in_batches(encoder, reconstructed.numbers(dataset.images[some]))
        mean, deviation = seen.mean(axis=(0, 1, 2)), seen.std(axis=(0, 1, 2))
    return Space(
        tuple(encoder.output.shape[1:]),
        lambda pictures: (in_batches(encoder, pictures) - mean) / deviation,
        lambda arrays: in_batches(decoder, (arrays * deviation + mean).astype(np.float32)),
        None,
    )


def in_batches(model: keras.Model, arrays: np.ndarray) -> np.ndarray:
    """What a model says of arrays (n, ...), AT_ONCE at a time, float32."""
    parts = [
        np.asarray(model.predict_on_batch(arrays[start : start + AT_ONCE])) for start in range(0, len(arrays), AT_ONCE)
    ]
    return np.concatenate(parts)


def fit_or_load(generator: Generator, dataset: Dataset, split: Split) -> tuple[Trained, list[Mark]]:
    """Train a generator, go on where a killed run stopped, or load what was trained before.

    Args:
        generator: from ``build``; its model holds the trained weights afterwards.
        dataset: the pictures.
        split: its parts; only the training part is used.

    Returns:
        What is known of the training, and the network on its way.

    Raises:
        FlowerlibError: the loss is not a number; a full disk.
    """
    recipe = generator.recipe
    assert recipe.budget is not None
    folder = cache_folder() / "trained" / digests.training_digest(recipe, manifest(dataset.name))
    batch = batches(generator, dataset, split)
    trained = budget.fit_or_load(generator.model, recipe.budget, batch, folder, seed=recipe.seed)
    return trained, budget.marks(trained, recipe.budget, folder)


def batches(generator: Generator, dataset: Dataset, split: Split) -> budget.Batch:
    """What draws a step's inputs and targets, as the run's process has them; nothing of it is kept.

    Args:
        generator: from ``build``.
        dataset: the pictures.
        split: its parts; only the training part is used.
    """
    assert generator.recipe.generation is not None
    kinds = {"hughes": _hughes_batch, "shen": _shen_batch, "diffusion": _diffusion_batch}
    batch = kinds[generator.recipe.generation.process]
    return lambda random: batch(generator, dataset, split, random)


def epochs(generator: Generator, split: Split, steps: float) -> float:
    """How often each picture that the run learns from was shown, on average, in so many steps."""
    recipe = generator.recipe
    assert recipe.budget is not None and recipe.generation is not None
    batch = recipe.budget.batch_size
    shown = {"hughes": 1, "shen": max(1, batch // processes.SHEN_LEVELS)}.get(recipe.generation.process, batch)
    return steps * shown / min(len(split.train), recipe.generation.pictures or len(split.train))


def load(run: str, profile: str) -> Generator:
    """What a run has trained, ready to make pictures; never trains.

    Args:
        run: its name.
        profile: in which it ran.

    Raises:
        FlowerlibError: an unknown run, one that makes no pictures, or one that was not trained here.
    """
    recipe = recipes.load(run, profile)
    if recipe.generation is None or recipe.data is None:
        raise FlowerlibError(f"{run} makes no pictures: its recipe has no generation")
    networks.require_trained(recipe)
    dataset = data.load(recipe.data.name, recipe.data.size_px, recipe.data.resize)
    split = splits.make(recipe.data.split, recipe.data.labels, dataset.fine, dataset.sets, recipe.seed)
    generator = build(recipe, dataset, split)
    fit_or_load(generator, dataset, split)
    return generator


def _drawn(
    generator: Generator, dataset: Dataset, split: Split, count: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures float32 in [0, 1] and their classes, drawn from those that the run learns from."""
    generation = generator.recipe.generation
    assert generation is not None
    places = random.integers(0, min(len(split.train), generation.pictures or len(split.train)), count)
    pictures = reconstructed.numbers(np.stack([dataset.images[index] for index in split.train.indices[places]]))
    if generator.recipe.augment.flip:
        turned = random.random(count) < 0.5
        pictures[turned] = pictures[turned, :, ::-1]
    return 0.5 + generation.contrast * (pictures - 0.5), split.train.labels[places]


def _hughes_batch(generator: Generator, dataset: Dataset, split: Split, random: np.random.Generator) -> tuple:
    """All levels of one picture: each level, and the one before (Hughes 2024, section 4.2)."""
    [picture], _ = _drawn(generator, dataset, split, 1, random)
    chain = processes.hughes_levels(picture, random)
    return chain[1:], chain[:-1]


def _shen_batch(generator: Generator, dataset: Dataset, split: Split, random: np.random.Generator) -> tuple:
    """All levels of some pictures, in the latent: each level, and the one before (Shen 2025, sections 4.1, 4.3.3)."""
    recipe = generator.recipe
    assert recipe.budget is not None and recipe.generation is not None
    pictures, _ = _drawn(generator, dataset, split, max(1, recipe.budget.batch_size // processes.SHEN_LEVELS), random)
    chains = [processes.shen_levels(each, random, clamp=recipe.generation.clamp) for each in pictures]
    latents = generator.space.into(np.concatenate(chains)).reshape(len(chains), -1, *generator.space.shape)
    noisier, cleaner = latents[:, 1:], latents[:, :-1]
    return noisier.reshape(-1, *generator.space.shape), cleaner.reshape(-1, *generator.space.shape)


def _diffusion_batch(generator: Generator, dataset: Dataset, split: Split, random: np.random.Generator) -> tuple:
    """Pictures at noise levels drawn evenly in time, their levels, and their classes where the network is told them."""
    recipe = generator.recipe
    assert recipe.budget is not None and recipe.generation is not None
    plan = recipe.generation
    pictures, labels = _drawn(generator, dataset, split, recipe.budget.batch_size, random)
    arrays = generator.space.into(pictures)
    noise = random.standard_normal(arrays.shape, dtype=np.float32)
    signal, loud = NOISE_SCHEDULES[plan.schedule](random.random(len(arrays)))
    noisy = diffusion.add_noise(arrays, noise, signal, loud).astype(np.float32)
    wanted = diffusion.target(plan.target, arrays, noise, signal, loud).astype(np.float32)
    told: list[np.ndarray] = [noisy, (loud**2).astype(np.float32)[:, None]]
    if len(generator.model.inputs) == 3:
        hidden = random.random(len(labels)) < plan.unlabelled
        told += [np.where(hidden, len(generator.names), labels).astype(np.int32)[:, None]]
    if not plan.min_snr:
        return told, wanted
    weights = diffusion.min_snr(signal, loud, plan.target).astype(np.float32)
    return told, wanted, weights.reshape(-1, *[1] * (wanted.ndim - 2))  # Keras's losses are a value a place
