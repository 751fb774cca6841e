"""The trials of two arms, pair by pair, with everything that was left out counted."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jaxinv.results import arm_index, cell, check_results, rate_pair
from jaxinv.stats import checks

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, eq=False, kw_only=True)
class PairedTrials:
    """The values `a` and `b`, float64 [T], of the same trials in two arms, and what became of the others.

    `learning_rate` holds the arms' places on the axis, `rate` the learning rates that were used.
    `planned` trials were asked for, `done` of them have run; `diverged` counts those of the done in which a, b, or
    either diverged; `excluded` were dropped for it by policy, `omitted` for a value that is not finite.
    """

    a: np.ndarray
    b: np.ndarray
    trials: np.ndarray
    arms: tuple[str, str]
    metric: str
    learning_rate: tuple[float, float]
    rate: tuple[float, float]
    step: int
    planned: int
    done: int
    diverged: tuple[int, int, int]
    policy: str
    excluded: int
    omitted: int


def paired_trials(
    results: "xr.Dataset",
    arm_a: str,
    arm_b: str,
    *,
    learning_rate: float | tuple[float, float] | None = None,
    step: int | None = None,
    metric: str = "accuracy",
    diverged: str = "include",
) -> PairedTrials:
    """The trials of two arms at one learning rate and step.

    Args:
        results: dims arm, learning_rate, trial, step; `done` (trial), where there, says which trials have run.
        arm_a, arm_b: names of arms.
        learning_rate: one of the results'; a pair gives each arm its own (the trials are paired across learning
            rates too). May be left out where there is only one.
        step: one of the evaluated steps; the last by default.
        metric: a variable over all four dims.
        diverged: "include" takes every trial that has a finite value; "exclude" drops a pair if either arm diverged.

    Raises:
        InputError: an arm, learning rate, step or metric that is not in the results, or none chosen among several.
        DataError: no trial has been done yet.
    """
    checks.choice("diverged", diverged, ("include", "exclude"))
    check_results(results)
    for field, arm in (("arm_a", arm_a), ("arm_b", arm_b)):
        arm_index(results, arm, field)
    cells = [
        cell(results, arm, learning_rate=rate, step=step, metrics=(metric,))
        for arm, rate in zip((arm_a, arm_b), rate_pair(results, learning_rate), strict=True)
    ]
    sides, flags = [one.metric(metric) for one in cells], [one.diverged for one in cells]
    either = flags[0] | flags[1]
    finite = np.isfinite(sides[0]) & np.isfinite(sides[1])
    dropped = either if diverged == "exclude" else np.zeros_like(either)
    kept = finite & ~dropped
    return PairedTrials(
        a=sides[0][kept],
        b=sides[1][kept],
        trials=cells[0].trials[kept],
        arms=(cells[0].arm, cells[1].arm),
        metric=metric,
        learning_rate=(cells[0].learning_rate, cells[1].learning_rate),
        rate=(cells[0].rate, cells[1].rate),
        step=cells[0].step,
        planned=results.sizes["trial"],
        done=either.size,
        diverged=(int(flags[0].sum()), int(flags[1].sum()), int(either.sum())),
        policy=diverged,
        excluded=int(dropped.sum()),
        omitted=int(np.count_nonzero(~finite & ~dropped)),
    )
