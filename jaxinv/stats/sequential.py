"""Intervals and p-values for a mean that stay valid however often one looks: the asymptotic kind, for any metric.

A fixed 95% interval promises that *one* look at a number of trials that was decided beforehand misses the mean in 5%
of all runs. Whoever looks, adds trials and looks again misses far more often: there are more chances to. A confidence
sequence promises that in 95% of all runs *no* look ever misses, however many there are and whatever made one look.
So one may look after every trial, stop when the answer is known, and go on with a run that had ended.

What stands here looks at a running mean and standard deviation alone; `jaxinv.stats.bernstein` holds the exact
alternative for metrics with known bounds.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxinv.stats import checks
from jaxinv.stats.checks import Figure
from jaxinv.utils.jsonable import jsonable

PRIOR_VARIANCE = 0.002
"""Variance of mean / standard deviation under the mixture. The interval is narrowest, beside the fixed one, at about
8 / PRIOR_VARIANCE = 4,000 trials. A smaller variance makes it speak later, and cover better where trials are skewed."""


@dataclass(frozen=True, kw_only=True)
class AnytimeInterval:
    """One look at a confidence sequence, after `n` trials; arrays [...] for several sequences, or several looks.

    `ci` holds the mean with the confidence asked for, at all looks together; `p_value` is the always-valid p-value of
    "the mean is the null value": the chance that it ever falls to alpha or below is at most alpha. `ci` leaves the null
    value out exactly where p_value < 1 - confidence.
    """

    n: Figure
    mean: Figure
    ci: tuple[Figure, Figure]
    p_value: Figure
    confidence: float
    method: str

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists for JSON; what is not finite becomes None."""
        return jsonable(self)


@dataclass(frozen=True)
class RunningMoments:
    """What the asymptotic sequence remembers of the trials so far: their number, mean and sum of squared deviations.

    >>> moments = RunningMoments().add([1.0, 2.0]).add([3.0])
    >>> moments.n, moments.mean, moments.sd
    (3, 2.0, 1.0)
    """

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: Any) -> "RunningMoments":
        """With more trials [T], in one pass over these alone (Chan, Golub and LeVeque 1983)."""
        x = checks.vector("values", values)
        if x.size == 0:
            return self
        n, own, squares = self.n + x.size, *map(float, _moments(x))
        gap = own - self.mean if self.n else 0.0
        if abs(gap) <= 10 * np.finfo(np.float64).eps * abs(own):  # rounding: trials that are all alike stay so
            gap = 0.0
        start = self.mean if self.n else own
        return RunningMoments(n, start + gap * x.size / n, self.squares + squares + gap**2 * self.n * x.size / n)

    @property
    def sd(self) -> float:
        """Standard deviation; NaN for fewer than two trials."""
        return float(np.sqrt(self.squares / (self.n - 1))) if self.n > 1 else float("nan")

    def look(self, *, confidence: float = 0.95, null: float = 0.0, grain: float = 0.0) -> AnytimeInterval:
        """`anytime_interval` of all trials so far."""
        return look_of(np.asarray(self.n), np.asarray(self.mean), np.asarray(self.sd), confidence, null, grain)


def anytime_interval(
    values: Any, *, confidence: float = 0.95, null: float = 0.0, grain: float = 0.0, axis: int = -1
) -> AnytimeInterval:
    """Anytime-valid interval and p-value for the mean of all the trials at hand: one look, by sums alone.

    The normal mixture of Robbins (1970) with an estimated standard deviation s. With r = 1 + n v, v = PRIOR_VARIANCE,
    t = sqrt(n) (mean - null) / s and u = t^2 / (n - 1), the evidence against the null value is the likelihood ratio of
    "mean / sd is drawn from N(0, v)" to "mean is the null value", with the scale integrated out,

        E = r^(-1/2) ((1 + u) / (1 + u / r))^(n / 2),   p = min(1, 1 / E),

    and the interval holds the values whose E is below 1 / alpha, alpha = 1 - confidence:

        mean ± s sqrt((n - 1) / n (K - 1) / (1 - K / r)),   K = (r / alpha^2)^(1 / n),

    or everything where K >= r: at 95%, up to `first_look()` - 1 = 56 trials.

    Assumes that trials are independent, of one distribution, with a finite variance. Normal trials: E is a martingale
    under the null, and the promise is exact from the second trial on (Wang and Ramdas 2023, arXiv 2310.03722). Any
    others: as n grows, the interval becomes mean ± s sqrt((n v + 1) / (n^2 v) (log(n v + 1) - 2 log alpha)), the
    asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2021, arXiv 2103.06476). By
    simulation (`benchmarks/sequential.py`) it holds at least 95% over all looks up to 10,000 trials for exponential,
    log-normal and t_3 differences, and for events with a chance from 10% on. Trials that rarely do something quite
    different, one in fifty say, are not seen in so few: there take `jaxinv.stats.bernstein`.

    At 95% it is 1.6 times as wide as the fixed interval for 2,000 to 10,000 trials, 1.9 times for 500 and for a
    million, 2.5 times for 200 and 3.8 times for 100.

    Args:
        values: trials [..., T]; differences of two arms for a comparison.
        confidence: chance that no look misses the mean.
        null: the value that the p-value tests.
        grain: the step in which values move: 1 / M for a share of M test images, or a difference of two. A sample
            that looks constant may still move by a step, so s is no smaller than half of one, the largest standard
            deviation between two neighbouring values. With no grain and no spread nothing is known of either: the
            interval is infinite and p = 1.
        axis: the trial axis.

    Raises:
        InputError: values that are not finite numbers, a confidence outside (0, 1), a negative grain.

    >>> seen = anytime_interval([0.1] * 100, grain=0.01)
    >>> round(seen.ci[0], 3), round(seen.ci[1], 3), seen.p_value < 0.05
    (0.096, 0.104, True)
    """
    x = checks.sample("values", values, axis)
    n = x.shape[-1]
    mean, squares = _moments(x) if n else np.full((2, *x.shape[:-1]), np.nan)
    return look_of(np.asarray(n), mean, np.sqrt(squares / (n - 1 if n > 1 else np.nan)), confidence, null, grain)


