"""What a run's results are, on disk or in memory: names, shapes, the sum of weight changes, the finished Dataset."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from jaxinv.results.selection import PIXELS

PER_TRIAL = {"accuracy": "step", "test_loss": "step", "diverged": None, "layer_delta": "layer"}
"""Variables kept for every trial, and their axis after (arm, learning_rate, trial)."""

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

    def dims(self, name: str) -> tuple[str, ...]:
        """A variable's dimension names."""
        last = PER_TRIAL[name]
        return ("arm", "learning_rate", "trial", *((last,) if last else ()))

    def shape(self, name: str, trials: int) -> tuple[int, ...]:
        """A variable's shape over so many trials."""
        sizes = {
            "arm": len(self.arms),
            "learning_rate": len(self.learning_rates),
            "trial": trials,
            "step": len(self.steps),
            "layer": len(self.layers),
        }
        return tuple(sizes[dim] for dim in self.dims(name))

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
        """Room for so many trials, filled with what stands for "not there": NaN, or False."""
        flag = name == "diverged"
        return np.full(self.shape(name, trials), False if flag else np.nan, dtype=bool if flag else np.float32)

    def nbytes(self, name: str) -> int:
        """Size of a variable over all trials."""
        return math.prod(self.shape(name, self.trials)) * self.empty(name, 0).itemsize

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
    variables: dict[str, Any] = {
        name: array if isinstance(array := arrays[name], xr.Variable) else (schema.dims(name), array)
        for name in PER_TRIAL
    }
    if schema.pixel_weights:
        mean = np.full(schema.weight_shape, np.nan, np.float32) if weights is None else weights.mean()
        variables["weight_delta"] = (("arm", "learning_rate", *PIXELS), mean)
    if done is not None:
        variables["done"] = (("trial",), np.asarray(done))
    return xr.Dataset(variables, coords=schema.coords(), attrs=dict(attrs))
