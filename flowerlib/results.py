"""Show a figure, a table or numbers under a stable name: one output for the screen and for the report.

Nothing here writes a file. An output carries its name, caption and alt text in its metadata; the exporter finds it
there in the executed notebook and is the only writer of figures and records.
"""

import base64
import io
import math
import platform
import subprocess
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure
from pypdf import PdfReader, PdfWriter

from flowerlib import latex
from flowerlib.checkpoints import Trained
from flowerlib.data import manifest
from flowerlib.errors import FlowerlibError
from flowerlib.metrics import Score
from flowerlib.pictures import PHOTOGRAPHS
from flowerlib.progress import machine
from flowerlib.schema import Recipe
from flowerlib.style import style

MIME = "application/vnd.flowerlib+json"
JPEG_QUALITY = 85
PARTS = ("train", "validation", "test", "samples")
CURVES = ("minutes", "val_accuracy", "val_balanced_accuracy")  # of a history, to compare runs by
LIBRARIES = (
    "tensorflow-cpu",
    "keras",
    "numpy",
    "pandas",
    "scikit-learn",
    "matplotlib",
    "opencv-python-headless",
)


def begin(recipe: Recipe) -> None:
    """Show what this run is and keep where its numbers come from: recipe, data, machine, versions, commit."""
    facts = {
        "run": recipe.name,
        "profile": recipe.profile,
        "notebook": recipe.notebook,
        "title": recipe.title,
        "seed": recipe.seed,
        "recipe": recipe.model_dump(mode="json", exclude_defaults=True),
        "departures": list(recipe.departures),
        "reduced": list(recipe.reduced),
        "data": manifest(recipe.data.name) if recipe.data else None,
        "machine": machine(),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "commit": commit(),
    }
    lines = [f"<b>{recipe.name}</b> ({recipe.profile}): {recipe.title}"]
    lines += [f"to expect: {recipe.expect.minutes:g} minutes {recipe.expect.score}"] if recipe.expect.minutes else []
    lines += [f"in this profile: {change}" for change in recipe.reduced]
    lines += [f"not as in the report: {change}" for change in recipe.departures]
    _show("facts", "run", {"facts": facts}, {"text/html": "<br>".join(lines), "text/plain": "\n".join(lines)})


def figure(image: Figure, name: str, caption: str, alt: str) -> None:
    """Show a figure under a name.

    Args:
        image: from ``flowerlib.figures``, ``curves`` or ``pictures``.
        name: stable name inside the run; its file's name in the report.
        caption: one message, a sentence or two.
        alt: what a reader who cannot see it needs to know.
    """
    pdf, png = io.BytesIO(), io.BytesIO()
    photographs = image.get_gid() == PHOTOGRAPHS
    with style():
        image.savefig(pdf, format="pdf", metadata={"CreationDate": None})
        image.savefig(png, format="png", dpi=100 if photographs else 150)
    shown = {
        "image/png": base64.b64encode(png.getvalue()).decode(),
        "application/pdf": base64.b64encode(_as_jpeg(pdf) if photographs else pdf.getvalue()).decode(),
        "text/plain": alt,
    }
    _show("figure", name, {"caption": caption, "alt": alt}, shown)


def _as_jpeg(pdf: io.BytesIO) -> bytes:
    """A PDF with its pictures stored as JPEG, in a sixth of the space; lines and letters stay as they are."""
    writer = PdfWriter(clone_from=PdfReader(pdf))
    for page in writer.pages:
        for picture in page.images:
            if picture.image is not None and picture.image.mode == "RGB":
                picture.replace(picture.image, quality=JPEG_QUALITY)
    small = io.BytesIO()
    writer.write(small)
    return small.getvalue()


def table(frame: pd.DataFrame, name: str, caption: str, *, decimals: int = 2, long: bool = False) -> None:
    """Show a table under a name; values stay unrounded in the record.

    Args:
        frame: the columns as they are to be read; the index is left out.
        name: stable name inside the run.
        caption: what to read in it.
        decimals: of the numbers on screen and on paper.
        long: whether it may run over several pages.
    """
    html = frame.to_html(index=False, float_format=lambda value: f"{value:.{decimals}f}", na_rep="")
    rows = _plain(frame)
    content = {"caption": caption, "columns": list(frame.columns), "rows": rows, "long": long}
    _show(
        "table",
        name,
        content,
        {
            "text/html": html,
            "text/latex": latex.tabular(frame, rows, decimals, long),
            "text/plain": frame.to_string(index=False),
        },
    )


