"""What of the league is shown: tables with a row a method, and maps over photographs. ``league`` measures."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd

from flowerlib import activation, faithfulness, pictures
from flowerlib.explain import METHODS, grad_cam, saliency, title
from flowerlib.faithfulness import BASELINES
from flowerlib.league import Case, beaten, forgetful, last_maps, maps, methods, seconds
from flowerlib.metrics import Score
from flowerlib.networks import Network
from flowerlib.schema import Explanation


def table(case: Case, found: Mapping[str, Mapping[str, Score]]) -> pd.DataFrame:
    """The league: a row a method, whether it beats the baselines, and its seconds a photograph.

    Args:
        case: what was explained.
        found: from ``scores``.
    """
    rows, beats = [], beaten(case)
    for name, measured in found.items():
        row: dict[str, Any] = {"method": title(name)}
        row |= {measure: measured[measure].value for measure in measured}
        row["beats"] = "" if name in BASELINES else ", ".join(beats[name]) or "neither"
        row |= {"seconds": seconds(maps(case, name)), "n": measured["deletion"].n}
        rows.append(row)
    columns = ["method", "deletion", "insertion", "stability", "over_seeds", "forgotten", "beats", "seconds", "n"]
    return pd.DataFrame(rows, columns=columns).rename(columns={"over_seeds": "over seeds"})


def listening(found: Mapping[str, Mapping[str, Score]], heard: Mapping[str, Mapping[str, Score]]) -> pd.DataFrame:
    """Both methods at both layers, a row each.

    Args:
        found: from ``scores``.
        heard: from ``heard_at``.
    """
    rows = []
    for name in heard:
        for where, each in (("convolution", found[name]), ("after activation", heard[name])):
            row: dict[str, Any] = {"method": title(name), "taken from": where}
            for key in ("deletion", "insertion"):
                row |= {key: each[key].value, f"{key} low": each[key].low, f"{key} high": each[key].high}
            rows.append(row | {"stability": each["stability"].value, "n": each["deletion"].n})
    return pd.DataFrame(rows)


def forgetting(case: Case) -> pd.DataFrame:
    """Mean correlation that is left after each stage of forgetting, a row a method."""
    rows = []
    for name in METHODS:
        left = forgetful(case, name).mean(axis=0)
        rows.append({"method": title(name)} | {f"{i}/{len(left)}": value for i, value in enumerate(left, 1)})
    return pd.DataFrame(rows)


def agreement(case: Case, count: int) -> pd.DataFrame:
    """Mean rank correlation of every method's maps with every other's, on the first photographs; methods by methods."""
    found = faithfulness.agreement({title(name): maps(case, name)[:count] for name in METHODS})
    return found.reset_index(names="method")


def of_one(model: keras.Model, picture: np.ndarray, label: int, plan: Explanation) -> dict[str, np.ndarray]:
    """Maps float32 (1, side, side) of one picture by every method and baseline, under their names for people.

    Args:
        model: uint8 pictures -> logits.
        picture: uint8 (1, side, side, 3).
        label: the class.
        plan: how many copies are looked at.
    """
    return {title(name): method(model, picture, np.array([label])) for name, (method, _) in methods(plan).items()}


def by_networks(networks: Sequence[Network], place: int) -> np.ndarray:
    """One photograph, and Grad-CAM of its true class, taken behind the last activation, by each network.

    Args:
        networks: on the kinds of one data set, whatever their side.
        place: of the photograph in the data set.

    Returns:
        uint8 (1 + networks, side, side, 3).
    """
    rows = [pictures.small(networks[0].dataset.images[[place]])]
    for each in networks:
        picture = np.asarray(each.dataset.images[[place]])
        found = grad_cam(each.model, picture, each.dataset.fine[[place]], layer=last_maps(each.model))
        rows.append(pictures.small(pictures.blended(picture, found)))
    return np.concatenate(rows)


def shown(case: Case, count: int = 6) -> dict[str, np.ndarray]:
    """Maps of the first photographs by every method, as ``pictures.explained`` wants them.

    Grad-CAM has a row more: taken behind the last activation instead of the last convolution.
    """
    some = case.first(count)
    behind = grad_cam(some.model, some.images, some.classes, layer=last_maps(some.model))
    found = {title(name): maps(case, name)[:count] for name in METHODS}
    return found | {f"{title('grad_cam')}, after activation": behind}


def looked_at_and_made(
    model: keras.Model, images: np.ndarray, classes: Sequence[int], plan: Explanation
) -> dict[str, np.ndarray]:
    """Qu's figures 4.5 and 4.6: pictures, two heat maps of each, and what the network would call most of all its class.

    Args:
        model: uint8 pictures -> logits.
        images: uint8 (n, side, side, 3).
        classes: of the pictures, one each.
        plan: says for how many steps a made picture is climbed to.

    Returns:
        A row's name -> uint8 (n, side, side, 3).
    """
    labels, side = np.array(classes), images.shape[1]
    behind = grad_cam(model, images, labels, layer=last_maps(model))
    return {
        "picture": images,
        "saliency": pictures.blended(images, saliency(model, images, labels)),
        "Grad-CAM": pictures.blended(images, behind),
        "most of all, L2": activation.maximize(model, classes, side=side, steps=plan.steps),
        "most of all, frequencies": activation.maximize_frequencies(model, classes, side=side, steps=plan.steps),
    }
