"""Which part of the results a picture shows, checked in one line each."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxinv.errors import DataError, unknown
from jaxinv.stats.selection import AXES, arm_names, check_results, metric_variable, rate_index

if TYPE_CHECKING:
    import xarray as xr


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
