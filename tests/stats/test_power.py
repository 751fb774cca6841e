"""Power against quadrature and simulation; variance components and McNemar's test against closed forms."""

from typing import Any

import numpy as np
import pytest
import scipy.stats

from jaxinv import stats
from jaxinv.errors import InputError

oracle: Any = scipy.stats  # SciPy's result classes carry no types

UNIT = np.array([0.0, 1.0, 2.0])  # sd 1


def quadrature(shift: float, n: int, alpha: float) -> float:
    """P(|Z + shift| > bound * sqrt(chi2 / df)), integrated over the quantiles of chi2, denser at both ends."""
    v = (np.arange(40_000) + 0.5) / 40_000
    s = np.sqrt(oracle.chi2.ppf(3 * v**2 - 2 * v**3, n - 1) / (n - 1))
    bound = oracle.t.ppf(1 - alpha / 2, n - 1)
    beyond = oracle.norm.cdf(shift - bound * s) + oracle.norm.cdf(-shift - bound * s)
    return float(np.mean(6 * v * (1 - v) * beyond))


@pytest.mark.parametrize("n", [2, 3, 10, 100, 10_000])
@pytest.mark.parametrize("alpha", [1e-6, 0.05, 0.5])
@pytest.mark.parametrize("shift", [0.0, 0.1, 2.0, -5.0, 60.0])
def test_power_is_the_noncentral_t(n, alpha, shift):
    got = stats.power(UNIT, n, alpha=alpha, effect=shift / np.sqrt(n))
    assert got == pytest.approx(quadrature(shift, n, alpha), abs=2e-6)


def test_power_of_no_effect_is_alpha_and_of_an_array_is_an_array():
    np.testing.assert_allclose(stats.power(UNIT, [2, 20, 200], alpha=0.01, effect=0.0), [0.01] * 3)
    assert stats.power(UNIT, [[2, 3]]).shape == (1, 2)
    assert isinstance(stats.power(UNIT, 5), float)


def test_power_is_how_often_the_paired_t_test_rejects():
    rng = np.random.default_rng(0)
    d = rng.normal(0.4, 1.0, size=(20_000, 30))
    seen = np.mean(stats.paired_t(d, np.zeros_like(d)).p_value < 0.05)
    assert stats.power(UNIT, 30, effect=0.4) == pytest.approx(seen, abs=0.01)


def test_the_pilots_own_mean_is_the_default_effect():
    pilot = np.random.default_rng(0).normal(0.3, 1, size=40)
    assert stats.power(pilot, 50) == stats.power(pilot, 50, effect=pilot.mean())
    assert stats.power(pilot, 50) == stats.power(-pilot, 50)


@pytest.mark.parametrize("effect", [3.0, 1.0, -0.5, 0.1, 0.003])
@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.99])
def test_trials_needed_is_the_smallest_number_that_suffices(effect, wanted):
    got = stats.trials_needed(UNIT, power=wanted, effect=effect)
    assert got.power >= wanted
    assert stats.power(UNIT, got.trials, effect=effect) == got.power
    if got.trials > 2:
        assert stats.power(UNIT, got.trials - 1, effect=effect) < wanted
    normal = ((oracle.norm.ppf(0.975) + oracle.norm.ppf(wanted)) / effect) ** 2
    assert 0.999 * normal < got.trials < normal + 5
    assert got.effect_size == effect


def test_trials_needed_known_answer():
    """d_z = 0.5, power 0.8, alpha 0.05: 34 pairs (Cohen 1988; G*Power 3)."""
    assert stats.trials_needed(UNIT, effect=0.5).trials == 34


def test_the_cautious_number_covers_a_pilot_that_was_lucky():
    """The confidence limit of sd lies above the true one in 80% of pilots, so that four in five plans suffice."""
    rng = np.random.default_rng(0)
    enough = [stats.trials_needed(rng.normal(0, 1, 10), effect=0.8).cautious >= 15 for _ in range(300)]
    assert stats.trials_needed(UNIT, effect=0.8).trials == 15
    assert 0.74 < np.mean(enough) < 0.88


