"""From trials to verdicts: intervals and tests against SciPy, error rates by simulation."""

from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from jaxinv import stats
from jaxinv.experiments.claims.evidence import (
    UNTESTED,
    Estimate,
    Part,
    above,
    difference,
    fact,
    mean_of,
    ratio,
    share_above,
    share_interval,
    verdict,
    widest,
    within,
)


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
    part = within(difference(a, b), 0.5)
    assert part.inside == pytest.approx(stats.tost(a, b, 0.5, alpha=0.025).p_value, rel=1e-10)
    assert (verdict(part) == "supported") == stats.tost(a, b, 0.5, alpha=0.025).equivalent


@pytest.mark.parametrize("margin", np.linspace(-1, 1.5, 21).tolist())
def test_verdict_is_where_the_interval_lies(margin):
    a, b = sample()
    found = difference(a, b)
    low, high = found.ci95
    wanted = "supported" if low > margin else "refuted" if high < margin else "inconclusive"
    assert verdict(above(found, margin)) == wanted
    if margin > 0:
        inside, outside = -margin < low and high < margin, low > margin or high < -margin
        assert verdict(within(found, margin)) == ("supported" if inside else "refuted" if outside else "inconclusive")


def test_equivalence_is_refuted_on_either_side():
    for sign in (1, -1):
        assert verdict(within(mean_of(sign * np.array([0.9, 1.0, 1.1, 1.0])), 0.5)) == "refuted"


def test_too_few_trials_decide_nothing():
    for values in ([], [0.7]):
        assert verdict(above(mean_of(values), 0.0)) == "inconclusive"
        assert verdict(within(mean_of(values), 1.0)) == "inconclusive"
    assert verdict(UNTESTED) == "inconclusive"


def test_trials_that_all_agree_decide_at_once():
    same = mean_of([0.25, 0.25, 0.25])
    assert same.ci95 == (0.25, 0.25)
    assert [verdict(above(same, margin)) for margin in (0.2, 0.25, 0.3)] == ["supported", "inconclusive", "refuted"]
    assert [verdict(within(same, margin)) for margin in (0.2, 0.3)] == ["refuted", "supported"]


def test_all_parts_have_to_hold_and_refuting_is_adjusted():
    yes, no, weak = (
        Part(inside=0.001, outside=0.999),
        Part(inside=0.999, outside=0.001),
        Part(inside=0.98, outside=0.02),
    )
    assert verdict(yes, yes) == "supported"
    assert verdict(yes, Part(inside=0.03, outside=0.97)) == "inconclusive"
    assert verdict(yes, no) == "refuted"
    assert verdict(weak) == "refuted"
    assert verdict(weak, yes) == "inconclusive"  # 2 * 0.02 > 0.025
    assert verdict(no, UNTESTED) == "refuted"
    assert verdict(yes, UNTESTED) == "inconclusive"
    assert (verdict(fact(True)), verdict(fact(False)), verdict(fact(True), yes)) == (
        "supported",
        "refuted",
        "supported",
    )


@pytest.mark.parametrize(("hits", "count"), [(0, 9), (9, 9), (4, 9), (69, 69), (1, 1), (300, 1000)])
def test_shares_are_scipys_exact_binomial(hits, count):
    test: Any = scipy_stats.binomtest(hits, count).proportion_ci(0.95, "exact")
    np.testing.assert_allclose(share_interval(hits, count), (test.low, test.high), atol=1e-12)
    for share in (0.2, 0.5, 0.9):
        part = share_above(hits, count, share)
        for alternative, p in (("greater", part.inside), ("less", part.outside)):
            exact: Any = scipy_stats.binomtest(hits, count, share, alternative=alternative)
            assert p == pytest.approx(exact.pvalue, rel=1e-9)


def test_no_share_of_nothing():
    assert share_above(0, 0, 0.5) == UNTESTED
    assert np.isnan(share_interval(0, 0)).all()


def test_ratio_covers_the_true_ratio():
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(2000):
        b = rng.normal(2.0, 0.4, 40)
        low, high = ratio(0.35 * b + rng.normal(0.0, 0.05, 40), b).ci95
        hits += low < 0.35 < high
    assert 0.935 <= hits / 2000 <= 0.965


def test_wrong_verdicts_at_the_boundary_are_as_rare_as_promised():
    """At a true figure on the margin itself, either definite verdict is wrong in 2.5% of cases."""
    rng = np.random.default_rng(8)
    drawn = [verdict(above(mean_of(rng.normal(0.1, 1.0, 15)), 0.1)) for _ in range(3000)]
    for wrong in ("supported", "refuted"):
        assert 0.018 <= drawn.count(wrong) / 3000 <= 0.033


def test_family_of_true_parts_is_refuted_no_more_often_than_promised():
    """Four figures that each sit on their margin: Holm keeps a refutation of any of them at 2.5%."""
    rng = np.random.default_rng(9)
    drawn = [verdict(*(above(mean_of(x), 0.0) for x in rng.normal(0.0, 1.0, (4, 12)))) for _ in range(1200)]
    assert drawn.count("refuted") / 1200 <= 0.035


def test_widest_is_farthest_from_zero():
    near, far = (Estimate(value=value, error=0.1, df=3.0, n=4) for value in (0.2, -0.5))
    assert widest([near, far]) is far
