"""The league of explanations: every method on the same photographs, each measure kept as soon as it is computed."""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import keras
import numpy as np

from flowerlib import comparisons, faithfulness, lime
from flowerlib.digests import digest, function_digests
from flowerlib.explain import METHODS, grad_cam, grad_cam_plus_plus
from flowerlib.faithfulness import BASELINES
from flowerlib.fetch import cache_folder
from flowerlib.kept import Plan, keep
from flowerlib.metrics import Score
from flowerlib.schema import Explanation

SLOW = {"rise": "masks", "lime": "samples"}  # methods that look at many copies, and what they call their number
SEEDED = ("smooth_grad", "rise", "lime")  # methods that draw
AT_ONCE = 10  # photographs between two times of keeping
COMPARED = {"deletion": -1, "insertion": 1}  # measure -> which way is better
RANGES = {"deletion": (0, 1), "insertion": (0, 1)} | dict.fromkeys(("stability", "over_seeds", "forgotten"), (-1, 1))


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
        found[name] = {measure: mean(values, *RANGES[measure]) for measure, values in measured.items()}
    return found


def mean(values: np.ndarray, least: float = -np.inf, most: float = np.inf, pictures: str = "photographs") -> Score:
    """Mean over photographs with its 95 % interval (Student 1908), which ends where the values themselves must.

    Args:
        values: float (n,).
        least, most: what a value can be: 0 and 1 of an area, -1 and 1 of a correlation.
        pictures: what they are of, for the interval's name.
    """
    score = comparisons.seeds_interval(values, "")
    return Score(score.value, max(least, score.low), min(most, score.high), score.n, f"Student's t, {pictures}", "")


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
        there = partial(_in_blocks, partial(method, layer=layer))
        given = (case.model, case.images, case.classes, there(case.model, case.images, case.classes))
        steadiness = faithfulness.stability(there, part.model, part.images, part.classes)
        measured = {"deletion": faithfulness.deletion(*given), "insertion": faithfulness.insertion(*given)}
        found[name] = {
            key: mean(values, *RANGES[key]) for key, values in (measured | {"stability": steadiness}).items()
        }
    return found


def _in_blocks(
    method: Callable[..., np.ndarray], model: keras.Model, images: np.ndarray, classes: np.ndarray
) -> np.ndarray:
    """A method's maps, as many photographs at a time as where they are kept: gradients hold every layer's output."""
    starts = range(0, len(images), AT_ONCE)
    return np.concatenate([method(model, images[i : i + AT_ONCE], classes[i : i + AT_ONCE]) for i in starts])


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


def local_fits(case: Case, count: int) -> Score:
    """How much of what the network says of copies that LIME has not seen its linear model explains: mean R2.

    Args:
        case: what is explained.
        count: of its photographs.
    """
    part = case.first(count)

    def measure(rows: slice) -> np.ndarray:
        found = []
        for image, label in zip(part.images[rows], part.classes[rows], strict=True):
            fit = lime.fit(part.model, image, int(label), samples=part.plan.copies)
            found.append(lime.explained(part.model, image, int(label), fit))
        return np.array(found)

    return mean(_kept(part, "local_fits", "lime", (), measure, "float64"), most=1)


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
