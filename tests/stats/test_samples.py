"""Summaries, tests of paired trials, equivalence and multiplicity against SciPy, closed forms and enumeration."""

import itertools
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import scipy.stats

from jaxinv import stats
from jaxinv.errors import InputError

oracle: Any = scipy.stats  # SciPy's result classes carry no types

NAN = float("nan")


def pairs(n: int, seed: int = 0, gap: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=n)
    return a, a * 0.7 + rng.normal(size=n) - gap


def enumerated(d: np.ndarray, statistic) -> float:
    """Two-sided p over all 2^n sign patterns, one by one."""
    observed = abs(statistic(d))
    signs = itertools.product((-1, 1), repeat=d.size)
    return float(np.mean([abs(statistic(np.abs(d) * np.array(s))) >= observed - 1e-9 for s in signs]))


# --- summary -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 4, 7, 8, 100])
def test_summary_agrees_with_scipy(n):
    x = np.random.default_rng(n).exponential(size=n)
    s = stats.summary(x)
    interval = oracle.ttest_1samp(x, 0.0).confidence_interval(0.95)
    assert (s.n, s.omitted) == (n, 0)
    np.testing.assert_allclose([s.mean, s.sd, s.median], [x.mean(), x.std(ddof=1), np.median(x)], rtol=1e-12)
    np.testing.assert_allclose(s.ci95, interval, rtol=1e-9)
    np.testing.assert_allclose(s.iqm, oracle.trim_mean(x, 0.25), rtol=1e-12)
    np.testing.assert_allclose(stats.interquartile_mean(x), oracle.trim_mean(x, 0.25), rtol=1e-12)


def test_summary_of_many_axes_is_each_vectors_own_and_follows_the_axis():
    x = np.random.default_rng(0).normal(size=(3, 4, 11))
    whole, swapped = stats.summary(x), stats.summary(np.moveaxis(x, -1, 0), axis=0)
    for name in ("n", "mean", "sd", "median", "iqm"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(swapped, name))
        np.testing.assert_allclose(getattr(whole, name)[1, 2], getattr(stats.summary(x[1, 2]), name), rtol=1e-12)
    assert whole.mean.shape == (3, 4)
    assert whole.ci95[0].shape == (3, 4)


def test_summary_leaves_out_what_is_not_finite_and_counts_it():
    x = np.array([[1.0, NAN, 3.0, np.inf, 8.0], [NAN] * 5])
    s = stats.summary(x)
    np.testing.assert_array_equal(s.n, [3, 0])
    np.testing.assert_array_equal(s.omitted, [2, 5])
    np.testing.assert_allclose(s.mean, [4.0, NAN])
    np.testing.assert_allclose(s.sd, [float(np.std([1, 3, 8], ddof=1)), NAN])
    np.testing.assert_allclose(s.median, [3.0, NAN])
    np.testing.assert_allclose(s.iqm, [4.0, NAN])
    np.testing.assert_allclose(s.ci95[0], [oracle.ttest_1samp([1, 3, 8], 0).confidence_interval().low, NAN])


def test_summary_of_one_and_of_none():
    one, none = stats.summary([0.7]), stats.summary([])
    assert (one.n, one.mean, one.median, one.iqm) == (1, 0.7, 0.7, 0.7)
    assert np.isnan([one.sd, *one.ci95, none.mean, none.sd, none.median, none.iqm]).all()
    assert none.n == 0
    assert one.to_dict()["sd"] is None
    assert one.to_dict()["ci95"] == [None, None]


def test_summary_of_a_constant_has_no_spread_at_all():
    s = stats.summary(np.full(1000, 0.1))
    assert (s.mean, s.sd, s.ci95, s.iqm) == (0.1, 0.0, (0.1, 0.1), 0.1)


def test_published_z():
    x = [0.90, 0.92, 0.94]
    assert stats.published_z(0.93, x) == pytest.approx((0.93 - 0.92) / 0.02)
    assert np.isnan(stats.published_z(0.9, [0.9]))
    assert stats.published_z(0.5, [0.5, 0.5]) == 0.0
    assert stats.published_z(0.4, [0.5, 0.5]) == -np.inf


