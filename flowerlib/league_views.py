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

MADE = ("most of all, L2", "most of all, frequencies")  # rows of pictures that were climbed to


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
    """Maps (1, side, side) of one picture by every method and baseline, to be seen, under their names for people.

    Args:
        model: uint8 pictures -> logits.
        picture: uint8 (1, side, side, 3).
        label: the class.
        plan: how many copies are looked at.
    """
    label_ = np.array([label])
    return {title(name): vivid(method(model, picture, label_)) for name, (method, _) in methods(plan).items()}


def tiles(picture: np.ndarray, seen: Mapping[str, np.ndarray]) -> np.ndarray:
    """One picture (1, side, side, 3) and its maps of ``of_one`` over it, page-sized, uint8 (n, side, side, 3)."""
    return pictures.small(np.concatenate([picture, *(pictures.blended(picture, each) for each in seen.values())]))


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
        rows.append(pictures.small(pictures.blended(picture, vivid(found))))
    return np.concatenate(rows)


def shown(case: Case, count: int = 6) -> dict[str, np.ndarray]:
    """Maps of the first photographs by every method, as ``pictures.explained`` wants them.

    Grad-CAM has a row more: taken behind the last activation instead of the last convolution.
    """
    some, found = case.first(count), {}
    for name in METHODS:
        found[title(name)] = vivid(maps(case, name)[:count])
        if name == "grad_cam":
            behind = grad_cam(some.model, some.images, some.classes, layer=last_maps(some.model))
            found[f"{title(name)}, after activation"] = vivid(behind)
    return found


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
        "saliency": pictures.blended(images, vivid(saliency(model, images, labels))),
        f"{title('grad_cam')}, after activation": pictures.blended(images, vivid(behind)),
        MADE[0]: activation.maximize(model, classes, side=side, steps=plan.steps),
        MADE[1]: activation.maximize_frequencies(model, classes, side=side, steps=plan.steps),
    }


def to_see(rows: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Rows of ``looked_at_and_made`` at the size of a page; made pictures, whose colours are faint, with contrast."""
    return [pictures.small(contrasted(each) if name in MADE else each) for name, each in rows.items()]


def vivid(maps: np.ndarray) -> np.ndarray:
    """Maps to be seen: bright from their 99th percentile on, so that a few pixels do not leave the rest dark.

    Args:
        maps: float (n, side, side) in [0, 1].
    """
    most = np.percentile(maps, 99, axis=(1, 2), keepdims=True)
    result: np.ndarray = np.minimum(maps / np.where(most > 0, most, 1), 1)
    return result


def contrasted(images: np.ndarray) -> np.ndarray:
    """Pictures uint8 (n, side, side, 3), each with its darkest 1 % black and its brightest 1 % white."""
    low, high = np.percentile(images, [1, 99], axis=(1, 2, 3), keepdims=True)
    return np.rint(255 * np.clip((images - low) / np.maximum(high - low, 1), 0, 1)).astype(np.uint8)
