"""Descriptive statistics of one sample of trials."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxinv.stats import checks
from jaxinv.stats.checks import Figure
from jaxinv.utils.jsonable import jsonable


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The figures of one sample; arrays [...] when several samples were summarised at once.

    `n` counts the finite values, which alone enter the other figures; `omitted` counts those left out.
    `sd` has n - 1 in its denominator. `ci95` is the t interval for the mean over new trials. `sd` and `ci95` are NaN
    for n < 2, everything is for n = 0.
    """

    n: Figure
    omitted: Figure
    mean: Figure
    sd: Figure
    ci95: tuple[Figure, Figure]
    median: Figure
    iqm: Figure

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists for JSON; what is not finite becomes None."""
        return jsonable(self)


def summary(values: Any, *, axis: int = -1, grain: float = 0.0) -> Summary:
    """Mean, standard deviation, 95% t interval, median and interquartile mean of the finite values along an axis.

    Args:
        values: numbers, trials along `axis`.
        axis: the trial axis.
        grain: the step in which values move, as for `paired_t`: the interval rests on half of one where `sd` is less.

    Returns:
        A `Summary` of floats for a vector, of arrays for more axes. Values that are not finite are left out and
        counted in `omitted`.

    >>> s = summary([1.0, 2.0, 3.0, float("nan")])
    >>> s.n, s.omitted, s.mean, s.sd
    (3, 1, 2.0, 1.0)
    """
    x = checks.trials_last("values", values, axis)
    good = np.isfinite(x)
    n = good.sum(axis=-1)
    ordered = np.sort(np.where(good, x, np.nan), axis=-1)  # NaN sorts last
    median = _middle(ordered, n)
    # Around the median: no cancellation in the sums, and a constant sample has a spread of exactly zero.
    centred = np.where(np.isfinite(ordered), ordered - median[..., None], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = centred.sum(axis=-1) / n
        inside = np.arange(x.shape[-1]) < n[..., None]
        squares = np.square(centred - shift[..., None]).sum(axis=-1, where=inside)
        sd = np.sqrt(squares / np.where(n > 1, n - 1, np.nan))
        half = _t_quantile(0.975, n - 1) * np.maximum(sd, checks.step(grain) / 2) / np.sqrt(n)
        iqm = median + _trimmed(centred, n)
    mean = median + shift
    whole = (lambda a: int(a)) if x.ndim == 1 else np.asarray
    f = checks.figure
    return Summary(
        n=whole(n),
        omitted=whole(x.shape[-1] - n),
        mean=f(mean),
        sd=f(sd),
        ci95=(f(mean - half), f(mean + half)),
        median=f(median),
        iqm=f(iqm),
    )


def interquartile_mean(values: Any, *, axis: int = -1) -> Figure:
    """Mean of the middle half: the sorted values without the lowest and the highest floor(n / 4).

    The definition of `scipy.stats.trim_mean(values, 0.25)`. More robust than the mean to a few failed trials, more
    efficient than the median.

    Raises:
        InputError: a value is not finite.

    >>> interquartile_mean([0.0, 1.0, 2.0, 100.0])
    1.5
    """
    x = np.sort(checks.sample("values", values, axis), axis=-1)
    n = np.full(x.shape[:-1], x.shape[-1])
    median = _middle(x, n)
    with np.errstate(invalid="ignore", divide="ignore"):
        return checks.figure(median + _trimmed(x - median[..., None], n))


def published_z(published: float, values: Any) -> float:
    """Where a published value falls in the distribution over one's own runs: (published - mean) / sd.

    The denominator is the spread of single runs, not the standard error: |z| < 2 says that the published figure is
    one this experiment would readily produce. NaN for fewer than two runs; 0 or ±inf where the runs do not differ.

    >>> published_z(3.0, [1.0, 2.0, 3.0])
    1.0
    """
    x = checks.vector("values", values)
    if x.size < 2:
        return float("nan")
    s = summary(x)
    gap = float(published) - s.mean
    if s.sd == 0:
        return 0.0 if gap == 0 else float(np.copysign(np.inf, gap))
    return gap / s.sd


def _middle(ordered: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Median of the first n of each sorted row; NaN where n is 0."""
    if ordered.shape[-1] == 0:
        return np.full(n.shape, np.nan)
    low, high = np.maximum(n - 1, 0) // 2, np.minimum(n // 2, ordered.shape[-1] - 1)
    ends = [np.take_along_axis(ordered, k[..., None], axis=-1)[..., 0] for k in (low, high)]
    return ends[0] + (ends[1] - ends[0]) / 2


def _trimmed(centred: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Mean of ranks floor(n/4) .. n - floor(n/4) - 1 of each sorted row."""
    cut = n // 4
    rank = np.arange(centred.shape[-1])
    kept = (rank >= cut[..., None]) & (rank < (n - cut)[..., None])
    return centred.sum(axis=-1, where=kept) / (n - 2 * cut)


def _t_quantile(p: float, df: np.ndarray) -> np.ndarray:
    from scipy import special

    return special.stdtrit(np.where(df > 0, df, np.nan), p)
