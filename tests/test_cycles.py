"""Cyclical learning rates against their closed forms."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowerlib import cycles
from flowerlib.errors import FlowerlibError

STEP_SIZES = st.integers(1, 5000)
RANGES = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)
CYCLE = st.integers(0, 20)
WITHIN = st.floats(0, 1)  # share of a cycle
EVERY = pytest.mark.parametrize("name", cycles.CYCLES)


def at(name, cycle, within, step_size, low, high):
    return cycles.CYCLES[name](2 * step_size * (cycle + within), step_size, low, high)


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("triangular", [0.08, 0.24, 0.4, 0.24, 0.08, 0.24, 0.4, 0.24, 0.08]),
        ("triangular2", [0.08, 0.24, 0.4, 0.24, 0.08, 0.16, 0.24, 0.16, 0.08]),
    ],
)
def test_two_cycles_with_the_step_size_and_range_of_cicallas_resnet(name, rates):
    assert [cycles.CYCLES[name](i, 4, 0.08, 0.4) for i in range(0, 17, 2)] == pytest.approx(rates)


@EVERY
@given(CYCLE, WITHIN, STEP_SIZES, RANGES)
def test_a_rate_stays_in_its_range(name, cycle, within, step_size, ends):
    low, high = ends
    assert low - 1e-12 <= at(name, cycle, within, step_size, low, high) <= high + 1e-12


@EVERY
@given(CYCLE, STEP_SIZES, RANGES)
def test_a_cycle_begins_and_ends_at_the_lowest_rate(name, cycle, step_size, ends):
    assert at(name, cycle, 0, step_size, *ends) == pytest.approx(ends[0], abs=1e-9)


@EVERY
@given(CYCLE, WITHIN, STEP_SIZES, RANGES)
def test_a_rate_moves_by_no_more_than_its_share_of_the_range_in_a_step(name, cycle, within, step_size, ends):
    low, high = ends
    now, later = (at(name, cycle, within + step / step_size / 2, step_size, low, high) for step in (0, 1))
    decay = (high - low) * (1 - cycles.GAMMA) if name == "exp_range" else 0
    assert abs(later - now) <= (high - low) / step_size + decay + 1e-9


@given(CYCLE, WITHIN, STEP_SIZES, RANGES)
def test_triangular_repeats_itself_every_two_step_sizes_and_mirrors_itself_within(cycle, within, step_size, ends):
    first = at("triangular", 0, within, step_size, *ends)
    assert at("triangular", cycle, within, step_size, *ends) == pytest.approx(first, abs=1e-9)
    assert at("triangular", 0, 1 - within, step_size, *ends) == pytest.approx(first, abs=1e-9)


@given(CYCLE, STEP_SIZES, RANGES)
def test_triangular2_halves_the_climb_above_the_lowest_rate_after_every_cycle(cycle, step_size, ends):
    low, high = ends
    assert at("triangular2", cycle, 0.5, step_size, low, high) == pytest.approx(low + (high - low) / 2**cycle)


@given(st.integers(0, 100_000), STEP_SIZES, RANGES, st.floats(0.5, 1))
def test_exp_range_is_triangular_under_an_envelope_of_gamma_to_the_iteration(iteration, step_size, ends, gamma):
    low, high = ends
    climb = cycles.triangular(iteration, step_size, low, high) - low
    climbed = cycles.exp_range(iteration, step_size, low, high, gamma) - low
    assert climbed == pytest.approx(climb * gamma**iteration, abs=1e-12)


def test_exp_range_halves_its_climb_in_11_552_iterations_unless_told_otherwise():
    assert cycles.exp_range(11_552, 11_552, 0, 1) == pytest.approx(0.5, rel=1e-4)
    assert cycles.exp_range(500, 500, 0, 1, gamma=1) == 1


def test_a_step_size_of_epochs_counts_the_last_small_batch_too():
    assert cycles.iterations(1, 1020, 64) == 16  # 15 of 64 and one of 60
    assert cycles.iterations(4, 1020, 64) == 64
    assert cycles.iterations(2, 1024, 64) == 32
    assert cycles.iterations(0.01, 1020, 64) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cycles.triangular(-1, 4, 0, 1), "iteration -1, step size 4"),
        (lambda: cycles.triangular2(1, 0, 0, 1), "step size 0"),
        (lambda: cycles.exp_range(1, math.nan, 0, 1), "step size nan"),
        (lambda: cycles.triangular(1, 4, 0.4, 0.08), "from rate 0.4 to 0.08"),
        (lambda: cycles.exp_range(1, 4, 0, 1, gamma=1.1), "gamma 1.1"),
        (lambda: cycles.iterations(2, 0, 64), "2 epochs of 0 images by 64"),
    ],
)
def test_bad_input_is_told_in_one_line(call, message):
    with pytest.raises(FlowerlibError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
