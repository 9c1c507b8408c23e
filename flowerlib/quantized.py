"""A trained network as files of every kind, and what each is worth beside the others (Cicalla et al. 2024, table 2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from flowerlib import (
    comparisons,
    data,
    digests,
    fewer_bits,
    finetuning,
    footprint,
    layer_errors,
    metrics,
    photo,
    quantization,
    recipes,
)
from flowerlib.errors import FlowerlibError
from flowerlib.fetch import cache_folder
from flowerlib.metrics import Score
from flowerlib.networks import Network
from flowerlib.splits import Part

FLOAT, SMALL = "float32", "int8"
FULL_BITS = 8  # of a weight in an int8 file


@dataclass(frozen=True)
class Files:
    """A network's files.

    Attributes:
        network: that they were made of.
        model: it, for pictures of one side.
        paths: kind -> file.
        representative: training photographs that the ranges of the int8 file were measured on.
    """

    network: Network
    model: keras.Model
    paths: dict[str, Path]
    representative: int


def at_side(model: keras.Model, side_px: int) -> keras.Model:
    """The same network for square pictures of one side, which a file needs; it has the same weights.

    Args:
        model: uint8 pictures of that side, or of any, -> logits.
        side_px: the side.
    """
    if model.inputs[0].shape[1] == side_px:
        return model
    pictures = keras.Input((side_px, side_px, 3), dtype="uint8", name="pictures")
    bare = keras.Model(model.input, model.output)  # Keras would copy the loss too, and refuses one of ours
    fixed = keras.models.clone_model(bare, input_tensors=pictures)
    fixed.set_weights(model.get_weights())
    return fixed


def side_of(network: Network) -> int:
    """Side of the pictures that a network predicts from."""
    assert network.recipe.data is not None
    training = network.recipe.training
    return (training.test_px if training else None) or network.recipe.data.size_px


def pictures(network: Network, part: Part, most: int | None = None) -> np.ndarray:
    """A part's pictures as the network's run predicts from them, uint8 (n, side, side, 3).

    Args:
        network: whose data set it is.
        part: of its split.
        most: the first so many of it; all by default.
    """
    images = np.asarray(network.dataset.images[part.indices[:most]])
    return np.stack([photo.fit(each, side_of(network)) for each in images])


def outline(run: str, profile: str, beside: Network) -> Network:
    """A network as it is built, with random weights: its files have a size and a speed, and no accuracy.

    Args:
        run: its name, with ``@model.weights=random``.
        profile: whose values it has.
        beside: a network of the same data set, whose pictures it is shown, brought to its side.

    Raises:
        FlowerlibError: a run whose weights are not random; of another data set.
    """
    recipe = recipes.load(run, profile)
    if recipe.model is None or recipe.model.weights != "random":
        raise FlowerlibError(f"{run}: an outline has model.weights random")
    if recipe.data is None or recipe.data.name != beside.dataset.name:
        raise FlowerlibError(f"{run}: an outline is shown the pictures of {beside.dataset.name}")
    recipe = recipe.model_copy(update={"needs": ()})
    model = finetuning.build(recipe, beside.split)
    for layer in model.layers:  # as Keras builds a network: an optimizer then keeps its state for every layer
        layer.trainable = True
    return Network(recipe, model, beside.dataset, beside.split)


def study(network: Network, counts: tuple[int, ...]) -> pd.DataFrame:
    """How many training photographs do the ranges of an int8 file need? Judged on the validation part.

    Args:
        network: to be exported.
        counts: that are tried; more than the training part has are left out.

    Returns:
        Columns photographs, accuracy, low, high, agreement with the float32 file, n; a row a count.
    """
    validation = network.split.validation
    seen = pictures(network, validation)
    exact = footprint.answers(_file(network, FLOAT, 0), seen).argmax(axis=1)
    rows = []
    for count in (each for each in counts if each <= len(network.split.train)):
        predicted = footprint.answers(_file(network, SMALL, count), seen).argmax(axis=1)
        score = metrics.accuracy(validation.labels, predicted)
        row = {"photographs": count, "accuracy": score.value, "low": score.low, "high": score.high}
        rows.append(row | {"agreement": float((predicted == exact).mean()), "n": score.n})
    return pd.DataFrame(rows)


def best(found: pd.DataFrame) -> int:
    """The fewest photographs of ``study`` with the highest accuracy on the validation part."""
    return int(found.sort_values(["accuracy", "photographs"], ascending=[False, True])["photographs"].iloc[0])


def make(network: Network, count: int) -> Files:
    """A network's files of every kind, made unless they are there.

    Args:
        network: to be exported.
        count: of representative training photographs, for int8.
    """
    paths = {kind: _file(network, kind, count if kind == SMALL else 0) for kind in quantization.KINDS}
    return Files(network, at_side(network.model, side_of(network)), paths, count)


def _file(network: Network, kind: str, count: int, bits: int = FULL_BITS) -> Path:
    """One file, kept under the training that it was made of and the code that made it."""
    assert network.recipe.data is not None
    training = digests.training_digest(network.recipe, data.manifest(network.recipe.data.name))
    made = digests.function_digests([("quantized", "_file"), ("quantization", "export"), ("fewer_bits", "rounded")])
    key = digests.digest({"training": training, "kind": kind, "count": count, "bits": bits, "functions": made})
    path = cache_folder() / "lite" / f"{network.recipe.name}-{kind}-{key}.tflite"
    if not path.exists():
        seen = None
        if kind == SMALL:
            chosen = quantization.representative(network.split, count)
            seen = pictures(network, Part(chosen, np.zeros(count, np.int64)))
        model = at_side(network.model, side_of(network))
        quantization.export(
            model if bits == FULL_BITS else fewer_bits.rounded(model, bits),
            kind,
            path,
            network.split.names,
            pictures=seen,
            stored_px=network.recipe.data.size_px,
            resize=network.recipe.data.resize,
            run=network.recipe.name,
        )
    return path


def answers(files: Files, most: int | None = None) -> dict[str, np.ndarray]:
    """Kind -> logits float64 (n, classes) of the test part, by the file itself."""
    seen = pictures(files.network, files.network.split.test, most)
    return {kind: np.asarray(footprint.answers(path, seen)) for kind, path in files.paths.items()}


def scores(files: Files, found: Mapping[str, np.ndarray]) -> dict[str, Score]:
    """``<kind>/test/<metric>`` of every file: accuracy, balanced accuracy, loss.

    Args:
        files: of one network.
        found: from ``answers``.
    """
    labels = files.network.split.test.labels
    result: dict[str, Score] = {}
    for kind, logits in found.items():
        each = metrics.classification(labels[: len(logits)], metrics.softmax(logits))
        result |= {f"{kind}/test/{metric}": each[metric] for metric in ("accuracy", "balanced_accuracy", "loss")}
    return result


def table(files: Files, found: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """One row a kind: size, accuracy and its difference from float32, each with interval, McNemar's p, agreement, n.

    Args:
        files: of one network.
        found: from ``answers``.
    """
    labels, rows = files.network.split.test.labels, []
    exact = found[FLOAT].argmax(axis=1)
    for kind, logits in found.items():
        predicted, known = logits.argmax(axis=1), labels[: len(logits)]
        score = metrics.accuracy(known, predicted)
        row: dict[str, Any] = {"file": kind, "MB": files.paths[kind].stat().st_size / footprint.MEGA}
        row |= {"accuracy": score.value, "low": score.low, "high": score.high}
        row |= dict.fromkeys(("difference", "its low", "its high", "p"))
        if kind != FLOAT:
            test = comparisons.mcnemar(known, predicted, exact)
            row |= {"difference": test.value, "its low": test.low, "its high": test.high, "p": test.p}
        rows.append(row | {"agreement": float((predicted == exact).mean()), "n": score.n})
    return pd.DataFrame(rows).astype(dict.fromkeys(("difference", "its low", "its high", "p"), "float64"))


def together(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Tables of several networks as one, the network's name first; p, where there is one, adjusted for all (Holm).

    Args:
        tables: network -> its rows.
    """
    found = pd.concat([each.assign(network=name) for name, each in tables.items()], ignore_index=True)
    found = found[["network", *(column for column in found if column != "network")]]
    if "n" in found:
        found = found.astype({"n": "Int64"})  # whole, although some rows have none
    return found.assign(p=comparisons.holm(found["p"])) if "p" in found else found


