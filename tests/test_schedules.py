"""Learning-rate schedules against the reports' own words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowerlib import schedules

RUNS = st.integers(1, 2000).flatmap(lambda epochs: st.tuples(st.integers(0, epochs - 1), st.just(epochs)))
RATES = st.floats(1e-8, 10)


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


@pytest.mark.parametrize("name", schedules.SCHEDULES)
@given(run=RUNS, rate=RATES)
def test_no_schedule_rises_or_leaves_the_base_rate_upwards(name, run, rate):
    epoch, epochs = run
    schedule = schedules.SCHEDULES[name]
    now = schedule(epoch, epochs, rate)
    assert 0 < now <= rate
    assert schedule(0, epochs, rate) == rate
    assert schedule(min(epoch + 1, epochs - 1), epochs, rate) <= now
