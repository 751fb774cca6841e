"""Student's paired and Welch's unpaired t-test of the mean difference of two arms.

Paired: trial t has the same initial weights and the same batches in both arms, so its two results are compared with
each other: differences d_t = a_t - b_t. Everything here speaks about new *trials* on the same test images.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxinv.errors import InputError
from jaxinv.stats import checks
from jaxinv.stats.checks import Figure


@dataclass(frozen=True, kw_only=True)
class TTest:
    """A difference of means with its 95% interval and two-sided p-value; arrays [...] for several at once.

    `sd` is that of the differences (paired), or sqrt(var a + var b) (unpaired). `standard_error` is what the interval
    and the test rest on.
    """

    n: int | tuple[int, int]
    difference: Figure
    sd: Figure
    standard_error: Figure
    ci95: tuple[Figure, Figure]
    t: Figure
    df: Figure
    p_value: Figure


def paired_t(a: Any, b: Any, *, axis: int = -1, grain: float = 0.0) -> TTest:
    """Paired t-test of the mean difference a - b (`scipy.stats.ttest_rel`).

    t = mean(d) / (sd(d) / sqrt(T)), with T - 1 degrees of freedom (Student 1908). Assumes that trials are independent
    and that the mean of d is near normal, which it is for many trials whatever the shape of d.

    Accuracies are counts of M test images and move in steps of 1 / M. Two or three of them easily differ by the same
    amount in two arms, and sd(d) = 0 would then prove anything. So with a grain the standard error rests on half a step
    at least, the largest standard deviation of a value that lies between two neighbouring steps. Arms that are the same
    then reject in at most 5.3% of all experiments, for 2 to 10 trials on 10 to 10,000 images, instead of up to 11%.

    Differences that are all zero: t = 0, p = 1. All the same but not zero, without a grain: t = ±inf, p = 0, an
    interval of width 0. Fewer than two trials: the difference, and NaN for the rest.

    Args:
        a, b: the same trials in two arms, along `axis`.
        axis: the trial axis.
        grain: the step in which a and b move, 1 / M for accuracies on M test images; 0: none.

    Raises:
        InputError: shapes differ, a value is not finite, or the grain is negative.

    >>> paired_t([2.0, 3.0, 4.0], [1.0, 1.0, 1.0]).difference
    2.0
    >>> round(paired_t([0.6, 0.7], [0.5, 0.6], grain=0.1).p_value, 3)
    0.216
    """
    first, second = checks.pairs(a, b, axis)
    checks.step(grain)
    d = first - second
    n = d.shape[-1]
    if n == 0:
        gap = np.full(d.shape[:-1], np.nan)
        return _ttest(n, gap, gap, gap, (gap, gap), gap, gap, gap)
    mean = d.mean(axis=-1)
    nothing = np.full(mean.shape, np.nan)
    if n < 2:
        return _ttest(n, mean, nothing, nothing, (nothing, nothing), nothing, nothing, nothing)
    from scipy import special

    same = checks.constant(d)
    mean = np.where(same, d[..., 0], mean)
    sd = np.where(same, 0.0, d.std(axis=-1, ddof=1))
    error = np.maximum(sd, grain / 2) / np.sqrt(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where((error == 0) & (mean == 0), 0.0, mean / error)
    half = special.stdtrit(n - 1, 0.975) * error
    p = 2 * special.stdtr(n - 1, -np.abs(t))
    return _ttest(n, mean, sd, error, (mean - half, mean + half), t, np.full(mean.shape, n - 1.0), p)


def welch(a: Any, b: Any, *, axis: int = -1) -> TTest:
    """Welch's t-test of mean a - mean b for *unpaired* trials (`scipy.stats.ttest_ind_from_stats`, unequal variances).

    t = (mean a - mean b) / sqrt(var a / T_a + var b / T_b), with the degrees of freedom of Welch (1947) and
    Satterthwaite. Assumes independent trials and means that are near normal; the variances may differ.

    For runs that share neither weights nor batches: chains against chains, or an arm against itself under other
    seeds. The two samples may differ in size. `sd` is the square root of var a + var b. Both samples constant:
    p = 1 where they agree, 0 where they do not. A sample of fewer than two trials: the difference and NaN.

    Raises:
        InputError: a value is not finite, or the axes other than `axis` differ.
    """
    first, second = checks.sample("a", a, axis), checks.sample("b", b, axis)
    if first.shape[:-1] != second.shape[:-1]:
        raise InputError(f"b: shape {np.shape(b)} is not allowed; give a's shape {np.shape(a)} in all but axis {axis}")
    n = (first.shape[-1], second.shape[-1])
    nothing = np.full(first.shape[:-1], np.nan)
    if min(n) == 0:
        return _ttest(n, nothing, nothing, nothing, (nothing, nothing), nothing, nothing, nothing)
    difference = first.mean(axis=-1) - second.mean(axis=-1)
    if min(n) < 2:
        return _ttest(n, difference, nothing, nothing, (nothing, nothing), nothing, nothing, nothing)
    from scipy import special, stats

    same = checks.constant(first) & checks.constant(second)
    difference = np.where(same, first[..., 0] - second[..., 0], difference)
    variance = [np.where(checks.constant(x), 0.0, x.var(axis=-1, ddof=1)) for x in (first, second)]
    sd = np.sqrt(variance[0] + variance[1])
    error = np.sqrt(variance[0] / n[0] + variance[1] / n[1])
    t = np.where(same, np.where(difference == 0, 0.0, np.copysign(np.inf, difference)), nothing)
    p = np.where(same, np.where(difference == 0, 1.0, 0.0), nothing)
    low, high, df = np.where(same, difference, nothing), np.where(same, difference, nothing), nothing.copy()
    if not same.all():
        rest = ~same
        moments = [(x[rest].mean(axis=-1), np.sqrt(v[rest])) for x, v in zip((first, second), variance, strict=True)]
        test: Any = stats.ttest_ind_from_stats(*moments[0], n[0], *moments[1], n[1], equal_var=False)
        shares = [v[rest] / size for v, size in zip(variance, n, strict=True)]
        df[rest] = (shares[0] + shares[1]) ** 2 / (shares[0] ** 2 / (n[0] - 1) + shares[1] ** 2 / (n[1] - 1))
        half = special.stdtrit(df[rest], 0.975) * error[rest]
        t[rest], p[rest] = test.statistic, test.pvalue
        low[rest], high[rest] = difference[rest] - half, difference[rest] + half
    return _ttest(n, difference, sd, error, (low, high), t, df, p)


def _ttest(n: Any, difference: Any, sd: Any, error: Any, ci95: tuple[Any, Any], t: Any, df: Any, p: Any) -> TTest:
    f = checks.figure
    return TTest(
        n=n,
        difference=f(difference),
        sd=f(sd),
        standard_error=f(error),
        ci95=(f(ci95[0]), f(ci95[1])),
        t=f(t),
        df=f(df),
        p_value=f(p),
    )
