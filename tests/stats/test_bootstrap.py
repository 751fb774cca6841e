"""The bootstrap against SciPy's, exact enumeration and its random generator's published answers."""

import itertools
from typing import Any

import jax
import numpy as np
import pytest
import scipy.stats

from jaxinv.errors import InputError
from jaxinv.stats import bootstrap, bootstrap_interval

oracle: Any = scipy.stats  # SciPy's result classes carry no types

STATISTICS = {
    "mean": np.mean,
    "iqm": lambda x, axis=-1: oracle.trim_mean(x, 0.25, axis=axis),
    "median": np.median,
}


def skewed(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).exponential(size=n)


@pytest.mark.parametrize(
    ("key", "counter", "answer"),
    [  # Random123's known-answer file, threefry2x32 with 13 rounds
        ((0, 0), (0, 0), (0x9D1C5EC6, 0x8BD50731)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0xFD36D048, 0x2D17272C)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xBA3E4725, 0xF27D669E)),
    ],
)
def test_the_generator_gives_the_published_answers(key, counter, answer):
    words = bootstrap.threefry(np.array(key, np.uint32), *(np.array([c], np.uint32) for c in counter))
    assert tuple(int(word[0]) for word in words) == answer


@pytest.mark.parametrize("bound", [1, 2, 3, 10_000, 65_535, 65_536, 100_000, 2**31 - 1])
def test_scaling_a_word_down_is_the_64_bit_product(bound):
    words = np.concatenate([[0, 1, 2**32 - 1, 2**31, 65_535, 65_536], np.random.default_rng(0).integers(0, 2**32, 500)])
    ours = bootstrap.scaled_down(words.astype(np.uint32), np.uint32(bound), short=bound < 65_536)
    np.testing.assert_array_equal(ours, [int(word) * bound >> 32 for word in words])


@pytest.mark.parametrize("statistic", ["mean", "iqm", "median"])
@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_resamples_of_few_values_have_the_enumerated_distribution(n, statistic):
    x = np.sort(np.array([0.0, 0.1, 0.35, 0.7, 1.0])[:n])
    possible = STATISTICS[statistic](np.array(list(itertools.product(x, repeat=n))), axis=1).round(6)
    values, counts = np.unique(possible, return_counts=True)
    weights = bootstrap._rank_weights(statistic, n)
    draw = bootstrap._draw_means if statistic == "mean" else bootstrap._draw_rank_sums
    drawn = draw(x, weights, 100_000, 4).astype(np.float64).round(5)
    seen = np.array([np.count_nonzero(np.abs(drawn - value) < 2e-5) for value in values])
    assert seen.sum() == 100_000
    assert oracle.chisquare(seen, 100_000 * counts / counts.sum()).pvalue > 0.001


@pytest.mark.parametrize("method", ["bca", "percentile"])
@pytest.mark.parametrize("statistic", ["mean", "iqm", "median"])
@pytest.mark.parametrize("n", [3, 20, 41, 101, 300])
def test_intervals_agree_with_scipys(n, statistic, method):
    x = skewed(n, seed=n)
    ours = bootstrap_interval(x, statistic=statistic, method=method)
    theirs = oracle.bootstrap(
        (x,), STATISTICS[statistic], method={"bca": "BCa"}.get(method, method), n_resamples=4000, batch=500, rng=1
    )
    spread = theirs.standard_error
    assert ours.estimate == pytest.approx(STATISTICS[statistic](x), rel=1e-9)
    assert ours.standard_error == pytest.approx(spread, rel=0.06)
    slack = 0.15 * spread if statistic != "median" else 0.4 * spread  # the median jumps from value to value
    np.testing.assert_allclose([ours.low, ours.high], theirs.confidence_interval, atol=slack)


def test_bca_level_by_level():
    """z0 and a written out from Efron's definitions, with the jackknife done by leaving out one value at a time."""
    for statistic, function in STATISTICS.items():
        x = np.sort(skewed(23))
        x = (x - x[11]) / (x[-1] - x[11])
        drawn = np.random.default_rng(0).choice(x, (999, 23)).mean(axis=1)
        estimate = float(function(x))
        left = np.array([function(np.delete(x, i)) for i in range(23)])
        u = left.mean() - left
        a = (u**3).sum() / 6 / (u**2).sum() ** 1.5
        z0 = oracle.norm.ppf(np.mean(drawn < estimate))
        z = z0 + oracle.norm.ppf([0.025, 0.975])
        expected = oracle.norm.cdf(z0 + z / (1 - a * z))
        got = bootstrap._bca_levels(drawn, estimate, x, statistic, np.array([0.025, 0.975]))
        np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_quantiles_are_numpys():
    for size in (1, 2, 17, 1000, 20_001):
        drawn = np.random.default_rng(size).normal(size=size).round(1).astype(np.float32)
        for levels in ([0.0, 1.0], [0.025, 0.975], [1e-4, 0.5]):
            np.testing.assert_allclose(
                bootstrap._quantiles(drawn, np.array(levels)), np.quantile(drawn.astype(float), levels), atol=1e-7
            )
    ordered = np.arange(10_000, dtype=np.float32)
    ordered[::16] = 9000.0  # the sample that guides the search misleads it
    np.testing.assert_allclose(bootstrap._quantiles(ordered, np.array([0.5])), np.quantile(ordered, 0.5))


