"""Which part of the results a picture shows, checked in one line each."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxinv.errors import DataError, InputError, unknown

if TYPE_CHECKING:
    import xarray as xr

AXES = ("arm", "learning_rate", "trial", "step")


def done_trials(results: "xr.Dataset") -> "xr.Dataset":
    """The results without trials that have not run yet."""
    missing = [axis for axis in AXES if axis not in results.dims]
    if missing:
        raise InputError(f"results: no dimension {missing[0]!r}; dims {', '.join(AXES)} are needed")
    if "done" not in results:
        return results
    done = np.asarray(results["done"].values, bool)
    if not done.any():
        raise DataError(f"results: none of {done.size} trials is done yet")
    return results.isel(trial=np.flatnonzero(done))


def metric_values(results: "xr.Dataset", metric: str) -> "xr.DataArray":
    """One variable [A, L, T, S] of the trials that are done."""
    ran = done_trials(results)
    known = [str(name) for name, variable in ran.data_vars.items() if set(variable.dims) == set(AXES)]
    if metric not in known:
        raise unknown("metric", metric, known)
    return ran[metric].transpose(*AXES)


def arm_names(results: "xr.Dataset") -> list[str]:
    """Names along the arm axis."""
    return [str(name) for name in results["arm"].values]


def rate_index(results: "xr.Dataset", wanted: Any) -> int:
    """Where a learning rate is; it may be left out where there is only one."""
    rates = np.asarray(results["learning_rate"].values, np.float64)
    listed = ", ".join(f"{rate:g}" for rate in rates)
    if wanted is None:
        if rates.size != 1:
            raise InputError(f"learning_rate: the results hold {rates.size}; choose one of {listed}")
        return 0
    near = np.flatnonzero(np.isclose(rates, float(wanted), rtol=1e-5, atol=0.0))  # coordinates may be float32
    if near.size == 0:
        raise InputError(f"learning_rate: {wanted!r} is not in the results; choose one of {listed}")
    return int(near[np.argmin(np.abs(rates[near] - float(wanted)))])


def rate_indices(results: "xr.Dataset", wanted: Any) -> list[int]:
    """One index per arm; `wanted` is one learning rate for all arms, or a mapping arm -> learning rate."""
    names = arm_names(results)
    if not isinstance(wanted, Mapping):
        return [rate_index(results, wanted)] * len(names)
    for arm in wanted:
        if arm not in names:
            raise unknown("learning_rate", arm, names)
    return [rate_index(results, wanted.get(arm)) for arm in names]


def step_index(results: "xr.Dataset", wanted: int | None) -> int:
    """Where an evaluated step is; the last by default."""
    steps = np.asarray(results["step"].values)
    if steps.size == 0:
        raise InputError("results: no step was evaluated")
    if wanted is None:
        return int(np.argmax(steps))
    at = np.flatnonzero(steps == wanted)
    if at.size == 0:
        shown = ", ".join(map(str, steps[:20])) + (", ..." if steps.size > 20 else "")
        raise InputError(f"step: {wanted!r} was not evaluated; choose one of {shown}")
    return int(at[0])


METRIC_NAMES = {"accuracy": "test accuracy", "test_loss": "test loss"}


def metric_name(metric: str) -> str:
    """A metric as it reads on an axis."""
    return METRIC_NAMES.get(metric, metric)