# --- paired and unpaired t ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 10, 200])
def test_paired_t_is_scipys(n):
    a, b = pairs(n)
    ours, theirs = stats.paired_t(a, b), oracle.ttest_rel(a, b)
    np.testing.assert_allclose([ours.t, ours.p_value, ours.df], [theirs.statistic, theirs.pvalue, theirs.df])
    np.testing.assert_allclose(ours.ci95, theirs.confidence_interval(0.95))
    np.testing.assert_allclose([ours.difference, ours.sd], [(a - b).mean(), (a - b).std(ddof=1)])
    np.testing.assert_allclose(ours.standard_error, oracle.sem(a - b))


def test_paired_t_over_an_axis_with_a_constant_row_among_others():
    a, b = (np.stack(x) for x in zip(pairs(9, 1), pairs(9, 2), (np.ones(9), np.zeros(9)), (np.ones(9),) * 2))  # noqa: B905
    ours = stats.paired_t(a.T, b.T, axis=0)
    np.testing.assert_allclose(ours.p_value[:2], oracle.ttest_rel(a[:2], b[:2], axis=1).pvalue)
    np.testing.assert_array_equal(ours.p_value[2:], [0.0, 1.0])
    np.testing.assert_array_equal(ours.t[2:], [np.inf, 0.0])
    np.testing.assert_array_equal(ours.ci95[0][2:], [1.0, 0.0])
    np.testing.assert_array_equal(stats.cohen_dz(a, b)[2:], [np.inf, 0.0])
    np.testing.assert_allclose(stats.cohen_dz(a, b)[0], (a - b)[0].mean() / (a - b)[0].std(ddof=1))


def test_paired_t_of_one_trial_and_of_none():
    one, none = stats.paired_t([0.9], [0.8]), stats.paired_t([], [])
    assert one.difference == pytest.approx(0.1)
    assert np.isnan([one.sd, one.t, one.p_value, *one.ci95, none.difference, none.p_value]).all()
    assert np.isnan(stats.cohen_dz([0.9], [0.8]))


def test_welch_is_scipys_also_with_unequal_sizes_axes_and_a_constant_arm():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 12)), rng.normal(0.5, 3, size=(4, 31))
    a[3] = 0.25
    ours = stats.welch(a, b)
    theirs = oracle.ttest_ind(a[:3], b[:3], equal_var=False, axis=1)
    np.testing.assert_allclose(ours.p_value[:3], theirs.pvalue)
    np.testing.assert_allclose(ours.df[:3], theirs.df)
    np.testing.assert_allclose(ours.ci95[0][:3], theirs.confidence_interval(0.95).low)
    np.testing.assert_allclose(ours.standard_error[:3], theirs.statistic**-1 * ours.difference[:3])
    np.testing.assert_allclose(ours.p_value[3], oracle.ttest_1samp(b[3], 0.25).pvalue)  # variance on one side only
    np.testing.assert_array_equal(stats.welch(a.T, b.T, axis=0).p_value, ours.p_value)


def test_welch_of_constant_and_of_single_runs():
    assert stats.welch([1.0, 1.0], [1.0, 1.0, 1.0]).p_value == 1.0
    assert stats.welch([1.0, 1.0], [2.0, 2.0]).p_value == 0.0
    assert np.isnan(stats.welch([1.0], [2.0, 3.0]).p_value)
    assert stats.welch([1.0], [2.0, 3.0]).difference == -1.5


# --- ranks and signs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 8, 13, 36, 50, 51, 300])
def test_wilcoxon_is_scipys(n):
    a, b = pairs(n)
    p, method = stats.wilcoxon(a, b)
    assert p == pytest.approx(oracle.wilcoxon(a, b).pvalue, rel=1e-12)
    assert method == ("exact" if n <= 50 else "normal approximation")


def test_wilcoxon_with_ties_and_zeros_is_the_enumeration():
    d = np.array([1.0, 1, -1, 2, 2, 2, 0, 0, 3, -4, 5])
    moved = d[d != 0]
    ranks = oracle.rankdata(np.abs(moved)) * np.sign(moved)
    assert stats.wilcoxon(d, np.zeros_like(d)) == (pytest.approx(enumerated(ranks, np.sum)), "exact")


def test_wilcoxon_with_many_ties_is_scipys_corrected_approximation():
    d = np.random.default_rng(0).integers(-3, 5, size=200).astype(float)
    assert stats.wilcoxon(d, 0 * d).p_value == pytest.approx(oracle.wilcoxon(d[d != 0], method="asymptotic").pvalue)


