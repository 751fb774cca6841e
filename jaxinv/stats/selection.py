"""The paired trials of two arms, taken out of stored results with everything that was left out counted."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxinv.errors import DataError, InputError, unknown
from jaxinv.stats import checks

if TYPE_CHECKING:
    import xarray as xr

AXES = ("arm", "learning_rate", "trial", "step")


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
    places = [_arm_index(arms, field, arm) for field, arm in (("arm_a", arm_a), ("arm_b", arm_b))]
    rates = _rate_indices(results, learning_rate)
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
    rate_values = _coordinate(results, "learning_rate")
    return PairedTrials(
        a=sides[0][kept],
        b=sides[1][kept],
        trials=_coordinate(results, "trial")[done][kept],
        arms=(arms[places[0]], arms[places[1]]),
        metric=metric,
        learning_rate=(float(rate_values[rates[0]]), float(rate_values[rates[1]])),
        step=int(_coordinate(results, "step")[where]),
        planned=planned,
        done=int(done.sum()),
        diverged=(int(flags[0].sum()), int(flags[1].sum()), int(either.sum())),
        policy=diverged,
        excluded=int(dropped.sum()),
        omitted=int(np.count_nonzero(~finite & ~dropped)),
    )


def check_results(results: Any) -> None:
    """Refuse what is no results at all, such as the name of a folder, or lacks one of their axes."""
    if not hasattr(results, "dims"):
        raise InputError(f"results: {results!r} is not allowed; give what ji.run or ji.load returns")
    missing = [axis for axis in AXES if axis not in results.dims]
    if missing:
        raise InputError(f"results: no dimension {missing[0]!r}; dims {', '.join(AXES)} are needed")


def arm_names(results: "xr.Dataset") -> list[str]:
    """The names along the arm axis."""
    return [str(name) for name in _coordinate(results, "arm")]


def metric_variable(results: "xr.Dataset", metric: str) -> "xr.DataArray":
    """The variable of that name over arm, learning_rate, trial and step."""
    known = [str(name) for name, variable in results.data_vars.items() if set(variable.dims) == set(AXES)]
    if metric not in known:
        raise unknown("metric", metric, known)
    return results[metric]


def _coordinate(results: "xr.Dataset", axis: str) -> np.ndarray:
    return np.asarray(results[axis].values) if axis in results.coords else np.arange(results.sizes[axis])


def _arm_index(arms: list[str], field: str, arm: str) -> int:
    if arm not in arms:
        raise unknown(field, arm, arms)
    return arms.index(arm)


def rate_index(results: "xr.Dataset", wanted: Any) -> int:
    """Where a learning rate is; it may be left out where there is only one."""
    rates = _coordinate(results, "learning_rate").astype(np.float64)
    if wanted is None:
        if rates.size != 1:
            raise InputError(f"learning_rate: the results hold {rates.size}; choose one of {_listed(rates)}")
        return 0
    near = np.flatnonzero(np.isclose(rates, float(wanted), rtol=1e-5, atol=0.0))  # coordinates may be float32
    if near.size == 0:
        raise InputError(f"learning_rate: {wanted!r} is not in the results; choose one of {_listed(rates)}")
    return int(near[np.argmin(np.abs(rates[near] - float(wanted)))])


def _rate_indices(results: "xr.Dataset", wanted: Any) -> tuple[int, int]:
    chosen = tuple(wanted) if isinstance(wanted, tuple | list) else (wanted, wanted)
    if len(chosen) != 2:
        listed = _listed(_coordinate(results, "learning_rate"))
        raise InputError(f"learning_rate: {wanted!r} is neither one learning rate nor one for each arm; of {listed}")
    return rate_index(results, chosen[0]), rate_index(results, chosen[1])


def _listed(rates: np.ndarray) -> str:
    return ", ".join(f"{rate:g}" for rate in rates)


def step_index(results: "xr.Dataset", step: int | None) -> int:
    """Where an evaluated step is; the last by default."""
    steps = _coordinate(results, "step")
    if steps.size == 0:
        raise InputError("results: no step was evaluated")
    if step is None:
        return int(np.argmax(steps))
    at = np.flatnonzero(steps == step)
    if at.size == 0:
        shown = ", ".join(map(str, steps[:20])) + (", ..." if steps.size > 20 else "")
        raise InputError(f"step: {step!r} was not evaluated; choose one of {shown}")
    return int(at[0])
