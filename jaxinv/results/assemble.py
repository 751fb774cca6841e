"""The Dataset of a run's results, from whole arrays."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from jaxinv.results.schema import AXIS_ATTRS, Schema, WeightSum


def assemble(
    schema: Schema,
    arrays: Mapping[str, np.ndarray | xr.Variable],
    weights: WeightSum | None,
    attrs: Mapping[str, str],
    *,
    done: np.ndarray | None = None,
) -> xr.Dataset:
    """The Dataset of a run's results, from whole arrays.

    Args:
      schema: the axes.
      arrays: what is kept over all trials, by name; Variables where they are opened lazily.
      weights: the sum over all trials; None leaves `weight_delta` NaN (a run that is not finished).
      attrs: the Dataset's attributes.
      done: bool [T], which trials are finished; None leaves the variable out.
    """
    data: dict[str, Any] = dict(arrays)
    if schema.pixel_weights:
        data["weight_delta"] = np.full(schema.weight_shape, np.nan, np.float32) if weights is None else weights.mean()
    if done is not None:
        data["done"] = np.asarray(done)
    dims = {name: schema.variables[name].dims for name in data}
    variables = {name: v if isinstance(v, xr.Variable) else (dims[name], v) for name, v in data.items()}
    coords = {
        **schema.coords(),
        **(arm_coords(json.loads(attrs["study"]), schema.learning_rates) if "study" in attrs else {}),
    }
    results = xr.Dataset(variables, coords=coords, attrs=dict(attrs))
    for name in data:
        results[name].attrs = schema.variables[name].attrs
    for name, described in AXIS_ATTRS.items():
        if name in results.coords:
            results[name].attrs = described
    return results


def arm_coords(study: Mapping[str, Any], learning_rates: ArrayLike) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """What each arm of a study (`Study.to_dict`) is, as coordinates.

    `rate` (arm, learning_rate) is the learning rate that was used: an arm's own takes the place of the axis. Each other
    field that some arm changes is one (arm): what the arm, or the study, has for it.
    """
    arms = [arm if isinstance(arm, dict) else {"preprocess": arm} for arm in study["arms"]]
    rates = np.empty((len(arms), np.size(learning_rates)))
    for row, arm in zip(rates, arms, strict=True):
        row[:] = arm.get("learning_rate", learning_rates)
    coords: dict[str, tuple[tuple[str, ...], np.ndarray]] = {"rate": (("arm", "learning_rate"), rates)}
    changed = [field for arm in study["arms"] if isinstance(arm, dict) and "own" not in arm for field in arm]
    for field in dict.fromkeys(changed):
        if field not in ("name", "learning_rate"):
            values = [_label(arm.get(field, study.get(field))) for arm in arms]
            coords[field] = ("arm",), np.array(values, dtype=None if len({type(v) for v in values}) == 1 else str)
    return coords


def _label(value: Any) -> str | int | float:
    """A field's value as a coordinate has it: the name of an object, "all" for no subset."""
    if isinstance(value, dict):
        return value["own"]
    return "all" if value is None else value
