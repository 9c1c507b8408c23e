import dataclasses

import numpy as np
import pytest
import scipy.special
import scipy.stats
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from flowerlib import metrics
from flowerlib.errors import FlowerlibError

RNG = np.random.default_rng(7)

SHARES = (metrics.accuracy, metrics.balanced_accuracy, metrics.macro_f1, metrics.weighted_f1)
NAMES = [f"flower {i}" for i in range(12)]


def answers(seed, n=400, true_classes=range(12), predicted_classes=range(12), right=0.6):
    rng = np.random.default_rng(seed)
    labels = rng.choice(list(true_classes), n)
    guesses = rng.choice(list(predicted_classes), n)
    return labels, np.where((rng.random(n) < right) & np.isin(labels, predicted_classes), labels, guesses)


CASES = {
    "all classes": answers(0),
    "classes without photographs": answers(1, true_classes=range(3, 9)),
    "classes never predicted": answers(2, predicted_classes=range(5)),
    "both": answers(3, true_classes=range(8), predicted_classes=range(2, 11)),
    "few photographs": answers(4, n=7),
}
each_case = pytest.mark.parametrize(("labels", "predictions"), CASES.values(), ids=CASES.keys())


@st.composite
def label_pairs(draw):
    n, classes = draw(st.integers(1, 40)), draw(st.integers(1, 6))
    vector = st.lists(st.integers(0, classes - 1), min_size=n, max_size=n)
    return np.array(draw(vector)), np.array(draw(vector))


# --- equal to scikit-learn -------------------------------------------------------------------------------


@each_case
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_values_equal_scikit_learn(labels, predictions):
    f1 = {kind: reference.f1_score(labels, predictions, average=kind) for kind in ("macro", "weighted")}
    assert metrics.accuracy(labels, predictions).value == reference.accuracy_score(labels, predictions)
    expected = reference.balanced_accuracy_score(labels, predictions)
    assert metrics.balanced_accuracy(labels, predictions).value == pytest.approx(expected, abs=1e-12)
    assert metrics.macro_f1(labels, predictions).value == pytest.approx(f1["macro"], abs=1e-12)
    assert metrics.weighted_f1(labels, predictions).value == pytest.approx(f1["weighted"], abs=1e-12)


@each_case
def test_class_table_equals_classification_report(labels, predictions):
    table = metrics.per_class(labels, predictions, NAMES)
    report = reference.classification_report(
        labels, predictions, labels=range(12), target_names=NAMES, output_dict=True, zero_division=0
    )
    assert list(table["class"]) == NAMES
    for theirs, ours in {
        "precision": "precision",
        "recall": "recall",
        "f1-score": "f1",
        "support": "support",
    }.items():
        np.testing.assert_allclose(table[ours], [report[name][theirs] for name in NAMES], atol=1e-12)
    assert table["recall"].between(table["recall_low"], table["recall_high"]).all()


