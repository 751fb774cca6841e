"""Anytime-valid intervals against the mixture integrated numerically, the formulas written naively, and simulation."""

import json
import math
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from jaxinv.errors import InputError
from jaxinv.stats import (
    RunningBernstein,
    RunningMoments,
    anytime_interval,
    bernstein_interval,
    bernstein_sequence,
    confidence_sequence,
    first_look,
)
from jaxinv.stats.sequential import PRIOR_VARIANCE

oracle: Any = scipy.stats


def trials(n: int, seed: int = 0, gap: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).normal(gap, 1.0, n)


# --- the asymptotic sequence -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "null"), [(3, 0.0), (20, 0.3), (60, -0.2), (150, 0.25)])
def test_p_value_is_one_over_the_likelihood_ratio_of_the_mixture(n, null):
    x = trials(n, seed=n)
    t = math.sqrt(n) * (x.mean() - null) / x.std(ddof=1)

    def weighted(effect: float) -> float:
        density = oracle.nct.pdf(t, n - 1, effect * math.sqrt(n))
        return density * oracle.norm.pdf(effect, scale=math.sqrt(PRIOR_VARIANCE))

    reach = 8 * math.sqrt(PRIOR_VARIANCE)
    alternative, _ = scipy.integrate.quad(weighted, -reach, reach, epsabs=0, epsrel=1e-10, limit=200)
    expected = min(1.0, oracle.t.pdf(t, n - 1) / alternative)
    assert anytime_interval(x, null=null).p_value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_interval_holds_the_values_whose_p_value_is_alpha_or_more(confidence):
    x = trials(150)
    ends = anytime_interval(x, confidence=confidence).ci
    for end in ends:
        assert anytime_interval(x, null=end).p_value == pytest.approx(1 - confidence, rel=1e-6)
    middle, beyond = sum(ends) / 2, ends[1] + 0.1
    assert anytime_interval(x, null=middle).p_value == 1.0
    assert anytime_interval(x, null=beyond).p_value < 1 - confidence


def test_many_trials_give_the_asymptotic_sequence_of_robbins_mixture():
    n = 200_000
    x = trials(n)
    seen, v, alpha = anytime_interval(x), PRIOR_VARIANCE, 0.05
    half = x.std() * math.sqrt(2 * (n * v + 1) / (n**2 * v) * math.log(math.sqrt(n * v + 1) / alpha))
    assert seen.ci == pytest.approx((x.mean() - half, x.mean() + half), rel=1e-3)


def naive(x: np.ndarray, alpha: float = 0.05, null: float = 0.0, grain: float = 0.0) -> tuple[float, float, float]:
    """Low end, high end and p-value from the formulas of the docstring."""
    n, s = len(x), max(float(np.std(x, ddof=1)), grain / 2)
    r = 1 + n * PRIOR_VARIANCE
    u = n * (np.mean(x) - null) ** 2 / s**2 / (n - 1)
    e = r**-0.5 * ((1 + u) / (1 + u / r)) ** (n / 2)
    k = (r / alpha**2) ** (1 / n)
    half = s * math.sqrt((n - 1) / n * (k - 1) / (1 - k / r)) if k < r else math.inf
    return float(np.mean(x)) - half, float(np.mean(x)) + half, min(1.0, 1 / e)


@pytest.mark.parametrize("grain", [0.0, 5.0])
def test_every_look_is_that_of_the_trials_so_far(grain):
    x = np.round(trials(120, seed=4, gap=0.7), 1)
    looks = confidence_sequence(x, confidence=0.9, null=0.2, grain=grain)
    assert looks.n.tolist() == list(range(1, 121))
    for n in (2, 3, 49, 50, 51, 120):
        low, high, p = naive(x[:n], 0.1, 0.2, grain)
        one = anytime_interval(x[:n], confidence=0.9, null=0.2, grain=grain)
        for seen in ((looks.ci[0][n - 1], looks.ci[1][n - 1], looks.p_value[n - 1]), (*one.ci, one.p_value)):
            assert seen == pytest.approx((low, high, p), rel=1e-8)


def test_many_sequences_at_once_are_each_their_own():
    x = trials(3 * 4 * 80, gap=1.0).reshape(3, 4, 80)
    every, whole = confidence_sequence(np.moveaxis(x, -1, 0), axis=0), anytime_interval(x)
    assert every.p_value.shape == (3, 4, 80)
    assert whole.ci[0].shape == (3, 4)
    np.testing.assert_allclose(every.ci[1][..., -1], whole.ci[1], rtol=1e-12)
    one = anytime_interval(x[2, 1])
    assert one.ci == pytest.approx((whole.ci[0][2, 1], whole.ci[1][2, 1]), rel=1e-12)
    assert isinstance(one.p_value, float)


