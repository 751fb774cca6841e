"""How many trials a run takes that stops by itself, by simulation from a pilot of paired trials."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxinv.errors import InputError, number, whole
from jaxinv.stats import checks
from jaxinv.stats.few_trials import FEWEST, too_few
from jaxinv.stats.looks import next_look
from jaxinv.stats.sequential import first_look, look_of
from jaxinv.utils.jsonable import jsonable

LARGEST_DRAW = 100
"""Trials between two looks that are drawn one by one; the sums of more are drawn from their normal limit."""
LONGEST = 10**9


@dataclass(frozen=True, kw_only=True)
class StoppingTime:
    """How many trials a run takes that stops by `rule`, over simulated runs.

    `expected` is the mean, `median` and `quantile90` are quantiles; `answered` is the share of the runs that stopped
    before `most` trials, which count as `most`.
    """

    rule: str
    expected: float
    median: int
    quantile90: int
    answered: float
    most: int
    effect: float
    sd: float
    simulations: int
    pilot: int

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        return jsonable(self)


def stopping_time(
    differences: Any,
    *,
    effect: float | None = None,
    half_width: float | None = None,
    within: float | None = None,
    confidence: float = 0.95,
    grain: float = 0.0,
    most: int = LONGEST,
    simulations: int = 2000,
    seed: int = 0,
) -> StoppingTime:
    """How many trials `Until` takes, if trials are like a pilot's around another mean difference.

    Each simulated run draws the pilot's differences with replacement, shifted to the effect, and looks at the
    asymptotic anytime-valid interval where a run does. Between looks that are more than 100 trials apart, the sum of
    the differences and that of their squares are drawn from the bivariate normal distribution that they approach.

    Args:
        differences: a pilot's a - b [T], at least six trials.
        effect: the true mean difference; the pilot's by default.
        half_width, within: the rule, as for `Until`; by default the run stops when the interval leaves 0 out.
        confidence: of the interval.
        grain: the step in which differences move.
        most: trials after which a run stops anyway.
        simulations: how many runs to simulate.
        seed: of the simulation.

    Raises:
        InputError: a pilot of fewer than six trials, both rules, numbers that make no sense.

    >>> found = stopping_time(np.tile([0.0, 1.0, 2.0], 10), effect=0.5)
    >>> found.expected < found.quantile90, found.answered
    (True, 1.0)
    """
    d = checks.vector("differences", differences)
    if d.size < FEWEST:
        raise InputError(f"pilot: {too_few(d.size)}")
    if half_width is not None and within is not None:
        raise InputError("within: half_width is given too; give one rule")
    whole("most", most)
    whole("simulations", simulations)
    whole("seed", seed, 0)
    mean = d[0] if checks.constant(d) else d.mean()
    true = float(mean) if effect is None else number("effect", effect)
    shapes = d - mean
    rule, met = _rule(half_width, within)
    # Sums are of what is left of the differences, so that nothing cancels.
    draw = _drawing(shapes, np.random.default_rng(seed))
    running = np.arange(simulations)
    ends = np.full(simulations, most)
    sums = np.zeros((2, simulations))
    n, begin, answered = 0, first_look(confidence), 0
    while running.size and n < most:
        due = min(next_look(n), most)
        sums = sums + draw(due - n, running.size)
        n = due
        if n < begin:
            continue
        moved = sums[0] / n
        sd = np.sqrt(np.maximum(sums[1] - n * moved**2, 0.0) / (n - 1))
        low, high = look_of(np.asarray(n), true + moved, sd, confidence, 0.0, grain).ci
        stopped = met(low, high)
        ends[running[stopped]] = n
        answered += int(np.count_nonzero(stopped))
        running, sums = running[~stopped], sums[:, ~stopped]
    return StoppingTime(
        rule=rule,
        expected=float(ends.mean()),
        median=int(np.quantile(ends, 0.5, method="higher")),
        quantile90=int(np.quantile(ends, 0.9, method="higher")),
        answered=answered / simulations,
        most=most,
        effect=true,
        sd=float(shapes.std(ddof=1)),
        simulations=simulations,
        pilot=d.size,
    )


def _rule(half_width: float | None, within: float | None) -> tuple[str, Callable[[Any, Any], np.ndarray]]:
    """In words as `Until` has them, and whether intervals meet it."""
    if half_width is not None:
        wanted = checks.positive("half_width", half_width)
        return f"± {wanted:g}", lambda low, high: (high - low) / 2 <= wanted
    if within is not None:
        margin = checks.positive("within", within)
        return f"within {margin:g}", lambda low, high: (-margin < low) & (high < margin)
    return "!= 0", lambda low, high: (low > 0) | (high < 0)


def _drawing(values: np.ndarray, rng: np.random.Generator) -> Callable[[int, int], np.ndarray]:
    """A function of (trials, runs): sum and sum of squares of so many drawn values, [2, runs]."""
    powers = np.stack([values, values**2])
    means = powers.mean(axis=1)
    apart = powers - means[:, None]
    spread = apart @ apart.T / values.size
    roots, axes = np.linalg.eigh(spread)
    factor = axes * np.sqrt(np.maximum(roots, 0.0))

    def draw(trials: int, runs: int) -> np.ndarray:
        if trials <= LARGEST_DRAW:
            return powers[:, rng.integers(values.size, size=(trials, runs))].sum(axis=1)
        return trials * means[:, None] + np.sqrt(trials) * (factor @ rng.standard_normal((2, runs)))

    return draw
