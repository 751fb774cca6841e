"""The trials of two arms, pair by pair, with everything that was left out counted."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jaxinv.errors import DataError
from jaxinv.results.selection import (
    arm_index,
    arm_names,
    check_results,
    coordinate,
    metric_variable,
    rate_pair,
    step_index,
)
from jaxinv.stats import checks

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, eq=False, kw_only=True)
class PairedTrials:
    """The values `a` and `b` [T] of the same trials in two arms, and what became of the others.

    `planned` trials were asked for, `done` of them have run; `diverged` counts those of the done in which a, b, or
    either diverged; `excluded` were dropped for it by policy, `omitted` for a value that is not finite.
    """

    a: np.ndarray
    b: np.ndarray
    trials: np.ndarray
    arms: tuple[str, str]
    metric: str
    learning_rate: tuple[float, float]
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
    variable = metric_variable(results, metric)
    arms = arm_names(results)
    places = [arm_index(arms, field, arm) for field, arm in (("arm_a", arm_a), ("arm_b", arm_b))]
    rates = rate_pair(results, learning_rate)
    where = step_index(results, step)
    planned = results.sizes["trial"]
    done = np.ones(planned, bool) if "done" not in results else np.asarray(results["done"].values, bool)
    if not done.any():
        raise DataError(f"results: none of {planned} trials is done yet")

    sides = [
        variable.isel(arm=arm, learning_rate=rate, step=where).transpose("trial").values[done]
        for arm, rate in zip(places, rates, strict=True)
    ]
    flags = np.zeros((2, int(done.sum())), bool)
    if "diverged" in results:
        for side, (arm, rate) in enumerate(zip(places, rates, strict=True)):
            flags[side] = results["diverged"].isel(arm=arm, learning_rate=rate).values[done]
    either = flags[0] | flags[1]
    finite = np.isfinite(sides[0]) & np.isfinite(sides[1])
    dropped = either if diverged == "exclude" else np.zeros_like(either)
    kept = finite & ~dropped
    rate_values = coordinate(results, "learning_rate")
    return PairedTrials(
        a=sides[0][kept],
        b=sides[1][kept],
        trials=coordinate(results, "trial")[done][kept],
        arms=(arms[places[0]], arms[places[1]]),
        metric=metric,
        learning_rate=(float(rate_values[rates[0]]), float(rate_values[rates[1]])),
        step=int(coordinate(results, "step")[where]),
        planned=planned,
        done=int(done.sum()),
        diverged=(int(flags[0].sum()), int(flags[1].sum()), int(either.sum())),
        policy=diverged,
        excluded=int(dropped.sum()),
        omitted=int(np.count_nonzero(~finite & ~dropped)),
    )
