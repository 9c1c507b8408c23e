"""Pictures at twice their side, by a network that learned on photographs what is lost when they are halved.

A cascade (Ho et al. 2022, section 3) makes a small picture first, which is most of the work, and enlarges it then. The
halved photographs that the enlarger learns from are made noisy, so that it mends what a generator gets wrong (their
section 4, conditioning augmentation).
"""

import hashlib

import keras
import numpy as np

from flowerlib import budget
from flowerlib.data import Dataset, manifest
from flowerlib.digests import digest, function_digests
from flowerlib.fetch import cache_folder
from flowerlib.models import enlargers
from flowerlib.schema import Budget
from flowerlib.splits import Split
from flowerlib.training import set_seeds


def fit_or_load(dataset: Dataset, split: Split, plan: Budget, *, noise: float = 0.0, seed: int) -> keras.Model:
    """An enlarger, trained, gone on with where a killed run stopped, or loaded.

    Args:
        dataset: the pictures, of an even side.
        split: its parts; only the training part is used.
        plan: how long it learns to give what was halved.
        noise: most of its deviation, of values in [0, 1]; each picture's is drawn evenly below.
        seed: of weights and draws.

    Returns:
        From float32 (n, side / 2, side / 2, 3) in [0, 1] to (n, side, side, 3), not bounded.

    Raises:
        FlowerlibError: the loss is not a number; a full disk.
    """
    side, train = dataset.images.shape[1], split.train.indices
    set_seeds(seed)
    with budget.precision(plan):
        enlarger = enlargers.enlarger(side)

    def batch(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        places = train[random.integers(0, len(train), plan.batch_size)]
        pictures = np.stack([dataset.images[index] for index in places]).astype(np.float32) / 255
        turned = random.random(len(pictures)) < 0.5
        pictures[turned] = pictures[turned, :, ::-1]
        small = halve(pictures)
        deviation = noise * random.random((len(small), 1, 1, 1), dtype=np.float32)
        return small + deviation * random.standard_normal(small.shape, dtype=np.float32), pictures

    parts = {
        "plan": plan.model_dump(mode="json", exclude_defaults=True) | {"seed": seed, "side": side, "noise": noise},
        "data": manifest(dataset.name),
        "pictures": hashlib.sha256(train.tobytes()).hexdigest(),
        "functions": function_digests([("enlarging", "fit_or_load")]),
    }
    budget.fit_or_load(enlarger, plan, batch, cache_folder() / "trained" / f"enlarger-{digest(parts)}", seed=seed)
    return enlarger


def halve(pictures: np.ndarray) -> np.ndarray:
    """Means of two by two pixels, float32 (n, side / 2, side / 2, 3)."""
    count, side = pictures.shape[:2]
    return pictures.reshape(count, side // 2, 2, side // 2, 2, 3).mean(axis=(2, 4), dtype=np.float32)
