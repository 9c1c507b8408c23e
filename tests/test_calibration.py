import math
import time

import numpy as np
import pytest
import scipy.special
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from flowerlib import calibration, metrics
from flowerlib.errors import FlowerlibError

# Every 16th, so that confidences often are equal, and some stand exactly on the edges of 2, 4 or 8 bins.
two_class_rows = st.integers(0, 16).map(lambda k: [k / 16, 1 - k / 16])


@st.composite
def classified(draw):
    n = draw(st.integers(1, 40))
    labels = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    return np.array(labels), np.array(draw(st.lists(two_class_rows, min_size=n, max_size=n)))


def calibrated(n, seed=0, classes=4, sharpness=2.0):
    """Logits whose softmax is true: each label is drawn from the probabilities themselves."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)) * sharpness
    chances = metrics.softmax(logits).cumsum(axis=1)
    return np.minimum((rng.random((n, 1)) > chances).sum(axis=1), classes - 1), logits


def ece_by_loops(labels, probabilities, bins):
    """Guo et al. 2017, eq. 3, as it is written."""
    total = 0.0
    for m in range(bins):
        members = [
            (max(row), float(np.argmax(row) == label))
            for label, row in zip(labels, probabilities, strict=True)
            if m / bins < max(row) <= (m + 1) / bins
        ]
        if members:
            confidence, right = np.mean(members, axis=0)
            total += len(members) / len(labels) * abs(right - confidence)
    return total


# --- ece and reliability ---------------------------------------------------------------------------------


@settings(max_examples=60)
@given(classified(), st.sampled_from([1, 2, 3, 8, 15]))
def test_ece_equals_the_formula_in_loops_and_stays_in_0_to_1(pair, bins):
    result = calibration.ece(*pair, bins)
    assert result.value == pytest.approx(ece_by_loops(*pair, bins), abs=1e-12)
    assert 0 <= result.low <= result.value <= result.high <= 1
    assert (result.n, result.unit) == (len(pair[0]), "share")


@settings(max_examples=60)
@given(classified(), st.sampled_from([1, 2, 3, 8, 15]))
def test_ece_is_the_mean_gap_of_the_reliability_table(pair, bins):
    table = calibration.reliability(*pair, bins)
    gaps = (table["accuracy"] - table["confidence"]).abs()
    assert calibration.ece(*pair, bins).value == pytest.approx((gaps * table["n"]).sum() / table["n"].sum(), abs=1e-12)


def test_ece_of_four_photographs_worked_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.85, 0.15], [0.4, 0.6], [0.45, 0.55]])
    # surest two: 0.875 and one right; the others: 0.575 and both right
    assert calibration.ece([0, 1, 1, 1], probabilities, bins=5).value == pytest.approx((0.375 + 0.425) / 2)


def test_a_network_that_is_always_sure_has_its_error_rate_as_ece():
    labels, predictions = np.arange(100) % 5, np.where(np.arange(100) < 30, 0, np.arange(100) % 5)
    wrong = 1 - metrics.accuracy(labels, predictions).value
    assert calibration.ece(labels, np.eye(5)[predictions]).value == pytest.approx(wrong)


def test_calibrated_probabilities_have_a_small_ece_and_over_sure_ones_a_large():
    labels, logits = calibrated(20_000)
    good = calibration.ece(labels, metrics.softmax(logits))
    bad = calibration.ece(labels, metrics.softmax(3 * logits))
    assert good.value < 0.015 and good.low == 0
    assert bad.low > 0.1


def test_ece_intervals_hold_the_truth_about_95_times_in_100_even_if_it_is_0():
    rng = np.random.default_rng(1)

    def photographs(n, flaw):
        confidence = rng.uniform(0.5, 1, n)
        labels = (rng.random(n) > confidence - flaw).astype(int)
        return labels, np.stack([confidence, 1 - confidence], axis=1)

    for flaw in (0.0, 0.1):  # class 0 is right as often as its confidence says, less the flaw
        results = [calibration.ece(*photographs(500, flaw), seed=seed) for seed in range(100)]
        assert np.mean([result.low <= flaw + 1e-12 and flaw <= result.high for result in results]) > 0.9


def test_ece_lies_within_its_interval_even_where_nearly_all_redrawn_ones_lie_above_it():
    for seed in range(30):
        labels, logits = calibrated(60, seed)
        result = calibration.ece(labels, metrics.softmax(logits))
        assert result.low <= result.value <= result.high


def test_ece_repeats_with_its_seed_and_says_how_its_interval_was_made():
    labels, logits = calibrated(300)
    probabilities = metrics.softmax(3 * logits)
    first, again, other = (calibration.ece(labels, probabilities, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.value == other.value
    assert first.low != other.low and first.high != other.high
    assert "1000 draws" in first.interval


def test_ece_of_6149_photographs_and_102_classes_takes_seconds_at_most():
    labels, logits = calibrated(6149, classes=102)
    probabilities = metrics.softmax(logits)
    start = time.process_time()
    calibration.ece(labels, probabilities)
    assert time.process_time() - start < 5


def test_reliability_has_a_row_for_each_bin_with_photographs():
    probabilities = np.array([[0.8, 0.2], [0.1, 0.9], [0.75, 0.25], [1, 0], [0.5, 0.5]])
    table = calibration.reliability([0, 0, 0, 0, 0], probabilities, bins=4)
    assert list(table.columns) == ["confidence", "accuracy", "low", "high", "n"]
    np.testing.assert_allclose(table["confidence"], [0.5, 0.75, 0.9])  # an edge belongs to the bin below it
    np.testing.assert_allclose(table["accuracy"], [1, 1, 2 / 3])
    assert list(table["n"]) == [1, 1, 3]
    bounds = [metrics.wilson(1, 1), metrics.wilson(1, 1), metrics.wilson(2, 3)]
    np.testing.assert_allclose(table[["low", "high"]], bounds)


@given(classified())
def test_reliability_keeps_every_photograph_and_every_hit(pair):
    table = calibration.reliability(*pair)
    assert table["n"].sum() == len(pair[0])
    assert (table["accuracy"] * table["n"]).sum() == pytest.approx((pair[1].argmax(axis=1) == pair[0]).sum())
    assert table["confidence"].is_monotonic_increasing


# --- fit_temperature -------------------------------------------------------------------------------------


def test_temperature_is_the_best_of_a_grid():
    labels, logits = calibrated(800)
    logits = logits * 2.5 + np.random.default_rng(2).normal(size=logits.shape)
    grid = np.exp(np.linspace(-3, 3, 3001))
    losses = [-scipy.special.log_softmax(logits / t, axis=1)[np.arange(800), labels].mean() for t in grid]
    assert calibration.fit_temperature(labels, logits) == pytest.approx(grid[np.argmin(losses)], rel=0.002)


def test_calibrated_logits_have_a_temperature_near_1():
    assert calibration.fit_temperature(*calibrated(20_000)) == pytest.approx(1, abs=0.04)


@settings(max_examples=25)
@given(st.floats(0.3, 5))
def test_logits_c_times_as_large_have_a_temperature_c_times_as_large(c):
    labels, logits = calibrated(300)
    once = calibration.fit_temperature(labels, logits)
    assert calibration.fit_temperature(labels, c * logits) == pytest.approx(c * once, rel=1e-5)


def test_adding_a_constant_to_a_photographs_logits_changes_no_temperature():
    labels, logits = calibrated(300)
    shifted = logits + np.random.default_rng(3).normal(size=(300, 1)) * 100
    expected = calibration.fit_temperature(labels, logits)
    assert calibration.fit_temperature(labels, shifted) == pytest.approx(expected, rel=1e-5)
    assert calibration.fit_temperature(labels, np.log(metrics.softmax(logits))) == pytest.approx(expected, rel=1e-5)


def test_temperature_mends_an_over_sure_network_on_other_photographs():
    (labels, logits), (others, unseen) = calibrated(5000, seed=4), calibrated(5000, seed=5)
    temperature = calibration.fit_temperature(labels, 3 * logits)
    before, after = (calibration.ece(others, metrics.softmax(3 * unseen / t)).value for t in (1, temperature))
    assert after < 0.03 < 0.1 < before


def test_temperature_ends_at_the_bounds_where_every_photograph_is_right_or_wrong():
    logits = np.eye(3)
    assert calibration.fit_temperature([0, 1, 2], logits) == pytest.approx(math.exp(-3), rel=1e-3)
    assert calibration.fit_temperature([1, 2, 0], logits) == pytest.approx(math.exp(3), rel=1e-3)


def test_temperature_bears_logits_that_overflow():
    labels, logits = calibrated(300)
    assert np.isfinite(calibration.fit_temperature(labels, (logits * 1e4).astype(np.float32)))


# --- selective accuracy ----------------------------------------------------------------------------------


def test_selective_accuracy_is_accuracy_of_the_surest():
    labels, logits = calibrated(400, sharpness=1.0)
    probabilities = metrics.softmax(logits)
    table = calibration.selective_accuracy(labels, probabilities)
    assert list(table.columns) == ["coverage", "threshold", "accuracy", "low", "high", "n"]
    assert list(table["coverage"]) == [1.0, 0.9, 0.8, 0.7, 0.5]
    surest = np.argsort(-probabilities.max(axis=1))
    for row in table.itertuples():
        kept = surest[: round(row.coverage * 400)]
        expected = metrics.accuracy(labels[kept], probabilities[kept].argmax(axis=1))
        assert (row.accuracy, row.low, row.high, row.n) == pytest.approx(
            (expected.value, expected.low, expected.high, kept.size)
        )
        assert row.threshold == probabilities[kept].max(axis=1).min()
    assert table["accuracy"].iloc[-1] > table["accuracy"].iloc[0] + 0.1


def test_photographs_as_sure_as_the_threshold_are_all_answered():
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.7, 0.3], [0.7, 0.3]])
    table = calibration.selective_accuracy([0, 0, 1, 1], probabilities, coverages=(0.5, 0.25))
    assert list(table["n"]) == [4, 1]
    assert list(table["threshold"]) == [0.7, 0.9]
    assert list(table["accuracy"]) == [0.5, 1]


@pytest.mark.parametrize("coverage", [0.07, 0.14, 0.28, 0.29, 0.55, 0.56, 0.57, 0.58])
def test_a_share_that_floats_round_up_takes_no_photograph_more(coverage):
    confidence = np.linspace(0.6, 0.9, 100)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    table = calibration.selective_accuracy(np.zeros(100, dtype=int), probabilities, [coverage])
    assert table["n"].item() == round(100 * coverage)


@given(classified(), st.lists(st.floats(0.01, 1), min_size=1, max_size=5))
def test_selective_accuracy_answers_at_least_what_was_asked_and_stands_on_the_curve(pair, coverages):
    table, curve = calibration.selective_accuracy(*pair, coverages), calibration.risk_coverage(*pair)
    assert (table["n"] >= np.array(coverages) * len(pair[0]) - 1e-6).all()
    points = set(zip(curve["coverage"], curve["accuracy"], strict=True))
    assert {(row.n / len(pair[0]), row.accuracy) for row in table.itertuples()} <= points


@given(classified())
def test_risk_coverage_equals_loops_over_every_threshold(pair):
    labels, probabilities = pair
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    expected = [
        ((confidence >= t).mean(), right[confidence >= t].mean()) for t in sorted(set(confidence), reverse=True)
    ]
    curve = calibration.risk_coverage(labels, probabilities)
    assert list(curve.columns) == ["coverage", "accuracy"]
    np.testing.assert_allclose(curve, expected)


def test_risk_coverage_ends_with_the_accuracy_of_all():
    labels, logits = calibrated(500)
    last = calibration.risk_coverage(labels, metrics.softmax(logits)).iloc[-1]
    assert (last["coverage"], last["accuracy"]) == (1, reference.accuracy_score(labels, logits.argmax(axis=1)))


@settings(max_examples=30)
@given(classified(), st.randoms(use_true_random=False))
def test_order_of_photographs_changes_no_table(pair, random):
    order = random.sample(range(len(pair[0])), len(pair[0]))
    for table in (calibration.reliability, calibration.selective_accuracy, calibration.risk_coverage):
        np.testing.assert_allclose(table(pair[0][order], pair[1][order]), table(*pair))


# --- bad input -------------------------------------------------------------------------------------------

HALVES = np.full((2, 2), 0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: calibration.ece([], np.zeros((0, 2))), r"probabilities \(0, 2\)"),
        (lambda: calibration.ece([0], HALVES), r"labels \(1,\)"),
        (lambda: calibration.ece([0, 2], HALVES), "labels reach 2"),
        (lambda: calibration.ece([0, 1], HALVES * 3), "row 0"),
        (lambda: calibration.ece([0, 1], HALVES, bins=0), "bins 0"),
        (lambda: calibration.reliability([0, 1], HALVES, bins=-1), "bins -1"),
        (lambda: calibration.fit_temperature([], np.zeros((0, 2))), r"logits \(0, 2\)"),
        (lambda: calibration.fit_temperature([0], [0.5, 0.5]), r"logits \(2,\)"),
        (lambda: calibration.fit_temperature([0, 1], [[1, math.inf], [0, 1]]), "finite"),
        (lambda: calibration.fit_temperature([0, 2], [[1, 0], [0, 1]]), "labels reach 2"),
        (lambda: calibration.fit_temperature([0], [[1, 0], [0, 1]]), r"labels \(1,\)"),
        (lambda: calibration.selective_accuracy([0, 1], HALVES, (0.5, 0)), "above 0, up to 1"),
        (lambda: calibration.selective_accuracy([0, 1], HALVES, (1.1,)), "above 0, up to 1"),
        (lambda: calibration.risk_coverage([0, 1, 1], HALVES), r"labels \(3,\)"),
    ],
)
def test_bad_input_gets_one_line(call, message):
    with pytest.raises(FlowerlibError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_float32_confidences_a_little_above_1_count_as_1():
    probabilities = np.array([[1.0005, 0], [0, 1]], dtype=np.float32)
    assert calibration.ece([0, 1], probabilities).value == 0
    assert calibration.selective_accuracy([0, 1], probabilities, [0.5])["threshold"].item() == 1
