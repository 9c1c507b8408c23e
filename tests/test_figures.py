import functools
import gc
import io
import subprocess
import sys
import warnings
import weakref

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.container import BarContainer
from matplotlib.contour import ContourSet
from matplotlib.text import Text

from flowerlib import figures, pictures, splits, style
from flowerlib.errors import FlowerlibError

FINE, COARSE = list(splits.fine_names()), list(splits.coarse_map("coarse-2024")[1])
LONG = [f"the very long winded and hyphen-rich name of flower number {i}" for i in range(10)]
NAMES = {"10 classes": COARSE, "10 long names": LONG, "102 classes": FINE}
each_names = pytest.mark.parametrize("names", NAMES.values(), ids=NAMES.keys())


def some_pictures(n, height=24, width=24):
    return np.random.default_rng(n).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def class_counts(names):
    uneven = np.random.default_rng(0).integers(40, 259, len(names))
    return {"train": np.full(len(names), 10), "validation": np.zeros(len(names), int), "test": uneven}


def class_table(names):
    recall = np.random.default_rng(1).beta(4, 2, len(names))
    return pd.DataFrame(
        {
            "class": names,
            "f1": np.clip(recall + 0.05, 0, 1),
            "recall": recall,
            "recall_low": np.clip(recall - 0.2, 0, 1),
            "recall_high": np.clip(recall + 0.2, 0, 1),
            "support": np.arange(len(names)) + 20,
        }
    )


def matrix(classes):
    return np.random.default_rng(2).integers(0, 30, (classes, classes)) + 1000 * np.eye(classes, dtype=int)


def history(epochs, drops=(), diverged=None):
    fall = np.exp(-np.arange(epochs) / 5)
    rates = np.full(epochs, 1e-3)
    for drop in drops:
        rates[drop:] /= 2
    curves = {
        "loss": 4 * fall + 0.5,
        "accuracy": 0.9 - 0.8 * fall,
        "val_loss": 4 * fall + 0.8,
        "val_accuracy": 0.8 - 0.7 * fall,
        "val_balanced_accuracy": 0.75 - 0.7 * fall,
        "learning_rate": rates,
    }
    if diverged is not None:
        curves["loss"][diverged - 1 :] = np.nan
    return {key: curve.tolist() for key, curve in curves.items()}


SCORES = pd.DataFrame(
    {
        "label": [
            "a run, accuracy",
            "a run with a long name that does not fit on a line, balanced accuracy",
            "not yet",
        ],
        "value": [0.6, 0.4, np.nan],
        "low": [0.5, 0.3, np.nan],
        "high": [0.7, 0.5, np.nan],
        "reported": [0.85, np.nan, 0.9],
    }
)
SIZES = pd.DataFrame(
    {"train": [6149, 2040, 700], "validation": [1020, 0, 150], "test": [1020, 6149, 150]},
    index=["swapped", "joint", "five classes, 70/15/15 in every class"],
)
PAIRS = [(*some_pictures(2), f"{i}431 in train and {i}977 in test, 2 bits") for i in range(4)]
MASKS = some_pictures(7)[..., 0] > 200

