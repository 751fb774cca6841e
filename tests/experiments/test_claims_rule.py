"""From trials to verdicts: intervals and tests against SciPy, error rates by simulation."""

from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from jaxinv import stats
from jaxinv.experiments.claims.estimates import (
    Estimate,
    Mean,
    Share,
    cause,
    difference,
    exact,
    factor,
    mean_of,
    ratio,
    widest,
)
from jaxinv.experiments.claims.rule import Criterion, PValues, Region, Verdict, verdict

UNTESTED = PValues(float("nan"), float("nan"))


def apply(region: Region, estimate: Estimate, margin: float) -> PValues:
    """Both tests of one criterion."""
    return Criterion(figure="the figure", region=region, margin=margin).apply(estimate)


def judged(region: Region, estimate: Estimate, margin: float) -> Verdict:
    """The verdict of a claim with this criterion alone."""
    return verdict([apply(region, estimate, margin)])


def sample(seed: int = 0, n: int = 12, mean: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=n)
    return shared + rng.normal(mean, 0.5, n), shared


def test_estimate_is_scipys_paired_t():
    a, b = sample()
    found = difference(a, b)
    wanted: Any = scipy_stats.ttest_rel(a, b)
    np.testing.assert_allclose(found.ci95, wanted.confidence_interval(0.95), rtol=1e-12)
    assert found.n == 12
    for margin in (-0.2, 0.0, 0.4):
        for alternative, p in (("greater", found.p_above(margin)), ("less", found.p_below(margin))):
            test: Any = scipy_stats.ttest_1samp(a - b, margin, alternative=alternative)
            assert p == pytest.approx(test.pvalue, rel=1e-10)
    np.testing.assert_allclose(mean_of(a - b).ci95, found.ci95)


@pytest.mark.parametrize("mean", [0.0, 0.4, -0.6])
def test_equivalence_is_two_one_sided_tests(mean):
    a, b = sample(mean=mean)
    part = apply("within", difference(a, b), 0.5)
    assert part.inside == pytest.approx(stats.tost(a, b, 0.5, alpha=0.025).p_value, rel=1e-10)
    assert (verdict([part]) == "supported") == stats.tost(a, b, 0.5, alpha=0.025).equivalent


@pytest.mark.parametrize("margin", np.linspace(-1, 1.5, 21).tolist())
def test_verdict_is_where_the_interval_lies(margin):
    a, b = sample()
    found = difference(a, b)
    low, high = found.ci95
    wanted = "supported" if low > margin else "refuted" if high < margin else "inconclusive"
    assert judged("above", found, margin) == wanted
    if margin > 0:
        inside, outside = -margin < low and high < margin, low > margin or high < -margin
        assert judged("within", found, margin) == ("supported" if inside else "refuted" if outside else "inconclusive")


def test_equivalence_is_refuted_on_either_side():
    for sign in (1, -1):
        assert judged("within", mean_of(sign * np.array([0.9, 1.0, 1.1, 1.0, 0.9, 1.1])), 0.5) == "refuted"


def test_too_few_trials_decide_nothing():
    for values in ([], [0.7], [0.7, 0.7], [0.69, 0.7, 0.71, 0.7, 0.7]):
        assert judged("above", mean_of(values), 0.0) == "inconclusive"
        assert judged("within", mean_of(values), 1.0) == "inconclusive"
    assert verdict([UNTESTED]) == "inconclusive"


def test_six_trials_may_decide_and_five_are_said_to_be_too_few():
    near = np.array([0.69, 0.7, 0.71, 0.7, 0.7, 0.7])
    gain = Criterion(figure="the gain", region="above", margin=0.5)
    assert judged("above", mean_of(near), 0.5) == "supported"
    assert judged("above", factor(np.exp(near[:5]), np.ones(5)), 1.1) == "inconclusive"
    assert gain.compare(mean_of(near[:5])).endswith("; n = 5 is too few to say whether it is more than 0.5.")
    assert gain.compare(mean_of(near)).endswith("], more than 0.5.")


def test_trials_that_all_agree_decide_at_once():
    same = mean_of([0.25] * 6)
    assert same.ci95 == (0.25, 0.25)
    assert [judged("above", same, margin) for margin in (0.2, 0.25, 0.3)] == ["supported", "inconclusive", "refuted"]
    assert [judged("within", same, margin) for margin in (0.2, 0.3)] == ["refuted", "supported"]


def test_all_parts_have_to_hold_and_refuting_is_adjusted():
    yes, no, weak = (
        PValues(0.001, 0.999),
        PValues(0.999, 0.001),
        PValues(0.98, 0.02),
    )
    assert verdict([yes, yes]) == "supported"
    assert verdict([yes, PValues(0.03, 0.97)]) == "inconclusive"
    assert verdict([yes, no]) == "refuted"
    assert verdict([weak]) == "refuted"
    assert verdict([weak, yes]) == "inconclusive"  # 2 * 0.02 > 0.025
    assert verdict([no, UNTESTED]) == "refuted"
    assert verdict([yes, UNTESTED]) == "inconclusive"
    assert verdict([]) == "inconclusive"


