"""Tables and text for LaTeX."""

from typing import Any

import pandas as pd

LATEX_SPECIALS = str.maketrans(
    {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
     "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)  # fmt: skip


def escape(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    return text.translate(LATEX_SPECIALS)


def tabular(frame: pd.DataFrame, values: list[list[Any]], decimals: int, long: bool) -> str:
    """A booktabs tabular, or a longtable that carries its caption over the pages (report.sty's ``flowercaption``).

    Args:
        frame: names and kinds of the columns.
        values: its rows as plain values; None is an empty cell.
        decimals: of every number that is not whole.
        long: whether it may run over several pages.
    """
    rows = [[_cell(value, decimals) for value in row] for row in values]
    head = " & ".join(_cell(column, decimals) for column in frame.columns) + r" \\"
    top = [r"\toprule", head, r"\midrule"]
    body = [" & ".join(row) + r" \\" for row in rows] + [r"\bottomrule"]
    columns = _alignment(frame, rows)
    if not rows:
        body.insert(0, rf"\multicolumn{{{len(frame.columns)}}}{{l}}{{no run of this profile has it}} \\")
    if not long:
        return "\n".join([rf"\begin{{tabular}}{{{columns}}}", *top, *body, r"\end{tabular}", ""])
    start = [
        rf"\begin{{longtable}}{{{columns}}}",
        r"\flowercaption",
        *top,
        r"\endfirsthead",
        *top,
        r"\endhead",
    ]
    return "\n".join([*start, *body, r"\end{longtable}", ""])


LETTER = 0.0098  # of the text width, at footnote size
WRAPPED = 24  # letters; a longer text column is set in lines


def _alignment(frame: pd.DataFrame, rows: list[list[str]]) -> str:
    """Numbers to the right, short texts to the left, long texts in columns that share the rest of the width."""
    longest = [max([len(name), *(len(row[i]) for row in rows)]) for i, name in enumerate(map(str, frame.columns))]
    numeric = [pd.api.types.is_numeric_dtype(frame[column]) for column in frame.columns]
    wrapped = [longest[i] if longest[i] > WRAPPED and not numeric[i] else 0 for i in range(len(longest))]
    fixed = sum(LETTER * length + 0.016 for length, wrap in zip(longest, wrapped, strict=True) if not wrap)
    left = max(0.15, 0.99 - fixed - 0.016 * sum(map(bool, wrapped)))
    weight = sum(min(length, 160) ** 0.7 for length in wrapped if length)
    kinds = []
    for number, wrap in zip(numeric, wrapped, strict=True):
        share = left * min(wrap, 160) ** 0.7 / weight if wrap else 0
        kinds.append("r" if number else rf">{{\raggedright\arraybackslash}}p{{{share:.3f}\textwidth}}" if wrap else "l")
    return "".join(kinds)


def _cell(value: Any, decimals: int) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{decimals}f}"
    return escape(str(value))