def test_resolution_restores_ties_that_float32_broke():
    rng = np.random.default_rng(0)
    a, b = rng.integers(9000, 9020, 30), rng.integers(9000, 9020, 30)
    stored = (a / 10_000).astype(np.float32).astype(float), (b / 10_000).astype(np.float32).astype(float)
    exact = stats.wilcoxon(a, b).p_value
    assert stats.wilcoxon(*stored, resolution=2.0**-22).p_value == exact
    assert stats.wilcoxon(*stored).p_value != exact


@pytest.mark.parametrize("n", [2, 3, 10])
def test_sign_flip_is_the_enumeration_and_scipys(n):
    a, b = pairs(n, seed=3)
    p, method = stats.sign_flip(a, b)
    assert p == pytest.approx(enumerated(a - b, np.sum), rel=1e-12)
    theirs = oracle.permutation_test((a - b,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert p == pytest.approx(theirs.pvalue, rel=1e-12)
    assert method == "exact"


def test_sign_flip_with_ties_and_zeros():
    d = np.array([0.1, 0.2, -0.3, 0.1, 0.0, 0.3, 0.0, 0.2])  # sums tie, up to rounding
    assert stats.sign_flip(d, 0 * d).p_value == pytest.approx(enumerated(np.round(10 * d), np.sum))


def test_sign_flip_of_a_constant():
    assert stats.sign_flip(np.full(20, 0.1), np.zeros(20)) == (2.0**-19, "exact")
    assert stats.sign_flip(np.ones(5), np.ones(5)) == (1.0, "exact")
    assert stats.sign_flip([2.0], [1.0]) == (1.0, "exact")
    assert stats.wilcoxon(np.ones(5), np.ones(5)).p_value == 1.0
    assert np.isnan(stats.sign_flip([], []).p_value)
    assert np.isnan(stats.wilcoxon([], []).p_value)


@pytest.mark.parametrize(("n", "scale"), [(37, 0.1), (100, 0.15), (1024, 0.02), (5000, 0.01)])
def test_sign_flip_by_monte_carlo_is_near_the_exact_answer(n, scale):
    """Integers have an exact null distribution: the convolution of n two-point distributions."""
    d = np.random.default_rng(n).integers(1, 4, size=n) * np.where(
        np.random.default_rng(n).random(n) < 0.5 + scale, 1, -1
    )
    null = np.ones(1)
    for value in np.abs(d):
        step = np.zeros(2 * value + 1)
        step[[0, -1]] = 0.5
        null = np.convolve(null, step)
    sums = np.arange(null.size) - np.abs(d).sum()
    exact = null[np.abs(sums) >= abs(d.sum())].sum()
    p, method = stats.sign_flip(d, 0 * d)
    assert 1e-3 < exact < 0.9
    assert p == pytest.approx(exact, abs=5 * np.sqrt(exact / 100_000) + (0.003 if n > 1024 else 0))
    assert method.startswith("Monte Carlo, 100,000")
    assert ("normal" in method) == (n > 1024)


def test_sign_flip_sees_one_huge_difference_among_many_trials():
    """A pattern reaches the sum where the others' sum, on the big one's side, does: not what a normal sum would say."""
    rest = np.random.default_rng(0).normal(size=3000) * 0.01
    d = np.concatenate([[1000.0], rest])
    expected = oracle.norm.sf(rest.sum() / np.sqrt(np.square(rest).sum()))
    assert stats.sign_flip(d, 0 * d).p_value == pytest.approx(expected, abs=0.005)
    assert 2 * oracle.norm.sf(d.sum() / np.sqrt(np.square(d).sum())) == pytest.approx(0.317, abs=0.01)


def test_sign_flip_means_its_seed():
    a, b = pairs(60, gap=0.1)
    first, again, other = (stats.sign_flip(a, b, seed=s).p_value for s in (1, 1, 2))
    assert first == again
    assert first != other
    assert stats.sign_flip(a, b, resamples=50, seed=1).p_value * 51 == pytest.approx(
        round(stats.sign_flip(a, b, resamples=50, seed=1).p_value * 51)
    )


def test_superiority_counts_ties_half():
    assert stats.superiority([1, 2, 3, 4], [0, 2, 4, 0]) == 0.625
    assert stats.superiority([1.0], [1.0]) == 0.5
    a, b = np.random.default_rng(0).integers(0, 5, (2, 3, 40))
    np.testing.assert_allclose(stats.superiority(a, b), (a > b).mean(1) + 0.5 * (a == b).mean(1))
    np.testing.assert_allclose(stats.superiority(a.T, b.T, axis=0), stats.superiority(a, b))


def test_pairing_gain():
    a, b = pairs(50)
    got = stats.pairing(a, b)
    assert got.correlation == pytest.approx(oracle.pearsonr(a, b).statistic)
    paired, apart = stats.paired_t(a, b), stats.welch(a, b)
    assert got.gain == pytest.approx((apart.standard_error / paired.standard_error) ** 2)
    assert got.gain > 1
    assert stats.pairing(a, -a).gain == pytest.approx(0.5)
    assert stats.pairing(a, a) == (pytest.approx(1.0), np.inf)
    assert np.isnan(stats.pairing(a, np.ones(50)).correlation)
    assert stats.pairing(a, np.ones(50)).gain == pytest.approx(1.0)
    assert np.isnan(stats.pairing([1.0], [2.0])).all()
    assert np.isnan(stats.pairing([1.0, 1.0], [2.0, 2.0])).all()


# --- equivalence -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("paired", [True, False])
def test_tost_is_two_one_sided_t_tests(paired):
    a, b = pairs(40, gap=0.0)
    got = stats.tost(a, b, 0.5, alpha=0.1, paired=paired)
    if paired:
        tests = [oracle.ttest_1samp(a - b, m, alternative=s) for m, s in ((-0.5, "greater"), (0.5, "less"))]
        interval = oracle.ttest_rel(a, b).confidence_interval(0.8)
    else:
        tests = [
            oracle.ttest_ind(a - m, b, equal_var=False, alternative=s) for m, s in ((-0.5, "greater"), (0.5, "less"))
        ]
        interval = oracle.ttest_ind(a, b, equal_var=False).confidence_interval(0.8)
    np.testing.assert_allclose([got.p_lower, got.p_upper], [t.pvalue for t in tests])
    assert got.p_value == max(got.p_lower, got.p_upper)
    np.testing.assert_allclose(got.interval, interval)


def test_tost_says_equivalent_exactly_when_its_interval_lies_inside_the_margin():
    a, b = pairs(30, gap=0.05)
    edge = max(abs(end) for end in stats.tost(a, b, 1.0).interval)
    assert stats.tost(a, b, edge * 1.0001).equivalent
    assert not stats.tost(a, b, edge * 0.9999).equivalent


def test_tost_of_few_and_of_constant_trials():
    assert not stats.tost([0.5], [0.5], 0.1).equivalent
    assert np.isnan(stats.tost([0.5], [0.5], 0.1).p_value)
    assert stats.tost([0.5, 0.6], [0.5, 0.6], 0.1).p_value == 0.0
    assert stats.tost([1.5, 2.5], [1.0, 2.0], 0.5).p_value == 1.0  # on the margin is not inside
    assert stats.tost([1.5, 2.5] * 3, [1.0, 2.0] * 3, 0.6).equivalent
    assert not stats.tost([1.5, 2.5, 3.5, 4.5, 5.5], [1.0, 2.0, 3.0, 4.0, 5.0], 0.6).equivalent  # too few to say so


# --- the grain of accuracies ----------------------------------------------------------------------------------------


def naive_t(d: np.ndarray, grain: float) -> tuple[float, float, float]:
    """Low end, high end and p-value with the standard deviation no smaller than half a step."""
    error = max(d.std(ddof=1), grain / 2) / np.sqrt(d.size)
    half = oracle.t.ppf(0.975, d.size - 1) * error
    return d.mean() - half, d.mean() + half, 2 * oracle.t.sf(abs(d.mean()) / error, d.size - 1)


@pytest.mark.parametrize("counts", [[3, 3], [5, 5, 5], [0, 1, 0, 0], [2, 7, 1]])
def test_trials_move_in_steps_and_no_standard_deviation_is_less_than_half_a_step(counts):
    d = np.array(counts) / 10
    a, b = d + 0.5, np.full(d.size, 0.5)
    for grain in (0.1, 0.5):
        test = stats.paired_t(a, b, grain=grain)
        assert (*test.ci95, test.p_value) == pytest.approx(naive_t(d, grain))
        assert test.sd == pytest.approx(d.std(ddof=1), abs=1e-15)
        assert stats.cohen_dz(a, b, grain=grain) == pytest.approx(d.mean() / max(d.std(ddof=1), grain / 2))
        assert stats.summary(d, grain=grain).ci95 == pytest.approx(naive_t(d, grain)[:2])
        assert stats.summary(d, grain=grain).sd == pytest.approx(d.std(ddof=1), abs=1e-15)
    wide = np.array([0.1, 0.9, -0.4])
    assert stats.paired_t(wide, 0 * wide, grain=0.1) == stats.paired_t(wide, 0 * wide)


@pytest.mark.parametrize("images", [10, 30, 100, 1000])
@pytest.mark.parametrize("trials", [2, 3, 4])
def test_the_same_arm_twice_does_not_differ_more_often_than_promised(images, trials):
    rng = np.random.default_rng(images)
    a, b = rng.binomial(images, 0.85, (2, 40_000, trials)) / images
    rejected = np.mean(stats.paired_t(a, b, grain=1 / images).p_value < 0.05)
    assert rejected <= 0.053
    if trials == 2 and images <= 100:
        assert np.mean(stats.paired_t(a, b).p_value < 0.05) > 0.055  # what happens without


# --- multiplicity ------------------------------------------------------------------------------------------------


def test_holm_by_hand():
    """Holm 1979's procedure on p = .01, .04, .03, .005: x4, x3, x2, x1 in order of size, then made monotone."""
    np.testing.assert_allclose(stats.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(stats.holm([0.6, 0.5]), [1.0, 1.0])
    np.testing.assert_allclose(stats.holm([0.02, NAN, 0.03]), [0.04, NAN, 0.04])
    assert stats.holm([]).size == 0


def test_benjamini_hochberg_is_scipys():
    """The example of Benjamini and Hochberg 1995, of which four are rejected at 5%; and by hand."""
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
        0.7590,
        1.0,
    ]
    adjusted = stats.benjamini_hochberg(p)
    np.testing.assert_allclose(adjusted, oracle.false_discovery_control(p))
    assert (adjusted < 0.05).sum() == 4
    assert (stats.holm(p) < 0.05).sum() == 3
    np.testing.assert_allclose(stats.benjamini_hochberg([0.01, NAN, 0.03, 0.04]), [0.03, NAN, 0.04, 0.04])


# --- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: stats.paired_t([1.0, 2.0], [1.0, 2.0, 3.0]), "b: shape"),
        (lambda: stats.paired_t([1.0, NAN], [1.0, 2.0]), "a: 1 of 2 values"),
        (lambda: stats.paired_t([1.0, 2.0], [1.0, 2.0], grain=-0.1), "grain: -0.1 is not allowed; give a step of at"),
        (lambda: stats.summary([1.0, 2.0], grain=NAN), "grain: nan is not allowed"),
        (lambda: stats.welch([1.0, 2.0], [1.0, np.inf]), "b: 1 of 2 values"),
        (lambda: stats.welch(np.ones((2, 3)), np.ones(3)), "b: shape"),
        (lambda: stats.sign_flip(np.ones((2, 3)), np.ones((2, 3))), "a: shape"),
        (lambda: stats.sign_flip([1.0], [2.0], resamples=0), "resamples: 0"),
        (lambda: stats.sign_flip([1.0], [2.0], seed=-1), "seed: -1"),
        (lambda: stats.tost([1.0, 2.0], [1.0, 2.0], 0.0), "margin: 0.0"),
        (lambda: stats.tost([1.0, 2.0], [1.0, 2.0], -1), "margin: -1"),
        (lambda: stats.tost([1.0, 2.0], [1.0, 2.0], NAN), "margin: nan"),
        (lambda: stats.tost([1.0, 2.0], [1.0, 2.0], 1.0, alpha=0.0), "alpha: 0.0"),
        (lambda: stats.tost([1.0, 2.0], [1.0, 2.0], 1.0, alpha=1.0), "alpha: 1.0"),
        (lambda: stats.tost([1.0, 2.0], [1.0, 2.0], 1.0, alpha=0.5), "alpha: 0.5"),
        (lambda: stats.holm([0.1, 1.2]), "p_values: 1.2"),
        (lambda: stats.benjamini_hochberg([-0.1]), "p_values: -0.1"),
        (lambda: stats.holm([[0.1]]), "p_values: shape"),
        (lambda: stats.summary(3.0), "values: one number"),
        (lambda: stats.summary(["a"]), "values: values of type"),
        (lambda: stats.summary([1.0, 2.0], axis=1), "axis: 1"),
        (lambda: stats.interquartile_mean([1.0, NAN]), "values: 1 of 2"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(call, field):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value).startswith(field)
    assert "\n" not in str(caught.value)


def test_importing_the_statistics_loads_neither_jax_nor_scipy():
    code = "import sys, jaxinv.stats; print(sorted({'jax', 'scipy', 'xarray'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
