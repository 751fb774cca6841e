"""Intervals and p-values that stay valid however often one looks: the exact kind, for metrics with known bounds."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jaxinv.errors import InputError
from jaxinv.stats import checks
from jaxinv.stats.sequential import AnytimeInterval

LARGEST_BET = 0.9
"""The paper's 1/2 gives an interval twice as wide where trials spread over little of their bounds."""

CHUNK = 1 << 14  # trials whose intermediate values stay in a core's cache


@dataclass(frozen=True)
class RunningBernstein:
    """What the empirical-Bernstein sequence remembers of the trials so far; begin with the bounds alone.

    Attributes:
      bounds: the values that a trial can have lie between these, 0 and 1 for an accuracy, -1 and 1 for a difference of
        two. Everything below is in units in which they are 0 and 1.
      confidence: the bets are tuned for it.
      largest_bet: no bet is larger; below 1.
      n: trials.
      total: sum of the trials.
      spread: sum of their squared distances from the running mean.
      bets: sum of the bets.
      won: sum of the bets times the trials.
      paid: sum of what the bets cost.

    >>> seen = RunningBernstein((0.0, 1.0)).add([0.5] * 400).add([0.5] * 600).look(null=0.6)
    >>> seen.n, round(seen.ci[0], 3), round(seen.ci[1], 3), seen.p_value < 1e-9
    (1000, 0.496, 0.504, True)
    """

    bounds: tuple[float, float]
    confidence: float = 0.95
    largest_bet: float = LARGEST_BET
    n: int = 0
    total: Any = 0.0
    spread: Any = 0.0
    bets: Any = 0.0
    won: Any = 0.0
    paid: Any = 0.0

    def __post_init__(self) -> None:
        checks.probability("confidence", self.confidence)
        checks.probability("largest_bet", self.largest_bet)
        low, high = self.bounds
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise InputError(f"bounds: {self.bounds!r} is not allowed; give two finite numbers, the lower one first")

    def add(self, values: Any) -> "RunningBernstein":
        """With more trials [..., T] in their order, in one pass over these alone."""
        x = self._scaled(checks.sample("values", values))
        seen = self
        for start in range(0, x.shape[-1], CHUNK):
            part = x[..., start : start + CHUNK]
            seen = replace(seen, n=seen.n + part.shape[-1], **seen._sums(part, every=False))
        return seen

    @property
    def sd(self) -> float:
        """Standard deviation, roughly: about the running mean, which begins in the middle of the bounds."""
        low, high = self.bounds
        return float(np.sqrt(self.spread / self.n)) * (high - low) if self.n else float("nan")

    def look(self, *, null: float = 0.0) -> AnytimeInterval:
        """`bernstein_interval` of all trials so far."""
        return self._look(np.asarray(self.n), null)

    def looks(self, values: Any, *, null: float = 0.0) -> AnytimeInterval:
        """A look after each further trial [..., T]: arrays [..., T]."""
        x = self._scaled(checks.sample("values", values))
        seen = replace(self, **self._sums(x, every=True))
        return seen._look(self.n + np.arange(1, x.shape[-1] + 1), null)

    def _scaled(self, x: np.ndarray) -> np.ndarray:
        low, high = self.bounds
        bad = x[(x < low) | (x > high)]
        if bad.size:
            raise InputError(f"values: {bad[0]:g} is not allowed; give values within the bounds, {low:g} to {high:g}")
        return (x - low) / (high - low)

    def _sums(self, x: np.ndarray, *, every: bool) -> dict[str, np.ndarray]:
        """The five sums with more trials [..., T], after each of them [..., T] or after all [...]."""
        names = ("total", "spread", "bets", "won", "paid")
        carried = {name: np.asarray(getattr(self, name))[..., None] for name in names}
        i = self.n + np.arange(1, x.shape[-1] + 1)
        total = carried["total"] + np.cumsum(x, axis=-1)
        mean = (0.5 + total) / (i + 1)
        spread = carried["spread"] + np.cumsum(np.square(x - mean), axis=-1)

        def before(start: np.ndarray, running: np.ndarray) -> np.ndarray:  # what was known before each trial
            start = np.broadcast_to(start, (*running.shape[:-1], 1))
            return np.concatenate([start, running[..., :-1]], axis=-1)

        guess = before((0.5 + carried["total"]) / (self.n + 1), mean)
        variance = before((0.25 + carried["spread"]) / (self.n + 1), (0.25 + spread) / (i + 1))
        bet = np.minimum(np.sqrt(2 * self._threshold / (variance * (i * np.log(i + 1)))), self.largest_bet)
        parts = {"bets": bet, "won": bet * x, "paid": np.square(x - guess) * (-np.log(1 - bet) - bet)}
        if every:
            later = {name: carried[name] + np.cumsum(part, axis=-1) for name, part in parts.items()}
            return {"total": total, "spread": spread} | later
        later = {name: carried[name][..., 0] + part.sum(axis=-1) for name, part in parts.items()}
        return {"total": total[..., -1], "spread": spread[..., -1]} | later

    @property
    def _threshold(self) -> float:
        return float(np.log(2 / (1 - self.confidence)))

    def _look(self, n: np.ndarray, null: float) -> AnytimeInterval:
        low, high = self.bounds
        if not low <= null <= high:
            raise InputError(f"null: {null:g} is not allowed; give a value within the bounds, {low:g} to {high:g}")
        unit = high - low
        with np.errstate(invalid="ignore", divide="ignore"):
            centre = low + unit * np.divide(self.won, self.bets)
            half = unit * np.divide(self._threshold + self.paid, self.bets)
            mean = low + unit * np.divide(self.total, n)
        excess = np.abs(self.won - self.bets * (null - low) / unit) - self.paid
        some = n > 0
        ends = [np.where(some, np.clip(end, low, high), np.nan) for end in (centre - half, centre + half)]
        return AnytimeInterval(
            n=checks.figure(n) if n.ndim else int(n),
            mean=checks.figure(mean),
            ci=(checks.figure(ends[0]), checks.figure(ends[1])),
            p_value=checks.figure(np.where(some, np.minimum(1.0, 2 * np.exp(-excess)), np.nan)),
            confidence=float(self.confidence),
            method="empirical Bernstein",
        )


