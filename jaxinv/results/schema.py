"""What a run's results are, on disk or in memory: names, shapes, the sum of weight changes, the finished Dataset."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from jaxinv.results.selection import AXES, PIXELS


class Variable(NamedTuple):
    """What the results say of one variable.

    Attributes:
      dims: its dimensions.
      dtype: its type.
      fill: what stands for a trial that is not there.
      long_name: what it is, in words, for readers and axes.
      units: "1" where it has none.
    """

    dims: tuple[str, ...]
    dtype: str
    fill: float | bool
    long_name: str
    units: str = "1"

    @property
    def attrs(self) -> dict[str, Any]:
        """Its attributes, by the CF conventions."""
        return {"long_name": self.long_name, "units": self.units}


TRIAL = AXES[:3]
PER_TRIAL = {
    "accuracy": Variable(AXES, "float32", np.nan, "share of the test images that are classified right"),
    "test_loss": Variable(AXES, "float32", np.nan, "mean loss over the test images"),
    "diverged": Variable(TRIAL, "bool", False, "whether the training diverged"),
    "layer_delta": Variable(
        (*TRIAL, "layer"), "float32", np.nan, "change of a layer's weights, relative to their start"
    ),
}
"""Kept for every trial. `ResultBlock` has a field for each, of the same name and in the same order."""

OVERALL = {
    "weight_delta": Variable(
        ("arm", "learning_rate", *PIXELS),
        "float32",
        np.nan,
        "largest change of a pixel's weights, mean over trials that did not diverge",
    ),
    "done": Variable(("trial",), "bool", False, "whether the trial is finished"),
}
"""The others."""

AXIS_ATTRS: dict[str, dict[str, Any]] = {
    "arm": {"long_name": "arm"},
    "learning_rate": {"long_name": "learning rate", "units": "1"},
    "trial": {"long_name": "trial", "units": "1"},
    "step": {"long_name": "updates made", "units": "1"},
    "layer": {"long_name": "layer"},
}
"""Attributes of the axes that have labels."""
SLAB_BYTES = 1 << 19  # what the caches of one core hold


class ResultBlock(NamedTuple):
    """Results of n consecutive trials.

    Attributes:
      accuracy: float32 [A, L, n, E], share of the test images that are classified right.
      test_loss: float32 [A, L, n, E], mean loss over the test images.
      diverged: bool [A, L, n].
      layer_delta: float32 [A, L, n, layers].
      weight_delta: float32 [A, L, n, H, W, K], or None where the first layer does not read pixels directly.
    """

    accuracy: np.ndarray
    test_loss: np.ndarray
    diverged: np.ndarray
    layer_delta: np.ndarray
    weight_delta: np.ndarray | None = None


@dataclass(frozen=True)
class Schema:
    """The axes of a run's results.

    Attributes:
      arms: names, A of them.
      learning_rates: L of them.
      steps: how many updates had been made at each of the E evaluations.
      layers: names of the layers whose change is kept.
      image_shape: (H, W, K).
      pixel_weights: whether the first layer reads pixels directly, so that there is a `weight_delta`.
      trials: T.
    """

    arms: tuple[str, ...]
    learning_rates: tuple[float, ...]
    steps: tuple[int, ...]
    layers: tuple[str, ...]
    image_shape: tuple[int, int, int]
    pixel_weights: bool
    trials: int

    def with_trials(self, trials: int) -> "Schema":
        """The same axes with another number of trials."""
        return replace(self, trials=trials)

    @property
    def variables(self) -> dict[str, Variable]:
        """Every variable of a stored run, by name."""
        return {name: v for name, v in (PER_TRIAL | OVERALL).items() if name != "weight_delta" or self.pixel_weights}

    def shape(self, name: str, trials: int) -> tuple[int, ...]:
        """A variable's shape over so many trials."""
        axes = (self.arms, self.learning_rates, self.steps, self.layers)
        sizes = {dim: len(axis) for dim, axis in zip(("arm", "learning_rate", "step", "layer"), axes, strict=True)}
        sizes |= dict(zip(("trial", *PIXELS), (trials, *self.image_shape), strict=True))
        return tuple(sizes[dim] for dim in (PER_TRIAL | OVERALL)[name].dims)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(A, L, H, W, K)."""
        return len(self.arms), len(self.learning_rates), *self.image_shape

    def coords(self) -> dict[str, np.ndarray]:
        """The labels of every labelled axis."""
        return {
            "arm": np.array(self.arms, dtype=str),
            "learning_rate": np.array(self.learning_rates, dtype=np.float64),
            "trial": np.arange(self.trials, dtype=np.int64),
            "step": np.array(self.steps, dtype=np.int64),
            "layer": np.array(self.layers, dtype=str),
        }

    def empty(self, name: str, trials: int) -> np.ndarray:
        """Room for so many trials, filled with what stands for "not there"."""
        return np.full(self.shape(name, trials), PER_TRIAL[name].fill, PER_TRIAL[name].dtype)

    def nbytes(self, name: str) -> int:
        """Size of a variable over all trials."""
        return math.prod(self.shape(name, self.trials)) * np.dtype(PER_TRIAL[name].dtype).itemsize

    def check(self, block: ResultBlock) -> int:
        """How many trials a block has; ValueError where its arrays do not fit these axes."""
        trials = np.shape(block.diverged)[2]
        for name in PER_TRIAL:
            found, needed = np.shape(getattr(block, name)), self.shape(name, trials)
            if found != needed:
                raise ValueError(f"{name} has shape {found}, not {needed}")
        if (block.weight_delta is not None) != self.pixel_weights:
            raise ValueError("weight_delta is needed exactly where the first layer reads pixels")
        if block.weight_delta is not None:
            needed = (*self.weight_shape[:2], trials, *self.image_shape)
            if np.shape(block.weight_delta) != needed:
                raise ValueError(f"weight_delta has shape {np.shape(block.weight_delta)}, not {needed}")
        return trials


@dataclass(frozen=True, eq=False)
class WeightSum:
    """Sum of the weight changes of the trials that did not diverge: float64 [A, L, H, W, K]; their number: [A, L]."""

    total: np.ndarray
    count: np.ndarray

    @classmethod
    def zero(cls, schema: Schema) -> "WeightSum":
        """The sum over no trials."""
        shape = schema.weight_shape if schema.pixel_weights else (*schema.weight_shape[:2], 0, 0, 0)
        return cls(np.zeros(shape), np.zeros(shape[:2], np.int64))

    def add(self, block: ResultBlock) -> "WeightSum":
        """The sum with a block's trials added one after the other.

        Float addition is not associative. Adding strictly in the order of the trials gives the same bits however the
        trials come in, so a run that was interrupted or grown ends with the numbers of one that was not.
        NumPy adds pairwise only along the fastest axis in memory; the extra column keeps the trial axis from being it.
        """
        keep = ~np.asarray(block.diverged)
        count = self.count + keep.sum(axis=2)
        if block.weight_delta is None:
            return WeightSum(self.total, count)
        pixels = math.prod(self.total.shape[2:])
        total = self.total.reshape(-1, pixels).copy()
        delta = np.asarray(block.weight_delta).reshape(len(total), -1, pixels)
        slab = max(1, SLAB_BYTES // (8 * (pixels + 1)))
        rows = np.zeros((slab + 1, pixels + 1))
        for part, alive, each in zip(total, keep.reshape(len(total), -1), delta, strict=True):
            for start in range(0, len(each), slab):
                chosen = alive[start : start + slab]
                used = rows[: len(chosen) + 1]
                used[0, :pixels] = part
                used[1:, :pixels] = each[start : start + slab]
                used[1:][~chosen] = 0.0
                part[:] = np.add.reduce(used, axis=0)[:pixels]
        return WeightSum(total.reshape(self.total.shape), count)

    def __add__(self, other: "WeightSum") -> "WeightSum":
        return WeightSum(self.total + other.total, self.count + other.count)

    def mean(self) -> np.ndarray:
        """float32 [A, L, H, W, K]; NaN where every trial diverged."""
        count = self.count[:, :, None, None, None]
        mean = np.divide(self.total, count, out=np.full(self.total.shape, np.nan), where=count > 0)
        return mean.astype(np.float32)


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
      arrays: accuracy, test_loss, diverged and layer_delta over all trials; Variables where they are opened lazily.
      weights: the sum over all trials; None leaves `weight_delta` NaN (a run that is not finished).
      attrs: the Dataset's attributes.
      done: bool [T], which trials are finished; None leaves the variable out.
    """
    data: dict[str, Any] = {name: arrays[name] for name in PER_TRIAL}
    if schema.pixel_weights:
        data["weight_delta"] = np.full(schema.weight_shape, np.nan, np.float32) if weights is None else weights.mean()
    if done is not None:
        data["done"] = np.asarray(done)
    dims = {name: schema.variables[name].dims for name in data}
    variables = {name: v if isinstance(v, xr.Variable) else (dims[name], v) for name, v in data.items()}
    results = xr.Dataset(variables, coords=schema.coords(), attrs=dict(attrs))
    for name in data:
        results[name].attrs = schema.variables[name].attrs
    for name, described in AXIS_ATTRS.items():
        results[name].attrs = described
    return results
