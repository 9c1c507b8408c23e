"""Small panels: what is drawn, and that it can be read."""

import functools

import numpy as np
import pandas as pd
import pytest
from test_figures import LAYOUT, texts_of

from flowerlib import panels
from flowerlib.errors import FlowerlibError

RANDOM = np.random.default_rng(0)
NAMES = ["daisy", "dandelion", "roses", "sunflowers", "tulips"]


def history(epochs=100):
    climb = 1 - np.exp(-np.arange(epochs) / 20)
    return {
        "accuracy": climb.tolist(),
        "val_accuracy": (0.8 * climb + RANDOM.normal(0, 0.02, epochs)).tolist(),
        "loss": (1.6 - climb).tolist(),
        "val_loss": (1.7 - climb + RANDOM.normal(0, 0.05, epochs)).tolist(),
    }


RUNS = {f"model{i}": history() for i in range(1, 8)} | {"model7_0.001": history()}
MATRICES = {name: RANDOM.integers(0, 30, (5, 5)) for name in RUNS}
LAYERS = pd.DataFrame({"layer": [f"batch_normalization_{i}" for i in range(60)], "error": RANDOM.random(60)})
DRAWN = {
    "accuracy": lambda: panels.histories(RUNS),
    "loss": lambda: panels.histories(RUNS, "loss"),
    "one": lambda: panels.histories({"alone": history(3)}),
    "sixteen": lambda: panels.histories({f"a run {i}": history() for i in range(16)}),
    "confusions": lambda: panels.confusions(MATRICES, NAMES),
    "depths": lambda: panels.depths({f"ours-transfer-mobilenet {i}": LAYERS for i in range(4)}),
    "two confusions": lambda: panels.confusions(dict(list(MATRICES.items())[:2]), NAMES),
}


@functools.cache
def drawn(name):
    fig = DRAWN[name]()
    return fig, texts_of(fig)


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("fact", LAYOUT)
def test_of_every_figure(fact, name):
    fact(*drawn(name))


def test_the_best_epoch_is_marked_where_validation_accuracy_is_highest():
    for ax, run in zip(drawn("loss")[0].axes, RUNS.values(), strict=True):
        best = int(np.argmax(run["val_accuracy"]))
        [mark] = [line for line in ax.lines if line.get_marker() == "D"]
        assert mark.get_xdata().tolist() == [best + 1] and mark.get_ydata().tolist() == [run["val_loss"][best]]


def test_a_run_that_broke_is_drawn_as_far_as_it_came():
    broken = {key: [*values[:5], float("nan")] for key, values in history(5).items()}
    [ax] = panels.histories({"broken": broken}).axes
    assert ax.lines[-1].get_xdata()[0] <= 5


def test_every_count_that_is_not_0_is_written():
    fig = drawn("confusions")[0]
    for ax, matrix in zip(fig.axes, MATRICES.values(), strict=True):
        assert sorted(int(text.get_text()) for text in ax.texts) == sorted(matrix[matrix > 0].tolist())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: panels.histories({}), "0 runs, not 1 to 16"),
        (lambda: panels.confusions(MATRICES, NAMES * 2), "10 classes are too many"),
        (lambda: panels.confusions({"a": np.zeros((3, 3), int)}, NAMES), r"a: \(3, 3\) for 5 names"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, said):
    with pytest.raises(FlowerlibError, match=said):
        call()


def test_the_layer_with_the_largest_error_is_marked_and_named():
    for ax in drawn("depths")[0].axes:
        [mark] = [line for line in ax.lines if line.get_marker() == "D"]
        worst = int(LAYERS["error"].argmax())
        assert mark.get_xdata().tolist() == [worst + 1]
        assert LAYERS["layer"][worst].replace("_", " ") in ax.get_title("left").replace("\n", " ")