def test_same_seed_same_interval_and_another_seed_another():
    x = skewed(30)
    for statistic in STATISTICS:
        first, again, other = (
            bootstrap_interval(x, statistic=statistic, seed=seed, resamples=1000) for seed in (7, 7, 8)
        )
        assert first == again
        assert (first.low, first.standard_error) != (other.low, other.standard_error)
    huge = bootstrap_interval(x, seed=2**40 + 7, resamples=1000)
    assert huge.low != bootstrap_interval(x, seed=7, resamples=1000).low


def test_order_of_trials_does_not_matter_and_the_data_are_left_alone():
    x = skewed(30)
    copy = x.copy()
    assert bootstrap_interval(x[::-1], resamples=1000) == bootstrap_interval(x, resamples=1000)
    np.testing.assert_array_equal(x, copy)


@pytest.mark.parametrize("x", [[0.3], [0.3, 0.3], np.full(500, 0.1)])
@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_a_constant_gives_an_interval_of_width_zero(x, method):
    got = bootstrap_interval(x, method=method)
    assert got.low == got.high == got.estimate == x[0]
    assert got.standard_error == 0.0


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_scale_and_shift_carry_through(scale):
    x = skewed(40)
    base, far = bootstrap_interval(x, resamples=1000), bootstrap_interval(x * scale, resamples=1000)
    np.testing.assert_allclose(
        [far.low, far.high, far.standard_error], np.array([base.low, base.high, base.standard_error]) * scale
    )
    shifted = bootstrap_interval(x + 1e6, resamples=1000)
    np.testing.assert_allclose([shifted.low - 1e6, shifted.high - 1e6], [base.low, base.high], rtol=1e-5)


def test_a_share_of_ones_stays_within_its_range():
    """Two-valued data: the quantiles fall on multiples of 1/n, and no interval leaves [0, 1]."""
    x = np.array([0.0] * 9 + [1.0])
    got = bootstrap_interval(x)
    assert 0.0 <= got.low < 0.1 < got.high <= 1.0
    np.testing.assert_allclose(got.high * 10, round(got.high * 10), atol=1e-5)
    binomial = oracle.binom(10, 0.1)
    assert got.standard_error == pytest.approx(binomial.std() / 10, rel=0.02)


def test_an_extreme_acceleration_ends_at_the_last_quantile():
    levels = bootstrap._bca_levels(
        np.linspace(-1, 1, 999), 0.9999, np.array([0.0, 0.0, 1.0]), "mean", np.array([0.5, 1 - 1e-16])
    )
    assert levels[1] == 1.0
    assert np.isfinite(levels).all()


def test_it_is_the_same_with_64_bit_jax():
    x = skewed(30)
    plain = [bootstrap_interval(x, statistic=s, resamples=1000) for s in STATISTICS]
    with jax.enable_x64(True):
        wide = [bootstrap_interval(x, statistic=s, resamples=1000) for s in STATISTICS]
    for a, b in zip(plain, wide, strict=True):
        np.testing.assert_allclose([a.low, a.high], [b.low, b.high], rtol=1e-5)


def test_one_program_serves_every_number_of_trials():
    program = bootstrap._programs()[0]
    bootstrap_interval(skewed(10), resamples=1000)
    traced = program._cache_size()
    for n in (11, 40, 100, 255):
        bootstrap_interval(skewed(n), resamples=1000)
    assert program._cache_size() == traced


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: bootstrap_interval([]), "values: no trials"),
        (lambda: bootstrap_interval([1.0, float("nan")]), "values: 1 of 2"),
        (lambda: bootstrap_interval(np.ones((2, 2))), "values: shape"),
        (lambda: bootstrap_interval([1.0, 2.0], statistic="mode"), "statistic: 'mode'"),
        (lambda: bootstrap_interval([1.0, 2.0], method="basic"), "method: 'basic'"),
        (lambda: bootstrap_interval([1.0, 2.0], confidence=1.0), "confidence: 1.0"),
        (lambda: bootstrap_interval([1.0, 2.0], resamples=0), "resamples: 0"),
        (lambda: bootstrap_interval([1.0, 2.0], seed=-1), "seed: -1"),
        (lambda: bootstrap_interval([1.0, 2.0], seed=True), "seed: True"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(call, field):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value).startswith(field)
    assert "\n" not in str(caught.value)