def test_a_pilot_that_does_not_vary():
    assert stats.power([0.1, 0.1], 2) == 1.0
    assert stats.power([0.0, 0.0], 2) == 0.0
    got = stats.trials_needed([0.1, 0.1])
    assert (got.trials, got.cautious, got.effect_size) == (2, 2, np.inf)
    assert got.to_dict()["effect_size"] is None


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: stats.power([1.0], 5), "differences: a pilot of 1"),
        (lambda: stats.power([1.0, np.nan], 5), "differences: 1 of 2"),
        (lambda: stats.power(UNIT, 1), "n: 1"),
        (lambda: stats.power(UNIT, 2.5), "n: 2.5"),
        (lambda: stats.power(UNIT, 5, alpha=1.0), "alpha: 1.0"),
        (lambda: stats.power(UNIT, 5, effect=np.inf), "effect: inf"),
        (lambda: stats.trials_needed(UNIT, power=1.0), "power: 1.0"),
        (lambda: stats.trials_needed(UNIT, effect=0.0), "effect: 0 is not allowed"),
        (lambda: stats.trials_needed([-1.0, 1.0]), "effect: the pilot's mean"),
        (lambda: stats.trials_needed(UNIT, effect=1e-9), "effect: 1e-09 is not allowed; give one that sd 1 lets"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(call, field):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value).startswith(field)
    assert "\n" not in str(caught.value)


# --- variation over trials and over test images ------------------------------------------------------------------


