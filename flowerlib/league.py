"""The league of explanations: every method on the same photographs, each measure kept as soon as it is computed."""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from flowerlib import comparisons, faithfulness, metrics, pictures
from flowerlib.digests import digest, function_digests
from flowerlib.explain import METHODS, grad_cam, grad_cam_plus_plus, title
from flowerlib.faithfulness import BASELINES
from flowerlib.fetch import cache_folder
from flowerlib.kept import Plan, keep
from flowerlib.metrics import Score
from flowerlib.networks import Network
from flowerlib.schema import Explanation

SLOW = {"rise": "masks", "lime": "samples"}  # methods that look at many copies, and what they call their number
SEEDED = ("smooth_grad", "rise", "lime")  # methods that draw
AT_ONCE = 10  # photographs between two times of keeping
COMPARED = {"deletion": -1, "insertion": 1}  # measure -> which way is better


@dataclass(frozen=True)
class Case:
    """What is explained.

    Attributes:
        model: uint8 pictures -> logits.
        images: uint8 (n, side, side, 3).
        classes: int (n,), the class whose answer is explained.
        plan: how many of the pictures each measure is taken on.
    """

    model: keras.Model
    images: np.ndarray
    classes: np.ndarray
    plan: Explanation

    @cached_property
    def identity(self) -> dict[str, str]:
        """What every number rests on: weights, pictures, classes."""
        seen = hashlib.sha256()
        for array in (*(each.numpy() for each in self.model.weights), self.images, self.classes):
            seen.update(f"{array.dtype} {array.shape}".encode())
            seen.update(np.ascontiguousarray(array).tobytes())
        return {"network": self.model.name, "case": seen.hexdigest()}

    def first(self, count: int) -> "Case":
        """The same with the first pictures alone."""
        return Case(self.model, self.images[:count], self.classes[:count], self.plan)


