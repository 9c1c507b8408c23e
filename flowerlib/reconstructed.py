"""An autoencoder of a recipe: trained, or loaded, and what it makes of the pictures of a part."""

import keras
import numpy as np
import pandas as pd

from flowerlib import budget, checkpoints, digests, reconstruction
from flowerlib.budget import Mark
from flowerlib.checkpoints import Trained
from flowerlib.data import Dataset, manifest
from flowerlib.fetch import cache_folder
from flowerlib.models import autoencoders
from flowerlib.schema import Recipe
from flowerlib.splits import Part, Split
from flowerlib.training import set_seeds

AT_ONCE = 64  # pictures in a batch of predictions


def build(recipe: Recipe, dataset: Dataset, split: Split) -> keras.Model:
    """The recipe's network with freshly seeded weights; ours begins at the principal components of blocks.

    Args:
        recipe: the run; its model's builder is one of ``autoencoders.BUILDERS``.
        dataset: the pictures.
        split: its parts; components are fitted on the training part.
    """
    assert recipe.model is not None and recipe.data is not None and recipe.budget is not None
    set_seeds(recipe.seed)
    with budget.precision(recipe.budget):
        model = autoencoders.BUILDERS[recipe.model.builder](recipe.data.size_px, **recipe.model.options())
    if recipe.model.builder == "patch_autoencoder":
        components = model.get_layer("to_blocks").kernel.shape
        side = round((components[0] / 3) ** 0.5)
        known = reconstruction.fit_wide(dataset.images[split.train.indices], side, components[1], seed=recipe.seed)
        autoencoders.start_linear(model, *known)
    return model


def fit_or_load(recipe: Recipe, model: keras.Model, dataset: Dataset, split: Split) -> tuple[Trained, list[Mark]]:
    """Train a network to give its input back, go on where a killed run stopped, or load what was trained before.

    Args:
        recipe: the run; ours is shown mirror images too where its ``augment.flip`` says so.
        model: from ``build``; holds the trained weights afterwards.
        dataset: the pictures.
        split: its parts; only the training part is used.

    Returns:
        What is known of the training, and the network on its way.

    Raises:
        FlowerlibError: the loss is not a number; a full disk.
    """
    assert recipe.budget is not None
    plan, train = recipe.budget, split.train.indices

    def batch(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        pictures = numbers(
            dataset.images[np.sort(random.choice(train, min(plan.batch_size, len(train)), replace=False))]
        )
        if recipe.augment.flip:
            turned = random.random(len(pictures)) < 0.5
            pictures[turned] = pictures[turned, :, ::-1]
        return pictures, pictures

    folder = cache_folder() / "trained" / digests.training_digest(recipe, manifest(dataset.name))
    trained = budget.fit_or_load(model, plan, batch, folder, seed=recipe.seed)
    return trained, budget.marks(trained, plan, folder)


def numbers(images: np.ndarray) -> np.ndarray:
    """float32 in [0, 1] of uint8 pictures."""
    return images.astype(np.float32) / 255


def again(model: keras.Model, dataset: Dataset, part: Part) -> np.ndarray:
    """What a network makes of a part's pictures, float32 (n, side, side, 3), cut to [0, 1]."""
    made = np.empty((len(part), *dataset.images.shape[1:]), np.float32)
    for start in range(0, len(part), AT_ONCE):
        pictures = numbers(dataset.images[part.indices[start : start + AT_ONCE]])
        made[start : start + len(pictures)] = np.clip(np.asarray(model.predict_on_batch(pictures)), 0, 1)
    return made


def by_minutes(model: keras.Model, marks: list[Mark], dataset: Dataset, part: Part) -> pd.DataFrame:
    """Columns minutes, value, low and high: the mean PSNR of a part at each mark; the last mark's weights stay."""
    rows = []
    for mark in marks:
        checkpoints.weights(model).load_weights(mark.weights)
        found = reconstruction.errors(numbers(dataset.images[part.indices]), again(model, dataset, part))
        score = reconstruction.scores(found)["psnr"]
        rows.append({"minutes": mark.minutes, "value": score.value, "low": score.low, "high": score.high})
    return pd.DataFrame(rows)
