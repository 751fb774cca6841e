"""Power analysis of the paired t-test: how many trials a comparison needs, from a pilot of paired trials."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxinv.errors import InputError
from jaxinv.stats import checks
from jaxinv.stats.checks import Figure
from jaxinv.utils.jsonable import jsonable


@dataclass(frozen=True, kw_only=True)
class TrialsNeeded:
    """The smallest number of trials whose paired t-test reaches a power, and what it was reckoned from.

    `power` is what `trials` gives, at least `target`. `cautious` is the number needed if the standard deviation is
    not the pilot's but its upper one-sided 80% confidence limit (Browne 1995): a small pilot's own guess falls short
    about half the time.
    """

    trials: int
    cautious: int
    power: float
    target: float
    alpha: float
    effect: float
    sd: float
    effect_size: float
    pilot: int

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        return jsonable(self)


def power(differences: Any, n: Any, *, alpha: float = 0.05, effect: float | None = None) -> Figure:
    """Chance that a two-sided paired t-test of n trials rejects "no difference".

    With d = effect / sd of the pilot's differences, the statistic follows the noncentral t distribution with n - 1
    degrees of freedom and noncentrality d sqrt(n).

    Args:
        differences: a pilot's a - b [T], at least two trials.
        n: numbers of trials, at least 2; an integer or an array of them.
        alpha: level of the test.
        effect: the true mean difference to find, in the unit of the differences; the pilot's mean by default.

    Returns:
        A float, or an array of n's shape. Where the pilot does not vary: 1 for an effect, 0 for none.

    Raises:
        InputError: a pilot of fewer than two trials, n < 2, alpha outside (0, 1).

    >>> round(power([0.0, 1.0, 2.0], 10, effect=1.0), 3)
    0.803
    """
    mean, sd = _pilot(differences)
    checks.probability("alpha", alpha)
    numbers = np.asarray(n)
    if numbers.dtype.kind not in "iu" or np.any(numbers < 2):
        raise InputError(f"n: {n!r} is not allowed; give whole numbers of trials from 2")
    return checks.figure(_power(mean if effect is None else _effect(effect), sd, numbers.astype(np.float64), alpha))


def trials_needed(
    differences: Any, *, power: float = 0.8, alpha: float = 0.05, effect: float | None = None
) -> TrialsNeeded:
    """The smallest number of paired trials that finds an effect with the wanted power.

    Args:
        differences: a pilot's a - b [T], at least two trials.
        power: wanted chance of p < alpha.
        alpha: level of the two-sided test.
        effect: the true mean difference to find; the pilot's mean by default, which flatters itself when it was
            chosen for being large: state the smallest effect that matters instead.

    Raises:
        InputError: an effect of 0, a pilot of fewer than two trials, power or alpha outside (0, 1).

    >>> trials_needed([0.0, 1.0, 2.0], effect=1.0).trials
    10
    """
    mean, sd = _pilot(differences)
    checks.probability("power", power)
    checks.probability("alpha", alpha)
    wanted = mean if effect is None else _effect(effect)
    if wanted == 0:
        source = "the pilot's mean difference, 0," if effect is None else "0"
        raise InputError(f"effect: {source} is not allowed; give the smallest effect that matters")
    from scipy import special

    size = np.asarray(differences).size
    worst = sd * float(np.sqrt((size - 1) / special.chdtri(size - 1, 0.8)))  # chi-square with 80% above it
    trials = _search(wanted, sd, power, alpha)
    return TrialsNeeded(
        trials=trials,
        cautious=_search(wanted, worst, power, alpha),
        power=float(_power(wanted, sd, np.asarray(float(trials)), alpha)),
        target=float(power),
        alpha=float(alpha),
        effect=wanted,
        sd=sd,
        effect_size=wanted / sd if sd > 0 else float(np.copysign(np.inf, wanted)),
        pilot=size,
    )


def _pilot(differences: Any) -> tuple[float, float]:
    d = checks.vector("differences", differences)
    if d.size < 2:
        raise InputError(f"differences: a pilot of {d.size} is not allowed; give at least 2 trials")
    return (float(d[0]), 0.0) if checks.constant(d) else (float(d.mean()), float(d.std(ddof=1)))


def _effect(effect: float) -> float:
    if not np.isfinite(effect):
        raise InputError(f"effect: {effect!r} is not allowed; give a finite difference")
    return float(effect)


def _power(effect: float, sd: float, n: np.ndarray, alpha: float) -> np.ndarray:
    from scipy import special, stats

    if sd == 0:
        return np.full(n.shape, 1.0 if effect else 0.0)
    bound = special.stdtrit(n - 1, 1 - alpha / 2)
    shift = effect / sd * np.sqrt(n)
    # The lower tail is taken as the mirror image's upper one: SciPy's nct.cdf is NaN far out, its sf is not.
    return np.clip(stats.nct.sf(bound, n - 1, shift) + stats.nct.sf(bound, n - 1, -shift), 0.0, 1.0)


def _search(effect: float, sd: float, target: float, alpha: float) -> int:
    def enough(n: int) -> bool:
        return bool(_power(effect, sd, np.asarray(float(n)), alpha) >= target)

    low, high = 1, 2
    while not enough(high):
        low, high = high, 2 * high
        if high > 10**15:
            raise InputError(f"effect: {effect:g} is not allowed; give one that sd {sd:g} lets 1e15 trials find")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
