"""How the report's figures look: sizes, letters, colours. Figures are made without pyplot, which would keep them alive.

The embedding of fonts is decided when a figure is saved, not when it is made: save inside `with style():`.
"""

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
import pandas as pd
from cycler import cycler
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from flowerlib.errors import FlowerlibError

WIDTH_IN, PAGE_IN = 6.3, 9.2  # the report's text width; the highest figure that leaves room for a caption
TEXT_PT, LINE_IN, GAP_IN = 8.0, 0.14, 0.08
FONT = FontProperties(family="DejaVu Sans", size=TEXT_PT)  # shipped with matplotlib: the same letters everywhere
BLUE, ORANGE, GREEN, SKY, YELLOW = "#0072B2", "#E69F00", "#009E73", "#56B4E9", "#F0E442"  # Okabe and Ito
PURPLE, VERMILION, BLACK, GREY = "#CC79A7", "#D55E00", "#000000", "#777777"
LOOKS: dict[str, list[Any]] = {  # eight curves that differ in grey too
    "color": [BLUE, ORANGE, GREEN, VERMILION, PURPLE, BLACK, SKY, GREY],
    "marker": ["o", "s", "^", "D", "v", "X", "P", "*"],
    "ls": ["-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 2.5)), (0, (8, 2)), (0, (3, 3))],
}
STYLE: dict[Any, Any] = {
    "font.family": FONT.get_family(),
    "font.size": TEXT_PT,
    "axes.labelsize": TEXT_PT + 1,
    "axes.titlesize": TEXT_PT + 1,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(**LOOKS),
    "grid.color": "#DDDDDD",
    "hatch.linewidth": 0.4,
    "legend.frameon": False,
    "lines.markersize": 4,
    "text.parse_math": False,  # a dollar sign in a label is a dollar sign
    "figure.dpi": 150,
    "image.composite_image": False,  # pictures side by side stay apart in a PDF, without transparency between them
    "pdf.fonttype": 42,
}


@contextmanager
def style() -> Iterator[None]:
    """Hold the report's rcParams over matplotlib's defaults, not the user's; a with block or a decorator."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def require(holds: object, message: str) -> None:
    """Raise FlowerlibError(message) unless it holds."""
    if not holds:
        raise FlowerlibError(message)


def require_columns(plot: str, table: pd.DataFrame, *columns: str) -> None:
    """Raise FlowerlibError unless the table of a plot has these columns and a row."""
    missing = [column for column in columns if column not in table.columns]
    require(not missing, f"{plot}: the table has no column {', '.join(missing)}")
    require(len(table), f"{plot}: the table has no rows")


def figure(height_in: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """An empty figure of the report's text width."""
    require(height_in <= PAGE_IN, f"figure {height_in:.2f} in high, a page {PAGE_IN} in: show less or more columns")
    return Figure(figsize=(WIDTH_IN, height_in), layout=layout)


def none() -> Figure:
    """What stands where there is nothing to draw, as when no two pictures are alike."""
    fig = figure(0.4, None)
    fig.text(0.5, 0.5, "none", ha="center", va="center")
    return fig


def legend(fig: Figure) -> None:
    """One legend under all panels, each label once, in as many columns of one width as fit, four at most."""
    found = [zip(*ax.get_legend_handles_labels(), strict=True) for ax in fig.axes]
    handles = {label: handle for pairs in found for handle, label in pairs}
    labels = [wrap(label, 2.5) for label in handles]
    widest = max((text_width_in(line) for label in labels for line in label.split("\n")), default=0)
    columns = max(1, min(4, int(WIDTH_IN / (widest + 0.65))))  # a sample of the line and the blanks take 0.65 in
    fig.legend(list(handles.values()), labels, loc="outside lower center", ncols=columns, handlelength=3)


@functools.cache
def text_width_in(line: str) -> float:
    """Width of a line of text in inches."""
    return text_to_path.get_text_width_height_descent(line, FONT, ismath=False)[0] / 72


def halve(word: str, width_in: float) -> str:
    """Hyphenate a word that alone is wider than width_in."""
    middle = len(word) // 2
    if middle < 2 or text_width_in(word) <= width_in:
        return word
    return f"{halve(word[:middle], width_in)}-{halve(word[middle:], width_in)}"


def wrap(text: str, width_in: float = 1.9) -> str:
    """Break text at blanks and hyphens so that no line is wider; the default suits names on an axis."""
    whole = re.sub(r"[^ -]+", lambda word: halve(word[0], width_in), text.replace("\n", " ").strip())
    lines = [""]
    for piece in re.findall(r" *[^ -]*-?", whole):  # a word, or its part up to a hyphen, after its blank
        if lines[-1] and text_width_in(lines[-1] + piece) > width_in:
            lines.append(piece.strip())
        else:
            lines[-1] += piece
    return "\n".join(lines)
