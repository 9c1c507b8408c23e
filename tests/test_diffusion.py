"""Diffusion on toys whose answer is known: what each target and sampler makes of two Gaussians."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowerlib import diffusion, schedules
from flowerlib.errors import FlowerlibError

NOISE = sorted(schedules.NOISE_SCHEDULES)
TIMES = st.floats(0, 1)
RANDOM = np.random.default_rng(0)
MEANS, SPREAD = np.array([-1.5, 1.5]), 0.3  # of two equal Gaussians on a line


@pytest.mark.parametrize("name", NOISE)
@given(time=TIMES)
def test_signal_and_noise_power_sum_to_one(name, time):
    signal, noise = schedules.NOISE_SCHEDULES[name](time)
    assert signal**2 + noise**2 == pytest.approx(1)
    assert 0 <= signal <= 1 and 0 <= noise <= 1


@pytest.mark.parametrize("name", NOISE)
def test_noise_schedules_fall_from_the_picture_to_noise(name):
    schedule = schedules.NOISE_SCHEDULES[name]
    schedules.check_noise(schedule)
    signal, _ = schedule(np.array([0.0, 1.0]))
    assert signal[0] == pytest.approx(0.95 if name == "keras" else 1, abs=1e-6) and signal[1] < 0.03


def test_what_is_linear_in_each_noise_schedule():
    time = np.linspace(0.05, 0.95, 50)
    power = {name: schedules.NOISE_SCHEDULES[name](time)[0] ** 2 for name in NOISE}
    beta = -np.gradient(np.log(power["linear"]), time)
    np.testing.assert_allclose(np.diff(beta[1:-1], 2), 0, atol=1e-6)
    angle = np.arccos(np.sqrt(power["cosine"]))
    np.testing.assert_allclose(np.diff(angle, 2), 0, atol=1e-9)
    ends = 1 / (1 + np.exp([3.0, -3.0]))  # the curve at places -3 and 3
    fallen = (1 - power["sigmoid"]) / (1 - 0.02**2)
    place = -np.log(1 / (ends[0] + fallen * (ends[1] - ends[0])) - 1)
    np.testing.assert_allclose(np.diff(place, 2), 0, atol=1e-9)


def test_a_linear_schedule_is_ho_et_als_in_a_thousand_steps():
    betas = np.linspace(1e-4, 0.02, 1000)
    signal, _ = schedules.linear_noise(np.arange(1, 1001) / 1000)
    np.testing.assert_allclose(signal, np.sqrt(np.cumprod(1 - betas)), atol=3e-3)


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        (lambda t: (1.2 - np.asarray(t), np.asarray(t)), "leave 0 to 1"),
        (lambda t: (1 - np.asarray(t), np.asarray(t)), "do not sum to one"),
        (lambda t: schedules.cosine_noise(np.abs(2 * np.asarray(t) - 1)), "does not fall"),
    ],
)
def test_a_schedule_that_no_sampler_can_follow_is_refused(schedule, said):
    with pytest.raises(FlowerlibError, match=said):
        schedules.check_noise(schedule)
    with pytest.raises(FlowerlibError, match="from 0 to 1"):
        schedules.linear_noise(1.1)
    with pytest.raises(FlowerlibError, match=said):
        diffusion.sample(lambda x, _: x, np.zeros(2), schedule, 5)


@pytest.mark.parametrize("kind", diffusion.TARGETS)
@given(time=st.floats(0.01, 0.99))
def test_a_target_gives_back_picture_and_noise(kind, time):
    picture, noise = RANDOM.normal(size=(2, 3, 4)), RANDOM.normal(size=(2, 3, 4))
    rates = schedules.cosine_noise(np.full(2, time))
    noisy = diffusion.add_noise(picture, noise, *rates)
    found = diffusion.split(kind, diffusion.target(kind, picture, noise, *rates), noisy, *rates)
    np.testing.assert_allclose(found[0], picture, atol=1e-8)
    np.testing.assert_allclose(found[1], noise, atol=1e-8)


def test_noisy_pictures_have_the_mean_and_the_variance_of_the_closed_form():
    picture, signal, loud = np.full((20_000, 2), 0.7), 0.6, 0.8
    noisy = diffusion.add_noise(picture, RANDOM.standard_normal(picture.shape), signal, loud)
    assert noisy.mean() == pytest.approx(0.42, abs=0.02)
    assert noisy.var() == pytest.approx(0.64, abs=0.02)


def perfect(kind, schedule):
    """The best answer about two Gaussians at every noise rate."""

    def network(noisy, loud):
        signal = np.sqrt(1 - loud**2)
        variance = signal**2 * SPREAD**2 + loud**2
        near = np.exp(-((noisy[..., None] - signal * MEANS) ** 2) / (2 * variance))
        share = near / near.sum(axis=-1, keepdims=True)
        each = MEANS + signal * SPREAD**2 / variance * (noisy[..., None] - signal * MEANS)
        picture = (share * each).sum(axis=-1)
        noise = (noisy - signal * picture) / loud
        return diffusion.target(kind, picture, noise, signal, loud)

    return network


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("kind", diffusion.TARGETS)
@pytest.mark.parametrize("name", NOISE)
def test_two_gaussians_are_recovered_by_each_target_and_sampler(name, kind, eta):
    schedule = schedules.NOISE_SCHEDULES[name]
    noise = np.random.default_rng(1).standard_normal(4000)
    found = diffusion.sample(perfect(kind, schedule), noise, schedule, 150, kind=kind, eta=eta)
    assert (found > 0).mean() == pytest.approx(0.5, abs=0.05)
    # The last answer is the mean of what may lie behind the last noise: it narrows where a schedule keeps some.
    signal, loud = schedule(1 / 150)
    spread = SPREAD * signal * SPREAD / np.hypot(signal * SPREAD, loud)
    assert name == "keras" or spread > 0.95 * SPREAD
    for side in (found[found > 0], -found[found < 0]):
        assert side.mean() == pytest.approx(1.5, abs=0.05)
        assert side.std() == pytest.approx(spread, abs=0.05)


def test_ddim_is_deterministic_and_inverts_on_a_linear_toy():
    """For one Gaussian the best network is linear, and so is the whole way: noise z ends at mean + spread * z."""

    def network(noisy, loud):
        signal = np.sqrt(1 - loud**2)
        variance = signal**2 * SPREAD**2 + loud**2
        picture = 1.5 + signal * SPREAD**2 / variance * (noisy - signal * 1.5)
        return diffusion.target("v", picture, (noisy - signal * picture) / loud, signal, loud)

    noise = np.linspace(-2, 2, 9)
    found = diffusion.sample(network, noise, schedules.cosine_noise, 400)
    np.testing.assert_array_equal(found, diffusion.sample(network, noise, schedules.cosine_noise, 400, seed=5))
    np.testing.assert_allclose(np.diff(found), np.diff(found)[0], rtol=1e-6)
    np.testing.assert_allclose(found, 1.5 + SPREAD * noise, atol=0.02)


def test_ddpm_draws_anew_by_its_seed():
    network, noise = perfect("v", schedules.cosine_noise), np.zeros(5)
    one, other = (diffusion.sample(network, noise, schedules.cosine_noise, 20, eta=1, seed=seed) for seed in (1, 2))
    assert (one != other).all()


def test_a_trail_ends_in_the_sample_and_stays_in_its_bounds():
    network, noise = perfect("v", schedules.cosine_noise), RANDOM.standard_normal(6)
    steps = list(diffusion.trail(network, noise, schedules.cosine_noise, 10, bounds=(-1, 1)))
    assert len(steps) == 10 and max(np.abs(each).max() for each in steps) <= 1
    np.testing.assert_array_equal(
        steps[-1], diffusion.sample(network, noise, schedules.cosine_noise, 10, bounds=(-1, 1))
    )


def test_min_snr_weighs_the_error_of_the_picture_by_at_most_its_limit():
    signal, loud = schedules.cosine_noise(np.linspace(0.05, 0.95, 20))
    ratio = signal**2 / loud**2
    np.testing.assert_allclose(diffusion.min_snr(signal, loud, "x0"), np.minimum(ratio, 5))
    # An error e of the picture is e * signal / noise of the noise and e / noise of v.
    np.testing.assert_allclose(diffusion.min_snr(signal, loud, "epsilon") * ratio, np.minimum(ratio, 5))
    np.testing.assert_allclose(diffusion.min_snr(signal, loud, "v") / loud**2, np.minimum(ratio, 5))


@pytest.mark.parametrize(("steps", "eta"), [(0, 0.0), (5, 1.5)])
def test_what_cannot_be_sampled_is_refused(steps, eta):
    with pytest.raises(FlowerlibError, match="one step or more"):
        diffusion.sample(lambda x, _: x, np.zeros(2), schedules.cosine_noise, steps, eta=eta)


def test_an_answer_that_is_no_number_names_its_step():
    with pytest.raises(FlowerlibError, match="step 3 of 5"):
        calls = iter([0, 0, np.nan])
        diffusion.sample(lambda x, _: x * 0 + next(calls), np.ones(2), schedules.cosine_noise, 5)
