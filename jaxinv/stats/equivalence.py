"""Evidence for "no difference that matters", which a large p-value of a test of difference is not."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxinv.errors import InputError
from jaxinv.stats import checks
from jaxinv.stats.paired import TTest, paired_t, welch
from jaxinv.utils.jsonable import jsonable


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """Two one-sided t-tests that |mean a - mean b| < margin.

    `p_lower` tests the difference against <= -margin, `p_upper` against >= margin; `p_value` is the larger, and
    `equivalent` says p_value < alpha, the same as `interval`, of level 1 - 2 alpha, lying inside ±margin.
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
        return {name: jsonable(getattr(self, name)) for name in self.__dataclass_fields__}


def tost(a: Any, b: Any, margin: float, *, alpha: float = 0.05, paired: bool = True) -> Equivalence:
    """Equivalence of two arms within a margin by two one-sided t-tests (Schuirmann 1987), paired or Welch's.

    Choose the margin before looking at the data. Constant differences: p is 0 inside the margin and 1 on it or
    outside. Fewer than two trials: NaN, and not equivalent.

    Args:
        a, b: trials of two arms [T]; the same trials in both if `paired`.
        margin: the largest difference that does not matter, in the unit of the values.
        alpha: level of each one-sided test.
        paired: compare trial by trial; else as unpaired samples of possibly different sizes.

    Raises:
        InputError: margin <= 0, alpha outside (0, 0.5), unequal trials, or a value that is not finite.

    >>> tost([0.50, 0.51, 0.52], [0.51, 0.50, 0.52], margin=0.1).equivalent
    True
    """
    first, second = checks.vector("a", a), checks.vector("b", b)
    return tost_of(paired_t(first, second) if paired else welch(first, second), margin, alpha)


def tost_of(test: TTest, margin: float, alpha: float = 0.05) -> Equivalence:
    """`tost` from a t-test already made of one pair of vectors."""
    from scipy import special

    checks.positive("margin", margin)
    if checks.probability("alpha", alpha) >= 0.5:
        raise InputError(f"alpha: {alpha!r} leaves no interval of level 1 - 2 alpha; it must be below 0.5")
    difference, nan = test.difference, float("nan")
    if np.isnan(test.t):
        interval, lower, upper = (nan, nan), nan, nan
    elif np.isinf(test.t) or test.sd == 0:
        interval, lower, upper = (difference, difference), float(difference <= -margin), float(difference >= margin)
    else:
        error = test.standard_error
        half = float(special.stdtrit(test.df, 1 - alpha)) * error
        lower = float(special.stdtr(test.df, -(difference + margin) / error))
        upper = float(special.stdtr(test.df, (difference - margin) / error))
        interval = (difference - half, difference + half)
    p = max(lower, upper) if lower == lower else nan
    return Equivalence(
        margin=float(margin),
        alpha=float(alpha),
        difference=difference,
        interval=interval,
        p_lower=lower,
        p_upper=upper,
        p_value=p,
        equivalent=bool(p < alpha),
    )
