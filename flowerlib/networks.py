"""Networks that other runs have trained, ready to answer: for explanations, quantization, an ensemble. Never trains."""

from dataclasses import dataclass

import keras
import numpy as np

from flowerlib import data, digests, features, finetuning, metrics, recipes, splits, training
from flowerlib.data import Dataset
from flowerlib.errors import FlowerlibError
from flowerlib.fetch import cache_folder
from flowerlib.finetuning import Stage
from flowerlib.models import backbones
from flowerlib.schema import Augment, Recipe
from flowerlib.splits import Part, Split


@dataclass(frozen=True)
class Network:
    """A trained classifier beside the pictures that it was made for.

    Attributes:
        recipe: its run.
        model: uint8 pictures -> logits, with its last weights.
        dataset: the pictures, at its size.
        split: their parts, under its labels.
        stages: of a fine-tuned one, in their order.
    """

    recipe: Recipe
    model: keras.Model
    dataset: Dataset
    split: Split
    stages: tuple[Stage, ...] = ()

    def probabilities(self, part: Part) -> np.ndarray:
        """float64 (n, classes) of a part's pictures, as the run itself predicts them."""
        if self.stages:
            logits = finetuning.predict(self.recipe, self.model, self.stages[-1], self.dataset, part)
        else:
            logits = training.predict(self.recipe, self.model, self.dataset, part)
        return metrics.softmax(logits)


def load(run: str, profile: str) -> Network:
    """What a run of one network has trained.

    Args:
        run: its name.
        profile: in which it ran.

    Raises:
        FlowerlibError: an unknown run, one that trains no single network, or one that was not trained here.
    """
    recipe = recipes.load(run, profile)
    single = recipe.model and (recipe.training or recipe.finetuning) and not recipe.sweep
    if recipe.data is None or not single or recipe.data.learned != "labels":
        raise FlowerlibError(f"{run} trains no single network on its own labels, which others could use")
    digest = digests.training_digest(recipe, data.manifest(recipe.data.name))
    if not (cache_folder() / "trained" / digest / "training.json").exists():
        raise FlowerlibError(
            f"the weights of {run} are not here, about {recipe.expect.minutes:g} minutes:"
            f" python -m flowerlib run '{run}' --profile {profile} --force"
        )
    dataset = data.load(recipe.data.name, recipe.data.size_px, recipe.data.resize)
    split = splits.make(recipe.data.split, recipe.data.labels, dataset.fine, dataset.sets, recipe.seed)
    if recipe.finetuning:
        model = finetuning.build(recipe, split)
        return Network(recipe, model, dataset, split, tuple(finetuning.fit_or_load(recipe, model, dataset, split)))
    model = training.build(recipe, split, dataset)
    training.fit_or_load(recipe, model, dataset, split)
    return Network(recipe, model, dataset, split)


def is_trained(run: str, profile: str) -> bool:
    """Whether the weights of a run are here.

    Args:
        run: its name.
        profile: in which it ran.
    """
    recipe = recipes.load(run, profile)
    assert recipe.data is not None
    try:
        digest = digests.training_digest(recipe, data.manifest(recipe.data.name))
    except FlowerlibError:  # the ImageNet weights that it starts from are not here
        return False
    return (cache_folder() / "trained" / digest / "training.json").exists()


def seen(
    network: Network, dataset: Dataset | None = None, *, views: int = 0, augment: Augment | None = None
) -> np.memmap:
    """What a fine-tuned network's head stands on, of every picture of a data set.

    Args:
        network: with a layer "pooled".
        dataset: the pictures, at its size; its own by default.
        views: augmented views of each; 0: each picture as it is.
        augment: what may be done to a view.

    Returns:
        float32 (n, views or 1, width), a read-only memory map.
    """
    dataset = dataset or network.dataset
    base = keras.Model(network.model.inputs, network.model.get_layer(backbones.POOLED).output, name="pooled")
    everything, identity = np.arange(len(dataset.images)), {"network": network.recipe.name}
    if not views:
        return features.extract(base, identity, dataset, everything)
    return features.extract(base, identity, dataset, everything, views=views, augment=augment)


def require_trained(recipe: Recipe) -> None:
    """Stop unless the weights of a run of its profile are here.

    Raises:
        FlowerlibError: they are not; the command that makes them is named, with its minutes.
    """
    assert recipe.data is not None
    digest = digests.training_digest(recipe, data.manifest(recipe.data.name))
    if not (cache_folder() / "trained" / digest / "training.json").exists():
        raise FlowerlibError(
            f"the weights of {recipe.name} are not here, about {recipe.expect.minutes:g} minutes:"
            f" python -m flowerlib run '{recipe.name}' --profile {recipe.profile} --force"
        )
