"""The range test against losses whose range is known, and its two figures."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_figures import LAYOUT, texts_of

from flowerlib import cycles, range_test
from flowerlib.errors import FlowerlibError

ITERATIONS = 400


def ramp(begin, end, noise=0.0, breaks=None):
    """Rates 0.001 to 1 and a loss that is 4.6, falls in a line to 0.6 between two rates, then grows without bounds."""
    rates = range_test.rates(0.001, 1, ITERATIONS)
    losses = np.interp(rates, [begin, end], [4.6, 0.6]) + np.expm1(30 * np.maximum(0, rates - end - 0.2))
    losses += np.random.default_rng(1).normal(0, noise, ITERATIONS)
    losses[len(losses) if breaks is None else breaks :] = np.nan
    return rates, losses


def test_rates_climb_in_a_line_or_by_one_factor_between_both_ends():
    line, factor = range_test.rates(0.01, 0.05, 5), range_test.rates(0.001, 10, 5, geometric=True)
    assert line == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05])
    assert factor == pytest.approx([0.001, 0.01, 0.1, 1, 10])
    assert line.dtype == factor.dtype == np.float64


@given(st.floats(0.05, 0.3), st.floats(0.2, 0.4))
def test_the_range_goes_from_a_tenth_to_nine_tenths_of_a_fall_in_a_line(begin, width):
    low, high = range_test.suggest(*ramp(begin, begin + width))
    assert low == pytest.approx(begin + 0.1 * width, abs=0.012)
    assert high == pytest.approx(begin + 0.9 * width, abs=0.012)


@given(st.floats(0.05, 0.3), st.floats(0.2, 0.4))
def test_noise_moves_the_range_little(begin, width):
    low, high = range_test.suggest(*ramp(begin, begin + width, noise=0.15))
    assert low == pytest.approx(begin + 0.1 * width, abs=0.06)
    assert high == pytest.approx(begin + 0.9 * width, abs=0.06)


@given(st.floats(0.01, 100), st.floats(-10, 10))
def test_the_range_does_not_depend_on_the_scale_of_the_loss(scale, shift):
    rates, losses = ramp(0.1, 0.4, noise=0.1)
    assert range_test.suggest(rates, scale * losses + shift) == range_test.suggest(rates, losses)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_what_comes_after_the_training_broke_is_not_read(broken):
    rates, losses = ramp(0.1, 0.4)
    expected = range_test.suggest(rates, losses)
    losses[ITERATIONS * 3 // 4] = broken
    losses[ITERATIONS * 3 // 4 + 1 :] = -1e6
    assert range_test.suggest(rates, losses) == expected


def test_a_loss_that_explodes_at_the_end_does_not_drag_the_range_with_it():
    rates, losses = ramp(0.1, 0.4)
    losses[-1] = 1e30
    assert range_test.suggest(rates, losses) == range_test.suggest(*ramp(0.1, 0.4))


@given(st.integers(0, 1000))
def test_both_ends_are_rates_of_the_test_the_lower_first(seed):
    random = np.random.default_rng(seed)
    rates = range_test.rates(1e-5, 1, 100, geometric=True)
    losses = 3 / (1 + (rates / random.uniform(0.001, 0.1)) ** 2) + random.normal(0, 0.2, 100)
    low, high = range_test.suggest(rates, losses)
    assert low in rates and high in rates and low < high


def test_smoothing_keeps_a_line_and_shrinks_noise():
    line = np.linspace(3, 1, 90)
    assert range_test.smoothed(line)[3:-3] == pytest.approx(line[3:-3])
    noise = np.random.default_rng(0).normal(0, 1, 900)
    assert range_test.smoothed(noise).std() < 0.2


RATES = range_test.rates(0.001, 1, 100)
NOISE = np.random.default_rng(2).normal(4.6, 0.3, 100)
WRONG = {
    "one step": (lambda: range_test.rates(0.1, 1, 1), "of 1 steps"),
    "downwards": (lambda: range_test.rates(1, 0.1, 9), "from rate 1 to 0.1"),
    "geometric from zero": (lambda: range_test.rates(0, 1, 9, geometric=True), "from rate 0 to 1.*above 0"),
    "noise alone": (lambda: range_test.suggest(RATES, NOISE), "the loss falls by .* with a noise of"),
    "a loss that grows": (lambda: range_test.suggest(RATES, 4 + RATES), "the loss falls by"),
    "a loss that stays": (lambda: range_test.suggest(RATES, np.full(100, 4.6)), "the loss falls by 0 "),
    "one loss too few": (lambda: range_test.suggest(RATES, NOISE[1:]), r"\(100,\) rates, \(99,\) losses"),
    "rates that fall": (lambda: range_test.suggest(RATES[::-1], NOISE), "rates do not increase"),
    "broken at once": (lambda: range_test.suggest(RATES, NOISE * np.nan), "0 losses before it broke"),
    "zero in logarithms": (
        lambda: range_test.curve(range_test.rates(0, 1, 100), 5 - 4 * RATES, (0.1, 0.9), geometric=True),
        "rate 0 has no place",
    ),
    "five schedules": (lambda: range_test.schedules({f"{i}": [1] for i in range(5)}), "5 schedules, not 1 to 4"),
    "a schedule of nothing": (lambda: range_test.schedules({"a": []}), "schedules: a: no rates"),
}


@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG.keys())
def test_bad_input_is_told_in_one_line(call, message):
    with pytest.raises(FlowerlibError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def ranged(**options):
    rates, losses = ramp(0.1, 0.4, noise=0.1, breaks=options.pop("breaks", None))
    return range_test.curve(rates, losses, range_test.suggest(rates, losses), **options)


def of_a_report(name, low=0.08, high=0.4):
    return [cycles.CYCLES[name](iteration, 64, low, high) for iteration in range(640)]


SCHEDULES = {name: of_a_report(name) for name in cycles.CYCLES}
FOURTH = {"InceptionV3, triangular, with its own much lower range": of_a_report("triangular", 0.005, 0.06)}
DRAWN = {
    "curve": lambda: ranged(reported=(0.08, 0.4)),
    "curve in powers of ten": lambda: ranged(reported=(0.08, 0.4), geometric=True),
    "curve broken": lambda: ranged(breaks=300),
    "schedules": lambda: range_test.schedules(SCHEDULES),
    "schedules of unequal ranges": lambda: range_test.schedules(SCHEDULES | FOURTH),
    "schedule": lambda: range_test.schedules({"triangular": SCHEDULES["triangular"]}),
}


@functools.cache
def drawn(name):
    fig = DRAWN[name]()
    return fig, texts_of(fig)


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("fact", LAYOUT)
def test_of_every_figure(fact, name):
    fact(*drawn(name))


def test_the_suggested_range_is_shaded_and_the_reported_one_outlined():
    ax = drawn("curve")[0].axes[0]
    shaded, outlined = ax.patches
    low, high = range_test.suggest(*ramp(0.1, 0.4, noise=0.1))
    assert (shaded.get_x(), shaded.get_x() + shaded.get_width()) == pytest.approx((low, high))
    assert (outlined.get_x(), outlined.get_x() + outlined.get_width()) == pytest.approx((0.08, 0.4))
    assert outlined.get_facecolor()[3] == 0 and outlined.get_linestyle() == "--"
    assert len(drawn("curve broken")[0].axes[0].patches) == 1


def test_a_loss_without_bounds_does_not_flatten_the_fall():
    ax = drawn("curve")[0].axes[0]
    bottom, top = ax.get_ylim()
    assert max(ax.lines[0].get_ydata()) > 1000 > 4 / (top - bottom) > 0.5


def test_the_axis_of_rates_is_logarithmic_when_asked():
    assert drawn("curve")[0].axes[0].get_xscale() == "linear"
    assert drawn("curve in powers of ten")[0].axes[0].get_xscale() == "log"


def test_the_rate_at_which_the_training_broke_is_marked():
    fig, texts = drawn("curve broken")
    rate = range_test.rates(0.001, 1, ITERATIONS)[300]
    assert f"broke at {rate:.2g}" in [text for text, *_ in texts]
    assert [line.get_xdata()[0] for line in fig.axes[0].lines if line.get_marker() == "x"] == [rate]
    assert not any("broke" in text for text, *_ in drawn("curve")[1])


def test_every_schedule_has_a_panel_with_the_rate_of_each_iteration():
    for ax, (name, rates) in zip(drawn("schedules")[0].axes, SCHEDULES.items(), strict=True):
        (line,) = ax.lines
        assert line.get_xdata().tolist() == list(range(640)) and line.get_ydata().tolist() == rates
        assert ax.get_title("left") == name


def test_schedules_share_their_axis_unless_one_would_be_flat_on_it():
    assert len({ax.get_ylim() for ax in drawn("schedules")[0].axes}) == 1
    assert drawn("schedules of unequal ranges")[0].axes[-1].get_ylim()[1] < 0.07
