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

from flowerlib import figures, pictures, splits, style, whitening
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
ROWS = [some_pictures(5, 20, 30), 255 - some_pictures(5, 20, 30), some_pictures(5, 20, 30) // 2]
ROW_LABELS = ["photographs", "whitened with epsilon 1e-6", "as dark as at dusk"]

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
    "rows": lambda: pictures.rows(ROWS, ROW_LABELS, FINE[:5]),
    "rows of 12": lambda: pictures.rows([some_pictures(12)] * 3, LONG[:3]),
    "rows of one": lambda: pictures.rows([some_pictures(1)], ["photograph"], ["a rose"]),
    "no rows": lambda: pictures.rows([], []),
    "whitened": lambda: pictures.whitened(
        whitening.fit(some_pictures(12), 1e-6), some_pictures(12)[:6], 255 - some_pictures(6)
    ),
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


def texts_of(fig):
    """Every text that matplotlib really puts on a figure: (text, box in pixels, size, rotation)."""
    texts, draw = [], Text.draw

    def record(self, renderer, *args, **kwargs):
        if self.get_visible() and self.get_text().strip():
            box = Text.get_window_extent(self, renderer)  # without an annotation's arrow
            texts.append((self.get_text(), box, self.get_fontsize(), self.get_rotation()))
        draw(self, renderer, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), style.style():
        warnings.simplefilter("error")
        patch.setattr(Text, "draw", record)
        fig.draw_without_rendering()
    return texts


@functools.cache
def drawn(name):
    fig = DRAWN[name]()
    return fig, texts_of(fig)


def said(name):
    return [text for text, *_ in drawn(name)[1]]


def it_is_as_wide_as_the_text_and_fits_a_page(fig, texts):
    width, height = fig.get_size_inches()
    assert width == pytest.approx(6.3)
    assert height <= 9.2


def no_text_leaves_the_canvas(fig, texts):
    for text, box, *_ in texts:
        inside = box.x0 >= -0.5 and box.y0 >= -0.5 and box.x1 <= fig.bbox.x1 + 0.5 and box.y1 <= fig.bbox.y1 + 0.5
        assert inside, f"{text!r} at {box.extents} of {fig.bbox.extents}"


def text_is_8_to_9_points_high(fig, texts):
    assert {size for _, _, size, _ in texts} <= {8.0, 9.0}


def no_two_texts_overlap(fig, texts):
    level = [(text, box) for text, box, _, rotation in texts if rotation != 45]  # slanted boxes overlap
    for i, (text, box) in enumerate(level):
        for other, near in level[i + 1 :]:
            wide = min(box.x1, near.x1) - max(box.x0, near.x0)
            high = min(box.y1, near.y1) - max(box.y0, near.y0)
            assert wide <= 1 or high <= 1, f"{text!r} over {other!r}"


LAYOUT = [  # what holds of every figure of the report
    it_is_as_wide_as_the_text_and_fits_a_page,
    no_text_leaves_the_canvas,
    text_is_8_to_9_points_high,
    no_two_texts_overlap,
]


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("fact", LAYOUT)
def test_of_every_figure(fact, name):
    fact(*drawn(name))


def test_only_pictures_without_titles_have_no_text():
    assert [name for name in DRAWN if not said(name)] == ["grid untitled"]


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
    code = f"import sys, flowerlib.curves, flowerlib.figures, flowerlib.pictures; print({unwanted} & set(sys.modules))"
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


def test_a_row_shows_its_pictures_undistorted_beside_its_label():
    fig, texts = drawn("rows")
    images = fig.axes[0].images
    assert np.array_equal([image.get_array() for image in images], np.concatenate(ROWS))
    boxes = np.array([image.get_extent() for image in images]).reshape(3, 5, 4)
    left, right, bottom, top = boxes.transpose(2, 0, 1)
    assert np.allclose((right - left) / (bottom - top), 30 / 20)
    assert np.allclose(bottom, bottom[:, :1])
    places = {" ".join(text.split()): box for text, box, *_ in texts}
    for label, row in zip(ROW_LABELS, boxes, strict=True):
        (x, _, low, high), box = row[0], places[label]
        assert box.x1 < x * fig.dpi
        assert fig.bbox.height - (box.y0 + box.y1) / 2 == pytest.approx((low + high) / 2 * fig.dpi, abs=2)


def test_columns_of_rows_are_titled_once():
    words = [" ".join(text.split()).replace("- ", "-") for text in said("rows")]
    assert sorted(words) == sorted([*FINE[:5], *ROW_LABELS])


def test_mistakes_say_true_class_what_it_was_taken_for_and_the_probability():
    words = [" ".join(text.split()) for text in said("mistakes")]
    assert words[0] == f"{FINE[0]} / {FINE[18]} (0.00)"
    assert words[7] == f"{FINE[7]} / {FINE[25]} (1.00)"


def test_nothing_to_show_is_said():
    assert said("no near-duplicates") == said("no mistakes") == said("no scores") == said("no rows") == ["none"]


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
    "a label too few": (lambda: pictures.rows([some_pictures(2)] * 2, ["a"]), "1 labels for 2 rows"),
    "rows of two lengths": (lambda: pictures.rows([some_pictures(2), some_pictures(3)], ["a", "b"]), r"b: .*\(3, 24"),
    "a row of 13": (lambda: pictures.rows([some_pictures(13)], ["a"]), r"a: \(13, .*12"),
    "a row of one picture": (lambda: pictures.rows(some_pictures(2), ["a", "b"]), r"a: \(24, 24, 3\)"),
    "a title of no column": (lambda: pictures.rows([some_pictures(2)], ["a"], ["b"] * 3), "3 titles for 2 columns"),
    "rows of floats": (lambda: pictures.rows([some_pictures(2) / 255], ["a"]), "uint8 .*float64"),
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
