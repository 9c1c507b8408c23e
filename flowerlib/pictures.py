"""Photographs and drawings laid out in rows. Each function returns a Figure and writes nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from flowerlib import whitening
from flowerlib.style import GAP_IN, LINE_IN, WIDTH_IN, figure, none, require, style, text_width_in, wrap
from flowerlib.whitening import Whitening

MOST_IN_A_ROW = 12
PHOTOGRAPHS = "photographs"  # the gid of figures whose pictures may be stored with loss


def _tiles(
    plot: str, images: Any, titles: Sequence[str] | None, columns: int = 6, labels: Sequence[str] = ()
) -> tuple[Figure, list[tuple[float, float, float, float]]]:
    """Lay equal pictures out on one axes in inches, y downwards; boxes are (left, right, bottom, top).

    Labels, one a row, stand at the left.
    """
    pictures, titles = np.asarray(images), [""] * len(images) if titles is None else titles
    require(len(titles) == len(pictures), f"{plot}: {len(titles)} titles for {len(pictures)} pictures")
    if not len(pictures):
        return none(), []
    good = pictures.ndim == 4 and pictures.shape[-1] == 3 and pictures.dtype == np.uint8
    require(good, f"{plot}: needs uint8 (n, height, width, 3), got {pictures.dtype} {pictures.shape}")
    require(columns > 0, f"{plot}: columns must be 1 or more, got {columns}")
    columns = min(columns, len(pictures))
    beside = [wrap(label, 1.2) for label in labels]
    margin = max((text_width_in(line) + GAP_IN for text in beside for line in text.split("\n")), default=0.0)
    wide = min((WIDTH_IN - margin - GAP_IN * columns) / columns, 2.0)
    high = float(wide * pictures.shape[1] / pictures.shape[2])
    left = (WIDTH_IN + margin - columns * (wide + GAP_IN) + GAP_IN) / 2
    wrapped = [wrap(title, wide + GAP_IN / 3) for title in titles]
    lines = [text.count("\n") + bool(text) for text in wrapped]
    spare = max([0.0, *(LINE_IN * (1 + text.count("\n")) - high for text in beside)])  # where a label is the higher
    rows = [GAP_IN + LINE_IN * max(lines[i : i + columns]) + high + spare for i in range(0, len(lines), columns)]
    boxes: list[tuple[float, float, float, float]] = []
    bottoms = np.cumsum(rows) - spare / 2
    fig = figure(bottoms[-1] + (GAP_IN + spare) / 2, None)
    fig.set_gid(PHOTOGRAPHS)
    ax = fig.add_axes((0, 0, 1, 1))
    for i, picture in enumerate(pictures):
        x, y = left + i % columns * (wide + GAP_IN), float(bottoms[i // columns])
        boxes.append((x, x + wide, y, y - high))
        ax.imshow(picture, extent=boxes[-1], aspect="auto")
        ax.text(x + wide / 2, y - high - 0.03, wrapped[i], ha="center", va="bottom")
    for text, bottom in zip(beside, bottoms.tolist(), strict=False):
        ax.text(left - GAP_IN, bottom - high / 2, text, ha="right", va="center", multialignment="left")
    ax.set(xlim=(0, WIDTH_IN), ylim=(fig.get_figheight(), 0))
    ax.set_axis_off()
    return fig, boxes


@style()
def image_grid(images: np.ndarray, titles: Sequence[str] | None, *, columns: int = 6) -> Figure:
    """Pictures, uint8 (n, height, width, 3), in rows; titles, one each, are wrapped to a picture's width."""
    return _tiles("image_grid", images, titles, columns)[0]


@style()
def rows(images: Sequence[np.ndarray], labels: Sequence[str], columns: Sequence[str] = ()) -> Figure:
    """Pictures in rows, as the same ones before and after a change.

    Args:
        images: a row each, uint8 (n, height, width, 3), all of one shape with n up to 12.
        labels: one a row, wrapped at its left.
        columns: titles over the first row, one a picture; none by default.
    """
    shapes = [np.shape(row) for row in images]
    require(len(labels) == len(images), f"rows: {len(labels)} labels for {len(images)} rows")
    for label, shape in zip(labels, shapes, strict=True):
        require(shape == shapes[0], f"rows: {label}: pictures {shape}, in the first row {shapes[0]}")
        good = len(shape) == 4 and shape[0] <= MOST_IN_A_ROW
        require(good, f"rows: {label}: {shape}, not (n up to {MOST_IN_A_ROW}, height, width, 3)")
    n = shapes[0][0] if shapes else 0
    require(len(columns) in (0, n), f"rows: {len(columns)} titles for {n} columns")
    titles = [*columns, *[""] * (n * len(images) - len(columns))]
    return _tiles("rows", np.concatenate(images) if n else [], titles, n, labels)[0]


