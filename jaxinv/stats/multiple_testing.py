"""Multiple testing: p-values adjusted for having made many tests at once."""

from typing import Any

import numpy as np

from jaxinv.errors import InputError


def holm(p_values: Any) -> np.ndarray:
    """Holm's step-down adjusted p-values, in the order given (Holm 1979).

    Rejecting those < alpha keeps the family-wise error rate, the chance of any false rejection, below alpha, however
    the tests depend on each other. The i-th smallest of m becomes max over j <= i of min(1, (m - j + 1) p_(j)). NaN
    stays NaN and does not count.

    Raises:
        InputError: a p-value outside [0, 1].

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p, kept = _family(p_values)
    order = np.argsort(p[kept], kind="stable")
    m = order.size
    stepped = np.minimum(1.0, np.maximum.accumulate((m - np.arange(m)) * p[kept][order]))
    return _back(p, kept, order, stepped)


def benjamini_hochberg(p_values: Any) -> np.ndarray:
    """Benjamini-Hochberg adjusted p-values (`scipy.stats.false_discovery_control`), in the order given.

    Rejecting those < alpha keeps the false discovery rate, the expected share of false rejections among the rejected,
    below alpha, for tests that are independent or positively dependent (Benjamini and Hochberg 1995). NaN stays NaN
    and does not count.

    Raises:
        InputError: a p-value outside [0, 1].

    >>> benjamini_hochberg([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.04, 0.04]
    """
    from scipy import stats

    p, kept = _family(p_values)
    adjusted = np.full(p.shape, np.nan)
    if kept.any():
        adjusted[kept] = stats.false_discovery_control(p[kept], method="bh")
    return adjusted


def _family(p_values: Any) -> tuple[np.ndarray, np.ndarray]:
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1:
        raise InputError(f"p_values: shape {p.shape} is not allowed; give one family, shape (m,)")
    kept = ~np.isnan(p)
    if np.any((p[kept] < 0) | (p[kept] > 1)):
        raise InputError(f"p_values: {p[kept & ~((p >= 0) & (p <= 1))][0]} is not allowed; give values from 0 to 1")
    return p, kept


def _back(p: np.ndarray, kept: np.ndarray, order: np.ndarray, stepped: np.ndarray) -> np.ndarray:
    inside = np.empty(order.size)
    inside[order] = stepped
    adjusted = np.full(p.shape, np.nan)
    adjusted[kept] = inside
    return adjusted