def chosen(labels: np.ndarray, predicted: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Positions of photographs, a right and a wrong answer in turn, drawn at random; int64 (count or fewer,).

    Args:
        labels: int (n,).
        predicted: int (n,).
        count: how many.
        seed: of the draw.
    """
    random = np.random.default_rng(seed)
    right, wrong = (random.permutation(np.flatnonzero(each)) for each in (labels == predicted, labels != predicted))
    half = min(len(right), len(wrong))
    mixed = np.stack([right[:half], wrong[:half]], axis=1).ravel()
    return np.concatenate([mixed, right[half:], wrong[half:]])[:count]


def methods(plan: Explanation) -> dict[str, tuple[partial[np.ndarray], int]]:
    """Every method and baseline by its name, and whether it is slow: 0 or 1, the place in the plan's pairs."""
    found: dict[str, tuple[partial[np.ndarray], int]] = {}
    for name, method in (METHODS | BASELINES).items():
        options = {SLOW[name]: plan.copies} if name in SLOW else {}
        if name == "integrated_gradients":
            options = {"steps": plan.pieces}
        found[name] = (partial(method, **options), int(name in SLOW))
    return found


def maps(case: Case, name: str) -> np.memmap:
    """A method's maps of its photographs, float32 (n, side, side).

    Args:
        case: what is explained.
        name: of the method.
    """
    method, slow = methods(case.plan)[name]
    part = case.first(case.plan.photographs[slow])
    return _kept(part, "maps", name, part.images.shape[1:3], lambda rows: method(*_at(part, rows)))


def seconds(found: np.ndarray) -> float:
    """How long a photograph took, of ``maps``."""
    note = json.loads(Path(str(found.filename)).with_suffix(".json").read_text(encoding="utf-8"))  # type: ignore[attr-defined]
    return float(note["minutes"]) * 60 / len(found)


def faithful(case: Case, name: str) -> np.ndarray:
    """Deletion and insertion area of each photograph, float64 (n, 2)."""
    found = maps(case, name)
    part = case.first(len(found))

    def measure(rows: slice) -> np.ndarray:
        given = (*_at(part, rows), found[rows])
        return np.stack([faithfulness.deletion(*given), faithfulness.insertion(*given)], axis=1)

    return _kept(part, "faithful", name, (2,), measure, "float64")


def steady(case: Case, name: str) -> np.ndarray:
    """Rank correlation of each photograph's map with that under small noise, float64 (n,)."""
    method, slow = methods(case.plan)[name]
    part, found = case.first(case.plan.stable[slow]), maps(case, name)

    def measure(rows: slice) -> np.ndarray:
        return faithfulness.stability(method, *_at(part, rows), before=found[rows], seed=rows.start)

    return _kept(part, "steady", name, (), measure, "float64")


def over_seeds(case: Case, name: str) -> np.ndarray | None:
    """Rank correlation of each photograph's map with that of another seed, float64 (n,); None: it draws nothing."""
    if name not in SEEDED:
        return None
    method, slow = methods(case.plan)[name]
    part, found = case.first(case.plan.stable[slow]), maps(case, name)

    def measure(rows: slice) -> np.ndarray:
        return faithfulness.correlation(found[rows], partial(method, seed=1)(*_at(part, rows)))

    return _kept(part, "over_seeds", name, (), measure, "float64")


def forgetful(case: Case, name: str) -> np.ndarray:
    """Rank correlation of each photograph's map with that after each stage of forgetting, float64 (n, stages)."""
    method, slow = methods(case.plan)[name]
    part = case.first(case.plan.randomized[slow])
    found = maps(case, name)[: len(part.images)]

    def measure(rows: slice) -> np.ndarray:
        frame = faithfulness.randomized(method, *_at(part, rows), before=found[rows])
        return frame["correlation"].to_numpy().reshape(faithfulness.STAGES, -1).T

    return _kept(part, "forgetful", name, (faithfulness.STAGES,), measure, "float64")


def scores(case: Case) -> dict[str, dict[str, Score]]:
    """Every measure of every method with its interval: method -> measure -> mean over photographs.

    Measures are deletion, insertion, stability, over_seeds (of methods that draw) and forgotten, the correlation that
    is left when all layers have forgotten.
    """
    found: dict[str, dict[str, Score]] = {}
    for number, name in enumerate(methods(case.plan), 1):
        print(f"{name}: method {number} of {len(methods(case.plan))}", flush=True)
        areas = faithful(case, name)
        measured = {"deletion": areas[:, 0], "insertion": areas[:, 1]}
        if name not in BASELINES:  # they know nothing of the network: it would say nothing of them
            measured |= {"stability": steady(case, name), "forgotten": forgetful(case, name)[:, -1]}
            other = over_seeds(case, name)
            measured |= {} if other is None else {"over_seeds": other}
        found[name] = {measure: mean(values) for measure, values in measured.items()}
    return found


def mean(values: np.ndarray) -> Score:
    """Mean over photographs with its 95 % interval (Student 1908)."""
    score = comparisons.seeds_interval(values, "")
    return Score(score.value, score.low, score.high, score.n, "Student's t, photographs", "")


def last_maps(model: keras.Model) -> str:
    """The last layer with feature maps: what batch norm and activation make of the last convolution's output."""
    return [layer.name for layer in model.layers if len(layer.output.shape) == 4][-1]


def heard_at(case: Case, layer: str) -> dict[str, dict[str, Score]]:
    """Deletion, insertion and stability of Grad-CAM and Grad-CAM++ that listen at another layer.

    Args:
        case: what is explained.
        layer: with feature maps; the league's rows listen at the last convolution itself.
    """
    part, found = case.first(case.plan.stable[0]), {}
    for name, method in {"grad_cam": grad_cam, "grad_cam_plus_plus": grad_cam_plus_plus}.items():
        there = partial(method, layer=layer)
        given = (case.model, case.images, case.classes, there(case.model, case.images, case.classes))
        steadiness = faithfulness.stability(there, part.model, part.images, part.classes)
        measured = {"deletion": faithfulness.deletion(*given), "insertion": faithfulness.insertion(*given)}
        found[name] = {key: mean(values) for key, values in (measured | {"stability": steadiness}).items()}
    return found


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


def of_one(model: keras.Model, picture: np.ndarray, label: int, plan: Explanation) -> dict[str, np.ndarray]:
    """Maps float32 (1, side, side) of one picture by every method and baseline, under their names for people.

    Args:
        model: uint8 pictures -> logits.
        picture: uint8 (1, side, side, 3).
        label: the class.
        plan: how many copies are looked at.
    """
    return {title(name): method(model, picture, np.array([label])) for name, (method, _) in methods(plan).items()}


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


def beaten(case: Case) -> dict[str, list[str]]:
    """Method -> baselines that it beats in both areas: paired t-tests on the same photographs, Holm over all tests."""
    tests: dict[tuple[str, str, str], tuple[float, float]] = {}
    for name, baseline in itertools.product(METHODS, BASELINES):
        own = faithful(case, name)
        other = faithful(case, baseline)[: len(own)]
        for place, (measure, sign) in enumerate(COMPARED.items()):
            test = comparisons.paired_seeds(own[:, place], other[:, place])
            tests[name, baseline, measure] = sign * test.value, test.p
    adjusted = dict(zip(tests, comparisons.holm([p for _, p in tests.values()]).tolist(), strict=True))
    better = {key for key, (gain, _) in tests.items() if gain > 0 and adjusted[key] < 0.05}
    return {
        name: [each for each in BASELINES if all((name, each, measure) in better for measure in COMPARED)]
        for name in METHODS
    }


def on_flowers(case: Case, masks: np.ndarray, name: str) -> dict[str, Score]:
    """Whether a method points at the flower, and how much of its map lies on it, where outlines are known.

    Args:
        case: drawn flowers, and what the network takes them for.
        masks: bool (n, side, side).
        name: of the method.
    """
    found = maps(case, name)
    hits = faithfulness.pointing(found, masks[: len(found)])
    low, high = metrics.wilson(int(hits.sum()), len(hits))
    shares = faithfulness.share_on_flower(found, masks[: len(found)])
    return {
        "pointing": Score(float(hits.mean()), low, high, len(hits), "wilson, drawn flowers"),
        "share_on_flower": mean(shares[np.isfinite(shares)]),
    }


def by_networks(networks: Sequence[Network], place: int) -> np.ndarray:
    """One photograph, and Grad-CAM of its true class over it by each network; uint8 (1 + networks, side, side, 3).

    Args:
        networks: on the kinds of one data set, whatever their side.
        place: of the photograph in the data set.
    """
    rows = [pictures.small(networks[0].dataset.images[[place]])]
    for each in networks:
        picture = np.asarray(each.dataset.images[[place]])
        found = grad_cam(each.model, picture, each.dataset.fine[[place]])
        rows.append(pictures.small(pictures.blended(picture, found)))
    return np.concatenate(rows)


def shown(case: Case, count: int = 6) -> dict[str, np.ndarray]:
    """Maps of the first photographs by every method, as ``pictures.explained`` wants them."""
    return {title(name): maps(case, name)[:count] for name in METHODS}


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


def pointing(found: Mapping[str, Mapping[str, Score]]) -> pd.DataFrame:
    """A row a method: whether it points at the flower, with interval, and the share of its map that lies there.

    Args:
        found: method -> scores of ``on_flowers``.
    """
    rows = []
    for name, each in found.items():
        hits = each["pointing"]
        row = {"method": title(name), "points at the flower": hits.value, "low": hits.low, "high": hits.high}
        rows.append(row | {"share on the flower": each["share_on_flower"].value, "n": hits.n})
    return pd.DataFrame(rows)


def _at(case: Case, rows: slice) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    return case.model, case.images[rows], case.classes[rows]


def _kept(
    case: Case,
    what: str,
    name: str,
    shape: tuple[int, ...],
    measure: Callable[[slice], np.ndarray],
    dtype: str = "float32",
) -> np.memmap:
    """A measure of the case's pictures, some at a time; kept under all that it rests on."""
    method, _ = methods(case.plan)[name]
    roots = [("league", what), (method.func.__module__.removeprefix("flowerlib."), method.func.__name__)]
    parts = case.identity | {"what": what, "method": name, "options": method.keywords}
    parts |= {"functions": digest(function_digests(roots))}
    path = cache_folder() / "explanations" / f"{what}-{name}-{digest(parts)}.npy"
    count = len(case.images)

    def blocks(first: int) -> Iterator[np.ndarray]:
        for start in range(first, count, AT_ONCE):
            yield np.asarray(measure(slice(start, min(start + AT_ONCE, count))), dtype=dtype)

    return keep(path, json.loads(json.dumps(parts)), Plan(f"{what}, {name}", (count, *shape), count, dtype, blocks))
