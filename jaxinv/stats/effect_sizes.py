"""Effect sizes of two arms over the same trials, and what pairing them gained."""

from typing import Any, NamedTuple

import numpy as np

from jaxinv.stats import checks
from jaxinv.stats.checks import Figure
from jaxinv.stats.t_tests import paired_t


class Pairing(NamedTuple):
    """Pearson correlation of the pairs, and (var a + var b) / var(a - b).

    The second is how many times more unpaired trials would be needed for an interval as narrow: above 1 where the
    arms are positively correlated. NaN where a figure is 0 / 0, infinite where the arms differ by a constant.
    """

    correlation: float
    gain: float


def superiority(a: Any, b: Any, *, axis: int = -1) -> Figure:
    """Probability that a trial does better in arm a than in arm b: P(a > b) + P(a = b) / 2. NaN without trials.

    Args:
        a, b: the same trials in two arms, [..., T] with trials along `axis`.

    Raises:
        InputError: shapes that differ, values that are not finite numbers, an axis that is not there.

    >>> superiority([1.0, 2.0, 3.0, 4.0], [0.0, 2.0, 4.0, 0.0])
    0.625
    """
    first, second = checks.pairs(a, b, axis)
    if first.shape[-1] == 0:
        return checks.figure(np.full(first.shape[:-1], np.nan))
    return checks.figure((np.sign(first - second).mean(axis=-1) + 1) / 2)


def cohen_dz(a: Any, b: Any, *, axis: int = -1, grain: float = 0.0) -> Figure:
    """Effect size of paired trials, d_z = mean(d) / sd(d) with d = a - b (Cohen 1988).

    0 where all differences are zero, NaN for fewer than two trials. sd(d) counts as half the grain at least; without a
    grain, d_z is ±inf where all differences are one other constant.

    Args:
        a, b: the same trials in two arms, [..., T] with trials along `axis`.
        grain: the step in which a and b move, as for `paired_t`.

    Raises:
        InputError: shapes that differ, values that are not finite numbers, an axis that is not there.

    >>> cohen_dz([2.0, 3.0, 4.0], [1.0, 1.0, 1.0])
    2.0
    """
    test = paired_t(a, b, axis=axis)
    mean, sd = np.asarray(test.difference), np.maximum(test.sd, checks.step(grain) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return checks.figure(np.where((sd == 0) & (mean == 0), 0.0, mean / sd))


def pairing(a: Any, b: Any) -> Pairing:
    """How strongly the two arms move together from trial to trial, and what comparing them pairwise gained.

    var(a - b) = var a + var b - 2 cov(a, b): pairing pays only where the covariance is positive.

    Args:
        a, b: the same trials in two arms, [T]. Fewer than two give NaN.

    Raises:
        InputError: shapes that differ or are not [T], values that are not finite numbers.
    """
    first, second = (checks.vector(field, x) for field, x in zip("ab", checks.pairs(a, b), strict=True))
    if first.size < 2:
        return Pairing(float("nan"), float("nan"))
    d = first - second
    var = [0.0 if checks.constant(x) else float(x.var(ddof=1)) for x in (first, second, d)]
    covariance = float(np.mean((first - first.mean()) * (second - second.mean()))) * first.size / (first.size - 1)
    scale = float(np.sqrt(var[0]) * np.sqrt(var[1]))
    apart = var[0] + var[1]
    gain = apart / var[2] if var[2] > 0 else (float("inf") if apart > 0 else float("nan"))
    return Pairing(float(np.clip(covariance / scale, -1, 1)) if scale > 0 else float("nan"), gain)
