"""Generated pictures as files: one PNG each, and a sheet of all of them."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from flowerlib import asked, generated, sampling, scored
from flowerlib.metrics import slug

STRENGTH = 0.6  # of steering; the best of 0.1, 0.3, 0.6 and 1 by a judge and by the validation photographs
GAP_PX = 2  # of white between the pictures of a sheet


def write(
    run: str, profile: str, kind: str, count: int, seed: int, folder: Path, guide: str = "", strength: float = STRENGTH
) -> Path:
    """Make pictures and write them.

    Args:
        run: whose network makes them.
        profile: in which it was trained.
        kind: name of a class; empty for all classes in turn.
        count: how many.
        seed: of the noise.
        folder: for the files, made where there is none.
        guide: run of a classifier that steers the pictures towards their kind; none by default.
        strength: of the steering (``guiding.steered``).

    Returns:
        The sheet; beside it one file a picture.

    Raises:
        FlowerlibError: a run that was not trained here, a kind that there is not, or a guide of other kinds.
    """
    pair = asked.load(run, guide, profile) if guide else None
    generator = pair.generator if pair else generated.load(run, profile)
    labels = np.full(count, sampling.label(generator.names, kind)) if kind else None
    if pair:
        labels = scored.spread(len(generator.names), count) if labels is None else labels
        made = asked.pictures(pair, labels, strength, seed=seed)
    else:
        made = sampling.sample(generator, count, seed=seed, labels=labels)
    folder.mkdir(parents=True, exist_ok=True)
    stem = "-".join([slug(run), *(slug(each) for each in (kind, guide) if each), f"seed{seed}"])
    for number, picture in enumerate(made, 1):
        _save(picture, folder / f"{stem}-{number:03d}.png")
    _save(sheet(made), folder / f"{stem}-sheet.png")
    return folder / f"{stem}-sheet.png"


def sheet(pictures: np.ndarray) -> np.ndarray:
    """Pictures uint8 (n, side, side, 3) in a square of rows on white, uint8 (height, width, 3)."""
    columns = int(np.ceil(len(pictures) ** 0.5))
    rows = -(-len(pictures) // columns)
    side = pictures.shape[1] + GAP_PX
    white = np.full((rows * side + GAP_PX, columns * side + GAP_PX, 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = GAP_PX + number // columns * side, GAP_PX + number % columns * side
        white[top : top + len(picture), left : left + len(picture)] = picture
    return white


def _save(picture: np.ndarray, path: Path) -> None:
    part = path.with_suffix(".part.png")
    try:
        Image.fromarray(picture).save(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
