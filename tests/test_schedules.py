"""Learning-rate schedules against the reports' own words."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowerlib import schedules
from flowerlib.schema import Training

RUNS = st.integers(1, 2000).flatmap(lambda epochs: st.tuples(st.integers(0, epochs - 1), st.just(epochs)))
RATES = st.floats(1e-8, 10)
SHARES = st.floats(0, 1)


def test_two_drops_gives_the_rates_of_hughes_170_epochs():
    rates = [schedules.two_drops(epoch, 170, 0.01) for epoch in range(170)]
    assert rates == pytest.approx([0.01] * 100 + [0.001] * 50 + [0.0001] * 20)


@pytest.mark.parametrize("epochs", [17, 34, 340, 1700])
def test_two_drops_stay_at_the_same_share_of_a_run_of_another_length(epochs):
    rates = [schedules.two_drops(epoch, epochs, 1.0) for epoch in range(epochs)]
    stages = [1.0] * (epochs * 10 // 17) + [0.1] * (epochs * 5 // 17) + [0.01] * (epochs * 2 // 17)
    assert rates == pytest.approx(stages)


@given(RUNS, RATES)
def test_constant_is_the_base_rate(run, rate):
    assert schedules.constant(*run, rate) == rate


@pytest.mark.parametrize("name", ["constant", "two_drops"])
@given(run=RUNS, rate=RATES, share=SHARES)
def test_constant_and_two_drops_begin_at_the_base_rate_never_rise_and_hold_for_an_epoch(name, run, rate, share):
    epoch, epochs = run
    schedule = schedules.SCHEDULES[name]
    now = schedule(epoch, epochs, rate)
    assert 0 < now <= rate
    assert schedule(0, epochs, rate) == rate
    assert schedule(min(epoch + 1, epochs - 1), epochs, rate) <= now
    assert schedule(epoch + 0.999 * share, epochs, rate) == now


@given(st.integers(1, 2000), RATES)
def test_one_cycle_starts_at_zero_reaches_the_base_rate_at_15_percent_and_ends_at_zero(epochs, rate):
    rates = [schedules.one_cycle(done * epochs, epochs, rate) for done in (0, 0.15, 1)]
    assert rates == pytest.approx([0, rate, 0], abs=1e-9 * rate)


@given(st.integers(1, 2000), RATES, SHARES, SHARES)
def test_one_cycle_rises_before_15_percent_and_falls_after_and_never_exceeds_the_base_rate(epochs, rate, one, other):
    earlier, later = sorted((one, other))
    before = [schedules.one_cycle(0.15 * done * epochs, epochs, rate) for done in (earlier, later)]
    after = [schedules.one_cycle((0.15 + 0.85 * done) * epochs, epochs, rate) for done in (earlier, later)]
    assert max(*before, *after) <= rate * (1 + 1e-12) and min(*before, *after) >= 0
    assert before[0] <= before[1] * (1 + 1e-12) and after[0] * (1 + 1e-12) >= after[1]
    if later - earlier > 1e-3:
        assert before[0] < before[1] and after[0] > after[1]


def test_one_cycle_is_half_the_base_rate_half_way_up_half_way_down_and_on_average():
    assert [schedules.one_cycle(epoch, 200, 0.02) for epoch in (15, 115)] == pytest.approx([0.01, 0.01])
    steps = [schedules.one_cycle((step + 0.5) / 100, 200, 0.02) for step in range(20_000)]
    assert sum(steps) / len(steps) == pytest.approx(0.01, rel=1e-6)


def test_a_recipe_may_name_every_schedule_and_no_other():
    assert set(get_args(Training.model_fields["schedule"].annotation)) == set(schedules.SCHEDULES)
