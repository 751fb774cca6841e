"""Selects from results: arms, learning rates, steps, metrics and finished trials, each checked in one line."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxinv.errors import DataError, InputError, unknown

if TYPE_CHECKING:
    import xarray as xr

AXES = ("arm", "learning_rate", "trial", "step")


def check_results(results: Any) -> None:
    """Refuse what is no results at all, such as the name of a folder, or lacks one of their axes."""
    if not hasattr(results, "dims"):
        raise InputError(f"results: {results!r} is not allowed; give what ji.run or ji.load returns")
    missing = [axis for axis in AXES if axis not in results.dims]
    if missing:
        raise InputError(f"results: no dimension {missing[0]!r}; dims {', '.join(AXES)} are needed")


def arm_names(results: "xr.Dataset") -> list[str]:
    """The names along the arm axis."""
    return [str(name) for name in coordinate(results, "arm")]


def metric_variable(results: "xr.Dataset", metric: str) -> "xr.DataArray":
    """The variable of that name over arm, learning_rate, trial and step."""
    known = [str(name) for name, variable in results.data_vars.items() if set(variable.dims) == set(AXES)]
    if metric not in known:
        raise unknown("metric", metric, known)
    return results[metric]


def coordinate(results: "xr.Dataset", axis: str) -> np.ndarray:
    return np.asarray(results[axis].values) if axis in results.coords else np.arange(results.sizes[axis])


def arm_index(arms: list[str], field: str, arm: str) -> int:
    if arm not in arms:
        raise unknown(field, arm, arms)
    return arms.index(arm)


def rate_index(results: "xr.Dataset", wanted: Any) -> int:
    """Where a learning rate is; it may be left out where there is only one."""
    rates = coordinate(results, "learning_rate").astype(np.float64)
    if wanted is None:
        if rates.size != 1:
            raise InputError(f"learning_rate: the results hold {rates.size}; choose one of {_listed(rates)}")
        return 0
    near = np.flatnonzero(np.isclose(rates, float(wanted), rtol=1e-5, atol=0.0))  # coordinates may be float32
    if near.size == 0:
        raise InputError(f"learning_rate: {wanted!r} is not in the results; choose one of {_listed(rates)}")
    return int(near[np.argmin(np.abs(rates[near] - float(wanted)))])


def rate_pair(results: "xr.Dataset", wanted: Any) -> tuple[int, int]:
    chosen = tuple(wanted) if isinstance(wanted, tuple | list) else (wanted, wanted)
    if len(chosen) != 2:
        listed = _listed(coordinate(results, "learning_rate"))
        raise InputError(f"learning_rate: {wanted!r} is neither one learning rate nor one for each arm; of {listed}")
    return rate_index(results, chosen[0]), rate_index(results, chosen[1])


def _listed(rates: np.ndarray) -> str:
    return ", ".join(f"{rate:g}" for rate in rates)


def step_index(results: "xr.Dataset", step: int | None) -> int:
    """Where an evaluated step is; the last by default."""
    steps = coordinate(results, "step")
    if steps.size == 0:
        raise InputError("results: no step was evaluated")
    if step is None:
        return int(np.argmax(steps))
    at = np.flatnonzero(steps == step)
    if at.size == 0:
        shown = ", ".join(map(str, steps[:20])) + (", ..." if steps.size > 20 else "")
        raise InputError(f"step: {step!r} was not evaluated; choose one of {shown}")
    return int(at[0])


def done_trials(results: "xr.Dataset") -> "xr.Dataset":
    """The results without trials that have not run yet."""
    check_results(results)
    if "done" not in results:
        return results
    done = np.asarray(results["done"].values, bool)
    if not done.any():
        raise DataError(f"results: none of {done.size} trials is done yet")
    return results.isel(trial=np.flatnonzero(done))


def metric_values(results: "xr.Dataset", metric: str) -> "xr.DataArray":
    """One variable [A, L, T, S] of the trials that are done."""
    return metric_variable(done_trials(results), metric).transpose(*AXES)


def rate_indices(results: "xr.Dataset", wanted: Any) -> list[int]:
    """One index per arm; `wanted` is one learning rate for all arms, or a mapping arm -> learning rate."""
    names = arm_names(results)
    if not isinstance(wanted, Mapping):
        return [rate_index(results, wanted)] * len(names)
    for arm in wanted:
        if arm not in names:
            raise unknown("learning_rate", arm, names)
    return [rate_index(results, wanted.get(arm)) for arm in names]


METRIC_NAMES = {"accuracy": "test accuracy", "test_loss": "test loss"}


def metric_name(metric: str) -> str:
    """A metric as it reads on an axis."""
    return METRIC_NAMES.get(metric, metric)