@style()
def near_duplicates(pairs: Sequence[tuple[np.ndarray, np.ndarray, str]]) -> Figure:
    """Pairs of uint8 pictures (height, width, 3) of one size, three pairs a row, each under its caption."""
    joined = []
    for first, second, caption in pairs:
        same = first.ndim == 3 and first.shape == second.shape == pairs[0][0].shape
        require(same, f"near_duplicates: {caption}: pictures {first.shape}, {second.shape}, not all of one size")
        strip = np.full_like(first[:, : max(1, first.shape[1] // 20)], 255)
        joined.append(np.concatenate([first, strip, second], axis=1))
    return _tiles("near_duplicates", joined, [caption for *_, caption in pairs], 3)[0]


@style()
def worst_classes(
    images: np.ndarray, true_names: Sequence[str], predicted_names: Sequence[str], probabilities: Sequence[float]
) -> Figure:
    """Mistakes: pictures titled "true class / taken for (probability given to that, in [0, 1])"."""
    lengths = {len(images), len(true_names), len(predicted_names), len(probabilities)}
    require(len(lengths) == 1, "worst_classes: images, names and probabilities differ in number")
    mistakes = zip(true_names, predicted_names, probabilities, strict=True)
    titles = [f"{true}\N{NO-BREAK SPACE}/ {taken} ({p:.2f})" for true, taken, p in mistakes]
    return _tiles("worst_classes", images, titles)[0]


@style()
def overlay_masks(images: np.ndarray, masks: np.ndarray, titles: Sequence[str] | None) -> Figure:
    """Pictures, uint8 (n, height, width, 3), and the outlines of masks, bool or [0, 1] (n, height, width)."""
    fits = np.shape(masks) == np.shape(images)[:3]
    require(fits, f"overlay_masks: masks {np.shape(masks)} do not fit images {np.shape(images)}")
    fig, boxes = _tiles("overlay_masks", images, titles)
    for mask, (left, right, _, top) in zip(masks, boxes, strict=True):
        edge = np.pad(np.asarray(mask, float), 1)  # closes the outline of a flower that the frame cuts
        if edge.max() > 0.5:
            (rows, columns), pixel = edge.shape, (right - left) / np.shape(mask)[1]
            x, y = left + (np.arange(columns) - 0.5) * pixel, top + (np.arange(rows) - 0.5) * pixel
            for color, linewidth in [("white", 2.4), ("black", 1.0)]:
                fig.axes[0].contour(x, y, edge, [0.5], colors=color, linewidths=linewidth)
    return fig


@style()
def whitened(fitted: Whitening, seen: np.ndarray, new: np.ndarray) -> Figure:
    """Pictures that whitening was fitted on and new ones, before and after, each row stretched to its own range.

    Args:
        fitted: from ``whitening.fit``.
        seen: uint8 (n, size, size, 3), of the part it was fitted on.
        new: uint8 (n, size, size, 3), of another part; also drawn as the whole covariance matrix would leave them.
    """
    whole = whitening.apply(fitted, new, outside_gain=fitted.epsilon**-0.5)
    after = [whitening.apply(fitted, seen), whitening.apply(fitted, new), whole]
    names = ["training", "training, whitened", "test", "test, whitened", "test, whole matrix"]
    return rows([seen, _stretched(after[0]), new, _stretched(after[1]), _stretched(after[2])], names)


def _stretched(values: np.ndarray) -> np.ndarray:
    """Values of any range as uint8, the middle 98 % of them from black to white."""
    low, high = np.percentile(values, [1, 99])
    return (255 * np.clip((values - low) / max(high - low, 1e-9), 0, 1)).astype(np.uint8)


def small(images: np.ndarray, side_px: int = 96) -> np.ndarray:
    """Pictures uint8 (n, side, side, 3) brought down to a side, by the mean over each area; smaller ones stay."""
    if images.shape[1] <= side_px:
        return images
    return np.stack([cv2.resize(each, (side_px, side_px), interpolation=cv2.INTER_AREA) for each in images])


def square(image: np.ndarray, side_px: int) -> np.ndarray:
    """The middle of a picture, uint8 (height, width, 3), as a square of a side, by the mean over each area."""
    height, width = image.shape[:2]
    least = min(height, width)
    top, left = (height - least) // 2, (width - least) // 2
    middle = np.ascontiguousarray(image[top : top + least, left : left + least])
    return np.asarray(cv2.resize(middle, (side_px, side_px), interpolation=cv2.INTER_AREA))


def blended(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Pictures in grey beneath their heat maps; where a map is 0 the picture is dark, so that print keeps the order.

    Args:
        images: uint8 (n, side, side, 3).
        maps: float (n, side, side) in [0, 1].

    Returns:
        uint8 (n, side, side, 3).
    """
    fits = np.shape(maps) == np.shape(images)[:3]
    require(fits, f"blended: maps {np.shape(maps)} do not fit images {np.shape(images)}")
    heat = colormaps["inferno"](np.asarray(maps))[..., :3] * 255
    grey = images @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma
    return np.rint(0.4 * grey[..., None] + 0.6 * heat).astype(np.uint8)


@style()
def explained(images: np.ndarray, maps: Mapping[str, np.ndarray], titles: Sequence[str]) -> Figure:
    """Pictures in the first row, then a row of heat maps a method.

    Args:
        images: uint8 (n, side, side, 3), n up to 12.
        maps: method -> float (n, side, side) in [0, 1].
        titles: one a picture.
    """
    heated = [blended(images, each) for each in maps.values()]
    return rows([small(each) for each in (images, *heated)], ["picture", *maps], titles)