DRAWN = {
    "histogram 10": lambda: figures.class_histogram(class_counts(COARSE), COARSE),
    "histogram 10 long": lambda: figures.class_histogram(class_counts(LONG), LONG),
    "histogram 102": lambda: figures.class_histogram(class_counts(FINE), FINE),
    "histogram 30 long": lambda: figures.class_histogram(class_counts(LONG * 3), LONG * 3),
    "histogram unnamed part": lambda: figures.class_histogram(class_counts(FINE)["test"], FINE),
    "histogram top 20": lambda: figures.class_histogram(class_counts(FINE), FINE, top=20),
    "grid": lambda: pictures.image_grid(some_pictures(24), FINE[10:34]),
    "grid 102": lambda: pictures.image_grid(some_pictures(102), FINE, columns=12),
    "grid long": lambda: pictures.image_grid(some_pictures(10, 20, 30), LONG),
    "grid untitled": lambda: pictures.image_grid(some_pictures(2), None),
    "curves": lambda: figures.learning_curves(history(40, (20, 30, 31)), minutes=np.linspace(0.2, 8, 40).tolist()),
    "curves of one epoch": lambda: figures.learning_curves(history(1)),
    "curves diverged": lambda: figures.learning_curves(history(12, (6,), diverged=9)),
    "curves diverged at once": lambda: figures.learning_curves({"loss": [np.nan, np.inf], "accuracy": [0.1, 0.1]}),
    "curves smooth": lambda: figures.learning_curves(history(100, range(1, 100))),
    "curves loss alone": lambda: figures.learning_curves({"loss": [3, 2, np.nan], "learning_rate": [0.1, 0.01, 0.01]}),
    "confusion 10": lambda: figures.confusion(matrix(10), COARSE),
    "confusion 10 long": lambda: figures.confusion(matrix(10), LONG),
    "confusion 20": lambda: figures.confusion(matrix(20), FINE[:20]),
    "confusion 102": lambda: figures.confusion(matrix(102), FINE),
    "per class 10": lambda: figures.per_class_bars(class_table(COARSE)),
    "per class 10 long": lambda: figures.per_class_bars(class_table(LONG)),
    "per class 102": lambda: figures.per_class_bars(class_table(FINE)),
    "scores": lambda: figures.scores_with_intervals(SCORES),
    "no scores": lambda: figures.scores_with_intervals(pd.DataFrame([])),
    "near-duplicates": lambda: pictures.near_duplicates(PAIRS),
    "no near-duplicates": lambda: pictures.near_duplicates([]),
    "splits": lambda: figures.split_sizes(SIZES),
    "mistakes": lambda: pictures.worst_classes(some_pictures(8), FINE[:8], FINE[18:26], np.linspace(0, 1, 8)),
    "mistakes long": lambda: pictures.worst_classes(some_pictures(8), LONG[:8], LONG[2:], np.linspace(0, 1, 8)),
    "no mistakes": lambda: pictures.worst_classes(some_pictures(1)[:0], [], [], []),
    "masks": lambda: pictures.overlay_masks(some_pictures(7), MASKS, FINE[19:26]),
}  # fmt: skip


@functools.cache
def drawn(name):
    """A figure and every text that matplotlib really put on it: (text, box in pixels, size, rotation)."""
    texts, draw = [], Text.draw

    def record(self, renderer, *args, **kwargs):
        if self.get_visible() and self.get_text().strip():
            box = Text.get_window_extent(self, renderer)  # without an annotation's arrow
            texts.append((self.get_text(), box, self.get_fontsize(), self.get_rotation()))
        draw(self, renderer, *args, **kwargs)

    fig = DRAWN[name]()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), style.style():
        warnings.simplefilter("error")
        patch.setattr(Text, "draw", record)
        fig.draw_without_rendering()
    return fig, texts


def said(name):
    return [text for text, *_ in drawn(name)[1]]


each_figure = pytest.mark.parametrize("name", DRAWN)


@each_figure
def test_a_figure_is_as_wide_as_the_text_and_fits_a_page(name):
    width, height = drawn(name)[0].get_size_inches()
    assert width == pytest.approx(6.3)
    assert height <= 9.2


@each_figure
def test_no_text_leaves_the_canvas(name):
    fig, texts = drawn(name)
    assert texts or name == "grid untitled"
    for text, box, *_ in texts:
        inside = box.x0 >= -0.5 and box.y0 >= -0.5 and box.x1 <= fig.bbox.x1 + 0.5 and box.y1 <= fig.bbox.y1 + 0.5
        assert inside, f"{text!r} at {box.extents} of {fig.bbox.extents}"