def scores(scores: dict[str, Score], part: str, trained: Trained | None = None) -> None:
    """Show scores of a part and put them into the record under ``<part>/<metric>``."""
    numbers({f"{part}/{metric}": score for metric, score in scores.items()}, trained)


def numbers(values: dict[str, Score], trained: Trained | None = None) -> None:
    """Put numbers into the record.

    Args:
        values: ``<part>/<metric>`` or ``<method>/<part>/...`` -> a score with interval and n.
        trained: the training behind them; its minutes, date and machine are recorded with them.

    Raises:
        FlowerlibError: a key without a part.
    """
    for key in values:
        if not set(PARTS) & set(key.split("/")[:-1]):
            raise FlowerlibError(f"result '{key}' names no part: one of {', '.join(PARTS)}")
    content: dict[str, Any] = {"values": {key: _finite(score) for key, score in values.items()}}
    if trained is not None:
        content["training"] = {
            "digest": trained.digest,
            "minutes": trained.minutes,
            "epochs": trained.epochs,
            "diverged_at": trained.diverged_at,
            "date": trained.date,
            "machine": trained.machine,
            "history": {name: trained.history[name] for name in CURVES if name in trained.history},
        }
    rows = [
        {"result": key, "value": s.value, "low": s.low, "high": s.high, "n": s.n, "interval": s.interval}
        for key, s in values.items()
    ]
    html = pd.DataFrame(rows).to_html(index=False, float_format=lambda value: f"{value:.3f}")
    _show(
        "numbers",
        "numbers",
        content,
        {"text/html": html, "text/plain": pd.DataFrame(rows).to_string(index=False)},
    )


def counts(values: dict[str, int], trained: Trained | None = None) -> None:
    """Put numbers that were counted, not measured, into the record: they have no interval.

    Args:
        values: ``<part>/<name>`` -> a count.
        trained: as in ``numbers``.
    """
    numbers(
        {key: Score(int(value), math.nan, math.nan, int(value), "counted", "") for key, value in values.items()},
        trained,
    )


def exact(values: dict[str, float], unit: str = "") -> None:
    """Put numbers that follow from a definition, not from a sample, into the record.

    Args:
        values: ``<part>/<name>`` -> a number.
        unit: of all of them.
    """
    numbers({key: Score(float(value), math.nan, math.nan, 1, "exact", unit) for key, value in values.items()})


def predictions(labels: np.ndarray, predicted: np.ndarray, part: str = "test") -> None:
    """Keep what a network answered for each picture of a part, so that two networks can be compared picture by picture.

    Args:
        labels: int (n,) in the order of the split.
        predicted: int (n,) classes.
        part: whose pictures they are.
    """
    kept = {"labels": " ".join(map(str, labels.tolist())), "predicted": " ".join(map(str, predicted.tolist()))}
    said = f"{len(labels)} answers kept: {(labels == predicted).sum()} right"
    _show("predictions", part, kept, {"text/plain": said})


def commit() -> str:
    """The commit of the working copy, with ``+`` where files differ from it; "unknown" outside a repository."""
    folder = Path(__file__).resolve().parent
    try:
        head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=folder, capture_output=True, text=True)
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "."], cwd=folder.parent, capture_output=True)
    except OSError:
        return "unknown"
    return head.stdout.strip() + ("+" if changed.returncode else "") if head.returncode == 0 else "unknown"


def _show(kind: str, name: str, content: dict[str, Any], shown: dict[str, str]) -> None:
    display({MIME: {"kind": kind, "name": name, **content}, **shown}, raw=True)


def _finite(score: Score) -> dict[str, Any]:
    """A score for JSON, which knows no NaN and no infinity: a number that was counted has no interval, None."""
    values = asdict(score).items()
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in values}


def _plain(frame: pd.DataFrame) -> list[list[Any]]:
    """Rows of plain Python values; a missing one is None."""
    rows = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    return [[value.item() if hasattr(value, "item") else value for value in row] for row in rows]


def _version(library: str) -> str:
    try:
        return version(library)
    except Exception:
        return "absent"