def test_moments_added_in_blocks_are_those_of_all_trials():
    x = 1e6 + trials(1000)
    moments = RunningMoments()
    for block in np.split(x, [1, 2, 70, 600]):
        moments = moments.add(block)
    assert moments.add([]) == moments
    assert (moments.n, moments.mean) == (1000, pytest.approx(x.mean(), rel=1e-14))
    assert moments.sd == pytest.approx(x.std(ddof=1), rel=1e-9)
    seen, whole = moments.look(null=1e6), anytime_interval(x, null=1e6)
    assert seen.p_value == pytest.approx(whole.p_value, rel=1e-6)
    assert seen.ci == pytest.approx(whole.ci, rel=1e-12)


def test_before_the_first_look_nothing_is_known():
    early = first_look()
    assert early == 57
    looks = confidence_sequence(np.concatenate([[1.0], np.full(99, 2.0)]))
    assert np.isinf(looks.ci[0][: early - 1]).all()
    assert np.isfinite(looks.ci[0][early - 1 :]).all()
    assert (looks.p_value[: early - 1] > 0.05).all()  # however strong the evidence would be
    one, none = anytime_interval([3.0]), anytime_interval([])
    assert (one.n, one.mean, one.ci, one.p_value) == (1, 3.0, (-np.inf, np.inf), 1.0)
    assert none.n == 0
    assert np.isnan([none.mean, *none.ci, none.p_value]).all()
    assert RunningMoments().look().n == 0
    json.dumps([one.to_dict(), none.to_dict(), looks.to_dict()], allow_nan=False)


@pytest.mark.parametrize("value", [0.0, 0.3, 0.1 + 0.2])
def test_trials_that_are_all_alike_have_no_interval_of_width_zero(value):
    x = np.full(500, value)
    x[::2] = np.nextafter(value, 1) if value else value  # but for rounding
    unknown = (anytime_interval(x), RunningMoments().add(x[:99]).add(x[99:]).look())
    for seen in unknown:
        assert (seen.ci, seen.p_value) == ((-np.inf, np.inf), 1.0)
    looks = confidence_sequence(x, grain=0.01)
    for low, high, p in (
        (*anytime_interval(x, grain=0.01).ci, anytime_interval(x, grain=0.01).p_value),
        (looks.ci[0][-1], looks.ci[1][-1], looks.p_value[-1]),
    ):
        assert low < value < high
        assert (low, high) == pytest.approx(
            (value - 0.005 * 2.01 * 1.96 / 500**0.5, value + 0.005 * 2.01 * 1.96 / 500**0.5), abs=2e-4
        )
        assert p == (1.0 if value == 0 else pytest.approx(0.0, abs=1e-9))


def test_one_look_is_at_most_two_and_a_half_times_as_wide_as_the_fixed_interval():
    for n in (200, 2000, 10_000, 100_000, 1_000_000):
        x = np.resize([-1.0, 1.0], n)
        fixed = oracle.t.ppf(0.975, n - 1) / math.sqrt(n)
        ratio = anytime_interval(x).ci[1] / fixed
        assert 1.5 < ratio < (1.6 if n == 2000 else 2.53)


def test_no_look_misses_in_95_percent_of_runs():
    rng = np.random.default_rng(0)
    for x in (
        rng.normal(size=(500, 2000)),
        rng.exponential(size=(500, 2000)) - 1,
        rng.standard_t(3, size=(500, 2000)),
        rng.choice([-1.0, 1.0], size=(500, 2000)),
    ):
        looks = confidence_sequence(x)
        missed = ((looks.ci[0] > 0) | (looks.ci[1] < 0)).any(axis=1)
        assert missed.mean() <= 0.05
        np.testing.assert_array_equal(missed, (looks.p_value < 0.05).any(axis=1))