def tables(trials: int, images: int, *, trial_sd: float, image_sd: float, seed: int = 0, gap: float = 0.0):
    """Correctness of two arms from a latent score with a trial's and an image's own part in their difference."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(1, images))
    arms = [
        shared + image_sd * rng.normal(size=(1, images)) + trial_sd * rng.normal(size=(trials, 1)) for _ in range(2)
    ]
    return tuple(arm + 0.5 + side * gap + rng.normal(size=(trials, images)) > 0 for side, arm in enumerate(arms))


def test_variance_components_are_the_two_way_anova():
    a, b = tables(7, 50, trial_sd=0.3, image_sd=0.5)
    d = a.astype(float) - b
    mean, rows, columns = d.mean(), d.mean(axis=1, keepdims=True), d.mean(axis=0, keepdims=True)
    ms_trial = 50 * ((rows - mean) ** 2).sum() / 6
    ms_image = 7 * ((columns - mean) ** 2).sum() / 49
    ms_rest = ((d - rows - columns + mean) ** 2).sum() / (6 * 49)
    got = stats.variation(a, b)
    np.testing.assert_allclose(
        [got.difference, got.variance_trial, got.variance_image, got.variance_residual],
        [mean, (ms_trial - ms_rest) / 50, (ms_image - ms_rest) / 7, ms_rest],
    )
    both = got.new_trials_and_images
    assert got.variance_trial > 0
    assert got.variance_image > 0
    np.testing.assert_allclose(both.standard_error**2, got.variance_trial / 7 + got.variance_image / 50 + ms_rest / 350)
    parts = np.array([ms_trial, ms_image, -ms_rest])
    np.testing.assert_allclose(both.df, parts.sum() ** 2 / (parts**2 / [6, 49, 294]).sum())
    np.testing.assert_allclose((got.accuracy_a, got.accuracy_b), (a.mean(), b.mean()))


def test_the_interval_for_new_trials_is_the_paired_t_of_accuracies_and_for_new_images_that_over_images():
    a, b = tables(9, 60, trial_sd=0.2, image_sd=0.4)
    got = stats.variation(a, b)
    for interval, axis in ((got.new_trials, 1), (got.new_images, 0)):
        expected = stats.paired_t(a.mean(axis=axis), b.mean(axis=axis))
        np.testing.assert_allclose(interval.ci95, expected.ci95)
        np.testing.assert_allclose(interval.standard_error, expected.standard_error)
        assert interval.df == pytest.approx(expected.df)
    swapped = stats.variation(a.T, b.T)
    np.testing.assert_allclose(swapped.new_images.ci95, got.new_trials.ci95)
    np.testing.assert_allclose(swapped.new_trials_and_images.ci95, got.new_trials_and_images.ci95)


def test_a_negative_component_counts_as_nothing():
    """Rows that are rolled copies of one another have the same mean: trials vary less than chance would have them."""
    row = np.arange(12) % 3 == 0
    a = np.stack([np.roll(row, t) for t in range(3)] * 4)
    got = stats.variation(a, np.zeros_like(a))
    assert got.variance_trial < 0
    assert got.new_trials.standard_error == 0.0
    assert got.new_trials_and_images.standard_error > 0
    d = a.astype(float)
    rest = ((d - d.mean(0) - d.mean(1, keepdims=True) + d.mean()) ** 2).sum() / 121
    np.testing.assert_allclose(got.new_trials_and_images.standard_error, np.sqrt(rest / 144))


def test_what_few_trials_or_images_do_not_allow_is_nan():
    a, b = tables(1, 30, trial_sd=0, image_sd=0)
    one = stats.variation(a, b)
    assert np.isfinite(one.new_images.ci95).all()
    assert np.isnan([*one.new_trials.ci95, *one.new_trials_and_images.ci95, one.variance_trial]).all()
    assert one.to_dict()["new_trials"]["ci95"] == [None, None]
    assert "same test images" in one.to_dict()["new_trials"]["covers"]
    same = stats.variation(np.ones((3, 4), bool), np.ones((3, 4), bool))
    assert same.difference == 0.0
    assert same.new_trials_and_images.ci95 == (0.0, 0.0)


def test_slabs_do_not_show(monkeypatch):
    a, b = tables(11, 40, trial_sd=0.3, image_sd=0.3)
    whole = stats.variation(a, b)
    monkeypatch.setattr("jaxinv.stats.paired_proportions.SLAB", 90)
    assert stats.variation(a, b) == whole


def test_each_intervals_coverage_is_that_of_what_it_covers():
    """Arms alike on average; each interval holds 0 as often as it should when just what it covers is drawn anew."""
    hits = np.zeros(3)
    for seed in range(800):
        a, b = tables(15, 120, trial_sd=0.4, image_sd=0.8, seed=seed)
        got = stats.variation(a, b)
        for k, interval in enumerate((got.new_trials, got.new_images, got.new_trials_and_images)):
            hits[k] += interval.ci95[0] <= 0 <= interval.ci95[1]
    assert 0.93 < hits[2] / 800 < 0.98
    assert (hits[:2] / 800 < 0.9).all()  # 0 is the truth for new trials AND new images: one of them is not enough


def test_mcnemar_trial_by_trial_is_the_binomial_test():
    a, b = tables(6, 200, trial_sd=0.3, image_sd=0.4, gap=0.2)
    a[5] = b[5]
    got = stats.mcnemar(a, b)
    for t in range(6):
        only_a, only_b = np.count_nonzero(a[t] & ~b[t]), np.count_nonzero(~a[t] & b[t])
        assert (got.only_a[t], got.only_b[t]) == (only_a, only_b)
        if t < 5:
            assert got.p_value[t] == pytest.approx(oracle.binomtest(only_a, only_a + only_b).pvalue, rel=1e-9)
    assert got.p_value[5] == 1.0
    assert (got.pooled_only_a, got.pooled_only_b) == (got.only_a.sum(), got.only_b.sum())


def test_pooling_one_trial_is_mcnemars_chi_square_and_copies_of_a_trial_add_nothing():
    a, b = tables(1, 300, trial_sd=0.3, image_sd=0.4, gap=0.2)
    one = stats.mcnemar(a, b)
    chi2 = (one.only_a[0] - one.only_b[0]) ** 2 / (one.only_a[0] + one.only_b[0])
    assert one.pooled_p_value == pytest.approx(oracle.chi2.sf(chi2, 1))
    copies = stats.mcnemar(np.repeat(a, 20, axis=0), np.repeat(b, 20, axis=0))
    assert copies.pooled_p_value == pytest.approx(one.pooled_p_value)
    assert stats.mcnemar(a, a).pooled_p_value == 1.0
    assert stats.mcnemar(a, a).to_dict()["p_value"] == [1.0]


@pytest.mark.parametrize("function", [stats.variation, stats.mcnemar])
@pytest.mark.parametrize(
    ("a", "b", "field"),
    [
        (np.ones((2, 3)), np.ones((2, 3)), "correct_a: float64 (2, 3)"),
        (np.ones((2, 3), bool), np.ones(3, bool), "correct_b: bool (3,)"),
        (np.ones((2, 3), bool), np.ones((3, 2), bool), "correct_b: shape (3, 2)"),
        (np.ones((0, 3), bool), np.ones((0, 3), bool), "correct_a: bool (0, 3)"),
    ],
)
def test_tables_of_the_wrong_kind_are_refused(function, a, b, field):
    with pytest.raises(InputError) as caught:
        function(a, b)
    assert str(caught.value).startswith(field)