def confidence_sequence(
    values: Any, *, confidence: float = 0.95, null: float = 0.0, grain: float = 0.0, axis: int = -1
) -> AnytimeInterval:
    """`anytime_interval` after the first trial, after the first two, and so on: every look, by running sums.

    Args and errors: as for `anytime_interval`.

    Returns:
        Arrays [..., T], the looks along the last axis; `n` is [T].

    >>> looks = confidence_sequence(np.linspace(0.4, 0.6, 60))
    >>> int(looks.n[-1]), bool(np.isinf(looks.ci[0][55])), bool(np.isfinite(looks.ci[0][56]))
    (60, True, True)
    """
    x = checks.sample("values", values, axis)
    n = np.arange(1, x.shape[-1] + 1)
    start = x[..., :1]
    shifted = x - start  # running sums around the first value do not cancel
    shifted[np.abs(shifted) <= 10 * np.finfo(np.float64).eps * np.abs(start)] = 0.0
    moved = np.cumsum(shifted, axis=-1) / n
    squares = np.maximum(np.cumsum(np.square(shifted), axis=-1) - n * np.square(moved), 0.0)
    with np.errstate(invalid="ignore"):
        sd = np.sqrt(squares / np.where(n > 1, n - 1, np.nan))
    return look_of(n, start + moved, sd, confidence, null, grain)


def first_look(confidence: float = 0.95) -> int:
    """The smallest number of trials whose anytime-valid interval is finite.

    >>> first_look(), first_look(0.99)
    (57, 71)
    """
    checks.probability("confidence", confidence)
    n = 2
    while not np.isfinite(_radius(np.asarray(n), confidence)):
        n += 1
    return n


def trials_for(width: float, confidence: float = 0.95) -> int:
    """The smallest number of trials whose anytime-valid interval is mean ± width standard deviations; at most 10**15.

    >>> trials_for(0.1), trials_for(0.01)
    (1057, 114827)
    """
    checks.positive("width", width)
    low = first_look(confidence) - 1
    high = low + 1
    while _radius(np.asarray(float(high)), confidence) > width:
        low, high = high, 2 * high
        if high > 10**15:
            return 10**15
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _radius(np.asarray(float(middle)), confidence) <= width else (middle, high)
    return high


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sum of squared deviations of trials [..., T]; exactly 0 where they differ by no more than rounding."""
    mean = x.mean(axis=-1)
    apart = x - mean[..., None]
    squares = np.einsum("...t,...t->...", apart, apart)
    nothing = squares <= x.shape[-1] * np.square(10 * np.finfo(np.float64).eps * mean)
    return np.where(nothing, x[..., 0], mean), np.where(nothing, 0.0, squares)


def look_of(
    n: np.ndarray,
    mean: np.ndarray,
    sd: np.ndarray,
    confidence: float = 0.95,
    null: float = 0.0,
    grain: float = 0.0,
) -> AnytimeInterval:
    """`anytime_interval` from number, mean and standard deviation of trials; their shapes broadcast."""
    checks.probability("confidence", confidence)
    spread = np.maximum(sd, checks.step(grain) / 2)  # NaN stays NaN
    known = np.isfinite(mean)
    with np.errstate(invalid="ignore", divide="ignore"):
        half = np.where(spread > 0, spread * _radius(n, confidence), np.inf)
        r = 1 + n * PRIOR_VARIANCE
        u = np.square((mean - null) / spread) * n / (n - 1)
        ratio = np.where(np.isinf(u), np.log(r), np.log1p(u) - np.log1p(u / r))
        evidence = (n * ratio - np.log(r)) / 2
    p = np.where(spread > 0, np.exp(-np.maximum(evidence, 0.0)), 1.0)
    return AnytimeInterval(
        n=checks.figure(n) if n.ndim else int(n),
        mean=checks.figure(mean),
        ci=(checks.figure(np.where(known, mean - half, np.nan)), checks.figure(np.where(known, mean + half, np.nan))),
        p_value=checks.figure(np.where(known, p, np.nan)),
        confidence=float(confidence),
        method="asymptotic",
    )


def _radius(n: np.ndarray, confidence: float) -> np.ndarray:
    """Half-width of the interval over the standard deviation; infinite where n is too small to say anything."""
    prior = np.log1p(n * PRIOR_VARIANCE)  # log r
    with np.errstate(invalid="ignore", divide="ignore"):
        step = (prior - 2 * np.log1p(-confidence)) / n  # log K
        squared = (n - 1) / n * np.expm1(step) / -np.expm1(step - prior)
        return np.where((step < prior) & (n > 1), np.sqrt(squared), np.inf)
