"""Wilcoxon's signed-rank test of paired differences."""

from typing import Any

import numpy as np

from jaxinv.stats import checks
from jaxinv.stats.permutation_tests import EXACT, PTest, exact_sign_flip


def wilcoxon(a: Any, b: Any, *, resolution: float = 0.0) -> PTest:
    """Wilcoxon's signed-rank test of paired differences (`scipy.stats.wilcoxon`); zero differences are left out.

    The statistic is the sum of the ranks of |d| over the positive d = a - b (Wilcoxon 1945). Assumes independent
    trials whose differences, were there nothing to find, would be spread symmetrically around 0.

    Exact for up to 36 pairs, with ties or without, and for up to 50 without ties; else the normal approximation
    with its correction for ties.

    Args:
        a, b: the same trials in two arms [T].
        resolution: sizes of differences no further apart than this are one size (0: none are), so that ties broken
            by float32 rounding count as ties.

    Returns:
        `PTest(p_value, method)`: p = 1 where all differences are zero, NaN without trials.

    Raises:
        InputError: shapes that differ or are not [T], values that are not finite numbers.
    """
    d = checks.differences(a, b)
    if resolution > 0 and d.size:
        d = np.sign(d) * _merged(np.abs(d), resolution)
    if d.size == 0:
        return PTest(float("nan"), "no trials")
    d = d[d != 0]
    if d.size == 0:
        return PTest(1.0, "exact")
    from scipy import stats

    tied = d.size <= 50 and np.unique(np.abs(d)).size < d.size
    if tied and d.size <= EXACT:
        return PTest(exact_sign_flip(np.sign(d) * stats.rankdata(np.abs(d))), "exact")
    exact = d.size <= 50 and not tied
    test: Any = stats.wilcoxon(d)
    return PTest(float(test.pvalue), "exact" if exact else "normal approximation")


def _merged(size: np.ndarray, resolution: float) -> np.ndarray:
    """Sizes with clumps of width `resolution` made equal; where values lie dense, a grid that fine cuts them up."""
    values, back = np.unique(size, return_inverse=True)
    first = np.diff(values, prepend=-np.inf) > resolution
    first |= (values > 0) & (np.concatenate([[0.0], values[:-1]]) == 0)  # no difference is not a small one
    clump = np.cumsum(first) - 1
    start = values[first]
    last = values[np.append(np.flatnonzero(first)[1:] - 1, values.size - 1)]
    wide = (last - start > 2 * resolution)[clump]
    grid = np.round((values - start[clump]) / resolution) * resolution
    return (start[clump] + np.where(wide, grid, 0.0))[back]
