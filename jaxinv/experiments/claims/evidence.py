"""From trials to a verdict, by one rule for every claim.

A claim names a region that a figure is to lie in ("more than 0.005", "within ±0.005 of 0"), stated before any trial is
run. It is *supported* if the figure's 95% interval lies inside the region, *refuted* if it lies outside, and else
*inconclusive*: more trials would tell. A claim that names several figures is supported if all of them are; it is
refuted if one is, after Holm's adjustment for having looked at several.

In terms of tests, each side is a one-sided t-test of level 2.5%; for a region around 0 that is TOST.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from jaxinv import stats

SUPPORTED, REFUTED, INCONCLUSIVE = "supported", "refuted", "inconclusive"
Verdict = Literal["supported", "refuted", "inconclusive"]

LEVEL = 0.025
"""Of each one-sided test; an interval of 95% leaves so much out on either side."""

NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its standard error and degrees of freedom, from `n` trials. All NaN where n does not allow it."""

    value: float
    error: float
    df: float
    n: int

    @property
    def ci95(self) -> tuple[float, float]:
        """The t interval."""
        from scipy import special

        half = 0.0 if self.error == 0 else float(special.stdtrit(self.df, 1 - LEVEL)) * self.error
        return self.value - half, self.value + half

    def p_above(self, margin: float) -> float:
        """One-sided p-value of "the true figure is at most `margin`": small where it is above."""
        from scipy import special

        if np.isnan(self.error) or np.isnan(self.value):
            return NAN
        if self.error == 0:
            return float(self.value <= margin)
        return float(special.stdtr(self.df, (margin - self.value) / self.error))

    def p_below(self, margin: float) -> float:
        """One-sided p-value of "the true figure is at least `margin`": small where it is below."""
        return Estimate(value=-self.value, error=self.error, df=self.df, n=self.n).p_above(-margin)


def mean_of(values: Any) -> Estimate:
    """The mean of one figure a trial [T]."""
    values = np.asarray(values, np.float64)
    return difference(values, np.zeros_like(values))


def difference(a: Any, b: Any) -> Estimate:
    """The mean of a - b over paired trials [T]."""
    test = stats.paired_t(np.asarray(a, np.float64), np.asarray(b, np.float64))
    assert isinstance(test.n, int)
    return Estimate(value=test.difference, error=test.standard_error, df=test.df, n=test.n)


def ratio(a: Any, b: Any) -> Estimate:
    """mean(a) / mean(b) over paired trials [T], for a mean(b) that is far from 0 beside its error.

    Linearised (the delta method): its error is that of the mean of (a - ratio b) / mean(b).

    >>> ratio([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]).value
    0.5
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    share = a.mean() / b.mean()
    return mean_of(share + (a - share * b) / b.mean())


@dataclass(frozen=True, kw_only=True)
class Part:
    """One figure of a claim: p-values against its lying outside, and inside, the region that the claim names."""

    inside: float
    outside: float


def above(estimate: Estimate, margin: float) -> Part:
    """The claim that the figure is more than a margin."""
    return Part(inside=estimate.p_above(margin), outside=estimate.p_below(margin))


def within(estimate: Estimate, margin: float) -> Part:
    """The claim that the figure is less than a margin away from 0: equivalence, by two one-sided tests."""
    inside = max(estimate.p_above(-margin), estimate.p_below(margin))
    outside = min(estimate.p_above(margin), estimate.p_below(-margin))
    return Part(inside=inside, outside=outside)


def fact(holds: bool) -> Part:
    """A claim that is no matter of chance."""
    return Part(inside=float(not holds), outside=float(holds))


UNTESTED = Part(inside=NAN, outside=NAN)
"""A claim about something that is not there."""


def share_above(hits: int, count: int, share: float) -> Part:
    """The claim that a binomial share is more than a given one: exact tests (Clopper and Pearson)."""
    from scipy import special

    if count == 0:
        return UNTESTED
    inside = 1.0 if hits == 0 else float(special.betainc(hits, count - hits + 1, share))  # P(X >= hits)
    outside = 1.0 if hits == count else float(special.betaincc(hits + 1, count - hits, share))  # P(X <= hits)
    return Part(inside=inside, outside=outside)


def share_interval(hits: int, count: int) -> tuple[float, float]:
    """Clopper and Pearson's exact 95% interval of a binomial share."""
    from scipy import special

    if count == 0:
        return NAN, NAN
    low = 0.0 if hits == 0 else float(special.betaincinv(hits, count - hits + 1, LEVEL))
    high = 1.0 if hits == count else float(special.betaincinv(hits + 1, count - hits, 1 - LEVEL))
    return low, high


def verdict(*parts: Part) -> Verdict:
    """Supported if every part is, refuted if one is after Holm's adjustment, else inconclusive.

    >>> gain = mean_of([0.011, 0.012, 0.013, 0.012])
    >>> verdict(above(gain, 0.005)), verdict(above(gain, 0.05)), verdict(above(gain, 0.012))
    ('supported', 'refuted', 'inconclusive')
    """
    if all(part.inside < LEVEL for part in parts):  # NaN is not
        return SUPPORTED
    if np.any(stats.holm([part.outside for part in parts]) < LEVEL):
        return REFUTED
    return INCONCLUSIVE


def widest(estimates: Sequence[Estimate]) -> Estimate:
    """The estimate farthest from 0."""
    return max(estimates, key=lambda estimate: abs(estimate.value))