@each_figure
def test_text_is_8_to_9_points_high(name):
    assert {size for _, _, size, _ in drawn(name)[1]} <= {8.0, 9.0}


@each_figure
def test_no_two_texts_overlap(name):
    level = [(text, box) for text, box, _, rotation in drawn(name)[1] if rotation != 45]  # slanted boxes overlap
    for i, (text, box) in enumerate(level):
        for other, near in level[i + 1 :]:
            wide = min(box.x1, near.x1) - max(box.x0, near.x0)
            high = min(box.y1, near.y1) - max(box.y0, near.y0)
            assert wide <= 1 or high <= 1, f"{text!r} over {other!r}"


@pytest.mark.parametrize("name", ["histogram unnamed part", "per class 10 long", "scores"])
def test_long_names_leave_most_of_the_width_to_the_data(name):
    assert drawn(name)[0].axes[0].get_position().width > 0.6


@pytest.mark.parametrize("name", ["scores", "mistakes"])
def test_a_pdf_saved_in_the_style_embeds_type_42_fonts(name):
    def pdf():
        file = io.BytesIO()
        drawn(name)[0].savefig(file, format="pdf")
        return file.getvalue()

    with style.style():
        embedded = pdf()
    assert b"/FontFile2" in embedded
    assert b"/Type3" not in embedded
    assert b"/Type3" in pdf()  # matplotlib's own way, so that the lines above can fail


def test_the_style_leaves_the_users_parameters_alone_and_is_not_moved_by_them():
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black"}):
        before = dict(matplotlib.rcParams)
        fig = figures.split_sizes(SIZES)
        assert dict(matplotlib.rcParams) == before
    assert fig.axes[0].get_yticklabels()[0].get_fontsize() == 8
    assert fig.axes[0].get_facecolor() == (1, 1, 1, 1)


def test_figures_are_freed_when_let_go():
    kept = [weakref.ref(figures.split_sizes(SIZES)) for _ in range(5)]
    gc.collect()
    assert [ref() for ref in kept] == [None] * 5


def test_the_module_needs_neither_pyplot_nor_tensorflow():
    unwanted = "{'matplotlib.pyplot', 'tensorflow', 'keras'}"
    code = f"import sys, flowerlib.figures, flowerlib.pictures; print({unwanted} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="abMWil -$\n", max_size=60), st.floats(0.3, 2.0))
def test_wrapping_keeps_every_letter_and_the_width(text, width_in):
    wrapped = style.wrap(text, width_in)
    assert all(style.text_width_in(line) <= width_in + 0.05 for line in wrapped.split("\n"))  # a hyphen more
    letters = [character for character in wrapped if character not in "- \n"]
    assert letters == [character for character in text if character not in "- \n"]


def test_a_name_breaks_at_blanks_and_hyphens_before_it_is_cut():
    assert style.wrap("hard-leaved pocket orchid", 0.7) == "hard-leaved\npocket\norchid"
    assert style.wrap("pink-yellow dahlia", 0.5) == "pink-\nyellow\ndahlia"
    assert style.wrap("bougainvillea", 0.5) == "bougai-\nnvillea"


def bars(ax):
    return [bar for container in ax.containers if isinstance(container, BarContainer) for bar in container]


@each_names
def test_a_histogram_has_a_panel_for_each_part_that_has_images_and_a_bar_a_class(names):
    fig = figures.class_histogram(class_counts(names), names)
    assert [len(bars(ax)) for ax in fig.axes] == [len(names)] * 2
    assert [ax.get_title("left").split(",")[0] for ax in fig.axes] == ["train", "test"]


def test_ten_classes_are_named_with_their_counts_largest_first():
    counts = np.arange(10) + 1000
    fig = figures.class_histogram({"train": counts}, COARSE)
    assert [label.get_text() for label in fig.axes[0].get_yticklabels()] == COARSE[::-1]
    assert [text.get_text() for text in fig.axes[0].texts] == [f"{n:,}" for n in counts[::-1]]