def test_exact_figures_decide_at_once():
    for value, wanted in ((0.0, "supported"), (0.5, "supported"), (0.6, "refuted"), (np.inf, "refuted")):
        assert judged("at most", exact(value, 9), 0.5) == wanted
    assert judged("at most", exact(float("nan"), 9), 0.5) == "inconclusive"
    yes = PValues(0.001, 0.999)
    assert verdict([apply("at most", exact(0.0, 9), 0.0), yes]) == "supported"


def test_at_most_is_the_opposite_of_above():
    for margin in (-0.2, 0.1, 0.3, 0.9):
        found = difference(*sample())
        above, at_most = apply("above", found, margin), apply("at most", found, margin)
        assert (at_most.inside, at_most.outside) == (pytest.approx(above.outside), pytest.approx(above.inside))


def test_factor_is_the_t_interval_of_the_logarithms():
    a, b = (np.exp(one) for one in sample())
    found, logs = factor(a, b), mean_of(np.log(a / b))
    assert found.value == pytest.approx(np.exp(logs.value))
    np.testing.assert_allclose(found.ci95, np.exp(logs.ci95))
    assert apply("above", found, 1.5) == pytest.approx(apply("above", logs, float(np.log(1.5))))


@pytest.mark.parametrize(
    ("region", "words"),
    [("above", "more than 10%"), ("within", "within ±10%"), ("at most", "at most 10%")],
)
def test_rule_and_comparison_name_the_same_region(region, words):
    criterion = Criterion(figure="the share", region=region, margin=0.1, unit="%")
    assert words in criterion.sentence
    for value in (-0.5, 0.0, 0.5):
        found = mean_of(value + np.array([-0.001, 0.0, 0.001, 0.0, 0.0, 0.0]))
        said, out = criterion.compare(found), verdict([criterion.apply(found)])
        assert said.startswith(f"The share is {100 * value:.3g}% [")
        assert said.endswith(f"], {words}." if out == "supported" else f"], not {words}.")
    wide = mean_of([-3.0, 0.1, 3.2] * 2)
    assert criterion.compare(wide).endswith(f"; that leaves open whether it is {words}.")
    assert criterion.compare(mean_of([])) == "The share could not be estimated."


@pytest.mark.parametrize(("hits", "count"), [(0, 9), (9, 9), (4, 9), (69, 69), (1, 1), (300, 1000)])
def test_shares_are_scipys_exact_binomial(hits, count):
    test: Any = scipy_stats.binomtest(hits, count).proportion_ci(0.95, "exact")
    np.testing.assert_allclose(Share(hits=hits, n=count).ci95, (test.low, test.high), atol=1e-12)
    for share in (0.2, 0.5, 0.9):
        part = apply("above", Share(hits=hits, n=count), share)
        for alternative, p in (("greater", part.inside), ("less", part.outside)):
            wanted: Any = scipy_stats.binomtest(hits, count, share, alternative=alternative)
            assert p == pytest.approx(wanted.pvalue, rel=1e-9)


def test_no_share_of_nothing():
    assert np.isnan(apply("above", Share(hits=0, n=0), 0.5)).all()
    assert np.isnan(Share(hits=0, n=0).ci95).all()


def test_ratio_covers_the_true_ratio():
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(2000):
        b = rng.normal(2.0, 0.4, 40)
        low, high = ratio(0.35 * b + rng.normal(0.0, 0.05, 40), b).ci95
        hits += low < 0.35 < high
    assert 0.935 <= hits / 2000 <= 0.965


@pytest.mark.slow
def test_wrong_verdicts_at_the_boundary_are_as_rare_as_promised():
    """At a true figure on the margin itself, either definite verdict is wrong in 2.5% of cases."""
    rng = np.random.default_rng(8)
    drawn = [judged("above", mean_of(rng.normal(0.1, 1.0, 15)), 0.1) for _ in range(3000)]
    for wrong in ("supported", "refuted"):
        assert 0.018 <= drawn.count(wrong) / 3000 <= 0.033


@pytest.mark.slow
def test_family_of_true_parts_is_refuted_no_more_often_than_promised():
    """Four figures that each sit on their margin: Holm keeps a refutation of any of them at 2.5%."""
    rng = np.random.default_rng(9)
    drawn = [verdict([apply("above", mean_of(x), 0.0) for x in rng.normal(0.0, 1.0, (4, 12))]) for _ in range(1200)]
    assert drawn.count("refuted") / 1200 <= 0.035


def test_widest_is_farthest_from_zero():
    near, far = (Mean(value=value, error=0.1, df=3.0, n=4) for value in (0.2, -0.5))
    assert widest([near, far]) is far


@pytest.mark.parametrize(("without", "share"), [([0.4, 0.5, 0.6], 0.8), ([0.1, -0.1, 0.02], np.nan), ([0.1, 0.1], 0.0)])
def test_nothing_comes_back_where_nothing_is_known_to_be_lost(without, share):
    found = cause("centring", "MLP", np.array(without), np.full(len(without), 0.1)).share
    assert found.value == pytest.approx(share, nan_ok=True)
    assert np.isnan(found.ci95[0]) == np.isnan(share)