@each_case
def test_confusion_matrix_equals_scikit_learn(labels, predictions):
    expected = reference.confusion_matrix(labels, predictions, labels=range(12))
    np.testing.assert_array_equal(metrics.confusion_matrix(labels, predictions, 12), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_loss_equals_scikit_learn_even_where_a_true_class_got_probability_zero(dtype):
    rng = np.random.default_rng(5)
    probabilities = metrics.softmax(rng.normal(size=(300, 12)) * 3).astype(dtype)
    probabilities[:2] = np.eye(12, dtype=dtype)[[4, 5]]
    labels = np.concatenate([[3, 5], rng.integers(0, 9, 298)])
    expected = reference.log_loss(labels, probabilities, labels=range(12))
    assert metrics.log_loss(labels, probabilities).value == pytest.approx(expected, rel=1e-5)


def test_classification_gives_each_score_of_the_most_probable_class():
    rng = np.random.default_rng(6)
    labels, probabilities = rng.integers(0, 5, 90), rng.dirichlet(np.ones(5), 90)
    predictions = probabilities.argmax(axis=1)
    scores = metrics.classification(labels, probabilities, seed=3)
    assert {name: score for name, score in scores.items() if "precision" not in name} == {
        "accuracy": metrics.accuracy(labels, predictions),
        "balanced_accuracy": metrics.balanced_accuracy(labels, predictions, 3),
        "macro_f1": metrics.macro_f1(labels, predictions, 3),
        "weighted_f1": metrics.weighted_f1(labels, predictions, 3),
        "loss": metrics.log_loss(labels, probabilities),
    }


# --- Wilson ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_intervals_tabulated_by_newcombe_1998(successes, n, low, high):
    assert metrics.wilson(successes, n) == pytest.approx((low, high), abs=5.1e-5)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_equals_scipy(confidence):
    for n in (1, 2, 7, 40):
        for successes in range(n + 1):
            expected = scipy.stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
            assert metrics.wilson(successes, n, confidence) == pytest.approx(tuple(expected), abs=1e-12)


def test_wilson_of_none_and_of_all_is_the_closed_form():
    z2 = scipy.stats.norm.ppf(0.975) ** 2
    for n in (1, 10, 1020, 12.5):
        assert metrics.wilson(0, n) == pytest.approx((0, z2 / (n + z2)))
        assert metrics.wilson(n, n) == pytest.approx((n / (n + z2), 1))


# --- properties ------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(label_pairs())
def test_intervals_hold_their_value_and_stay_in_0_to_1(pair):
    for score in SHARES:
        result = score(*pair)
        assert 0 <= result.low <= result.value <= result.high <= 1
        assert result.low < result.high
        assert result.n == len(pair[0])


@settings(max_examples=30, deadline=None)
@given(label_pairs())
def test_perfect_predictions_give_1_with_room_below(pair):
    for score in SHARES:
        result = score(pair[0], pair[0])
        assert result.low < result.value == result.high == 1


@settings(max_examples=30, deadline=None)
@given(label_pairs(), st.randoms(use_true_random=False))
def test_order_of_photographs_changes_nothing(pair, random):
    order = random.sample(range(len(pair[0])), len(pair[0]))
    for score in SHARES:
        assert score(pair[0][order], pair[1][order]) == score(*pair)


def test_order_of_photographs_does_not_change_the_loss():
    rng = np.random.default_rng(7)
    labels, probabilities, order = rng.integers(0, 4, 50), rng.dirichlet(np.ones(4), 50), rng.permutation(50)
    once, again = (
        metrics.log_loss(labels, probabilities),
        metrics.log_loss(labels[order], probabilities[order]),
    )
    assert dataclasses.astuple(again)[:3] == pytest.approx(dataclasses.astuple(once)[:3])


# --- intervals -------------------------------------------------------------------------------------------


def uneven(seed=8):
    """Three classes where the smallest is the hardest, so that the bootstrap and not the cap decides."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], [15, 150, 300])
    miss = rng.random(labels.size) > np.array([0.5, 0.9, 0.95])[labels]
    return labels, np.where(miss, (labels + rng.integers(1, 3, labels.size)) % 3, labels)


def test_balanced_accuracy_interval_is_wilson_at_the_closed_form_variance_of_a_stratified_mean():
    labels, predictions = uneven()
    support, recall = np.bincount(labels), reference.recall_score(labels, predictions, average=None)
    value, variance = recall.mean(), (recall * (1 - recall) / support).sum() / 9
    effective = value * (1 - value) / variance
    assert effective < 9 / (1 / support).sum()
    result = metrics.balanced_accuracy(labels, predictions)
    assert (result.low, result.high) == pytest.approx(metrics.wilson(value * effective, effective), abs=0.005)


def spilling():
    """Three classes, most of the first taken for the second: weighted F1 is less sure than its n."""
    matrix = np.array([[25, 70, 9], [0, 20, 1], [2, 30, 14]])
    return tuple(np.repeat(cell, matrix.ravel()) for cell in np.indices((3, 3)).reshape(2, 9))


@pytest.mark.parametrize(
    ("score", "average", "pair"),
    [(metrics.macro_f1, "macro", uneven()), (metrics.weighted_f1, "weighted", spilling())],
)
def test_f1_interval_is_wilson_at_the_variance_of_photographs_drawn_one_by_one(score, average, pair):
    labels, predictions = pair
    rng, pools = np.random.default_rng(9), [np.flatnonzero(labels == label) for label in range(3)]
    draws = [np.concatenate([rng.choice(pool, pool.size) for pool in pools]) for _ in range(500)]
    variance = np.var([reference.f1_score(labels[i], predictions[i], average=average) for i in draws])
    result = score(labels, predictions)
    effective = result.value * (1 - result.value) / variance
    expected = metrics.wilson(result.value * effective, effective)
    assert result.high - result.low == pytest.approx(expected[1] - expected[0], rel=0.1)
    assert score(labels, predictions, seed=1).low != result.low  # the draws decide here, not the cap


def test_ten_of_ten_right_in_each_class_is_not_called_certain():
    labels = np.repeat(np.arange(102), 10)
    for score in SHARES:
        result = score(labels, labels)
        assert (result.low, result.high) == pytest.approx(metrics.wilson(1020, 1020))


def test_one_error_in_the_largest_class_does_not_make_the_small_ones_certain():
    labels = np.repeat([0, 1, 2], [10, 10, 1000])
    predictions = labels.copy()
    predictions[-1] = 0
    result = metrics.balanced_accuracy(labels, predictions)
    as_many = 9 / (1 / 10 + 1 / 10 + 1 / 1000)
    assert (result.low, result.high) == pytest.approx(metrics.wilson(result.value * as_many, as_many))


def test_a_class_that_was_only_predicted_counts_as_no_photographs_in_the_interval():
    labels, predictions = np.repeat([0, 1], 20), np.repeat([0, 1, 2], [20, 19, 1])
    result = metrics.macro_f1(labels, predictions)
    assert (result.low, result.high) == pytest.approx(metrics.wilson(result.value * 40, 40))


def test_with_classes_of_one_size_balanced_accuracy_is_accuracy():
    rng = np.random.default_rng(10)
    labels = np.repeat(np.arange(102), 10)
    predictions = np.where(rng.random(1020) < rng.beta(4, 1, 102)[labels], labels, (labels + 1) % 102)
    plain, balanced = metrics.accuracy(labels, predictions), metrics.balanced_accuracy(labels, predictions)
    assert (balanced.value, balanced.low, balanced.high) == pytest.approx((plain.value, plain.low, plain.high))


def test_each_interval_says_how_it_was_made():
    labels, predictions = uneven()
    assert metrics.accuracy(labels, predictions).interval == "Wilson, photographs"
    for score in SHARES[1:]:
        result = score(labels, predictions)
        assert "stratified by class, 2000 draws" in result.interval
        assert result.unit == "share"
    loss = metrics.log_loss([0, 1], [[0.5, 0.5], [0.2, 0.8]])
    assert (loss.interval, loss.unit) == ("normal, photographs", "nats")


def test_same_seed_gives_the_same_interval_and_another_seed_the_same_value():
    for score in (metrics.balanced_accuracy, metrics.macro_f1):
        first, again, other = (score(*uneven(), seed=seed) for seed in (1, 1, 2))
        assert first == again
        assert first.value == other.value
        assert first.low != other.low


def test_loss_interval_is_the_textbook_normal_one():
    rng = np.random.default_rng(11)
    labels, probabilities = rng.integers(0, 4, 80), rng.dirichlet(np.ones(4), 80)
    losses = -np.log(probabilities[np.arange(80), labels])
    expected = scipy.stats.norm.interval(0.95, losses.mean(), scipy.stats.sem(losses))
    result = metrics.log_loss(labels, probabilities)
    assert (result.low, result.high) == pytest.approx(expected)


def test_loss_of_one_photograph_has_no_upper_end():
    result = metrics.log_loss([1], [[0.5, 0.5]])
    assert (result.low, result.high) == (0, np.inf)
    assert result.value == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    ("supports", "mean_recall"),
    [(np.full(6, 10), 0.95), (np.array([20, 25, 30, 40, 70, 110]), 0.6)],
    ids=["few photographs, strong network", "uneven classes, weak network"],
)
def test_intervals_of_shares_cover_the_truth_about_95_times_in_100(supports, mean_recall):
    rng = np.random.default_rng(12)
    recall = mean_recall + np.linspace(-0.15, 0.15, 6) * (1 - mean_recall) * 2
    chances = rng.dirichlet(np.ones(6), 6) * (1 - np.eye(6))
    chances *= ((1 - recall) / chances.sum(axis=1))[:, None]
    chances += np.diag(recall)
    expected = chances * supports[:, None]
    f1 = 2 * np.diag(expected) / (supports + expected.sum(axis=0))
    truth = (
        np.diag(expected).sum() / supports.sum(),
        recall.mean(),
        f1.mean(),
        f1 @ supports / supports.sum(),
    )
    labels = np.repeat(np.arange(6), supports)
    covered = np.zeros(len(SHARES))
    for _ in range(300):
        predictions = np.concatenate([rng.choice(6, n, p=row) for n, row in zip(supports, chances, strict=True)])
        results = [score(labels, predictions) for score in SHARES]
        covered += [result.low <= true <= result.high for result, true in zip(results, truth, strict=True)]
    assert 0.90 < covered.min() / 300 <= covered.max() / 300 < 0.99, covered / 300


def test_intervals_of_the_loss_cover_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(13)

    def photographs(n):
        labels = rng.integers(0, 5, n)
        return labels, metrics.softmax(rng.normal(size=(n, 5)) + 2 * np.eye(5)[labels])

    truth = metrics.log_loss(*photographs(400_000)).value
    results = [metrics.log_loss(*photographs(150)) for _ in range(300)]
    assert 0.90 < np.mean([result.low <= truth <= result.high for result in results]) < 0.99


# --- tables and softmax ----------------------------------------------------------------------------------


def test_worst_classes_names_what_each_is_most_often_taken_for():
    labels = [0, 0, 0, 1, 1, 1, 1, 2, 2]
    predictions = [0, 0, 0, 2, 2, 0, 1, 2, 2]
    table = metrics.worst_classes(labels, predictions, ["rose", "tulip", "daisy", "never seen"], count=2)
    assert list(table["class"]) == ["tulip", "daisy"]
    assert list(table["most often taken for"]) == ["daisy", ""]
    assert list(table["f1"]) == pytest.approx([2 / 5, 2 / 3])


def test_worst_classes_leaves_out_classes_without_photographs():
    table = metrics.worst_classes([0, 0, 2], [0, 1, 2], ["rose", "tulip", "daisy"], count=9)
    assert list(table["class"]) == ["rose", "daisy"]


def test_recall_of_a_class_without_photographs_may_be_anything():
    row = metrics.per_class([0, 0], [0, 1], ["rose", "tulip"]).iloc[1]
    assert (row["support"], row["recall_low"], row["recall_high"]) == (0, 0, 1)


def test_softmax_equals_scipy_and_bears_logits_that_overflow():
    logits = np.random.default_rng(14).normal(size=(20, 7)).astype(np.float32) * 50
    result = metrics.softmax(logits)
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, scipy.special.softmax(logits.astype(np.float64), axis=-1), rtol=1e-12)
    np.testing.assert_array_equal(metrics.softmax([[1e4, 0], [-1e4, -1e4]]), [[1, 0], [0.5, 0.5]])


# --- class by class, for the record -------------------------------------------------------------------------


def test_class_scores_are_scikit_learns_under_the_classes_names():
    labels, predictions = RNG.integers(0, 4, 200), RNG.integers(0, 4, 200)
    names = ["Bell-shaped Flowers", "Colt's Foot", "rose", "Pink-yellow Dahlia"]
    scores = metrics.class_scores(labels, predictions, names)
    found = reference.precision_recall_fscore_support(labels, predictions)
    for label, name in enumerate(["bell_shaped_flowers", "colts_foot", "rose", "pink_yellow_dahlia"]):
        for kind, values in zip(("precision", "recall", "f1", "support"), found, strict=True):
            assert scores[f"{name}/{kind}"].value == pytest.approx(values[label])
        for kind in ("precision", "recall", "f1"):
            score = scores[f"{name}/{kind}"]
            assert score.low < score.value < score.high


def test_a_class_without_pictures_has_no_scores_and_one_never_answered_an_endless_precision():
    scores = metrics.class_scores([0, 0, 2], [0, 2, 2], ["a", "b", "c"])
    assert not [key for key in scores if key.startswith("b/")]
    never = metrics.class_scores([0, 0, 1], [0, 0, 0], ["a", "b"])["b/precision"]
    assert (never.value, never.low, never.high) == (0, 0, 1)


def test_mean_precisions_are_scikit_learns():
    labels, probabilities = RNG.integers(0, 5, 300), RNG.dirichlet(np.ones(5), 300)
    scores = metrics.classification(labels, probabilities)
    for average in ("macro", "weighted"):
        expected = reference.precision_score(labels, probabilities.argmax(axis=1), average=average)
        score = scores[f"{average}_precision"]
        assert score.value == pytest.approx(expected) and score.low < score.value < score.high


# --- bad input -------------------------------------------------------------------------------------------

HALVES = np.full((2, 2), 0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.accuracy([0, 1], [0]), r"labels \(2,\), predictions \(1,\)"),
        (lambda: metrics.accuracy([], []), "give one of each a photograph"),
        (lambda: metrics.macro_f1([[0]], [[0]]), r"labels \(1, 1\)"),
        (lambda: metrics.weighted_f1([0.0, 1.0], [0, 1]), "labels .float64. must be integers"),
        (lambda: metrics.balanced_accuracy([0, 1], [0, -1]), "predictions .int64. must be integers from 0"),
        (lambda: metrics.confusion_matrix([0, 3], [0, 1], 3), "labels reach 3, but 3 classes end at 2"),
        (lambda: metrics.per_class([0, 1], [0, 2], ["rose", "tulip"]), "predictions reach 2"),
        (lambda: metrics.log_loss([0, 2], HALVES), "labels reach 2"),
        (lambda: metrics.classification([0], HALVES), r"labels \(1,\)"),
        (lambda: metrics.classification([0, 1], [0.5, 0.5]), r"probabilities \(2,\)"),
        (lambda: metrics.classification([0, 1], np.eye(2, dtype=int)), "int64"),
        (lambda: metrics.log_loss([], np.zeros((0, 2))), r"probabilities \(0, 2\)"),
        (lambda: metrics.log_loss([0, 1], [[0.5, 0.5], [0.5, 0.502]]), "row 1"),
        (lambda: metrics.log_loss([0, 1], [[0.5, 0.5], [np.nan, 0.5]]), "row 1"),
        (lambda: metrics.log_loss([0, 1], [[np.inf, 0.5], [0.5, 0.5]]), "row 0"),
        (lambda: metrics.log_loss([0, 1], [[1.5, -0.5], [0.5, 0.5]]), "row 0"),
        (lambda: metrics.wilson(3, 2), "3 of 2"),
        (lambda: metrics.wilson(0, 0), "0 of 0"),
        (lambda: metrics.wilson(1, 2, 1.0), "at 1.0"),
    ],
)
def test_bad_input_gets_one_line(call, message):
    with pytest.raises(FlowerlibError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_float32_probabilities_that_nearly_sum_to_one_are_taken():
    probabilities = np.array([[0.5, 0.4995], [0.25, 0.7505]], dtype=np.float32)
    assert metrics.log_loss([0, 1], probabilities).value == pytest.approx(-np.log([0.5, 0.7505]).mean())