def test_102_classes_are_sorted_with_their_ends_and_median_marked():
    counts = class_counts(FINE)["test"]
    ax = figures.class_histogram({"test": counts}, FINE).axes[0]
    assert [bar.get_height() for bar in bars(ax)] == sorted(counts, reverse=True)
    largest, median, smallest = (text.get_text().replace("\n", " ") for text in ax.get_legend().get_texts())
    assert f"{FINE[counts.argmax()]} {counts.max()}" in largest
    assert median == f"median: {np.median(counts):g}"
    assert f" {counts.min()}" in smallest


def test_equal_classes_are_told_in_words():
    assert {"train, n = 1,020, 10 in every class"} <= set(said("histogram 102"))


def test_top_keeps_the_largest_classes_of_the_first_part():
    counts = class_counts(FINE)["test"]
    fig = figures.class_histogram({"test": counts, "other": counts[::-1].copy()}, FINE, top=12)
    assert [bar.get_width() for bar in bars(fig.axes[0])] == sorted(counts, reverse=True)[:12]


def test_a_grid_shows_every_picture_undistorted_under_its_title():
    fig, texts = drawn("grid long")
    images = fig.axes[0].images
    assert [text.replace("\n", " ").replace("- ", "-") for text, *_ in texts] == LONG
    assert len(images) == 10
    left, right, bottom, top = images[0].get_extent()
    assert (right - left) / (bottom - top) == pytest.approx(30 / 20)
    assert np.array_equal(images[3].get_array(), some_pictures(10, 20, 30)[3])


def test_pairs_stand_side_by_side():
    fig, texts = drawn("near-duplicates")
    assert len(fig.axes[0].images) == len(texts) == len(PAIRS)
    shown = fig.axes[0].images[0].get_array()
    assert np.array_equal(shown[:, :24], PAIRS[0][0])
    assert np.array_equal(shown[:, -24:], PAIRS[0][1])


def test_mistakes_say_true_class_what_it_was_taken_for_and_the_probability():
    words = [" ".join(text.split()) for text in said("mistakes")]
    assert words[0] == f"{FINE[0]} / {FINE[18]} (0.00)"
    assert words[7] == f"{FINE[7]} / {FINE[25]} (1.00)"


def test_nothing_to_show_is_said():
    assert said("no near-duplicates") == said("no mistakes") == said("no scores") == ["none"]


def test_a_mask_is_outlined_where_it_ends_even_at_the_frame():
    mask = np.zeros((1, 20, 20), bool)
    mask[0, 5:, 5:15] = True
    ax = pictures.overlay_masks(some_pictures(1, 20, 20), mask, None).axes[0]
    outlines = [contour for contour in ax.collections if isinstance(contour, ContourSet)]
    left, right, bottom, top = ax.images[0].get_extent()
    box = outlines[-1].get_paths()[0].get_extents()
    expected = [left + 0.25 * (right - left), top + 0.25 * (bottom - top), left + 0.75 * (right - left), bottom]
    assert np.allclose(box.extents, expected, atol=0.001)


def test_a_mask_of_nothing_draws_no_outline():
    fig = pictures.overlay_masks(some_pictures(1), np.zeros((1, 24, 24)), None)
    assert not fig.axes[0].collections


def test_curves_stand_in_their_panels_against_whole_epochs():
    fig, _ = drawn("curves")
    loss, accuracy = fig.axes
    values = history(40, (20, 30, 31))
    for ax, keys in (loss, ["loss", "val_loss"]), (accuracy, ["accuracy", "val_accuracy", "val_balanced_accuracy"]):
        for line, key in zip(ax.lines, keys, strict=False):
            assert line.get_xdata().tolist() == list(range(1, 41))
            assert line.get_ydata().tolist() == values[key]
        assert all(float(label.get_text()).is_integer() for label in ax.get_xticklabels())
    assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in accuracy.lines[:3]}) == 3
    assert "epoch (8.0 minutes in all)" in said("curves")