@pytest.mark.parametrize(
    ("call", "start"),
    [
        (lambda: anytime_interval([1.0, np.nan]), "values: 1 of 2 values are not finite"),
        (lambda: anytime_interval([1.0, 2.0], confidence=1.0), "confidence: 1.0 is not allowed"),
        (lambda: anytime_interval([1.0, 2.0], grain=-1.0), "grain: -1.0 is not allowed; give a step of at least 0"),
        (lambda: anytime_interval([1.0, 2.0], grain=math.nan), "grain: nan is not allowed"),
        (lambda: first_look(0.0), "confidence: 0.0 is not allowed"),
        (lambda: RunningMoments().add([[1.0]]), "values: shape (1, 1) is not allowed"),
        (
            lambda: bernstein_interval([0.5, 1.2], (0, 1)),
            "values: 1.2 is not allowed; give values within the bounds, 0",
        ),
        (lambda: bernstein_interval([-0.2, 0.5], (0, 1)), "values: -0.2 is not allowed; give values within"),
        (lambda: bernstein_interval([0.5], (1, 0)), "bounds: (1.0, 0.0) is not allowed; give two finite numbers"),
        (lambda: bernstein_interval([0.5], (0, math.inf)), "bounds: (0.0, inf) is not allowed"),
        (lambda: bernstein_interval([0.5], (0, 1), null=-0.1), "null: -0.1 is not allowed"),
        (lambda: RunningBernstein((0.0, 1.0), largest_bet=1.0), "largest_bet: 1.0 is not allowed"),
        (lambda: bernstein_interval([0.5], (0, 1), confidence=0), "confidence: 0 is not allowed"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(call, start):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value).startswith(start)
    assert "\n" not in str(caught.value)


# --- the exact sequence ----------------------------------------------------------------------------------------------


def naive_bernstein(x: list[float], alpha: float, null: float, largest: float = 0.9) -> tuple[float, float, float]:
    """Low end, high end and p-value in [0, 1], trial by trial."""
    mean, variance, squares = 0.5, 0.25, 0.25
    bets = won = paid = total = 0.0
    for i, value in enumerate(x, 1):
        bet = min(largest, math.sqrt(2 * math.log(2 / alpha) / (variance * i * math.log(i + 1))))
        paid += (value - mean) ** 2 * (-math.log(1 - bet) - bet)
        bets, won, total = bets + bet, won + bet * value, total + value
        mean = (0.5 + total) / (i + 1)
        squares += (value - mean) ** 2
        variance = squares / (i + 1)
    half = (math.log(2 / alpha) + paid) / bets
    p = min(1.0, 2 * math.exp(paid - abs(won - bets * null)))
    return max(0.0, won / bets - half), min(1.0, won / bets + half), p


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_bernstein_is_its_formula_trial_by_trial(alpha):
    x = np.random.default_rng(1).beta(8, 2, 300)
    looks = bernstein_sequence(2 * x - 1, (-1, 1), confidence=1 - alpha, null=0.4)
    for n in (1, 2, 17, 300):
        low, high, p = naive_bernstein(x[:n].tolist(), alpha, 0.7)
        one = bernstein_interval(2 * x[:n] - 1, (-1, 1), confidence=1 - alpha, null=0.4)
        assert one.mean == pytest.approx(2 * x[:n].mean() - 1)
        for seen in ((looks.ci[0][n - 1], looks.ci[1][n - 1], looks.p_value[n - 1]), (*one.ci, one.p_value)):
            assert seen == pytest.approx((2 * low - 1, 2 * high - 1, p), rel=1e-9)


def test_bernstein_with_the_bets_of_its_paper():
    x = 0.5 + 0.01 * np.random.default_rng(5).normal(size=300)
    low, high, p = naive_bernstein(x.tolist(), 0.05, 0.51, largest=0.5)
    seen = RunningBernstein((0.0, 1.0), largest_bet=0.5).add(x).look(null=0.51)
    assert (*seen.ci, seen.p_value) == pytest.approx((low, high, p), rel=1e-9)


def test_bernstein_in_blocks_and_over_chunks_is_the_same():
    x = np.random.default_rng(2).random(40_000)
    whole = bernstein_interval(x, (0, 1), null=0.5)
    seen = RunningBernstein((0.0, 1.0))
    for block in np.split(x, [1, 500, 20_000]):
        seen = seen.add(block)
    assert seen.add([]).look(null=0.5) == seen.look(null=0.5)
    assert seen.look(null=0.5).ci == pytest.approx(whole.ci, rel=1e-12)
    further = RunningBernstein((0.0, 1.0)).add(x[:30_000]).looks(x[30_000:], null=0.5)
    assert (further.n[0], further.n[-1]) == (30_001, 40_000)
    assert further.p_value[-1] == pytest.approx(whole.p_value, rel=1e-9)
    many = bernstein_interval(x.reshape(4, 10_000), (0, 1))
    assert many.ci[0][3] == pytest.approx(bernstein_interval(x[30_000:], (0, 1)).ci[0], rel=1e-12)


def test_bernstein_interval_and_p_value_say_the_same():
    x = np.random.default_rng(3).random(500)
    low, high = bernstein_interval(x, (0, 1)).ci
    for end in (low, high):
        assert bernstein_interval(x, (0, 1), null=end).p_value == pytest.approx(0.05, rel=1e-9)


def test_bernstein_knows_what_constants_may_hide():
    """1,000 trials that are all 0 may come from a mean of up to 3 / 1,000."""
    seen = bernstein_interval(np.zeros(1000), (-1, 1))
    assert seen.ci[0] < -0.003
    assert seen.ci[1] > 0.003
    assert seen.p_value == 1.0
    empty = bernstein_interval([], (0, 1))
    assert np.isnan([empty.mean, *empty.ci, empty.p_value]).all()


def test_bernstein_never_misses_more_than_promised_from_the_first_trial_on():
    rng = np.random.default_rng(4)
    for x in (
        (rng.random((300, 1500)) < 0.02).astype(float) - 0.02,  # rare jumps
        rng.choice([-0.5, 0.5], size=(300, 1500)),
        rng.normal(0, 0.05, size=(300, 1500)),
    ):
        looks = bernstein_sequence(x, (-1, 1))
        assert ((looks.ci[0] > 0) | (looks.ci[1] < 0)).any(axis=1).mean() <= 0.05
