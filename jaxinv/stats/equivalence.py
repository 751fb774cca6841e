"""Evidence for "no difference that matters", which a large p-value of a test of difference is not."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxinv.errors import InputError
from jaxinv.stats import checks
from jaxinv.stats.few_trials import FEWEST
from jaxinv.stats.t_tests import TTest, paired_t, welch
from jaxinv.utils.jsonable import jsonable


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """Two one-sided t-tests that |mean a - mean b| < margin.

    `p_lower` tests the difference against <= -margin, `p_upper` against >= margin; `p_value` is the larger, and
    `equivalent` says p_value < alpha, the same as `interval`, of level 1 - 2 alpha, lying inside ±margin; never with
    fewer than six trials.
    """

    margin: float
    alpha: float
    difference: float
    interval: tuple[float, float]
    p_lower: float
    p_upper: float
    p_value: float
    equivalent: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        return jsonable(self)


def tost(a: Any, b: Any, margin: float, *, alpha: float = 0.05, paired: bool = True) -> Equivalence:
    """Equivalence of two arms within a margin by two one-sided t-tests (Schuirmann 1987), paired or Welch's.

    Choose the margin before looking at the data. Constant differences: p is 0 inside the margin and 1 on it or
    outside. Fewer than two trials: NaN; fewer than six: not equivalent.

    Args:
        a, b: trials of two arms [T]; the same trials in both if `paired`.
        margin: the largest difference that does not matter, in the unit of the values.
        alpha: level of each one-sided test.
        paired: compare trial by trial; else as unpaired samples of possibly different sizes.

    Raises:
        InputError: margin <= 0, alpha outside (0, 0.5), unequal trials, or a value that is not finite.

    >>> tost([0.50, 0.51, 0.52, 0.50, 0.51, 0.52], [0.51, 0.50, 0.52, 0.51, 0.50, 0.52], margin=0.1).equivalent
    True
    """
    first, second = checks.vector("a", a), checks.vector("b", b)
    return tost_of(paired_t(first, second) if paired else welch(first, second), margin, alpha)


def tost_of(test: TTest, margin: float, alpha: float = 0.05) -> Equivalence:
    """`tost` from a t-test already made of one pair of vectors."""
    from scipy import special

    checks.positive("margin", margin)
    if checks.probability("alpha", alpha) >= 0.5:
        raise InputError(f"alpha: {alpha!r} is not allowed; give a number below 0.5")
    error = 0.0 if np.isinf(test.t) else test.standard_error
    half = float(special.stdtrit(test.df, 1 - alpha)) * error if error > 0 else error
    lower = one_sided_p(test.difference, -margin, error=error, df=test.df)
    upper = one_sided_p(-test.difference, -margin, error=error, df=test.df)
    p = max(lower, upper) if lower == lower else float("nan")
    return Equivalence(
        margin=float(margin),
        alpha=float(alpha),
        difference=test.difference,
        interval=(test.difference - half, test.difference + half),
        p_lower=lower,
        p_upper=upper,
        p_value=p,
        equivalent=bool(p < alpha and np.min(test.n) >= FEWEST),
    )


def one_sided_p(estimate: float, bound: float, *, error: float, df: float) -> float:
    """One-sided t-test that a true value lies above a bound: P(T >= (estimate - bound) / error), T of Student's t.

    For the test that it lies below, negate the estimate and the bound. Two such tests, against -margin and margin,
    make TOST.

    Args:
        estimate: of the true value.
        bound: what the value is at most, if there is nothing to find.
        error: standard error of the estimate; 0, where trials do not vary, gives 0 or 1.
        df: degrees of freedom of the error.

    Returns:
        The p-value; NaN where the estimate or its error is.

    >>> one_sided_p(1.0, 0.0, error=0.5, df=10) < 0.05, one_sided_p(1.0, 1.0, error=0.0, df=10)
    (True, 1.0)
    """
    from scipy import special

    if np.isnan(error) or np.isnan(estimate):
        return float("nan")
    return float(estimate <= bound) if error == 0 else float(special.stdtr(df, (bound - estimate) / error))