def packed(network: Network, bits: tuple[int, ...], count: int) -> pd.DataFrame:
    """int8 files whose kernels have fewer values: how small they pack, and what the validation part says of them.

    Args:
        network: to be exported.
        bits: of a weight that are tried, besides the eight of the plain file.
        count: of representative training photographs.

    Returns:
        Columns bits, MB, packed MB, accuracy on the validation part, low, high, n; a row a number of bits.
    """
    validation, rows = network.split.validation, []
    seen = pictures(network, validation)
    for each in (FULL_BITS, *bits):
        path = _file(network, SMALL, count, each)
        score = metrics.accuracy(validation.labels, footprint.answers(path, seen).argmax(axis=1))
        row = {"bits": each, "MB": path.stat().st_size / footprint.MEGA}
        row |= {"packed MB": fewer_bits.packed_bytes(path) / footprint.MEGA}
        rows.append(row | {"accuracy": score.value, "low": score.low, "high": score.high, "n": score.n})
    return pd.DataFrame(rows)


def smallest(found: pd.DataFrame, least: float) -> int:
    """The bits of the file of ``packed`` that packs smallest among the surely accurate ones; else the most accurate.

    Args:
        found: from ``packed``.
        least: accuracy that is enough; the whole interval on the validation part has to lie above it, because what is
            chosen for a score on few photographs scores a little less on others.
    """
    enough = found[found["low"] >= least]
    row = enough.sort_values("packed MB").iloc[0] if len(enough) else found.sort_values("accuracy").iloc[-1]
    return int(row["bits"])