def bernstein_interval(
    values: Any, bounds: tuple[float, float], *, confidence: float = 0.95, null: float = 0.0, axis: int = -1
) -> AnytimeInterval:
    """Anytime-valid interval and p-value for the mean of trials with known bounds: exact for any number of trials.

    The predictable plug-in empirical-Bernstein sequence of Waudby-Smith and Ramdas (2024, JRSS B 86, Theorem 2). With
    trials x_i scaled to [0, 1], running means m_i = (1/2 + x_1 + ... + x_i) / (i + 1), variances
    s_i^2 = (1/4 + sum (x_j - m_j)^2) / (i + 1), and bets that only look back,

        b_i = min(0.9, sqrt(2 log(2 / alpha) / (s_(i-1)^2 i log(i + 1)))),

    the interval is (sum b_i x_i ± (log(2 / alpha) + sum (x_i - m_(i-1))^2 (-log(1 - b_i) - b_i))) / sum b_i, and p is
    the alpha, at these bets, whose interval just reaches the null value.

    Assumes only that every trial lies within the bounds and has the same mean given the trials before it. The price:
    with a standard deviation of 0.0085 of differences between -1 and 1, as of accuracies near 0.9, it is 11 times as
    wide as the fixed interval for 2,000 trials and 5 times for 10,000; with 0.1, 2.3 times.

    Args:
        values: trials [..., T], in their order.
        bounds: between which every trial must lie: (0, 1) for an accuracy, (-1, 1) for a difference of two.
        confidence: chance that no look misses the mean.
        null: the value that the p-value tests.
        axis: the trial axis.

    Raises:
        InputError: a value outside the bounds, bounds that are not finite, a confidence outside (0, 1).

    >>> bernstein_interval([0.0] * 1000, (-1.0, 1.0)).p_value
    1.0
    """
    x = checks.sample("values", values, axis)
    return RunningBernstein((float(bounds[0]), float(bounds[1])), confidence).add(x).look(null=null)


def bernstein_sequence(
    values: Any, bounds: tuple[float, float], *, confidence: float = 0.95, null: float = 0.0, axis: int = -1
) -> AnytimeInterval:
    """`bernstein_interval` after the first trial, after the first two, and so on: every look, by running sums.

    Args and errors: as for `bernstein_interval`.

    Returns:
        Arrays [..., T], the looks along the last axis; `n` is [T].
    """
    x = checks.sample("values", values, axis)
    return RunningBernstein((float(bounds[0]), float(bounds[1])), confidence).looks(x, null=null)