def test_rate_drops_stand_between_epochs_with_the_rate_written():
    assert {"0.0005", "0.00025", "0.000125"} <= set(said("curves"))
    for ax in drawn("curves")[0].axes:
        assert [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 2] == [20.5, 30.5, 31.5]


def test_a_smooth_schedule_is_told_in_words():
    assert "rate 0.001 to 1.6e-33" in said("curves smooth")
    assert [len(ax.lines) for ax in drawn("curves smooth")[0].axes] == [2, 3]


@pytest.mark.parametrize(
    ("name", "epoch"), [("curves diverged", 9), ("curves diverged at once", 1), ("curves loss alone", 3)]
)
def test_a_diverged_run_is_marked_at_its_epoch(name, epoch):
    assert f"diverged at epoch {epoch}" in said(name)
    crosses = [line for line in drawn(name)[0].axes[0].lines if line.get_marker() == "x"]
    assert [cross.get_xdata()[0] for cross in crosses] == [epoch]


def test_the_mark_of_divergence_stands_clear_of_the_curves():
    fig, texts = drawn("curves diverged")
    (box,) = [box for text, box, *_ in texts if text.startswith("diverged")]
    ax = fig.axes[0]
    highest = max(np.nanmax(line.get_ydata()) for line in ax.lines[:2])
    assert box.y0 > ax.transData.transform((1, highest))[1]


def test_a_sound_run_is_not_marked():
    assert not any("diverged" in text for text in said("curves"))


def test_a_curve_keeps_its_look_when_others_are_missing():
    values = history(5)
    full, part = (figures.learning_curves(h).axes[0] for h in (values, {"val_loss": values["val_loss"]}))
    assert full.lines[1].get_color() == part.lines[1].get_color() == style.ORANGE


def test_a_confusion_row_is_divided_by_its_class():
    counts = np.array([[8, 2], [0, 0]])
    ax = figures.confusion(counts, ["rose", "lotus"]).axes[0]
    share = ax.images[0].get_array()
    assert share[0].tolist() == [0.8, 0.2]
    assert np.ma.getmaskarray(np.ma.masked_invalid(share))[1].all()
    assert [text.get_text() for text in ax.texts] == ["8", "2"]


def test_102_classes_are_numbered_by_tens_beside_a_colour_bar():
    fig, _ = drawn("confusion 102")
    ax = fig.axes[0]
    assert len(fig.axes) == 2
    assert [label.get_text() for label in ax.get_xticklabels()] == [str(n) for n in range(10, 101, 10)]
    assert ax.get_xticks().tolist() == list(range(9, 100, 10))
    assert not ax.texts


def test_classes_are_ranked_by_recall_with_their_support():
    table = class_table(COARSE)
    ax = figures.per_class_bars(table).axes[0]
    ranked = table.sort_values("recall", ascending=False)
    wanted = [f"{name} ({n})" for name, n in zip(ranked["class"], ranked["support"], strict=True)]
    assert [label.get_text() for label in ax.get_yticklabels()] == wanted
    assert ax.lines[0].get_xdata().tolist() == ranked["recall"].tolist()
    spans = [segment[:, 0].tolist() for segment in ax.collections[0].get_segments()]
    assert spans == ranked[["recall_low", "recall_high"]].to_numpy().tolist()


def test_of_102_classes_the_best_and_the_worst_five_are_named():
    table = class_table(FINE)
    table.loc[40, ["recall", "f1", "recall_low", "recall_high"]] = np.nan  # a class without photographs
    every, named = figures.per_class_bars(table).axes
    assert len(every.lines[0].get_xdata()) == 102
    ranked = table.dropna().sort_values("recall", ascending=False)["class"].tolist()
    shown = [label.get_text().replace("\n", " ").rsplit(" (")[0] for label in named.get_yticklabels()]
    assert shown == ranked[:5] + ranked[-5:]