def packed_score(network: Network, bits: int, count: int, most: int | None = None) -> Score:
    """Accuracy on the test part of one file of ``packed``.

    Args:
        network, count: as of ``packed``.
        bits: of a weight.
        most: test photographs at most.
    """
    test = network.split.test
    predicted = footprint.answers(_file(network, SMALL, count, bits), pictures(network, test, most)).argmax(axis=1)
    return metrics.accuracy(test.labels[: len(predicted)], predicted)


def sizes(files: Files) -> pd.DataFrame:
    """One row a kind: its file's 10^6 bytes, for a network that has no answers to be judged."""
    rows = [{"file": kind, "MB": path.stat().st_size / footprint.MEGA} for kind, path in files.paths.items()]
    return pd.DataFrame(rows)


def by_layer(files: Files, count: int) -> pd.DataFrame:
    """Error of each layer of the int8 file against the float32 file (``layer_errors.compare``).

    Args:
        files: of one network.
        count: of validation photographs that both are shown.
    """
    seen = pictures(files.network, files.network.split.validation, count)
    return layer_errors.compare(files.paths[FLOAT], files.paths[SMALL], seen)


def speeds(files: Files, runs: int) -> pd.DataFrame:
    """One row a kind: median and 95th percentile of a single picture's milliseconds by threads, and peak memory.

    Args:
        files: of one network.
        runs: of each.
    """
    [picture] = pictures(files.network, files.network.split.test, 1)
    rows = []
    for kind, path in files.paths.items():
        row: dict[str, Any] = {"file": kind}
        for threads in (1, 2):
            median, slow = footprint.latency_ms(path, picture, threads, runs)
            row |= {f"ms, {threads} thread{'s'[: threads > 1]}": median, f"95 % below, {threads}": slow}
        rows.append(row | {"peak MB": footprint.memory_mb(path)})
    return pd.DataFrame(rows)


def worst_classes(files: Files, found: Mapping[str, np.ndarray], count: int = 5) -> pd.DataFrame:
    """Classes whose recall falls most from float32 to int8.

    Args:
        files: of one network.
        found: from ``answers``.
        count: of classes.
    """
    labels, names = files.network.split.test.labels[: len(found[FLOAT])], files.network.split.names
    recalls = {
        kind: metrics.per_class(labels, found[kind].argmax(axis=1), names).set_index("class")["recall"]
        for kind in (FLOAT, SMALL)
    }
    lost = (recalls[FLOAT] - recalls[SMALL]).sort_values(ascending=False, kind="stable").head(count)
    rows = []
    for name, value in lost.items():
        row = {"class": name, FLOAT: recalls[FLOAT][name], SMALL: recalls[SMALL][name], "lost": value}
        rows.append(row | {"n": int((labels == names.index(str(name))).sum())})
    return pd.DataFrame(rows)
