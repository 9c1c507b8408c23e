import dataclasses
import itertools
import math

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as reference
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flowerlib import comparisons, metrics
from flowerlib.comparisons import FAILS, HOLDS, UNKNOWN, Difference
from flowerlib.errors import FlowerlibError


def photographs(both, only_one, only_other, neither):
    """Labels and two rows of predictions with these counts of right and wrong."""
    cells = [both, only_one, only_other, neither]
    labels = np.arange(sum(cells)) % 3
    return labels, (labels + np.repeat([0, 0, 1, 1], cells)) % 3, (labels + np.repeat([0, 1, 0, 1], cells)) % 3


def answers(seed=0, n=300, classes=5):
    """Two networks that err on partly the same photographs of uneven classes."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, n, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    hard = rng.random(n)
    miss = [rng.random(n) * 0.5 + hard * 0.5 > at for at in (0.7, 0.62)]
    return labels, *(np.where(m, (labels + rng.integers(1, classes, n)) % classes, labels) for m in miss)


@st.composite
def answer_triples(draw):
    n, classes = draw(st.integers(1, 40)), draw(st.integers(1, 4))
    vector = st.lists(st.integers(0, classes - 1), min_size=n, max_size=n)
    return tuple(np.array(draw(vector)) for _ in range(3))


cells = st.tuples(*[st.integers(0, 60)] * 4).filter(any)
p_lists = st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=12)
score_lists = st.integers(2, 8).flatmap(
    lambda k: st.tuples(*[st.lists(st.floats(0, 1).map(lambda x: round(x, 4)), min_size=k, max_size=k)] * 2)
)

# --- mcnemar ---------------------------------------------------------------------------------------------


@given(cells)
def test_mcnemar_p_is_the_binomial_test_of_the_photographs_that_only_one_gets_right(counts):
    _, only_one, only_other, _ = counts
    expected = scipy.stats.binomtest(only_one, only_one + only_other).pvalue if only_one + only_other else 1.0
    assert comparisons.mcnemar(*photographs(*counts)).p == pytest.approx(expected, rel=1e-9)


def test_mcnemar_p_of_nine_against_two_worked_by_hand():
    by_hand = 2 * (1 + 11 + 55) / 2**11
    assert comparisons.mcnemar(*photographs(50, 9, 2, 7)).p == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("counts", "value", "low", "high"),
    [
        ((36, 12, 2, 0), 0.2, 0.0569, 0.3404),  # Newcombe 1998, table II
        ((59, 6, 16, 80), -0.0621, -0.1186, -0.0046),  # Fagerland et al. 2017, chapter 8, Cavo et al.'s data
        ((1, 1, 7, 12), -0.2857, -0.5069, -0.0256),  # the same, Bentur et al.'s data
    ],
)
def test_mcnemar_interval_is_the_published_one(counts, value, low, high):
    result = comparisons.mcnemar(*photographs(*counts))
    assert (result.value, result.low, result.high) == pytest.approx((value, low, high), abs=5.1e-5)


def test_where_two_networks_err_alike_or_independently_the_interval_is_the_closed_form():
    (low, high), n = metrics.wilson(30, 40), 40
    alike = comparisons.mcnemar(*photographs(30, 0, 0, 10))
    correlation = (30 * 10 - n / 2) / (30 * 10)
    a, b = 30 / n - low, high - 30 / n
    assert -alike.low == pytest.approx(alike.high) == pytest.approx((a * a + b * b - 2 * correlation * a * b) ** 0.5)
    independent = comparisons.mcnemar(*photographs(16, 16, 4, 4))  # 0.8 against 0.5, no correlation
    (low1, high1), (low2, high2) = metrics.wilson(32, n), metrics.wilson(20, n)
    assert independent.low == pytest.approx(0.3 - math.hypot(0.8 - low1, high2 - 0.5))
    assert independent.high == pytest.approx(0.3 + math.hypot(0.5 - low2, high1 - 0.8))


@given(answer_triples())
def test_mcnemar_value_is_the_difference_of_the_accuracies(triple):
    labels, one, other = triple
    result = comparisons.mcnemar(labels, one, other)
    expected = metrics.accuracy(labels, one).value - metrics.accuracy(labels, other).value
    assert result.value == pytest.approx(expected, abs=1e-12)
    assert -1 <= result.low <= result.value <= result.high <= 1
    assert result.low < result.high
    assert 0 < result.p <= 1
    assert (result.n, result.test) == (len(labels), "McNemar, exact, photographs")


@given(cells)
def test_swapping_the_rows_negates_the_difference_and_keeps_p(counts):
    labels, one, other = photographs(*counts)
    ahead, behind = comparisons.mcnemar(labels, one, other), comparisons.mcnemar(labels, other, one)
    assert (behind.value, behind.p) == (-ahead.value, ahead.p)
    assert (behind.low, behind.high) == pytest.approx((-ahead.high, -ahead.low), abs=1e-12)


def test_a_network_against_itself_has_p_1_and_an_interval_with_room():
    labels, one, _ = answers()
    result = comparisons.mcnemar(labels, one, one)
    assert (result.value, result.p) == (0, 1)
    assert result.low < 0 < result.high


def test_mcnemar_intervals_cover_the_truth_about_95_times_in_100():
    rng, chances = np.random.default_rng(1), [0.78, 0.1, 0.05, 0.07]
    results = [comparisons.mcnemar(*photographs(*rng.multinomial(300, chances))) for _ in range(800)]
    assert 0.92 < np.mean([result.low <= 0.05 <= result.high for result in results]) < 0.98


def test_of_equal_networks_mcnemar_calls_fewer_than_5_in_100_different():
    rng, chances = np.random.default_rng(2), [0.8, 0.06, 0.06, 0.08]
    p = [comparisons.mcnemar(*photographs(*rng.multinomial(200, chances))).p for _ in range(400)]
    assert np.mean(np.array(p) < 0.05) < 0.05


# --- paired_seeds and seeds_interval ---------------------------------------------------------------------


@given(score_lists)
def test_paired_seeds_equals_scipy_and_swaps_like_a_difference(pair):
    one, other = np.array(pair)
    assume(np.ptp(one - other) > 1e-9)  # else t divides by zero: tested below
    result, swapped = comparisons.paired_seeds(one, other), comparisons.paired_seeds(other, one)
    expected = scipy.stats.ttest_rel(one, other)
    assert result.p == pytest.approx(expected.pvalue, rel=1e-6)
    assert (result.low, result.high) == pytest.approx(tuple(expected.confidence_interval(0.95)), abs=1e-9)
    assert result.value == pytest.approx(np.mean(one) - np.mean(other), abs=1e-12)
    assert (result.n, result.test) == (len(one), "t, paired, seeds")
    assert (swapped.value, swapped.low, swapped.high) == pytest.approx((-result.value, -result.high, -result.low))
    assert swapped.p == pytest.approx(result.p)


def test_paired_seeds_of_three_worked_by_hand():
    result = comparisons.paired_seeds([0.93, 0.95, 0.94], [0.92, 0.92, 0.92])  # 1, 3 and 2 points: mean 2, sd 1
    assert result.value == pytest.approx(0.02)
    assert result.high - result.value == pytest.approx(4.302653 * 0.01 / 3**0.5, rel=1e-6)
    assert result.p == pytest.approx(1 - 3**0.5 * 2 / (2 + 12) ** 0.5, rel=1e-6)  # t = 2 sqrt 3, closed form for 2 df


@pytest.mark.parametrize("other", [[0.8, 0.7, 0.6], [0.9, 0.8, 0.7]])
def test_seeds_that_all_differ_alike_cannot_be_told_apart_from_luck(other):
    one = np.array([0.9, 0.8, 0.7])
    result = comparisons.paired_seeds(one, other)
    assert (result.low, result.high) == (-math.inf, math.inf)
    assert result.p == 1 if result.value == 0 else math.isnan(result.p)
    assert {comparisons.verdict(result, result.p, reported) for reported in (-0.1, 0, 0.1)} == {UNKNOWN}


def test_what_rounding_leaves_of_equal_scores_is_no_difference():
    result = comparisons.paired_seeds([0.1 + 0.2, 0.5], [0.3, 0.5])
    assert result.value != 0
    assert result.p == 1


def test_seeds_interval_equals_scipy():
    scores = [0.91, 0.93, 0.9, 0.925]
    result = comparisons.seeds_interval(scores)
    expected = scipy.stats.ttest_1samp(scores, 0).confidence_interval(0.95)
    assert (result.low, result.high) == pytest.approx(tuple(expected))
    assert (result.value, result.n, result.interval, result.unit) == (np.mean(scores), 4, "t, seeds", "share")


def test_seeds_interval_stays_where_the_unit_allows():
    assert comparisons.seeds_interval([0.99, 1.0, 0.9]).high == 1
    assert comparisons.seeds_interval([0.01, 0.2]).low == 0
    loss = comparisons.seeds_interval([0.1, 2.4], "nats")
    assert loss.low == 0 and loss.high > 2.4
    assert comparisons.seeds_interval([0.1, 2.4], "").low < 0


def test_seeds_that_agree_do_not_tell_their_spread():
    result = comparisons.seeds_interval([0.1 + 0.2, 0.3, 0.3])
    assert result == metrics.Score(pytest.approx(0.3), 0, 1, 3, "t, seeds")
    assert comparisons.seeds_interval([1.5, 1.5], "nats").high == math.inf


# --- holm ------------------------------------------------------------------------------------------------


def test_holm_of_four_worked_by_hand():
    # ascending 0.005 * 4, 0.01 * 3, 0.03 * 2, 0.04 * 1: the last may not end below the one before
    np.testing.assert_allclose(comparisons.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


def test_p_values_that_are_nan_stay_so_and_do_not_count():
    result = comparisons.holm([math.nan, 0.01, 0.04, math.nan, 0.03, 0.005])
    np.testing.assert_allclose(result, [math.nan, 0.03, 0.06, math.nan, 0.06, 0.02])
    assert np.isnan(comparisons.holm([math.nan])).all()
    assert comparisons.holm([]).size == 0


@given(p_lists)
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values):
    known = sorted(p for p in p_values if not math.isnan(p))
    steps = [p < 0.05 / (len(known) - i) for i, p in enumerate(known)]
    rejected = known[: steps.index(False)] if False in steps else known
    near = any(abs(p * (len(known) - i) - 0.05) < 1e-12 for i, p in enumerate(known))
    adjusted = comparisons.holm(p_values)
    assert near or int((adjusted < 0.05).sum()) == len(rejected)


@given(p_lists)
def test_holm_is_never_below_the_raw_p_and_keeps_their_order(p_values):
    adjusted = comparisons.holm(p_values)
    pairs = [(raw, new) for raw, new in zip(p_values, adjusted, strict=True) if not math.isnan(raw)]
    assert all(raw <= new <= 1 for raw, new in pairs)
    assert all(a[1] <= b[1] for a, b in itertools.pairwise(sorted(pairs)))
    np.testing.assert_array_equal(np.isnan(adjusted), np.isnan(np.array(p_values, dtype=float)))


# --- verdict ---------------------------------------------------------------------------------------------


def difference(low, high):
    return Difference((low + high) / 2, low, high, 0.5, 100, "made up")


@pytest.mark.parametrize(
    ("low", "high", "p", "reported", "expected"),
    [
        (0.01, 0.05, 0.01, 0.2, HOLDS),
        (-0.05, -0.01, 0.01, -0.2, HOLDS),
        (0.01, 0.05, 0.01, -0.2, FAILS),
        (-0.05, -0.01, 0.01, 0.2, FAILS),
        (-0.01, 0.05, 0.2, 0.2, UNKNOWN),
        (-0.05, 0.01, 0.2, 0.2, UNKNOWN),
        (0.01, 0.05, 0.05, 0.2, UNKNOWN),  # significant means below 0.05
        (0.01, 0.05, math.nan, 0.2, UNKNOWN),
        (-0.01, 0.02, 0.6, 0, HOLDS),
        (0.01, 0.02, 0.001, 0, HOLDS),  # significant, but too small to matter
        (-0.02, 0.04, 0.6, 0, UNKNOWN),  # a large p alone is no proof of equality
        (0.01, 0.05, 0.001, 0, UNKNOWN),  # different, but whether it matters is open
        (0.04, 0.08, 0.001, 0, FAILS),
        (-0.08, -0.04, 0.001, 0, FAILS),
        (0.04, 0.08, 0.06, 0, UNKNOWN),
        (-math.inf, math.inf, 1.0, 0, UNKNOWN),
    ],
)
def test_verdict_on_each_kind_of_claim(low, high, p, reported, expected):
    assert comparisons.verdict(difference(low, high), p, reported) == expected


def test_verdicts_are_these_words():
    assert (HOLDS, FAILS, UNKNOWN) == ("holds", "does not hold", "cannot be told at this n")


def test_the_margin_decides_what_counts_as_no_difference():
    assert comparisons.verdict(difference(-0.02, 0.04), 0.6, 0, margin=0.05) == HOLDS
    assert comparisons.verdict(difference(0.04, 0.08), 0.001, 0, margin=0.05) == UNKNOWN


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1), st.sampled_from([-0.1, 0.0, 0.1]))
def test_naming_the_rows_the_other_way_round_changes_no_verdict(value, half, p, reported):
    there, back = difference(value - half, value + half), difference(-value - half, -value + half)
    assert comparisons.verdict(there, p, reported) == comparisons.verdict(back, p, -reported)


# --- bootstrap_difference --------------------------------------------------------------------------------


def test_bootstrap_interval_is_that_of_photographs_drawn_one_by_one_within_classes():
    labels, one, other = answers()
    rng, pools = np.random.default_rng(3), [np.flatnonzero(labels == label) for label in range(5)]
    draws = [np.concatenate([rng.choice(pool, pool.size) for pool in pools]) for _ in range(600)]
    recall = [[reference.balanced_accuracy_score(labels[i], row[i]) for row in (one, other)] for i in draws]
    expected = np.quantile(-np.diff(recall, axis=1), [0.025, 0.975])
    assert comparisons.bootstrap_difference(labels, one, other) == pytest.approx(tuple(expected), abs=0.012)


def test_bootstrap_interval_is_narrower_than_that_of_unpaired_photographs():
    labels, one, other = answers()
    low, high = comparisons.bootstrap_difference(labels, one, other)
    singles = [metrics.balanced_accuracy(labels, row) for row in (one, other)]
    assert high - low < math.hypot(*(score.high - score.low for score in singles))


@settings(max_examples=30)
@given(answer_triples(), st.randoms(use_true_random=False))
def test_order_of_photographs_changes_no_bootstrap_interval(triple, random):
    order = random.sample(range(len(triple[0])), len(triple[0]))
    once = comparisons.bootstrap_difference(*triple, draws=50)
    assert comparisons.bootstrap_difference(*(row[order] for row in triple), draws=50) == once
    assert -1 <= once[0] <= once[1] <= 1


def test_bootstrap_repeats_with_its_seed_and_finds_nothing_between_equal_rows():
    labels, one, other = answers()
    first, again, different = (comparisons.bootstrap_difference(labels, one, other, seed) for seed in (1, 1, 2))
    assert first == again != different
    assert comparisons.bootstrap_difference(labels, one, one) == (0, 0)


# --- bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: comparisons.mcnemar([], [], []), "give one of each a photograph"),
        (lambda: comparisons.mcnemar([0, 1], [0, 1], [0]), r"labels \(2,\), predictions \(1,\)"),
        (lambda: comparisons.mcnemar([0, 1], [0.0, 1.0], [0, 1]), "must be integers"),
        (lambda: comparisons.bootstrap_difference([0, 1], [0], [0, 1]), r"predictions \(1,\)"),
        (lambda: comparisons.paired_seeds([0.5], [0.5]), "two seeds or more"),
        (lambda: comparisons.paired_seeds([0.5, 0.6], [0.5, 0.6, 0.7]), "2 and 3 scores"),
        (lambda: comparisons.paired_seeds([0.5, math.nan], [0.5, 0.6]), "finite"),
        (lambda: comparisons.seeds_interval([0.5]), "two seeds or more"),
        (lambda: comparisons.seeds_interval([0.5, 1.2]), "unit 'share' goes from 0.0 to 1.0"),
        (lambda: comparisons.holm([0.5, 1.5]), "values in 0 ... 1"),
        (lambda: comparisons.holm([[0.5]]), r"\(1, 1\)"),
        (lambda: comparisons.verdict(difference(0, 0.1), 0.5, math.nan), "reported nan"),
        (lambda: comparisons.verdict(difference(0, 0.1), 0.5, 0, margin=0), "margin 0"),
    ],
)
def test_bad_input_gets_one_line(call, message):
    with pytest.raises(FlowerlibError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_a_difference_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        difference(0, 1).p = 0