def test_a_score_is_a_dot_on_its_interval_and_a_reported_one_a_hollow_diamond():
    ax = drawn("scores")[0].axes[0]
    dots, diamonds = ax.lines
    assert np.array_equal(dots.get_xdata(), SCORES["value"], equal_nan=True)
    assert np.array_equal(diamonds.get_xdata(), SCORES["reported"], equal_nan=True)
    assert (diamonds.get_marker(), diamonds.get_markerfacecolor()) == ("D", "none")
    assert "reported" in said("scores")


def test_without_reported_scores_there_is_no_diamond():
    ax = figures.scores_with_intervals(SCORES.assign(reported=np.nan)).axes[0]
    assert len(ax.lines) == 1


def test_split_sizes_are_stacked_and_written():
    ax = drawn("splits")[0].axes[0]
    ends = [bar.get_x() + bar.get_width() for bar in bars(ax)[-3:]]
    assert ends == SIZES.sum(axis=1).tolist()
    assert {f"{count:,}" for count in SIZES.to_numpy().flat} <= set(said("splits"))


UPSIDE_DOWN = SCORES.rename(columns={"low": "high", "high": "low"})
WRONG = {
    "counts of 9 classes for 10 names": (lambda: figures.class_histogram({"train": np.ones(9)}, COARSE), "9.* 10"),
    "no images in any part": (lambda: figures.class_histogram(np.zeros(10), COARSE), "no part has images"),
    "float pictures": (lambda: pictures.image_grid(np.zeros((2, 8, 8, 3)), None), r"uint8 .*float64"),
    "grey pictures": (lambda: pictures.image_grid(some_pictures(2)[..., 0], None), r"\(2, 24, 24\)"),
    "a title too few": (lambda: pictures.image_grid(some_pictures(3), ["a", "b"]), "2 titles for 3"),
    "no columns": (lambda: pictures.image_grid(some_pictures(3), None, columns=0), "columns"),
    "more than a page": (lambda: pictures.image_grid(some_pictures(102), None), "page"),
    "pictures of two sizes": (
        lambda: pictures.near_duplicates([(some_pictures(1)[0], some_pictures(1, 9)[0], "x")]),
        "x: .*size",
    ),
    "a name too few": (lambda: pictures.worst_classes(some_pictures(2), ["a"], ["b", "c"], [1, 1]), "differ in number"),
    "masks of another size": (lambda: pictures.overlay_masks(some_pictures(2), np.ones((2, 9, 9)), None), "do not fit"),
    "a history of nothing": (lambda: figures.learning_curves({"top_5": [1.0]}), "top_5"),
    "no epochs": (lambda: figures.learning_curves({"loss": []}), r"\[0\]"),
    "curves of two lengths": (lambda: figures.learning_curves({"loss": [1.0, 2.0], "val_loss": [1.0]}), r"\[1, 2\]"),
    "minutes of another length": (lambda: figures.learning_curves({"loss": [1.0]}, minutes=[1, 2]), r"\[1, 2\]"),
    "shares for counts": (lambda: figures.confusion(np.eye(10), COARSE), "float64"),
    "a matrix of 9 classes": (lambda: figures.confusion(matrix(9), COARSE), r"\(9, 9\) for 10"),
    "a missing column": (lambda: figures.per_class_bars(class_table(COARSE).drop(columns="f1")), "no column f1"),
    "no classes": (lambda: figures.per_class_bars(class_table(COARSE).head(0)), "no rows"),
    "an interval upside down": (lambda: figures.scores_with_intervals(UPSIDE_DOWN), "low .*high"),
    "a part missing": (lambda: figures.split_sizes(SIZES[["train", "test"]]), "no column validation"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG.keys())
def test_bad_input_is_told_in_one_line(call, message):
    with pytest.raises(FlowerlibError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
