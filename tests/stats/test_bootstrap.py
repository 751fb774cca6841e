"""The bootstrap against exact enumeration and Efron's definitions, its seeds, and what it does at the edges."""

import itertools
import tracemalloc
from typing import Any

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


@pytest.mark.parametrize("statistic", ["mean", "iqm", "median"])
@pytest.mark.parametrize("n", [3, 4, 5])
def test_intervals_of_few_values_are_those_of_all_their_resamples(n, statistic):
    x = np.array([0.0, 0.1, 0.35, 0.7, 1.0])[:n]
    possible = STATISTICS[statistic](np.array(list(itertools.product(x, repeat=n))), axis=1)
    got = bootstrap_interval(x, statistic=statistic, method="percentile", confidence=0.8)
    assert got.estimate == pytest.approx(STATISTICS[statistic](x))
    assert got.standard_error == pytest.approx(possible.std(), rel=0.02)
    for end, level in ((got.low, 0.1), (got.high, 0.9)):  # ends may fall on either side of a step
        near = np.quantile(possible, [level - 0.01, level + 0.01])
        assert near[0] - 1e-12 <= end <= near[1] + 1e-12


@pytest.mark.parametrize("statistic", ["mean", "iqm", "median"])
def test_bca_is_efrons_correction_of_the_percentiles(statistic):
    """z0 and a written out from Efron's definitions, with the jackknife done by leaving out one value at a time."""
    x, function = np.sort(skewed(23)), STATISTICS[statistic]
    drawn = function(x[np.random.default_rng(0).integers(0, 23, (100_000, 23))], axis=-1)
    left = np.array([function(np.delete(x, i)) for i in range(23)])
    u = left.mean() - left
    a = (u**3).sum() / 6 / (u**2).sum() ** 1.5
    z0 = oracle.norm.ppf((np.mean(drawn < function(x)) + np.mean(drawn <= function(x))) / 2)
    z = z0 + oracle.norm.ppf([0.025, 0.975])
    expected = np.quantile(drawn, oracle.norm.cdf(z0 + z / (1 - a * z)))
    got = bootstrap_interval(x, statistic=statistic)
    assert got.method == "bca"
    slack = (0.03 if statistic != "median" else 0.2) * drawn.std()  # the median jumps from value to value
    np.testing.assert_allclose([got.low, got.high], expected, atol=slack)
    plain = bootstrap_interval(x, statistic=statistic, method="percentile")
    np.testing.assert_allclose([plain.low, plain.high], np.quantile(drawn, [0.025, 0.975]), atol=slack)


def test_the_method_follows_the_number_of_trials_unless_it_is_given(monkeypatch):
    x = skewed(40)
    monkeypatch.setattr(bootstrap, "BCA_MOST", 40)
    assert bootstrap_interval(x, resamples=1000) == bootstrap_interval(x, method="bca", resamples=1000)
    monkeypatch.setattr(bootstrap, "BCA_MOST", 39)
    assert bootstrap_interval(x, resamples=1000) == bootstrap_interval(x, method="percentile", resamples=1000)
    assert bootstrap_interval(x, method="bca", resamples=1000).method == "bca"


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_memory_does_not_grow_with_trials_times_resamples(method):
    x = skewed(3000)
    bootstrap_interval(x[:10], resamples=100)  # imports
    tracemalloc.start()
    bootstrap_interval(x, method=method, resamples=3000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 2**20  # all resamples at once take 72 MB, and so does all of the jackknife


def test_a_jackknife_that_does_not_vary_leaves_the_percentile_interval():
    got = bootstrap_interval([0.0, 0.0, 0.0, 1.0], statistic="median", resamples=1000)
    assert got.method == "percentile"
    assert got == bootstrap_interval([0.0, 0.0, 0.0, 1.0], statistic="median", method="percentile", resamples=1000)


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


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: bootstrap_interval([]), "values: no trial"),
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
