"""By simulation: intervals cover what they promise, and tests reject as often as they say.

Fixed seeds, so these either hold or do not; `benchmarks/statistics.py` repeats them with more draws.
"""

import numpy as np
import pytest

from jaxinv import stats


def arms(repeats: int, n: int, seed: int, gap: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Correlated pairs with a mean difference of `gap`."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(repeats, n))
    return shared + rng.normal(size=(repeats, n)) + gap, shared + rng.normal(size=(repeats, n))


@pytest.mark.parametrize("n", [3, 10, 100])
def test_t_intervals_cover_and_t_tests_reject_at_their_level(n):
    a, b = arms(20_000, n, seed=n, gap=0.4)
    paired = stats.paired_t(a, b)
    covered = np.mean((paired.ci95[0] <= 0.4) & (paired.ci95[1] >= 0.4))
    assert 0.935 < covered < 0.965
    rejected = np.mean(stats.paired_t(a - 0.4, b).p_value < 0.05)
    assert 0.04 < rejected < 0.06
    one = stats.summary(a)
    assert 0.935 < np.mean((one.ci95[0] <= 0.4) & (one.ci95[1] >= 0.4)) < 0.965


def test_two_unpaired_samples_of_one_arm_reject_at_the_nominal_rate():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(20_000, 20)), rng.normal(scale=3.0, size=(20_000, 12))
    test = stats.welch(a, b)
    assert 0.04 < np.mean(test.p_value < 0.05) < 0.06
    assert 0.935 < np.mean((test.ci95[0] <= 0) & (test.ci95[1] >= 0)) < 0.965


@pytest.mark.slow
def test_rank_and_sign_tests_reject_at_their_level():
    a, b = arms(1500, 14, seed=1)
    signs = [stats.sign_flip(x, y).p_value < 0.05 for x, y in zip(a, b, strict=True)]
    ranks = [stats.wilcoxon(x, y).p_value < 0.05 for x, y in zip(a, b, strict=True)]
    assert 0.04 < np.mean(signs) < 0.06
    assert 0.04 < np.mean(ranks) < 0.06


def test_sign_flips_by_monte_carlo_reject_at_their_level():
    a, b = arms(1500, 60, seed=2)
    rejected = [
        stats.sign_flip(x, y, resamples=499, seed=k).p_value < 0.05 for k, (x, y) in enumerate(zip(a, b, strict=True))
    ]
    assert 0.04 < np.mean(rejected) < 0.06


@pytest.mark.slow
def test_equivalence_is_claimed_at_its_level_on_the_boundary():
    a, b = arms(2000, 50, seed=5, gap=1.0)
    claimed = [stats.tost(x, y, margin=1.0).equivalent for x, y in zip(a, b, strict=True)]
    assert 0.04 < np.mean(claimed) < 0.06


@pytest.mark.slow
@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_bootstrap_intervals_cover(method):
    a, b = arms(1000, 100, seed=4)
    intervals = [stats.bootstrap_interval(d, method=method, resamples=1000, seed=k) for k, d in enumerate(a - b)]
    assert 0.935 < np.mean([i.low <= 0 <= i.high for i in intervals]) < 0.965


@pytest.mark.slow
def test_bca_misses_a_skewed_mean_above_less_often_than_percentiles_do():
    x = np.random.default_rng(6).lognormal(size=(600, 30))
    above = [
        np.mean([stats.bootstrap_interval(d, method=method, resamples=1000).high < np.exp(0.5) for d in x])
        for method in ("bca", "percentile")
    ]
    assert above[0] < above[1] - 0.01


def test_holm_keeps_the_family_and_bonferroni_is_never_better():
    rng = np.random.default_rng(7)
    p = rng.random((2000, 6))
    adjusted = np.stack([stats.holm(row) for row in p])
    assert 0.04 < np.mean((adjusted < 0.05).any(axis=1)) < 0.06
    assert (adjusted <= np.minimum(1, 6 * p) + 1e-12).all()
