"""Estimates from trials, each with its 95% interval and the one-sided p-values that place it beside a margin."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from jaxinv import stats
from jaxinv.stats.few_trials import FEWEST

LEVEL = 0.025
"""Of each one-sided test; an interval of 95% leaves so much out on either side."""

NAN = float("nan")


class Estimate(Protocol):
    """A figure estimated from `n` trials, or whatever it was counted on."""

    @property
    def value(self) -> float: ...

    @property
    def ci95(self) -> tuple[float, float]: ...

    @property
    def n(self) -> int: ...

    def p_above(self, margin: float) -> float:
        """One-sided p-value of "the true figure is at most `margin`": small where it is above."""
        ...

    def p_below(self, margin: float) -> float:
        """One-sided p-value of "the true figure is at least `margin`": small where it is below."""
        ...


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean with its standard error and degrees of freedom. All NaN where n does not allow them.

    There are no p-values of fewer than six trials, but for figures that are no matter of chance (`exact`).
    """

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
        """See `Estimate`."""
        from scipy import special

        if np.isnan(self.error) or np.isnan(self.value) or (self.n < FEWEST and not np.isnan(self.df)):
            return NAN
        if self.error == 0:
            return float(self.value <= margin)
        return float(special.stdtr(self.df, (margin - self.value) / self.error))

    def p_below(self, margin: float) -> float:
        """See `Estimate`."""
        return Mean(value=-self.value, error=self.error, df=self.df, n=self.n).p_above(-margin)


def mean_of(values: Any) -> Mean:
    """The mean of one figure a trial [T]."""
    values = np.asarray(values, np.float64)
    return difference(values, np.zeros_like(values))


def difference(a: Any, b: Any) -> Mean:
    """The mean of a - b over paired trials [T]."""
    test = stats.paired_t(np.asarray(a, np.float64), np.asarray(b, np.float64))
    assert isinstance(test.n, int)
    return Mean(value=test.difference, error=test.standard_error, df=test.df, n=test.n)


def ratio(a: Any, b: Any) -> Mean:
    """mean(a) / mean(b) over paired trials [T], for a mean(b) that is far from 0 beside its error.

    Linearised (the delta method): its error is that of the mean of (a - ratio b) / mean(b).

    >>> ratio([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]).value
    0.5
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    share = a.mean() / b.mean()
    return mean_of(share + (a - share * b) / b.mean())


@dataclass(frozen=True, kw_only=True)
class Cause:
    """How much of the accuracy that inverting costs comes back when one thing is changed.

    Attributes:
      change: what is changed; a noun phrase.
      network: where that was tried.
      share: of the loss; 1 is all of it.
    """

    change: str
    network: str
    share: Mean

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        share = {"share": self.share.value, "ci95": self.share.ci95, "n": self.share.n}
        return {"change": self.change, "network": self.network} | share


def cause(change: str, network: str, lost: np.ndarray, left: np.ndarray) -> Cause:
    """What a change brings back of a loss, from the differences in accuracy [T] without it and with it.

    The share is NaN where the interval of the loss does not lie above 0: nothing is known to have been lost.

    >>> round(cause("centring", "MLP", np.array([0.4, 0.6, 0.5]), np.array([0.1, 0.1, 0.1])).share.value, 6)
    0.8
    """
    share = ratio(lost - left, lost)
    return Cause(
        change=change, network=network, share=share if mean_of(lost).ci95[0] > 0 else replace(share, value=NAN)
    )


def exact(value: float, n: int) -> Mean:
    """A figure that is no matter of chance, found on `n` cases."""
    return Mean(value=value, error=0.0, df=NAN, n=n)


@dataclass(frozen=True, kw_only=True)
class Factor:
    """A geometric mean of ratios: e to the power of the mean of their logarithms."""

    log: Mean

    @property
    def value(self) -> float:
        return float(np.exp(self.log.value))

    @property
    def ci95(self) -> tuple[float, float]:
        """The t interval of the logarithms."""
        low, high = self.log.ci95
        return float(np.exp(low)), float(np.exp(high))

    @property
    def n(self) -> int:
        return self.log.n

    def p_above(self, margin: float) -> float:
        """See `Estimate`."""
        return self.log.p_above(float(np.log(margin)))

    def p_below(self, margin: float) -> float:
        """See `Estimate`."""
        return self.log.p_below(float(np.log(margin)))


def factor(a: Any, b: Any) -> Factor:
    """The geometric mean of a / b over paired trials [T].

    >>> factor([2.0, 8.0], [1.0, 1.0]).value
    4.0
    """
    return Factor(log=mean_of(np.log(np.asarray(a, np.float64) / np.asarray(b, np.float64))))


@dataclass(frozen=True, kw_only=True)
class Share:
    """A binomial share, with the exact interval and tests of Clopper and Pearson. NaN where nothing was counted."""

    hits: int
    n: int

    @property
    def value(self) -> float:
        return self.hits / self.n if self.n else NAN

    @property
    def ci95(self) -> tuple[float, float]:
        from scipy import special

        hits, n = self.hits, self.n
        if n == 0:
            return NAN, NAN
        low = 0.0 if hits == 0 else float(special.betaincinv(hits, n - hits + 1, LEVEL))
        high = 1.0 if hits == n else float(special.betaincinv(hits + 1, n - hits, 1 - LEVEL))
        return low, high

    def p_above(self, margin: float) -> float:
        """P(X >= hits) at a share of `margin`."""
        from scipy import special

        if self.n == 0:
            return NAN
        return 1.0 if self.hits == 0 else float(special.betainc(self.hits, self.n - self.hits + 1, margin))

    def p_below(self, margin: float) -> float:
        """P(X <= hits) at a share of `margin`."""
        from scipy import special

        if self.n == 0:
            return NAN
        return 1.0 if self.hits == self.n else float(special.betaincc(self.hits + 1, self.n - self.hits, margin))


def widest(estimates: Sequence[Mean]) -> Mean:
    """The estimate farthest from 0."""
    return max(estimates, key=lambda estimate: abs(estimate.value))
